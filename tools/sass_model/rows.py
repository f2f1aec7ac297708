"""How often the branches of the hot loops are taken, simulated on rows of logits: normal ones, and a model's if there are any."""
import struct

import numpy as np

LOG2_E = 1.4426950408889634
THREADS, LANES = 256, 32
UNREACHED = -40.5     # log2 of a weight that rounds to 0 (kernels/row.cuh, Weigher::reach)


def read_logits(path):
    with open(path, "rb") as f:
        magic, vocabulary, count = struct.unpack("<4sII", f.read(12))
        if magic != b"CMLG":
            raise SystemExit(f"model: error: {path} is not a file of logits\nmodel: hint: build/bin/logits_dump makes one")
        return np.frombuffer(f.read(), dtype="<f4").reshape(count, vocabulary).astype(np.float64)


def slices_of(vocabulary):
    """kernels/step.cuh, SliceRow: (number, tokens of each)."""
    n = min((vocabulary + 2047) // 2048, 16)
    length = ((vocabulary + n - 1) // n + 63) // 64 * 64
    return (vocabulary + length - 1) // length, length


def skipped(z, temperature):
    """Shares of tokens, octets, groups of 16 and units of 64 whose weight is 0; of groups of 16 that no word could make win."""
    d = (z - z.max(axis=1, keepdims=True)) * (LOG2_E / temperature)
    out = d < UNREACHED
    shares = {"tokens": out.mean()}
    for name, size in (("octets", 8), ("groups of 16", 16), ("units of 64", 64)):
        n = z.shape[1] // size * size
        shares[name] = out[:, :n].reshape(len(z), -1, size).all(axis=2).mean()
    w = np.where(out, 0.0, np.exp2(d))
    n = z.shape[1] // 16 * 16
    heaviest = w[:, :n].reshape(len(z), -1, 16).max(axis=2)
    shares["groups of 16 too light to win"] = (heaviest * (1 / w.sum(axis=1, keepdims=True)) < 2.0 ** -33).mean()
    return shares


def race_exact(z, random):
    """Of the steps of a warp over 16 tokens a lane, in how many some lane works out an exact arrival, and in how many nobody has arrived yet: then each lane
    first times the likeliest of its tokens. Four tickets a row run side by side, each of four slices one after another, and know only what slices before
    them in their ticket have found."""
    count, length = slices_of(len(z))
    arrival = -np.log(random.random(len(z))) / np.exp2((z - z.max()) * LOG2_E)
    weight = np.exp2((z - z.max()) * LOG2_E)
    bound = arrival * 0 + (1 - np.exp(-arrival * weight)) / weight    # what the word alone says of the arrival
    worked = steps = firsts = 0
    for ticket in range(0, count, 4):
        known = np.inf
        for s in range(ticket, min(ticket + 4, count)):
            begin, end = s * length, min((s + 1) * length, len(z))
            limit = np.full(THREADS // LANES, known)                  # a warp's
            for base in range(begin, end, 16 * THREADS):
                for warp in range(THREADS // LANES):
                    first = base + 16 * LANES * warp
                    block = slice(first, min(first + 16 * LANES, end))
                    if first >= end:
                        continue
                    pad = 16 * LANES - (block.stop - block.start)
                    b = np.pad(bound[block], (0, pad), constant_values=np.inf).reshape(LANES, 16)
                    a = np.pad(arrival[block], (0, pad), constant_values=np.inf).reshape(LANES, 16)
                    lanes = np.full(LANES, limit[warp])
                    if limit[warp] == np.inf:
                        likely = b.argmin(axis=1)
                        lanes = a[np.arange(LANES), likely]
                        firsts += 16
                    for i in range(16):
                        some = b[:, i] <= lanes
                        worked += bool(some.any())
                        steps += 1
                        lanes = np.where(some, np.minimum(lanes, a[:, i]), lanes)
                    limit[warp] = lanes.min()
            known = min(known, limit.min())
    return worked / steps, firsts / steps


def new_largest(z):
    """Of a warp's octets in the first look, in how many some lane finds a larger logit than it knew."""
    count, length = slices_of(len(z))
    taken = seen = 0
    for s in range(count):
        row = z[s * length:(s + 1) * length]
        per = 8 * THREADS
        n = len(row) // per
        octets = row[:n * per].reshape(n, THREADS // LANES, LANES, 8).max(axis=3)
        before = np.maximum.accumulate(np.concatenate([np.full((1,) + octets.shape[1:], -np.inf), octets])[:-1], axis=0)
        some = (octets > before).any(axis=2)
        taken, seen = taken + some.sum(), seen + some.size
    return taken / seen


def warps_with(z, count):
    """Of warps' octets, in how many is one of the `count` likeliest; and of the steps through those octets, token by token of all lanes, in how many."""
    n = len(z) // (8 * LANES) * (8 * LANES)
    cut = np.partition(z, -count)[-count]
    likely = (z[:n] >= cut).reshape(-1, LANES, 8)
    return likely.any(axis=(1, 2)).mean(), likely.any(axis=1).mean()


def simulate(logits):
    """(how often, for loops.py; figures (name, value, unit) for the table). The costs are those of normal rows, the harder ones."""
    random = np.random.default_rng(20261124)
    normal = random.normal(0, 2.5, (8, 128256))
    mean = lambda shares: [float(x) for x in np.mean(shares, axis=0)]
    often = {"scan new largest": float(np.mean([new_largest(z) for z in normal]))}
    often["race exact"], often["race first"] = mean([race_exact(z, random) for z in normal[:4]])
    often["list octets"], often["list tokens"] = mean([warps_with(z, 2048) for z in normal])   # a guess of the cut writes down about twice what is needed
    often["top-k warps"], often["top-k tokens"] = mean([warps_with(z, 100) for z in normal])
    figures = [(f"branches, normal rows: {name}", value, "of a warp's") for name, value in often.items()]
    kinds = [("normal rows, sd 2.5, V=128256", normal)]
    if logits:
        rows = read_logits(logits)
        kinds.append((f"a model's rows, V={rows.shape[1]}", rows))
        figures.append((f"branches, a model's rows: race exact", float(np.mean([race_exact(z, random)[0] for z in rows[:8]])), "of a warp's"))
    for name, z in kinds:
        for temperature in (0.7, 1.0):
            for what, share in skipped(z, temperature).items():
                prefix = "" if "too light" in what else "out of reach: "
                figures.append((f"{prefix}{what}, T={temperature}, {name}", 100 * float(share), "%"))
    return often, figures
