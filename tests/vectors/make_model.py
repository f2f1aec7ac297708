#!/usr/bin/env python3
"""Writes model.json: known answers for the matched filter of model audits, made by other means than the library's.

    build/venv/bin/python tests/vectors/make_model.py > tests/vectors/model.json     (about a minute)

log-MGF: ln E exp(θ(s − E s)), for partition and tournament by summing the law itself, for gumbel with positive θ from the Gamma function's integral (the bound), with
negative θ also the exact value of a score that is not floored, over all 2³² words: the bound must lie above and close by. Sums, mixtures
and least bounds: 40 digits, the best λ by ternary search over a fine range. Statistics under a key: the pseudorandom function of
tests/oracle/mark_oracle.py. Values are rounded to the nearest double; weights are integers in units of 2⁻²⁴.
"""
import json
import pathlib
import random
import sys

from mpmath import mp, mpf

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'oracle'))
import mark_oracle  # noqa: E402

mp.dps = 40
UNIT = mpf(2) ** -24
N = mpf(2) ** 32
MARKS = [{'scheme': 'gumbel'}, {'scheme': 'tournament', 'layers': 30}, {'scheme': 'tournament', 'layers': 1}, {'scheme': 'partition', 'green': 64}, {'scheme': 'partition', 'green': 1},
         {'scheme': 'partition', 'green': 255}]
SCHEMES = {'partition': 1, 'tournament': 2, 'gumbel': 3}


def log_mgf(mark, theta):
    theta = mpf(theta)
    if mark['scheme'] == 'gumbel':
        # E exp(θ(x − 1)) of an Exp(1) value.
        return -theta - mp.log(1 - theta)
    if mark['scheme'] == 'tournament':
        m = mark['layers']
        return mp.log(sum(mp.binomial(m, k) * mp.exp(theta * (k - mpf(m) / 2)) for k in range(m + 1)) / mpf(2) ** m)
    gamma = mpf(mark['green']) / 256
    return mp.log((1 - gamma) * mp.exp(-theta * gamma) + gamma * mp.exp(theta * (1 - gamma)))


def exact_negative_gumbel(a):
    """ln of the mean over words k of exp(−a(−ln(1 − k/n) − 1)), and of a score lower by 2⁻⁴⁰: between them lies the floored score's."""
    a = mpf(a)
    # Σ j^a, j = 1 … n, by Euler and Maclaurin; the term left out is below n^(a − 5).
    total = N ** (a + 1) / (a + 1) + N ** a / 2 + a * N ** (a - 1) / 12 - a * (a - 1) * (a - 2) * N ** (a - 3) / 720 + mp.zeta(-a)
    return a + mp.log(total / N) - a * mp.log(N)


def mean_score(mark):
    return {'gumbel': mpf(1), 'tournament': mpf(mark.get('layers', 0)) / 2, 'partition': mpf(mark.get('green', 0)) / 256}[mark['scheme']]


def least(mark, weights, s):
    """log10 of min over λ of exp(−λs + Σ L(λw))."""
    w = [mpf(x) * UNIT for x in weights]
    high = mpf(64) / max(abs(x) for x in w)
    if mark['scheme'] == 'gumbel' and max(w) > 0:
        high = min(high, (1 - mpf(10) ** -25) / max(w))
    half = mpf(mark.get('layers', 0)) / 2
    # The m bits' closed form is held against their sum in main; it is a hundred times faster.
    one = (lambda theta: 2 * half * mp.log(mp.cosh(theta / 2))) if half else (lambda theta: log_mgf(mark, theta))
    f = lambda lam: -lam * s + sum(one(lam * x) for x in w)
    low = mpf(0)
    for _ in range(60):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        if f(a) < f(b):
            high = b
        else:
            low = a
    return min(mpf(0), f((low + high) / 2)) / mp.log(10)


def mixture(mark, weights, s):
    e = mpf(0)
    for j in range(1, 13):
        lam = mpf(2) ** -j
        e += mp.exp(lam * s - sum(log_mgf(mark, lam * mpf(x) * UNIT) for x in weights))
    return mp.log10(e / 12)


def main():
    rng = random.Random(8)
    out = {'log_mgf': [], 'negative_gumbel': [], 'tables': []}
    for mark in MARKS:
        for theta in [1e-9, 1e-5, 0.001, 0.03, 0.0624, 0.0626, 0.2, 0.26, 0.5, 0.75, 0.96875, 0.9990234375, 1.5, 4.0, 30.0]:
            for sign in (1, -1):
                if mark['scheme'] == 'gumbel' and (sign < 0 or theta >= 1):
                    continue
                out['log_mgf'].append({**mark, 'theta': sign * theta, 'value': float(log_mgf(mark, mpf(sign * theta)))})
    for a in [1e-9, 1e-4, 0.01, 0.05, 0.3, 0.999, 1.0, 2.5, 20.0]:
        unfloored = exact_negative_gumbel(a)
        out['negative_gumbel'].append({'a': a, 'unfloored': float(unfloored), 'lowest_score': float(unfloored + mpf(a) * mpf(2) ** -40)})
    shapes = {
        'even': lambda i: rng.randrange(-2 ** 20, 2 ** 20),
        'one heavy': lambda i: 2 ** 24 - 1 if i == 0 else rng.randrange(-2 ** 14, 2 ** 14),
        'all negative': lambda i: -rng.randrange(1, 2 ** 23),
        'tiny': lambda i: rng.choice([-1, 1, 2]),
        'summed': lambda i: rng.randrange(-2 ** 23, 2 ** 27),
    }
    key = bytes(range(7, 39))
    for mark in MARKS[:2] + MARKS[3:4]:
        for name, draw in shapes.items():
            rows, flat, statistic, seen = [], [], mpf(0), set()
            for r in range(6):
                window = [rng.randrange(50000), rng.randrange(50000)]
                tokens = sorted(rng.sample(range(50000), 8))
                weights = [draw(8 * r + i) or 1 for i in range(8)]
                rows.append({'window': window, 'tokens': tokens, 'weights': weights})
                flat += weights
                seed = mark_oracle.seed_of(key, SCHEMES[mark['scheme']], window)
                for token, weight in zip(tokens, weights):
                    score = mark_oracle.token_score(seed, token, SCHEMES[mark['scheme']], mark.get('green', 64), mark.get('layers', 30))
                    real = mpf(score) / mpf(2) ** 40 if mark['scheme'] == 'gumbel' else mpf(score)
                    statistic += mpf(weight) * UNIT * (real - mean_score(mark))
            sd = mp.sqrt(sum((mpf(x) * UNIT) ** 2 for x in flat))
            judged = []
            for z in [-1, 0.5, 2, 6, 20]:
                # A statistic that the library can be given: an integer in its unit.
                unit = UNIT * {'gumbel': mpf(2) ** -40, 'tournament': mpf(1) / 2, 'partition': mpf(1) / 256}[mark['scheme']]
                integer = int(mp.nint(z * sd / unit))
                s = integer * unit
                entry = {'sum': str(integer), 'least': float(least(mark, flat, s))}
                if name != 'summed':
                    entry['mixture'] = float(mixture(mark, flat, s))
                judged.append(entry)
            out['tables'].append({**mark, 'shape': name, 'rows': rows, 'statistic': float(statistic), 'judged': judged})
    out['key'] = key.hex()
    json.dump(out, sys.stdout, separators=(',', ':'))
    print()


if __name__ == '__main__':
    main()
