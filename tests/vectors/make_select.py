#!/usr/bin/env python3
"""Independent, slow reference of the selection that must be the same on every device. Writes select-v1.json beside it.

  python3 tests/vectors/make_select.py          needs mpmath; takes a minute or so

Written from the mark format's text: IEEE operations are emulated with exact fractions, logarithms and exponentials taken from mpmath at
60 digits. It shares no code with the project. Floats stand as the hexadecimal digits of their IEEE bits. Sections:

  exp         [z, max, temperature, scale, w]: 8 digits each, w an integer; scale = log2(e)/temperature in single precision
  neg_log     [word, -ln((word + 1/2)/2^32)]: the double of the format's one form, 16 digits
  fixed_log   [word, score]: floor(-ln(1 - word/2^32) * 2^40)
  threshold   [p, round(2^32 p)]: p is a double, 16 digits
  truncate    {weights by id, k (0: off), top_p, min_p (doubles, or null: off), kept: ids, ascending}; each step's total is that of the
              tokens the step before it left, a token of weight 0 is never kept, and at least one token is
  partition   {delta (double), factor, weights, red: the weights of red tokens}
  tournament  {weights, words, layers, shift, totals: after each layer, ratios: of each layer, out: the last weights}
  gumbel      {weights, words, chosen: the id that arrives first, the lowest of equals}
  digest      one entry, {count, exp, neg_log, fixed_log}: the hash, 16 digits, of the first `count` outputs each, see digests(): a change of the last
              place of one coefficient shows in one input of a thousand
  draw        {key, position, draw, random, weights, target, token}
"""
import json
import math
import os
import random
import struct
from fractions import Fraction

import mpmath

mpmath.mp.dps = 60
RNG = random.Random(20261124)


# ---- IEEE arithmetic, exactly ---------------------------------------------------------------------------------------

def rounded(value, digits, lowest):
    """The nearest number with `digits` significant bits, ties to even; `lowest`: the exponent of the smallest unit."""
    if value == 0:
        return Fraction(0)
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if Fraction(2) ** exponent > size:
        exponent -= 1
    unit = Fraction(2) ** max(exponent - digits + 1, lowest)
    whole, rest = divmod(size, unit)
    whole = int(whole)
    if rest * 2 > unit or (rest * 2 == unit and whole % 2):
        whole += 1
    return (whole * unit) if value > 0 else (-whole * unit)


def single(value):
    out = rounded(value, 24, -149)
    if abs(out) >= Fraction(2) ** 128:
        return math.inf if out > 0 else -math.inf
    return out


def float_bits(value):
    """8 digits of a single: a Fraction, or a Python float (for infinities and minus zero)."""
    return struct.pack('>f', float(value)).hex()


def double_bits(value):
    return struct.pack('>d', value).hex()


def bits_float(digits):
    return struct.unpack('>f', bytes.fromhex(digits))[0]


def single_of(value):
    """The nearest single of a Python float, as a Python float."""
    return struct.unpack('>f', struct.pack('>f', value))[0]


def next_single(value, steps):
    """`steps` singles further from zero (or nearer, if negative)."""
    number = int(float_bits(value), 16)
    return bits_float('%08x' % (number + steps))


# ---- exp → weight ---------------------------------------------------------------------------------------------------

POLYNOMIAL = [single(Fraction(c)) for c in ('1.537070493e-04', '1.339984825e-03', '9.618373588e-03', '5.550329015e-02',
                                            '2.402264774e-01', '6.931471825e-01', '1')]


def scale_of(temperature):
    quotient = rounded(Fraction(1.4426950408889634) / Fraction(temperature), 53, -1074)
    return single(quotient)


def weight(z, largest, scale):
    if z == -math.inf:
        return 0
    d = single(Fraction(z) - Fraction(largest))
    if d == -math.inf:
        return 0
    t = single(d * scale)
    if t == -math.inf or t < -41:
        return 0
    below = math.floor(t)
    half = t - below - Fraction(1, 2)
    n = below if half < 0 or (half == 0 and below % 2 == 0) else below + 1
    r = single(d * scale - n)
    p = POLYNOMIAL[0]
    for c in POLYNOMIAL[1:]:
        p = single(p * r + c)
    return math.floor(p * Fraction(2) ** (n + 40))


