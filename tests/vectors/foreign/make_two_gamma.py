"""Makes two-gamma.json: log10 P(a·X + b·Y >= w), X and Y Gamma(n, 1), by mpmath from the partial fractions of the sum's transform.

    pip install mpmath
    python make_two_gamma.py

With rates r = 1/a and t = 1/b, r^n t^n / ((r + s)^n (t + s)^n) is a sum over k of A_k (r/(r + s))^k + B_k (t/(t + s))^k, so that the tail is the sum of
A_k Q(k, r w) + B_k Q(k, t w). The terms alternate; 500 digits outlast their cancelling.
"""
import json
import os

import mpmath

mpmath.mp.dps = 500


def log10_tail(n, a, b, w):
    r, t, w = 1 / mpmath.mpf(a), 1 / mpmath.mpf(b), mpmath.mpf(w)

    def half(r, t):
        total, q, term = mpmath.mpf(0), mpmath.mpf(0), mpmath.exp(-r * w)
        for k in range(1, n + 1):
            q += term  # Q(k, r w)
            term *= r * w / k
            total += (-1) ** (n - k) * mpmath.binomial(2 * n - k - 1, n - k) * r ** (n - k) * t**n / (t - r) ** (2 * n - k) * q
        return total

    return mpmath.log10(half(r, t) + half(t, r))


values = []
for n in (1, 2, 10, 100, 400):
    for b in (0.1, 0.25, 0.8):
        for ratio in (0.5, 0.9, 1.0, 1.3, 2.0, 4.0, 10.0):
            a, w = 1 - b, n * ratio
            values.append([n, a, b, w, mpmath.nstr(log10_tail(n, a, b, w), 20)])
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "two-gamma.json")
with open(path, "w") as f:
    f.write('{"about": "mpmath %s; made by make_two_gamma.py",\n "values": [\n' % mpmath.__version__ + ",\n".join(json.dumps(v) for v in values) + "]}\n")
