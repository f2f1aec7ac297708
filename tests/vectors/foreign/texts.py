"""The token ids that every format's vectors are made on, and how they are written.

texts() gives 240 texts for a vocabulary, the same in every run: words by a Zipf-like law, phrases repeated, a handful of ids (0 among them), one or two ids
over and over, very short ones, and ids at the vocabulary's end. None of them is marked.
"""
import json
import os
import random

FOLDER = os.path.dirname(os.path.abspath(__file__))
VOCABULARY = 50257


def texts(vocabulary=VOCABULARY):
    source = random.Random(20261124)
    word = lambda: int(vocabulary ** source.random())
    out = [[word() for _ in range(source.randint(20, 110))] for _ in range(100)]
    for _ in range(40):
        phrase = [word() for _ in range(source.randint(3, 12))]
        out.append((phrase * 40)[: source.randint(40, 110)])
    out += [[source.randrange(40) for _ in range(source.randint(20, 110))] for _ in range(30)]
    for i in range(20):
        a, b = word(), word()
        out.append([a if i % 2 else (a, b)[j % 2] for j in range(source.randint(20, 60))])
    out += [[word() for _ in range(source.randint(1, 12))] for _ in range(30)]
    out += [[vocabulary - 1 - int(source.expovariate(0.05)) % 500 for _ in range(60)] for _ in range(20)]
    return out


def write(name, about, cases):
    """cases: a list of {"config", "vocab_size", "texts" (null: those of texts.json), "results"}; one text's result a line."""
    path = os.path.join(FOLDER, name + ".json")
    with open(path, "w") as f:
        f.write('{"about": ' + json.dumps(about) + ',\n "cases": [')
        for i, case in enumerate(cases):
            head = {k: v for k, v in case.items() if k not in ("results", "texts")}
            f.write(("," if i else "") + "\n  {" + json.dumps(head)[1:-1] + ',\n   "texts": ')
            f.write("null" if case["texts"] is None else "[\n" + ",\n".join(json.dumps(t, separators=(",", ":")) for t in case["texts"]) + "]")
            f.write(',\n   "results": [\n' + ",\n".join(json.dumps(r, separators=(",", ":")) for r in case["results"]) + "]}")
        f.write("\n]}\n")
    print(f"{path}: {os.path.getsize(path):,} bytes, {sum(len(c['results']) for c in cases)} results")


if __name__ == "__main__":
    with open(os.path.join(FOLDER, "texts.json"), "w") as f:
        f.write('{"vocab_size": %d, "texts": [\n' % VOCABULARY + ",\n".join(json.dumps(t, separators=(",", ":")) for t in texts()) + "]}\n")