def exp_vectors():
    out = []

    def add(z, largest, temperature):
        temperature = single_of(temperature)
        scale = scale_of(temperature)
        out.append([float_bits(z), float_bits(largest), float_bits(temperature), float_bits(scale), weight(z, largest, scale)])

    tiny, least_normal, huge = 2.0**-149, 2.0**-126, single_of(3.4028234663852886e38)
    for temperature in (1e-6, 1e-3, 0.3, 0.7, 1.0, 1.3, 2.0, 5.0):
        for z, largest in ((0.0, 0.0), (-0.0, 0.0), (0.0, -0.0), (-math.inf, 0.0), (-math.inf, huge), (-huge, huge), (-huge, 0.0),
                           (-tiny, 0.0), (-tiny, tiny), (0.0, tiny), (-least_normal, least_normal), (0.0, least_normal),
                           (12.5, 12.5), (huge, huge), (-huge, -huge), (-1.0, 0.0), (19.0, 20.0), (-20.0, 20.0)):
            add(z, largest, temperature)
        # The last weights that are not nought: t about −41, −40.5 and −40, a few singles to both sides.
        for t in (41.0, 40.5, 40.0, 39.5, 16.5, 16.0, 0.5, 1.5):
            d = single_of(t / float(scale_of(single_of(temperature))))
            for steps in (-2, -1, 0, 1, 2):
                add(-next_single(d, steps), 0.0, temperature)
    # Exactly half-way between two whole t: a temperature whose scale is a power of two.
    whole = {}
    for steps in range(-64, 65):
        temperature = next_single(single_of(1.4426950408889634), steps)
        if scale_of(temperature) == 1:
            whole[1] = temperature
    assert whole, 'no temperature has the scale 1'
    for factor in (1.0, 0.5, 2.0):
        for half in [k / 2 for k in range(0, 83)]:
            add(-half * factor, 0.0, whole[1] * factor)
    for _ in range(900):
        temperature = RNG.choice([0.3, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, single_of(RNG.uniform(0.01, 5.0))])
        largest = single_of(RNG.uniform(-30, 60))
        add(single_of(largest - RNG.uniform(0, 1) ** 3 * 30 * temperature), largest, temperature)
    for _ in range(200):  # logits as bfloat16 has them
        largest = bits_float(float_bits(single_of(RNG.uniform(5, 60)))[:4] + '0000')
        z = bits_float(float_bits(single_of(largest - RNG.uniform(0, 25)))[:4] + '0000')
        add(min(z, largest), largest, RNG.choice([0.7, 1.0]))
    return out


# ---- logarithms -----------------------------------------------------------------------------------------------------

def fused(a, b, c):
    return float(Fraction(a) * Fraction(b) + Fraction(c))


def negative_log(word):
    """fdlibm's logarithm of (2 word + 1)/2^33 in the format's arrangement; Python's floats are IEEE doubles."""
    m, k = math.frexp(2 * word + 1)          # [1/2, 1)
    m, k = 2 * m, k - 1 - 33
    # fdlibm halves m when its leading 20 fraction bits plus 0x95f64 carry: just below the square root of 2.
    if int((m - 1) * 2**20) + 0x95F64 >= 2**20:
        m, k = m / 2, k + 1
    f = m - 1
    s = f / (2 + f)
    z = s * s
    w = z * z
    t1 = fused(w, fused(w, 1.531383769920937332e-01, 2.222219843214978396e-01), 3.999999999940941908e-01)
    t2 = fused(w, fused(w, fused(w, 1.479819860511658591e-01, 1.818357216161805012e-01), 2.857142874366239149e-01),
               6.666666666666735130e-01)
    r = fused(w, t1, z * t2)
    low = fused(k, 1.90821492927058770002e-10, s * fused(0.5 * f, f, r))
    out = fused(-k, 6.93147180369123816490e-01, fused(0.5 * f, f, -low) - f)
    exact = -mpmath.log(mpmath.mpf(2 * word + 1) / 2**33)
    assert abs(mpmath.mpf(out) - exact) <= math.ulp(out), f'word {word}: more than a unit in the last place away'
    return out


