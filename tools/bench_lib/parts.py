"""What each part of the bench measures. A part takes the programs and whether to be quick, and gives its figures."""
import json
import os
import random
import re
import secrets
import struct
import sys

from results import machine, medians

CORPUS = ("prose", "manual", "code", "cjk")


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def value(figures, start, isa, *within):
    """The value of the one figure whose name starts and ends so and holds `within`."""
    found = [f["value"] for f in figures if f["name"].startswith(start) and f["name"].endswith(isa) and all(w in f["name"] for w in within)]
    assert len(found) == 1, (start, isa, within, len(found))
    return found[0]


def rounds_of(p, quick, measure, peers):
    """Ours under each instruction set and the peers', in turn, so many times over: (medians of ours, medians of theirs)."""
    ours, theirs = [], []
    for r in range(1 if quick else 3):
        run = []
        for isa in machine()["isa"]:
            say(f"round {r + 1}, {isa}")
            run += measure(isa)
        ours.append(run)
        say(f"round {r + 1}, peers")
        theirs.append(p.peers(*peers))
    return medians(ours), medians(theirs)


def rows(p, quick):
    logits = p.logits(64)
    calls = 40 if quick else 300
    ours, theirs = rounds_of(p, quick, lambda isa: p.figures("hook_bench", logits, calls, isa=isa), ("rows",))
    by_name = {f["name"]: f for f in theirs}
    ratios = []
    for isa in machine()["isa"]:
        for what, mine, peer, target in (
                ("partition, logits changed in place: times faster than a KGW lefthash processor", "partition, logits changed", "lefthash", 20),
                ("partition, logits changed in place: times faster than a KGW selfhash processor", "partition, logits changed", "selfhash", 20),
                ("partition, temperature to token: times faster than a KGW lefthash processor alone", "partition choice, top-p 0.95", "lefthash", None),
                ("partition, temperature to token: times faster than a KGW selfhash processor alone", "partition choice, top-p 0.95", "selfhash", 20),
                ("tournament, temperature to token: times faster than a SynthID processor alone", "tournament choice, top-p 0.95", "SynthID", 300),
                ("gumbel, temperature to token: times faster than an unmarked softmax and multinomial", "gumbel choice, top-p 0.95", "multinomial", None)):
            other = next(f for n, f in by_name.items() if peer in n)
            for kind in ("random rows", "tail repeated"):
                against = f"{other['name']}: {other['value']:,.0f} us, on random rows" + (f"; target >= {target}" if target else "")
                ratios.append({"name": f"{what}, {kind}, V=128256, {isa}", "unit": "x", "against": against,
                               "value": other["value"] / value([f for f in ours if f["unit"] == "us"], mine, isa, kind)})
    words = p.figures("rows_bench", isa=None)
    return ours + theirs + ratios + words


def capi(p, quick):
    logits = p.logits(64)
    runs = []
    for r in range(1 if quick else 3):
        run = []
        for isa in machine()["isa"]:
            say(f"C interface, round {r + 1}, {isa}")
            run += p.figures("capi_bench", logits, 40 if quick else 300, isa=isa)
        runs.append(run)
    return medians(runs)


def llama(p, quick):
    logits = p.logits(64)
    calls = 64 if quick else 960
    runs = []
    for r in range(1 if quick else 3):
        run = []
        for isa in machine()["isa"]:
            say(f"sampler chains, round {r + 1}, {isa}")
            run += p.figures("chain_bench", logits, calls, isa=isa)
        runs.append(run)
    return medians(runs) + generation(p, quick)


