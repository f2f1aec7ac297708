"""A data set for the audit's measurements: JSON lines of so many megabytes, made from texts that the machine has, the same at every call; kept in the cache.

    corpus.py FILE MEGABYTES

A document is 0.5 to 6 kB, of one of three kinds in turn: a stretch of a text (English prose, program text, one of many languages), the same with another text's stretch behind it, and fragments of
3 to 12 words from all over one text, so that new windows do not run out where the texts repeat.
"""
import glob
import json
import os
import random
import sys


def sources(root, cache):
    paths = sorted(glob.glob(os.path.join(cache, "tokenizer-corpus", "*.txt"))) + sorted(glob.glob(os.path.join(root, "tests", "calibration", "corpus", "*.txt")))
    paths += sorted(glob.glob(os.path.join(root, "docs", "*.md"))) + sorted(glob.glob("/usr/share/common-licenses/*"))
    texts = []
    for path in paths:
        with open(path, encoding="utf-8", errors="ignore") as f:
            text = f.read()
        if len(text) > 20000:
            texts.append((text, text.split(" ")))
    return texts


def documents(texts, source):
    """Without end; a text is drawn by its size."""
    weights = [len(text) for text, _ in texts]
    while True:
        (text, words), (other, _) = source.choices(texts, weights, k=2)
        size, kind = source.randrange(500, 6000), source.randrange(3)
        if kind == 2:
            pieces, length = [], 0
            while length < size:
                n = source.randrange(3, 13)
                start = source.randrange(max(1, len(words) - n))
                piece = " ".join(words[start:start + n])
                pieces.append(piece)
                length += len(piece)
            yield " ".join(pieces)[:2 * size]
            continue
        start = source.randrange(max(1, len(text) - size))
        stretch = text[start:start + size]
        if kind == 1:
            half = source.randrange(max(1, len(other) - size))
            stretch = stretch[:size // 2] + "\n\n" + other[half:half + size // 2]
        yield stretch


def make(path, megabytes, root, cache):
    """The file, made if it is not there; its size in bytes."""
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        source = random.Random(17)
        written = 0
        with open(path + ".part", "w", encoding="utf-8") as f:
            for i, text in enumerate(documents(sources(root, cache), source)):
                line = json.dumps({"id": f"d{i}", "text": text}, ensure_ascii=False) + "\n"
                f.write(line)
                written += len(line.encode())
                if written >= megabytes * 1_000_000:
                    break
        os.replace(path + ".part", path)
    return os.path.getsize(path)


if __name__ == "__main__":
    make(sys.argv[1], int(sys.argv[2]), os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
         os.environ.get("COUNTERMARK_CACHE") or os.path.expanduser("~/.cache/countermark"))