# Of all 2^32 words those whose scores lie nearest to an integer, and some more that 64 fraction bits get wrong.
HARD = [3560128570, 1164674341, 3574484118, 1412233888, 3448136182, 2710634202, 620258876, 3360391885, 1855047721, 1780973049,
        2453598943, 47774515, 4766866, 6043525, 10245301, 24864968, 25850069, 27685659, 29189497]


def fixed_log(word):
    return int(mpmath.floor(-mpmath.log(mpmath.mpf(2**32 - word) / 2**32) * 2**40))


def edge_words():
    out = set()
    for k in range(33):
        out.update(2**k + d for d in range(-3, 4))
        out.update(2**32 - 2**k + d for d in range(-3, 4))
    root = int(mpmath.sqrt(2) * 2**31)       # around m = √2 and √½, where the logarithm changes its exponent
    for k in range(0, 32, 5):
        out.update((root >> k) + d for d in range(-2, 3))
        out.update(2**32 - (root >> k) + d for d in range(-2, 3))
    for k in range(8):                       # and where it truly does: at 20 fraction bits 0x6a09c, the carry's threshold. There only one
        for fraction in (0x6A09B, 0x6A09C):  # word in some 25 tells the two sides apart, so many are taken
            first = 2**20 + fraction << 11 >> k
            out.update((first - 1, first, first + 1))
            out.update(RNG.randrange(first, first + (2**11 >> k)) for _ in range(16))
    out.update(2**32 - (2**31 + i * 2**24) + d for i in range(128) for d in (-1, 0))  # where the reciprocal changes
    return sorted(w for w in out if 0 <= w < 2**32)


# ---- choices --------------------------------------------------------------------------------------------------------

def threshold(p):
    """round(2^32 p), a half upwards; p outside [0, 1] counts as the nearer end."""
    return math.floor(max(Fraction(0), min(Fraction(1), Fraction(p))) * 2**32 + Fraction(1, 2))


def truncate(weights, k, top_p, min_p):
    order = sorted((i for i, w in enumerate(weights) if w > 0), key=lambda i: (-weights[i], i))
    if k:
        order = order[:k]
    if top_p is not None:
        total, cumulative, kept = sum(weights[i] for i in order), 0, []
        for i in order:
            kept.append(i)
            cumulative += weights[i]
            if cumulative * 2**32 >= threshold(top_p) * total:
                break
        order = kept
    if min_p is not None:
        largest = weights[order[0]]
        order = [i for i in order if weights[i] * 2**32 >= threshold(min_p) * largest]
    return sorted(order)


def some_weights(n):
    kind = RNG.randrange(5)
    if kind == 0:
        return [2**40] * n
    if kind == 1:
        return [RNG.choice([0, 1, 2, 2**20, 2**39, 2**40]) for _ in range(n)]
    if kind == 2:
        return [2**40 >> RNG.randrange(41) for _ in range(n)]
    if kind == 3:
        return [RNG.choice([3, 5, 7]) * 2**30 for _ in range(n)]
    return [int(2**40 * RNG.random() ** 6) for _ in range(n)]


def positive_weights(n):
    while True:
        weights = some_weights(n)
        if sum(weights):
            return weights


def truncate_vectors():
    out = []
    for _ in range(400):
        n = RNG.choice([1, 2, 3, 5, 8, 16, 33])
        weights = positive_weights(n)
        k = RNG.choice([0, 0, 1, 2, 3, n, n + 1])
        total, largest = sum(weights), max(weights)
        cut = sum(sorted(weights, reverse=True)[:RNG.randrange(n) + 1]) / total  # a sum that is reached exactly, or nearly
        top_p = RNG.choice([None, 0.0, 1.0, 0.5, 0.9, 0.95, RNG.random(), cut, min(1.0, cut + 2.0**-33), cut - 2.0**-33])
        min_p = RNG.choice([None, None, 0.0, 1.0, 0.05, 0.5, RNG.random(), RNG.choice(weights) / largest])
        out.append({'weights': weights, 'k': k, 'top_p': None if top_p is None else double_bits(top_p),
                    'min_p': None if min_p is None else double_bits(min_p), 'kept': truncate(weights, k, top_p, min_p)})
    return out


