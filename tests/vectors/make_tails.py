#!/usr/bin/env python3
"""Writes tails.json: known answers for the tails, e-values and corrections of detect/, made by other means than the library's.

    build/venv/bin/python tests/vectors/make_tails.py > tests/vectors/tails.json     (about three minutes)

Binomial: exact integer sums up to n = 400; beyond, Gauss's continued fraction of the incomplete beta function (the one of
Numerical Recipes, not the one the library uses) in 80 digits. Gamma: finite Poisson sums and their ratio series in 60 digits. Every
kind is compared with mpmath's own betainc and gammainc where those converge. E-values: products as they are defined. Holm: the
closed-testing definition, over all subsets. Values are log10, rounded to the nearest double.
"""
import itertools
import json
import math
import random
import sys
from fractions import Fraction

from mpmath import mp, mpf

mp.dps = 60


def betacf(a, b, x):
    """Gauss's fraction by modified Lentz."""
    tiny = mpf(10) ** -200
    c, d = mpf(1), 1 - (a + b) * x / (a + 1)
    d = 1 / (d if d else tiny)
    h = d
    m = 1
    while True:
        aa = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + aa * d)
        c = 1 + aa / c
        h *= d * c
        aa = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / (1 + aa * d)
        c = 1 + aa / c
        h *= d * c
        if abs(d * c - 1) < mpf(10) ** -35:
            return h
        m += 1


def log_upper(n, k, a, c):
    """ln P(Bin(n, a/c) >= k) for k above the mean, large n."""
    x, big_a, big_b = mpf(a) / c, mpf(k), mpf(n - k + 1)
    front = mp.loggamma(n + 1) - mp.loggamma(big_a) - mp.loggamma(big_b) + big_a * mp.log(x) + big_b * mp.log(1 - x)
    return front + mp.log(betacf(big_a, big_b, x) / big_a)


def binomial(n, k, a, c):
    if k == 0:
        return mpf(0)
    if n <= 400:
        def mass_sum(lo, hi):
            term, total = math.comb(n, lo), 0
            for j in range(lo, hi + 1):
                total += term * a ** j * (c - a) ** (n - j)
                term = term * (n - j) // (j + 1)
            return total
        whole = c ** n
        if k * c > n * a:
            return mp.log10(mpf(mass_sum(k, n)) / whole)
        return mp.log1p(-mpf(mass_sum(0, k - 1)) / whole) / mp.ln(10)
    with mp.workdps(80):
        if k * c >= (n + 1) * a:
            return log_upper(n, k, a, c) / mp.ln(10)
        return mp.log1p(-mp.exp(log_upper(n, n - k + 1, c - a, c))) / mp.ln(10)


def gamma(n, s):
    if n == 0 or s == 0:
        return mpf(0)
    s = mpf(s)
    if s >= n:
        term, total, j = mpf(1), mpf(1), n - 1
        while j > 0:
            term *= j / s
            total += term
            j -= 1
            if term < total * mpf(10) ** -40:
                break
        return ((n - 1) * mp.log(s) - s - mp.loggamma(n) + mp.log(total)) / mp.ln(10)
    term, total, j = mpf(1), mpf(1), n
    while True:
        j += 1
        term *= s / j
        total += term
        if term < total * mpf(10) ** -40:
            break
    return mp.log1p(-mp.exp(n * mp.log(s) - s - mp.loggamma(n + 1) + mp.log(total))) / mp.ln(10)


def self_check():
    rng = random.Random(5)
    for _ in range(60):
        n = rng.choice([1, 5, 60, 450, 3000])
        a, c = rng.choice([(1, 256), (64, 256), (1, 2), (255, 256)])
        k = rng.randrange(1, n + 1)
        want = mp.betainc(k, n - k + 1, 0, mpf(a) / c, regularized=True)
        if mpf(10) ** -50 < want < 1 - mpf(10) ** -20:
            got = binomial(n, k, a, c)
            assert abs(got - mp.log10(want)) < mpf(10) ** -25 * (1 + abs(got)), (n, k, a, c)
        s = rng.uniform(0.2, 2) * n
        want = mp.gammainc(n, s, regularized=True)
        if mpf(10) ** -50 < want < 1 - mpf(10) ** -20:
            got = gamma(n, s)
            assert abs(got - mp.log10(want)) < mpf(10) ** -25 * (1 + abs(got)), (n, s)


