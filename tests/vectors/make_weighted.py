#!/usr/bin/env python3
"""Writes weighted.json: exact tails of weighted sums, by other means than the library's.

    build/venv/bin/python tests/vectors/make_weighted.py > tests/vectors/weighted.json     (two minutes)

Bernoulli (partition, tournament): the whole law by convolution in integers, P(draw = 1) = numerator/denominator, and its tail as a fraction.
Exp(1) (gumbel): partial fractions of the moment generating function Π (1 − λw)^−n. A pole of order n gives Σ c_j·w^j·Gamma(j) tails; the c_j are
Taylor coefficients, taken in 400 digits. Where all weights are distinct this is the hypoexponential law, where they are equal the Gamma law. A sample of rows is
compared with a numerical inversion of the characteristic function. Every row: groups [[weight, draws], …], numerator, denominator, sum, log10 of P(S ≥ sum);
for Exp(1) the sum is in units of 2⁻⁴⁰.
"""
import json
import random
import sys
from math import comb

from mpmath import mp, mpf

mp.dps = 400
ONE = 1 << 40


def bernoulli_tail(groups, numerator, denominator, s):
    law = {0: 1}
    for weight, draws in groups:
        step = [(k * weight, comb(draws, k) * numerator**k * (denominator - numerator) ** (draws - k)) for k in range(draws + 1)]
        grown = {}
        for x, mass in law.items():
            for more, chance in step:
                grown[x + more] = grown.get(x + more, 0) + mass * chance
        law = grown
    total = denominator ** sum(draws for _, draws in groups)
    assert sum(law.values()) == total
    return mp.log10(mpf(sum(mass for x, mass in law.items() if x >= s)) / total)


def taylor(groups, pole, order):
    """Coefficients in t of Π over the other groups of (1 − λw)^−n at λ = (1 − t)/w_pole."""
    series = [mpf(1)] + [mpf(0)] * (order - 1)
    for weight, draws in groups:
        if weight == pole:
            continue
        ratio = mpf(weight) / pole
        # 1 − ratio + ratio·t, to the power −draws
        base, slope = 1 - ratio, ratio / (1 - ratio)
        factor = [base ** -draws * mp.binomial(-draws, j) * slope**j for j in range(order)]
        series = [sum(series[i] * factor[j - i] for i in range(j + 1)) for j in range(order)]
    return series


def exponential_tail(groups, s):
    total = mpf(0)
    for weight, draws in groups:
        # Π = t^−draws · Σ a_i t^i, so the term of order j = draws − i is a_i·(1 − λw)^−j: a Gamma(j) law of scale w
        for i, a in enumerate(taylor(groups, weight, draws)):
            j = draws - i
            total += a * mp.gammainc(j, mpf(s) / (ONE * weight), regularized=True)
    return mp.log10(total)


def inverted_tail(groups, s):
    """Gil-Pelaez: 1/2 + 1/π·∫ Im(φ(t)·e^{−its})/t dt."""
    with mp.workdps(25):
        x = mpf(s) / ONE
        phi = lambda t: mp.exp(-sum(n * mp.log(1 - 1j * t * w) for w, n in groups))
        top = max(w for w, _ in groups)
        points = [mpf(k) / (20 * top) for k in range(400)] + [mpf(20 * 1.3**k) / top for k in range(60)]
        return mp.log10(mpf(1) / 2 + mp.quad(lambda t: (phi(t) * mp.exp(-1j * t * x)).imag / t if t else 0, points) / mp.pi)


def main():
    draw = random.Random(7)
    lattice = []
    shapes = [
        [[1, 40]], [[7, 25]], [[1, 1]], [[65535, 1]], [[1, 30], [1000, 1]], [[1, 100], [50, 4]], [[3, 20], [9, 10]],
        [[w, 1] for w in (1, 2, 4, 8, 16, 32, 64, 128)], [[w, 1] for w in draw.sample(range(1, 256), 14)],
        [[w, 3] for w in draw.sample(range(1, 60), 8)], [[290 - 9 * layer, 1] for layer in range(29, 17, -1)],
        [[29 + 9 * j, 3] for j in range(30)],  # three pairs of a tournament's fixed layer weights
        [[1 + 9 * j, 60] for j in range(3)],
    ]
    for shape in shapes:
        groups = sorted(shape)
        most = sum(w * n for w, n in groups)
        for numerator, denominator in ((64, 256), (1, 2), (1, 256), (250, 256)):
            mean = most * numerator / denominator
            sums = {most, max(1, most - groups[0][0]), int(mean) + 1} | {int(mean + (most - mean) * f) for f in (0.1, 0.3, 0.5, 0.75)}
            for s in sorted(x for x in sums if x > mean):
                lattice.append([groups, numerator, denominator, s, float(bernoulli_tail(groups, numerator, denominator, s))])
    exponential = []
    shapes = [
        [[1, 1]], [[1, 10]], [[200, 60]], [[1, 20], [1000, 1]], [[1, 50], [10, 5], [100, 1]], [[w, 1] for w in (1, 2, 4, 8, 16, 32)],
        [[w, 1] for w in draw.sample(range(1, 256), 12)], [[w, 4] for w in sorted(draw.sample(range(1, 256), 10))], [[255, 30], [256, 30]],
    ]
    for shape in shapes:
        groups = sorted(shape)
        mean = sum(w * n for w, n in groups)
        top = groups[-1][0]
        sums = [int((mean * a + top * b) * ONE) for a, b in ((1, 0.01), (1, 1), (1, 4), (2, 0), (3, 20), (8, 0), (8, 600))]
        for row, s in enumerate(sums):
            value = exponential_tail(groups, s)
            if row < 3 and sum(n for _, n in groups) >= 6:
                other = inverted_tail(groups, s)
                assert abs(value - other) < 1e-6, (groups, s, value, other)
            exponential.append([groups, str(s), float(value)])
    json.dump({"command": "build/venv/bin/python tests/vectors/make_weighted.py", "bernoulli": lattice, "exponential": exponential}, sys.stdout)
    print()


main()