def partition_vectors():
    out = []
    for delta in (2.0, 1.0, 0.5, 0.1, 2.0**-10, 2.0**-23, 3.0, 5.0, 10.0, 15.9, 16.0):
        scaled = mpmath.exp(-mpmath.mpf(delta)) * 2**23
        assert abs(scaled - mpmath.floor(scaled) - 0.5) > 1e-6, 'half-way: the C library decides'
        factor = int(mpmath.nint(scaled))
        weights = [0, 1, 2, 7, 2**23, 2**23 - 1, 2**39 + 12345, 2**40 - 1, 2**40] + [RNG.randrange(2**40) for _ in range(6)]
        out.append({'delta': double_bits(delta), 'factor': factor, 'weights': weights,
                    'red': [math.floor(Fraction(w * factor, 2**23)) for w in weights]})
    return out


def tournament_vectors():
    out = []
    for case in range(24):
        n = [1, 2, 3, 5, 8, 12][case % 6]
        layers = [30, 30, 30, 1, 32][case % 5]
        weights = positive_weights(n)
        if case in (4, 5):
            weights = [2**40] + [1] * (n - 1)
        words = [RNG.getrandbits(32) for _ in range(n)]
        if case in (7, 8):
            words = [0 if case == 7 else 2**32 - 1] * n
        shift = 0
        while sum(weights) << shift < 2**59:
            shift += 1
        current, totals, ratios = [w << shift for w in weights], [], []
        assert 2**59 <= sum(current) < 2**60
        for layer in range(layers):
            total = sum(current)
            ones = sum(w for w, word in zip(current, words) if word >> layer & 1)
            ratio = (total - ones) * 2**63 // total
            current = [(w if word >> layer & 1 else 0) + w * ratio // 2**63 for w, word in zip(current, words)]
            totals.append(sum(current))
            ratios.append(ratio)
        out.append({'weights': weights, 'words': words, 'layers': layers, 'shift': shift, 'totals': totals, 'ratios': ratios,
                    'out': current})
    return out


def gumbel_vectors():
    out = []
    for case in range(200):
        n = RNG.choice([1, 2, 3, 8, 20])
        weights = [max(1, w) for w in some_weights(n)]
        words = [RNG.getrandbits(32) for _ in range(n)]
        if case % 3 == 0:  # equals: the same word and weight at several ids, often the winning one
            best = min(range(n), key=lambda i: negative_log(words[i]) / weights[i])
            for i in range(n):
                if i != best and RNG.random() < 0.5:
                    words[i], weights[i] = words[best], weights[best]
        if case % 3 == 1:  # near equals: one word apart, and the edges
            words = [RNG.choice([0, 1, 2**32 - 1, 2**32 - 2, 2**32 - 3, words[0], words[0] ^ 1]) for _ in range(n)]
        # A Python float quotient is the IEEE quotient; a weight below 2^53 is exact.
        arrivals = [negative_log(word) / float(w) for word, w in zip(words, weights)]
        out.append({'weights': weights, 'words': words, 'chosen': arrivals.index(min(arrivals))})
    return out


# ---- plain draws ----------------------------------------------------------------------------------------------------

def chacha20_words(key, counter, nonce):
    """RFC 8439, section 2.3."""
    start = list(struct.unpack('<4I', b'expand 32-byte k')) + list(struct.unpack('<8I', key)) + [counter] + list(struct.unpack('<3I', nonce))
    s = list(start)
    for half in range(20):
        for column in range(4):
            a, b, c, d = ((column, 4 + column, 8 + column, 12 + column) if half % 2 == 0 else
                          (column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4))
            for to, by, into, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                s[to] = (s[to] + s[by]) % 2**32
                x = s[into] ^ s[to]
                s[into] = (x << turn | x >> (32 - turn)) % 2**32
    return [(x + y) % 2**32 for x, y in zip(s, start)]


def draw_vectors():
    out = []
    for case in range(120):
        key = RNG.randbytes(32)
        position = RNG.choice([0, 1, 2, 4095, 2**32 - 1, 2**32, 2**63 + 5, RNG.randrange(2**20)])
        draw = RNG.choice([0, 0, 0, 1, 2, 2**32 - 1])
        words = chacha20_words(key, draw, struct.pack('<Q', position) + bytes(4))
        bits = words[0] + words[1] * 2**32
        weights = positive_weights(RNG.choice([1, 2, 5, 9, 30]))
        target, cumulative, token = bits * sum(weights) // 2**64, 0, 0
        for token, w in enumerate(weights):
            cumulative += w
            if cumulative > target:
                break
        out.append({'key': key.hex(), 'position': position, 'draw': draw, 'random': bits, 'weights': weights, 'target': target,
                    'token': token})
    return out


# ---- digests --------------------------------------------------------------------------------------------------------

def splitmix64(x):
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def fnv(state, item):
    """FNV-1a by items of 64 bits."""
    return (state ^ item) * 0x100000001B3 % 2**64


def digests(count):
    """Input i is made from x = splitmix64(i). exp: max = (x mod 2^24 − 2^23)/2^18, z = max − (x >> 40)/2^19 in single precision, the
    temperature by bits 24 and 25 of x; the item is the weight. Both logarithms: the word is the lower half of x; the items are the bits of
    the double, and the score."""
    temperatures = [single_of(t) for t in (0.3, 0.7, 1.0, 1.3)]
    scales = [scale_of(t) for t in temperatures]
    exp = neg = fixed = 0xCBF29CE484222325
    for i in range(count):
        x = splitmix64(i)
        largest = Fraction(x % 2**24 - 2**23, 2**18)
        z = single(largest - Fraction(x >> 40, 2**19))
        exp = fnv(exp, weight(z, largest, scales[x >> 24 & 3]))
        word = x % 2**32
        neg = fnv(neg, int(double_bits(negative_log(word)), 16))
        fixed = fnv(fixed, fixed_log(word))
    return {'count': count, 'exp': '%016x' % exp, 'neg_log': '%016x' % neg, 'fixed_log': '%016x' % fixed}


def main():
    key, nonce = bytes(range(32)), bytes.fromhex('000000090000004a00000000')
    assert chacha20_words(key, 1, nonce)[:2] == [0xE4E7F110, 0x15593BD1], 'not the answer of RFC 8439, section 2.3.2'
    edges = edge_words()
    thresholds = [0.0, -0.0, -1.0, 1.0, 1.5, 0.5, 0.9, 0.95, 0.05, 1e-9, 2.0**-33, 2.0**-34, 3 * 2.0**-33, 1 - 2.0**-33, 1 - 2.0**-34,
                  2.0**-1074] + [RNG.random() for _ in range(40)]
    vectors = {
        'exp': exp_vectors(),
        'neg_log': [[w, double_bits(negative_log(w))] for w in edges + [RNG.getrandbits(32) for _ in range(1000)]],
        'fixed_log': [[w, fixed_log(w)] for w in edges + HARD + [RNG.getrandbits(32) for _ in range(2000)]],
        'threshold': [[double_bits(p), threshold(p)] for p in thresholds],
        'truncate': truncate_vectors(),
        'partition': partition_vectors(),
        'tournament': tournament_vectors(),
        'gumbel': gumbel_vectors(),
        'draw': draw_vectors(),
        'digest': [digests(60000)],
    }
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'select-v1.json')
    with open(path, 'w', encoding='utf-8') as out:
        out.write('{\n"version": 1')
        for name, entries in vectors.items():
            out.write(',\n"%s": [\n' % name)
            out.write(',\n'.join(json.dumps(entry, separators=(',', ':')) for entry in entries))
            out.write('\n]')
        out.write('\n}\n')


if __name__ == '__main__':
    main()