def generation(p, quick):
    """Whole generation, the two in turn: tokens a second as watermark-generate says them."""
    keys = Keys(p)
    prompts = p.path("speed.jsonl")
    write_prompts(prompts, [(f"q{i}", text) for i, text in enumerate(PROMPTS[:12])])
    speed = {"marked": [], "unmarked": []}
    for r in range(1 if quick else 5):
        for name in ("unmarked", "marked") if r % 2 == 0 else ("marked", "unmarked"):
            say(f"generation, pair {r + 1}, {name}")
            done = generate(p, prompts, p.path(f"speed-{name}-{r}.jsonl"), keys.marked("gumbel") if name == "marked" else ["--no-mark"], seed=100 * r, parallel=12,
                            tokens=100)
            speed[name].append(float(re.search(r"([0-9.]+) tokens/s", done.stderr).group(1)))
    ratios = sorted(u / m for u, m in zip(speed["unmarked"], speed["marked"]))
    middle = lambda values: sorted(values)[len(values) // 2]
    cores = f"SmolLM2-135M-Instruct, 12 answers at once, all cores, {len(ratios)} pairs of runs"
    return [{"name": "whole generation, unmarked (llama.cpp's temp, top-p, dist)", "value": middle(speed["unmarked"]), "unit": "tokens/s", "against": cores},
            {"name": "whole generation, marked, gumbel", "value": middle(speed["marked"]), "unit": "tokens/s", "against": cores},
            {"name": "whole generation, time a token, marked / unmarked", "value": middle(ratios), "unit": "x",
             "against": f"the unmarked run beside it, {ratios[0]:.3f} to {ratios[-1]:.3f}; target <= 1.05"}]


def detect(p, quick):
    ids = p.path("ids.bin")
    source = random.Random(1)
    with open(ids, "wb") as f:
        f.write(struct.pack("<2000I", *(int(128256 ** source.random()) for _ in range(2000))))
    texts = [f"{p.root}/tests/calibration/corpus/{name}.txt" for name in CORPUS]

    def measure(isa):
        figures = p.figures("pairs_bench", ids, 100000 if quick else 10000000, isa=isa)
        for tokenizer in (p.model, p.sentencepiece):  # a tokenizer.json is measured by tools/compare-tokenizers and in `audit`
            figures += p.figures("text_bench", tokenizer, *texts, "--rounds", 1 if quick else 5, isa=isa)
        return figures

    ours, theirs = rounds_of(p, quick, measure, ("detect", ids))
    ratios = []
    for isa in machine()["isa"]:
        for scheme, peer in (("partition", "lefthash"), ("partition", "selfhash"), ("tournament", "SynthID")):
            other = next(f for f in theirs if peer in f["name"])
            mine = 1e6 * value(ours, f"detection from ids, {scheme}, the peers'", isa)
            ratios.append({"name": f"{scheme} from ids: times faster than {peer}, {isa}", "value": mine / other["value"], "unit": "x",
                           "against": f"{other['name']}: {other['value']:,.0f} tokens/s"})
    return ours + theirs + ratios


def foreign(p, quick):
    """Marks of transformers, detected by us and by it, on the same ids and under the same settings."""
    ids, source = p.path("foreign-ids.bin"), random.Random(1)
    with open(ids, "wb") as f:
        f.write(struct.pack("<2000I", *(int(128256 ** source.random()) for _ in range(2000))))
    kgw = {"greenlist_ratio": 0.25, "bias": 2.0, "hashing_key": 15485863, "vocab_size": 128256}
    for name, config in (("hf-kgw", kgw | {"seeding_scheme": "lefthash", "context_width": 1}), ("hf-kgw-selfhash", kgw | {"seeding_scheme": "selfhash", "context_width": 4}),
                         ("hf-synthid", {"ngram_len": 5, "keys": [source.getrandbits(31) for _ in range(30)]})):
        with open(p.path(name + ".json"), "w") as f:
            json.dump(config, f)
    ours, theirs = rounds_of(p, quick, lambda isa: p.figures("foreign_bench", ids, p.folder, isa=isa), ("foreign", ids))
    ratios = []
    for isa in machine()["isa"]:
        for mine, peer, target in (("hf-kgw, the same", "lefthash", 2000), ("hf-kgw, text after text", "lefthash", None), ("hf-kgw, a first text", "lefthash", None),
                                   ("hf-kgw-selfhash, the same", "selfhash", 2000), ("hf-kgw-selfhash, text after text", "selfhash", None), ("hf-kgw-selfhash, a first text", "selfhash", None),
                                   ("hf-synthid", "g-values and mask", 100), ("hf-synthid", "g-values of", None)):
            figure = next(f for f in ours if f["name"].startswith(mine) and f["name"].endswith(isa))
            other = next(f for f in theirs if peer in f["name"])
            ratios.append({"name": f"{figure['name']}: times faster than {other['name']}", "value": figure["value"] / other["value"], "unit": "x",
                           "against": f"{other['value']:,.0f} tokens/s" + (f"; target >= {target}" if target else "")})
    return ours + theirs + ratios


SCHEMES = ("gumbel", "partition", "tournament")
REGENERATIONS = 8


def diversity(p, quick):
    keys = Keys(p)
    prompts = p.path("diversity.jsonl")
    asked = PROMPTS[:2] if quick else PROMPTS
    write_prompts(prompts, [(f"p{i}/{r}", text) for i, text in enumerate(asked) for r in range(REGENERATIONS)])
    figures = []
    for scheme in ("unmarked",) + SCHEMES:
        say(f"{len(asked)} prompts x {REGENERATIONS} regenerations, {scheme}")
        out = p.path(f"diversity-{scheme}.jsonl")
        generate(p, prompts, out, ["--no-mark"] if scheme == "unmarked" else keys.marked(scheme), seed=1, parallel=16, tokens=30 if quick else 100)
        answers = read_answers(out)
        distinct, shares = [], []
        for i in range(len(asked)):
            group = [answers[f"p{i}/{r}"] for r in range(REGENERATIONS)]
            distinct.append(len({tuple(a) for a in group}))
            grams = [tuple(a[j:j + 4]) for a in group for j in range(len(a) - 3)]
            shares.append(len(set(grams)) / len(grams) if grams else 1.0)
        against = "" if scheme == "unmarked" else "unmarked, the row of it"
        figures.append({"name": f"distinct answers of {REGENERATIONS}, mean of {len(asked)} prompts, {scheme}", "value": sum(distinct) / len(distinct),
                        "unit": "answers", "against": against})
        figures.append({"name": f"distinct 4-grams among all of a prompt's {REGENERATIONS} answers, mean, {scheme}", "value": 100 * sum(shares) / len(shares),
                        "unit": "%", "against": against})
    return sorted(figures, key=lambda f: f["unit"])


class Keys:
    """A key store of the run's own with an epoch a scheme and one account."""

    def __init__(self, p):
        self.passphrase, self.store = p.path("passphrase"), p.path("keys.cmks")
        if os.path.exists(self.store):
            return
        with open(os.open(self.passphrase, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as f:
            f.write(secrets.token_hex(16) + "\n")
        store = ["--store", self.store, "--passphrase-file", self.passphrase]
        p.run(p.binary("watermark-keys"), "init", *store, "--tenant", "bench")
        for scheme in SCHEMES:
            p.run(p.binary("watermark-keys"), "epoch", *store, "--name", scheme, "--scheme", scheme, "--tokenizer", p.model, "--vocabulary", "49152")
        p.run(p.binary("watermark-keys"), "account", "add", *store, "org-1")

    def marked(self, scheme):
        return ["--keystore", self.store, "--epoch", scheme, "--passphrase-file", self.passphrase, "--account", "org-1"]


def generate(p, prompts, out, how, seed, parallel, tokens):
    return p.run(p.binary("watermark-generate"), "--model", p.model, "--prompts", prompts, "--parallel", parallel, "--max-tokens", tokens, "--no-progress",
                 "--seed", seed, "--jsonl", out, *how)


def write_prompts(path, prompts):
    with open(path, "w") as f:
        for id_, text in prompts:
            f.write(json.dumps({"id": id_, "prompt": text}) + "\n")


def read_answers(path):
    with open(path) as f:
        return {record["id"]: record["token_ids"] for record in map(json.loads, f)}


PROMPTS = [
    "Write a short story about a lighthouse keeper who finds a message in a bottle.",
    "Explain to a beginner how a bicycle stays upright.",
    "Describe a market in a small town on a rainy morning.",
    "What should a family think about before adopting a dog?",
    "Write a letter from a grandmother to her grandson who moved abroad.",
    "Explain why the seasons change, in plain words.",
    "Tell the story of a village that builds a bridge.",
    "Give advice to somebody who wants to learn to cook.",
    "Describe the first day of school from a child's point of view.",
    "How did people travel before there were trains?",
    "Write about a gardener who talks to the plants.",
    "Explain what makes a good neighbour, with examples.",
    "What is the capital of France, and what is it known for?",
    "List five ways to save water at home.",
    "Write a product description for a wooden chair.",
    "Summarise what photosynthesis is.",
    "Write a poem about the sea in autumn.",
    "How do I ask my manager for a day off? Write the email.",
    "Compare tea and coffee.",
    "Why do people tell stories?",
]

PARTS = {"rows": rows, "capi": capi, "llama": llama, "detect": detect, "foreign": foreign, "diversity": diversity}
