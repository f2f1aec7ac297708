"""The audit of a data set: beside tokenising the same file with the same tokenizer on as many threads, its memory, and how its time grows with accounts and tokens."""
import json
import os
import random
import secrets
import shutil
import statistics
import struct
import subprocess
import sys
import time

import corpus
from results import machine

SMALL_MB, LARGE_MB = 100, 1000
ACCOUNTS = (62500, 125000, 250000, 500000, 1000000)
TOKENS = (100, 200, 400, 800, 1600)


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Audit:
    """Runs of watermark-audit under a bare key of the bench's own."""

    def __init__(self, p):
        self.p, self.key = p, p.path("audit.key")
        with open(os.open(self.key, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as f:
            f.write(secrets.token_hex(32) + "\n")
        self.cores = len(os.sched_getaffinity(0))

    def run(self, file, *options, threads=0, isa=None):
        """(wall, processors' seconds, peak memory in MiB, result.json)."""
        folder = self.p.path("run")
        shutil.rmtree(folder, ignore_errors=True)
        environment = dict(os.environ)
        environment.pop("COUNTERMARK_ISA", None)
        if isa:
            environment["COUNTERMARK_ISA"] = isa
        command = [self.p.binary("watermark-audit"), "dataset", file, "--run", folder, "--epoch-key", self.key, "--scheme", "gumbel", "--no-progress", "--threads", threads or self.cores, *options]
        with open(self.p.path("audit.err"), "w+") as err:
            start = time.monotonic()
            process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=err, env=environment)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode not in (0, 1):
                err.seek(0)
                raise SystemExit(f"{err.read()[-2000:]}\nbench: error: watermark-audit ended with {process.returncode}")
        with open(os.path.join(folder, "result.json")) as f:
            result = json.load(f)
        shutil.rmtree(folder)
        return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, result

    def tokenise(self, file, tokenizer):
        return json.loads(self.p.run(self.p.binary("tokenize_bench"), tokenizer, file, "--threads", self.cores).stdout)

    def ids_file(self, tokens):
        """One record of ids with so many pairs, by a Zipf-like law."""
        path, source = self.p.path(f"ids-{tokens}.jsonl"), random.Random(3)
        with open(path, "w") as f:
            f.write(json.dumps({"token_ids": [int(128256 ** source.random()) for _ in range(tokens + 2)]}) + "\n")
        return path

    def accounts_file(self, count):
        path = self.p.path(f"accounts-{count}.txt")
        if not os.path.exists(path):
            with open(path, "w") as f:
                f.writelines(f"org-{i}\n" for i in range(count))
        return path


def beside_tokenising(a, p, megabytes, tokenizer, what, rounds):
    path = os.path.join(p.cache, "bench", f"audit-{megabytes}.jsonl")
    corpus.make(path, megabytes, p.root, p.cache)
    alone, runs = [], []
    for r in range(rounds):
        say(f"{megabytes} MB, {what}, round {r + 1}")
        alone.append(a.tokenise(path, tokenizer))
        runs.append(a.run(path, "--tokenizer", tokenizer))
    of = f", {megabytes} MB, {what}"
    middle = statistics.median
    return [
        {"name": "reading and tokenising alone" + of, "value": middle(t["cpu"] for t in alone), "unit": "s", "against": f"of processors; {alone[0]['tokens']:,} tokens, {a.cores} threads"},
        {"name": "audit, pooled and sparse" + of, "value": middle(r[1] for r in runs), "unit": "s", "against": f"of processors; {runs[0][3]['pooled']['pairs']:,} distinct pairs"},
        {"name": "audit / tokenising alone, processors' time" + of, "value": middle(r[1] / t["cpu"] for r, t in zip(runs, alone)), "unit": "x", "against": "the run beside it; target <= 1.3"},
        {"name": "audit / tokenising alone, wall time" + of, "value": middle(r[0] / t["wall"] for r, t in zip(runs, alone)), "unit": "x", "against": "the run beside it"},
        {"name": "audit, peak memory" + of, "value": max(r[2] for r in runs), "unit": "MiB", "against": "target <= 1024"},
    ]


def with_accounts(a, p, ids, count, megabytes, tokenizer, what):
    """Against what the parts take: tokenising, and every candidate's score of every pair at the rate measured here."""
    path = os.path.join(p.cache, "bench", f"audit-{megabytes}.jsonl")
    corpus.make(path, megabytes, p.root, p.cache)
    figures = []
    for isa in machine()["isa"]:
        say(f"{count} accounts, {megabytes} MB, {isa}")
        rates = {f["name"]: f["value"] for f in p.figures("pairs_bench", ids, 200, isa=isa)}
        each = next(v for n, v in rates.items() if n.startswith("candidate accounts, 4096 keys"))
        alone = a.tokenise(path, tokenizer)["cpu"]
        _, seconds, _, result = a.run(path, "--tokenizer", tokenizer, "--accounts", a.accounts_file(count), isa=isa)
        pairs = result["candidates"][0]["scored"]
        parts = alone + 1e-9 * each * count * pairs
        figures.append({"name": f"audit with {count:,} accounts / (tokenising + accounts x pairs at the measured rate), {megabytes} MB, {what}, {isa}", "value": seconds / parts, "unit": "x",
                        "against": f"{alone:.1f} s and {pairs:,} pairs of the accounts' channel at {each:.3g} ns; target <= 1.2"})
    return figures


def growth(a, quick):
    """Processors' seconds of whole runs on one thread: over accounts at 400 tokens, over tokens at a quarter of a million accounts."""
    figures = []
    accounts, tokens = (ACCOUNTS[:2], TOKENS[:2]) if quick else (ACCOUNTS, TOKENS)
    for isa in machine()["isa"]:
        def run(count, length, against=""):
            say(f"{count} accounts x {length} tokens, {isa}")
            seconds = statistics.median(a.run(a.ids_file(length), "--vocabulary", 128256, "--token-ids-field", "token_ids", "--accounts", a.accounts_file(count), threads=1, isa=isa)[1]
                                        for _ in range(1 if quick else 3))
            figures.append({"name": f"{count:,} accounts x {length} tokens, whole run, one thread, {isa}", "value": seconds, "unit": "s", "against": against})
        for count in accounts:
            run(count, 400, f"processors' time, keys derived and ranked; target <= {6 if isa == 'avx512' else 12}" if count == 10 ** 6 else "")
        for length in tokens:
            run(250000, length) if length != 400 else None
    return figures


def audit(p, quick):
    a = Audit(p)
    models = os.path.join(p.cache, "models")
    fast = os.path.join(models, "SmolLM2-135M-Instruct.transformers", "tokenizer.json")
    tokenizers = [(p.model, "GGUF by libllama"), (p.sentencepiece, "SentencePiece")]
    if os.path.exists(fast):
        tokenizers.insert(0, (fast, "tokenizer.json"))
    figures = []
    for tokenizer, what in tokenizers:
        figures += beside_tokenising(a, p, 10 if quick else SMALL_MB, tokenizer, what, 1 if quick else 3)
    if not quick:
        figures += beside_tokenising(a, p, LARGE_MB, *tokenizers[0], 1)
    ids, source = p.path("audit-ids.bin"), random.Random(1)
    with open(ids, "wb") as f:
        f.write(struct.pack("<2000I", *(int(128256 ** source.random()) for _ in range(2000))))
    figures += with_accounts(a, p, ids, 100 if quick else 2000, 10, *tokenizers[0])
    for isa in machine()["isa"]:
        figures += json.loads(p.run(p.binary("pairs_bench"), ids, "--cores", a.cores, isa=isa).stdout)["figures"]
    return figures + growth(a, quick)
