"""Mark format 1 a second time, slowly, for tests of the command-line tools: hashlib and hmac, and mpmath for tails.

    epoch = Epoch(key, scheme='gumbel', h=2, weights=[32768, 32768])
    tokens = epoch.write('org-1', length=200, vocabulary=50000, random=random.Random(1))    # a marked text
    epoch.count([tokens], accounts=['org-1', 'org-2'])       # {'base': (scored, statistic), 'org-1': …, 'org-2': …}

It shares no code with the C++ side. `python3 mark_oracle.py VECTORS` checks it against the known answers of tests/vectors/mark-v1.json.
"""
import decimal
import hashlib
import hmac
import json
import math
import sys

SCHEMES = {'partition': 1, 'tournament': 2, 'gumbel': 3}
M32 = 0xFFFFFFFF
COLUMNS = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
DIAGONALS = [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
CONSTANTS = tuple(int.from_bytes(b'expand 32-byte k'[i:i + 4], 'little') for i in range(0, 16, 4))


def permute(state, double_rounds):
    x = list(state)
    for _ in range(double_rounds):
        for a, b, c, d in COLUMNS + DIAGONALS:
            for left, right in ((16, 12), (8, 7)):
                x[a] = (x[a] + x[b]) & M32
                y = x[d] ^ x[a]
                x[d] = (y << left | y >> 32 - left) & M32
                x[c] = (x[c] + x[d]) & M32
                y = x[b] ^ x[c]
                x[b] = (y << right | y >> 32 - right) & M32
    return x


def words_of(data):
    return [int.from_bytes(data[i:i + 4], 'little') for i in range(0, len(data), 4)]


def hchacha20(key, block16):
    x = permute(CONSTANTS + tuple(words_of(key)) + tuple(words_of(block16)), 10)
    return b''.join(w.to_bytes(4, 'little') for w in x[:4] + x[12:])


def chacha8(seed, counter):
    start = CONSTANTS + tuple(words_of(seed)) + (counter, 0, 0, 0)
    return b''.join(((a + b) & M32).to_bytes(4, 'little') for a, b in zip(permute(start, 4), start))


def prf_input(scheme, window, purpose):
    return (bytes((1, scheme, len(window), purpose)) + b''.join(t.to_bytes(3, 'little') for t in window)).ljust(16, b'\0')


def seed_of(key, scheme, window):
    return hchacha20(key, prf_input(scheme, window, 0))


def word_of(seed, token):
    return words_of(chacha8(seed, token // 16))[token % 16]


def byte_of(seed, token):
    return chacha8(seed, token // 64)[token % 64]


def channel_of(route_key, scheme, window, weights):
    if len(weights) == 1:
        return 0
    r = words_of(hchacha20(route_key, prf_input(scheme, window, 1)))[0]
    edge = 0
    for channel, weight in enumerate(weights):
        edge += weight << 16
        if r < edge:
            return channel
    return len(weights) - 1


def derive(parent, *labels):
    info = b'countermark/v1'
    for label in map(str.encode, labels):
        info += bytes((len(label),)) + label if len(label) < 255 else b'\xff' + hashlib.sha256(label).digest()
    extracted = hmac.digest(bytes(32), parent, 'sha256')
    return hmac.digest(extracted, info + b'\1', 'sha256')


def token_score(seed, token, scheme, green, layers):
    if scheme == 1:
        return int(byte_of(seed, token) < green)
    word = word_of(seed, token)
    if scheme == 2:
        return (word % (1 << layers)).bit_count()
    near = -math.log1p(-word / 2**32) * 2**40
    if 0.05 < near % 1 < 0.95:  # far from an integer: a double's last digit cannot move the floor
        return math.floor(near)
    with decimal.localcontext(prec=60):
        return math.floor(-(decimal.Decimal(2**32 - word) / 2**32).ln() * 2**40)


class Epoch:
    def __init__(self, key, scheme='gumbel', h=2, weights=(32768, 32768), green=64, layers=30):
        self.key, self.scheme, self.h, self.weights = key, SCHEMES[scheme], h, list(weights)
        self.green, self.layers = green, layers
        self.base, self.route = derive(key, 'base'), derive(key, 'route')

    def account(self, label):
        return derive(self.key, 'account', label)

    def pairs(self, texts, prompts=()):
        """Distinct (window, token) pairs of all texts, in order, without windows of the prompts."""
        known = {tuple(p[i:i + self.h]) for p in prompts for i in range(len(p) - self.h + 1)}
        return list(dict.fromkeys((tuple(t[i - self.h:i]), t[i]) for t in texts for i in range(self.h, len(t)) if tuple(t[i - self.h:i]) not in known))

    def count(self, texts, accounts=(), prompts=()):
        keys = {'base': (0, self.base)} | {a: (1, self.account(a)) for a in accounts}
        out = {name: [0, 0] for name in keys}
        for window, token in self.pairs(texts, prompts):
            channel = channel_of(self.route, self.scheme, window, self.weights)
            for name, (of, key) in keys.items():
                if of == channel:
                    out[name][0] += 1
                    out[name][1] += token_score(seed_of(key, self.scheme, window), token, self.scheme, self.green, self.layers)
        return {name: tuple(v) for name, v in out.items()}

    def write(self, account, length, vocabulary, random, candidates=8):
        """A text as a sampler of this epoch would write it: of a few equally likely tokens the one with the best score."""
        keys = [self.base, self.account(account)]
        text, seen = [], set()
        while len(text) < length:
            choice = [random.randrange(vocabulary) for _ in range(candidates)]
            window = tuple(text[-self.h:])
            if len(window) == self.h and window not in seen:
                seen.add(window)
                seed = seed_of(keys[channel_of(self.route, self.scheme, window, self.weights)], self.scheme, window)
                choice.sort(key=lambda t: -token_score(seed, t, self.scheme, self.green, self.layers))
            text.append(choice[0])
        return text

    def log10_p(self, scored, statistic):
        import mpmath
        with mpmath.workdps(60):
            if scored == 0 or statistic == 0:
                return 0.0
            if self.scheme == 3:
                s = mpmath.mpf(statistic) / 2**40
                total = term = mpmath.mpf(1)  # Q(n, s) = e^-s · sum of s^i / i! for i < n
                for i in range(1, scored):
                    term *= s / i
                    total += term
                return float((mpmath.log(total) - s) / mpmath.log(10))
            n, p = (scored, mpmath.mpf(self.green) / 256) if self.scheme == 1 else (scored * self.layers, mpmath.mpf(1) / 2)
            return float(mpmath.log10(mpmath.fsum(mpmath.binomial(n, k) * p**k * (1 - p)**(n - k) for k in range(statistic, n + 1))))


def holm(log10_p):
    """Adjusted values in the log domain, in the order given."""
    order = sorted(range(len(log10_p)), key=lambda i: log10_p[i])
    out, highest = [0.0] * len(log10_p), -math.inf
    for rank, i in enumerate(order):
        highest = max(highest, min(0.0, log10_p[i] + math.log10(len(log10_p) - rank)))
        out[i] = highest
    return out


def check(path):
    with open(path, encoding='utf-8') as f:
        known = json.load(f)
    raw = bytes.fromhex
    counted = 0

    def same(a, b, what):
        nonlocal counted
        counted += 1
        if a != b:
            raise SystemExit(f'mark_oracle: {what}: {a} is not {b}')
    for e in known['hchacha20']:
        same(hchacha20(raw(e['key']), raw(e['input'])).hex(), e['out'], e)
    for e in known['chacha8']:
        same(chacha8(raw(e['key']), e['counter']).hex(), e['out'], e)
    for e in known['seed']:
        same(seed_of(raw(e['key']), e['scheme'], e['window']).hex(), e['seed'], e)
    for e in known['word']:
        same(word_of(raw(e['seed']), e['token']), e['word'], e)
    for e in known['byte']:
        same(byte_of(raw(e['seed']), e['token']), e['byte'], e)
    for e in known['route']:
        same(channel_of(raw(e['key']), e['scheme'], e['window'], e['weights']), e['channel'], e)
    for e in known['derive']:
        same(derive(raw(e['parent']), *e['labels']).hex(), e['key'], e['name'])
    for e in known['score']:
        got = [[0, 0] for _ in e['keys']]
        names = {v: k for k, v in SCHEMES.items()}
        epoch = Epoch(bytes(32), names[e['scheme']], e['h'], e['weights'], e['green'], e['layers'])
        for window, token in epoch.pairs([e['tokens']]):
            channel = channel_of(raw(e['route_key']), e['scheme'], window, e['weights'])
            got[channel][0] += 1
            got[channel][1] += token_score(seed_of(raw(e['keys'][channel]), e['scheme'], window), token, e['scheme'], e['green'], e['layers'])
        same(got, e['channels'], f"score, scheme {e['scheme']}, h {e['h']}")
    if counted < 200:
        raise SystemExit(f'mark_oracle: only {counted} known answers were found')
    print(f'mark_oracle: {counted} known answers hold')


if __name__ == '__main__':
    check(sys.argv[1])