DEVIATIONS = [-100, -30, -8, -6.05, -5.95, -3, -1, -0.1, 0, 0.1, 1, 3, 5.95, 6.05, 8, 30, 300]


def binomial_grid():
    out = []
    for n in [1, 2, 3, 7, 30, 100, 300, 1000, 4097, 5400, 10 ** 5, 10 ** 6, 10 ** 9, 10 ** 12, 2 ** 53]:
        for a, c in [(1, 256), (16, 256), (64, 256), (128, 256), (250, 256), (255, 256), (1, 2), (3, 7)]:
            big = n > 10 ** 7
            if big and (a, c) not in [(1, 256), (64, 256), (255, 256), (1, 2)]:
                continue
            ks = {0, 1, 2, n // 3, n // 2, n - 1, n}
            mean, sd = n * a / c, (n * a * (c - a)) ** 0.5 / c
            for t in DEVIATIONS:
                if n == 2 ** 53 and abs(t) < 3:
                    continue  # the oracle's own fraction would take hours
                if n == 10 ** 12 and abs(t) < 1 and (a, c) != (64, 256):
                    continue
                ks.add(int(mean + t * sd))
                if t == 0:
                    ks.update({int(mean) + 1, (n + 1) * a // c, -(-(n + 1) * a // c)})
            out += [[n, k, a, c] for k in sorted(ks) if 0 <= k <= n]
    return out


def gamma_grid():
    out = []
    for n in [1, 2, 3, 10, 100, 200, 301, 999, 1000, 1001, 4096, 10 ** 5, 10 ** 6, 10 ** 8, 10 ** 9]:
        ss = {0.0, 1e-300, 1e-10, 0.5, 1.0, 1e3, 1e8, n / 2, 2.0 * n, 10.0 * n, float(n - 1), float(n), n * (1 - 2.0 ** -50), n * (1 + 2.0 ** -50), n - 0.5}
        ss |= {n + t * n ** 0.5 for t in DEVIATIONS}
        for s in sorted(ss):
            if s < 0 or (n >= 10 ** 8 and abs(s - n) < 0.9 * n ** 0.5 and s not in (float(n), n - 0.5)):
                continue
            out.append([n, s])
    out += [[1, 1e300], [1, 2.5e5], [10 ** 6, 1e12], [10 ** 4, 3e5]]
    return out


BETS = [b for j in range(1, 13) for b in (mpf(3) / 2 ** (j + 1), mpf(1) / 2 ** j)]


def e_value(kind, n, statistic, parameter):
    """The mean over the bets of the products, as defined; `parameter` is G or m."""
    total = mpf(0)
    for bet in BETS:
        if kind == "gumbel":
            product = (1 - bet) ** n * mp.exp(bet * mpf(statistic) / 2 ** 40)
        else:
            base = mpf(parameter) / 256 if kind == "partition" else mpf(1) / 2
            trials = n if kind == "partition" else n * parameter
            q = base + bet * (1 - base)
            product = (q / base) ** statistic * ((1 - q) / (1 - base)) ** (trials - statistic)
        total += product
    return mp.log10(total / len(BETS))


def counts():
    """[scheme, parameter, scored, statistic as a string, log10 p, log10 E]"""
    rng = random.Random(11)
    out = []
    for n in [1, 2, 50, 200, 1000, 30000]:
        for green in [1, 25, 64, 128, 255]:
            ks = {0, n, n * green // 256, min(n, n * green // 256 + 1 + n // 5)}
            out += [["partition", green, n, str(k), binomial(n, k, green, 256), e_value("partition", n, k, green)] for k in sorted(ks)]
        for layers in [1, 10, 30, 32]:
            t = n * layers
            ks = {0, t, t // 2, t // 2 + int(t ** 0.5), t // 2 + t // 9}
            out += [["tournament", layers, n, str(k), binomial(t, k, 1, 2), e_value("tournament", n, k, layers)] for k in sorted(ks)]
        for share in [0, 0.3, 0.9, 1, 1.0001, 1.2, 2, 5, 22]:
            k = int(n * share * 2 ** 40) + (rng.randrange(2 ** 20) if share else 0)
            out.append(["gumbel", 0, n, str(k), gamma(n, mpf(k) / 2 ** 40), e_value("gumbel", n, k, 0)])
    for n, k in [(10 ** 8, 2 ** 67 + 1234567891234567), (3 * 10 ** 7, 2 ** 65 + 2 ** 30 + 1), (10 ** 9, 10 ** 9 * 24387948313145)]:
        out.append(["gumbel", 0, n, str(k), gamma(n, mpf(k) / 2 ** 40), e_value("gumbel", n, k, 0)])
    return out


def word_expectation(bits):
    """The exact expectation of the one-pair gumbel E over words of `bits` bits, without the floor: mean over bets of
    (1-b)*M^(b-1)*(zeta(b) - zeta(b, M+1)), M = 2^bits. The floor only lowers it, by less than 2^-40 of itself."""
    m = mpf(2) ** bits
    each = [(1 - b) * m ** (b - 1) * (mp.zeta(b) - mp.zeta(b, m + 1)) for b in BETS]
    assert all(value < 1 for value in each)
    return sum(each) / len(each)


def holm_by_closure(p, family):
    """Reject i when every subset of hypotheses that holds i is rejected by Bonferroni: the adjusted p is the largest over them."""
    full = p + [Fraction(1)] * (family - len(p))
    adjusted = []
    for i in range(len(p)):
        others = [j for j in range(family) if j != i]
        worst = Fraction(0)
        for size in range(family):
            for subset in itertools.combinations(others, size):
                value = min(Fraction(1), (size + 1) * min([full[i]] + [full[j] for j in subset]))
                worst = max(worst, value)
        adjusted.append(worst)
    return adjusted


def log10_or_string(p):
    return "-inf" if p == 0 else float(mp.log10(mpf(p.numerator)) - mp.log10(mpf(p.denominator)))


def holm():
    rng = random.Random(3)
    out = []
    for case in range(60):
        size = rng.randrange(1, 8)
        family = size + rng.choice([0, 0, 1, 2])
        p = [Fraction(rng.randrange(1, 1001), 10 ** rng.choice([3, 3, 4, 5, 40])) for _ in range(size)]
        if case % 3 == 0 and size > 1:
            p[-1] = p[0]  # a tie
        if case % 5 == 0:
            p[rng.randrange(size)] = Fraction(0)
        if case % 7 == 0:
            p[rng.randrange(size)] = Fraction(1)
        out.append({"family": family if family > size or case % 2 else 0, "log10_p": [log10_or_string(x) for x in p],
                    "adjusted": [log10_or_string(x) for x in holm_by_closure(p, family)]})
    return out


def main():
    self_check()
    result = {
        "binomial": [row + [float(binomial(*row))] for row in binomial_grid()],
        "gamma": [row + [float(gamma(*row))] for row in gamma_grid()],
        "counts": [row[:4] + [float(row[4]), float(row[5])] for row in counts()],
        "gumbel_expectation": {str(bits): float(word_expectation(bits)) for bits in (20, 32)},
        "holm": holm(),
    }
    sys.stdout.write("{\n")
    for number, (name, value) in enumerate(result.items()):
        sys.stdout.write(("" if number == 0 else ",\n") + json.dumps(name) + ": ")
        if isinstance(value, list):
            sys.stdout.write("[\n" + ",\n".join(json.dumps(row) for row in value) + "]")
        else:
            sys.stdout.write(json.dumps(value))
    sys.stdout.write("\n}\n")


if __name__ == "__main__":
    main()
