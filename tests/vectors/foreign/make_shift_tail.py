"""Makes shift-tail.json: how often SynthID's counts come over all shifts of a table, and their tails, in whole numbers.

    pip install mpmath
    python make_shift_tail.py

The table is that of the test, bit 13 of i²·2654435761 + i·40503; the places are words of a linear congruence, those that show ones at four shifts, or a run. The counts
over all shifts are a polynomial's coefficients; its power, by one power of a large integer that holds it, is the distribution of the sum over the layers; the tail is a sum of integers over
size^layers, and over the chance that the shifts are distinct.
"""
import json
import os

import mpmath

mpmath.mp.dps = 60


def table_of(size):
    return [((i * i * 2654435761 + i * 40503) >> 13) & 1 for i in range(size)]


def places_of(kind, size, count):
    table = table_of(size)
    if kind == "words":
        out, x = [], 12345
        while len(out) < count:
            x = (x * 1103515245 + 12345) % 2**31
            if (place := (x >> 8) % size) not in out:
                out.append(place)
        return out
    if kind == "chosen":
        return [x for x in range(size) if sum(table[(x + k) % size] for k in (3, 500, 7001, 40000)) >= 4][:count]
    return list(range(count))


def counts(table, places):
    size = len(table)
    ones = [i for i, bit in enumerate(table) if bit]
    out = [0] * size
    for x in places:
        for i in ones:
            out[(i - x) % size] += 1
    histogram = [0] * (len(places) + 1)
    for c in out:
        histogram[c] += 1
    return histogram


values = []
for size, kind, count, layers in ((65536, "words", 200, 30), (65536, "words", 1, 30), (65536, "words", 700, 5), (65536, "chosen", 300, 30), (65536, "run", 400, 12),
                                  (1024, "words", 100, 30), (1024, "words", 900, 4), (64, "words", 20, 3), (65536, "words", 40, 100)):
    histogram = counts(table_of(size), places_of(kind, size, count))
    width = 16 * layers + 8
    power = sum(n << (width * c) for c, n in enumerate(histogram)) ** layers
    mask, sums = (1 << width) - 1, []
    for c in range(count * layers + 1):
        sums.append((power >> (width * c)) & mask) if c < 4000 else None
    if count * layers >= 4000:
        raw = power.to_bytes((width * (count * layers + 1) + 7) // 8, "little")
        assert width % 8 == 0
        sums = [int.from_bytes(raw[i * width // 8:(i + 1) * width // 8], "little") for i in range(count * layers + 1)]
    assert sum(sums) == size**layers
    distinct = mpmath.mpf(1)
    for l in range(layers):
        distinct *= mpmath.mpf(size - l) / size
    below, tails = 0, []
    wanted = [mpmath.mpf(10) ** -e for e in (0.1, 1, 2, 4, 8, 20, 60)]
    for s in range(count * layers + 1):
        p = mpmath.mpf(size**layers - below) / mpmath.mpf(size) ** layers / distinct
        below += sums[s]
        if wanted and p <= wanted[0] and p > 0:
            tails.append([s, mpmath.nstr(mpmath.log10(p), 15)])
            while wanted and p <= wanted[0]:
                wanted.pop(0)
    last = max(s for s, n in enumerate(sums) if n)
    tails.append([last, mpmath.nstr(mpmath.log10(mpmath.mpf(sums[last]) / mpmath.mpf(size) ** layers / distinct), 15)])
    values.append({"size": size, "places": places_of(kind, size, count), "layers": layers, "least": next(c for c, n in enumerate(histogram) if n),
                   "counts": [n for n in histogram[next(c for c, n in enumerate(histogram) if n):]], "tails": tails})
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shift-tail.json")
with open(path, "w") as f:
    f.write('{"about": "Python integers, mpmath %s; made by make_shift_tail.py",\n "values": [\n' % mpmath.__version__ + ",\n".join(json.dumps(v, separators=(",", ":")) for v in values) + "]}\n")
print(os.path.getsize(path), [v["tails"] for v in values])
