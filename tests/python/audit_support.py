"""What the tests of audits in Python share: a corpus of marked and other documents with copies, its files, and what of a result is compared."""
import json
import os
import random
import subprocess

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import countermark
from fixture import ACCOUNTS, BIN, marked_ids


def corpus(epoch, n, seed=3, short=90, served=6):
    """n documents: (id, token ids, prompt ids or None). One in 40 is marked; copies, near copies, patchworks and empty ones among them."""
    rng = random.Random(seed)
    with epoch.hook() as hook:
        marked = [marked_ids(hook, ACCOUNTS[i % 2], 150, seed=i) for i in range(served)]
    out = []
    for i in range(n):
        kind = rng.randrange(40)
        if kind == 0:
            ids = rng.choice(marked)
        elif kind == 1 and out:
            ids = list(rng.choice(out)[1])
        elif kind == 2 and len(out) > 1:
            a, b = rng.choice(out)[1], rng.choice(out)[1]
            ids = a[: len(a) // 2] + b[len(b) // 2 :]
        elif kind == 3:
            ids = []
        elif kind == 4:
            ids = [5, 6, 7] * rng.randrange(30)
        else:
            ids = [rng.randrange(500) for _ in range(rng.randrange(short))]
        prompt = ids[:20] if kind == 5 else None
        out.append((f"doc {i}", ids, prompt))
    return out


def write_jsonl(path, documents):
    with open(path, "w", encoding="utf-8") as file:
        for name, ids, prompt in documents:
            file.write(json.dumps({"id": name, "token_ids": ids, "prompt": prompt}) + "\n")
    return path


def table(documents, kind=None):
    return pa.table({
        "id": [d[0] for d in documents],
        "token_ids": pa.array([d[1] for d in documents], kind or pa.list_(pa.int32())),
        "prompt": pa.array([d[2] for d in documents], pa.list_(pa.int32())),
    })


def write_parquet(path, documents, row_group_size=300, **options):
    pq.write_table(table(documents), path, row_group_size=row_group_size, **options)
    return path


def program(*arguments):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COUNTERMARK_")}
    return subprocess.run([os.path.join(BIN, "watermark-audit"), "dataset", *map(str, arguments), "--no-progress"], capture_output=True, text=True, env=clean, check=False)


def comparable(directory, lines_too=True):
    """What must be equal of two runs over the same records: result.json but for `run` (options, kind) and the errors' places, byte for byte; and documents.jsonl but for the
    names of files, and where the records stand in other files, their lines."""
    result = json.loads((directory / "result.json").read_text())
    del result["run"]
    result["errors"] = [error["line"] for error in result["errors"]]
    lines = []
    for line in (directory / "documents.jsonl").read_text().splitlines():
        document = json.loads(line)
        del document["file"]
        document.pop("byte", None)
        if not lines_too:
            del document["line"]
        if "error" in document:
            document["error"] = document["id"] = ""
        lines.append(document)
    return json.dumps(result, sort_keys=True), lines


def texts(n, seed=9):
    words = "the of and to in is was for on that with as by at from it an be this which or are not have had but one their can all".split()
    rng = random.Random(seed)
    return [" ".join(rng.choice(words) for _ in range(rng.randrange(1, 60))) + rng.choice([".", " — grün, 日本語", " 🙂", ""]) for _ in range(n)]


def sentencepiece_epoch(folder):
    from fixture import CACHE, FixedEpoch

    path = os.path.join(CACHE, "models", "mistral-v1.model")
    tokenizer = countermark.Tokenizer.open(path)
    return FixedEpoch(folder, vocabulary=tokenizer.vocabulary, tokenizer=path), tokenizer, path


def numpy_rng(seed):
    return np.random.default_rng(seed)
