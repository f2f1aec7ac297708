"""What tools/robustness does once everything is installed, built and generated."""
import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys

import tables
import texts as made
import words

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "bench_lib"))
import results  # noqa: E402

RESULT = os.path.join(ROOT, "docs", "results", "robustness.json")
LEVEL, NULL_LEVEL = -6.0, -2.0  # log10: at which a text counts as found; and at which unmarked ones are counted besides, as none is expected at the first
IDS_AS_GENERATED = None


def say(text):
    print(f"robustness: {text}", file=sys.stderr, flush=True)


def edited_texts(edits, answers):
    """(edit, level, the edited texts). The random source hangs on the edit, the level and the text's number alone: every set is edited in the same places."""
    for name, level, edit in edits:
        if edit is IDS_AS_GENERATED:
            yield name, level, [a["token_ids"] for a in answers]
        else:
            seed = int.from_bytes(hashlib.sha256(f"{name} {level}".encode()).digest()[:8], "big")
            yield name, level, edit([a["text"] for a in answers], random.Random(seed))


def detectors(folder, binary, name):
    """name of a detector → function of edited texts, for each that tests texts of this set."""
    from detectors import Ours, TheirKgw, TheirSynthId
    found = {}
    views = "--views" in subprocess.run([binary, "--help"], capture_output=True, text=True, check=True).stdout

    def ours(epoch):
        found[f"ours, {epoch}"] = Ours.of_epoch(binary, folder, epoch)
        if views:
            found[f"ours, {epoch}, cleaned view"] = Ours.of_epoch(binary, folder, epoch, "--views", "cleaned")

    unmarked = name == "unmarked"
    for epoch in made.EPOCHS:
        if name == epoch or unmarked and epoch != "gumbel-accounts":
            ours(epoch)
    if name == "hf-kgw" or unmarked:
        found["transformers, KGW"] = TheirKgw()
        found["ours, --format hf-kgw"] = Ours.of_format(binary, folder, "hf-kgw", made.KGW)
    if name == "hf-synthid" or unmarked:
        theirs = TheirSynthId(folder)
        found["transformers, SynthID"] = theirs
        found["ours, --format hf-synthid"] = Ours.of_format(binary, folder, "hf-synthid", made.SYNTHID)
    return found


CLEANED_MATTERS = ("none", "homoglyphs", "zero-width spaces", "homoglyphs and zero-width spaces")


def figures_of(set_name, tests, edits, answers):
    rows = []

    def add(edit, level, detector, values):
        values = [v for v in values if v is not None]
        finite = [max(v, -1e6) for v in values]
        rows.append({"set": set_name, "detector": detector, "edit": edit, "level": level, "of": len(answers), "found": sum(v <= LEVEL for v in values),
                     "at_1e-2": sum(v <= NULL_LEVEL for v in values), "median_log10_p": round(statistics.median(finite), 2) if finite else None})

    for edit, level, edited in edited_texts(edits, answers):
        for detector, test in tests.items():
            if detector.endswith("cleaned view") and (edit not in CLEANED_MATTERS or not isinstance(edited[0], str)):
                continue
            if detector == "transformers, SynthID":
                posterior, mean = test.both(edited)
                add(edit, level, "transformers, SynthID, Bayesian", posterior)
                add(edit, level, "SynthID, mean g-value, normal p", mean)
            else:
                add(edit, level, detector, test(edited))
        say(f"{set_name}: {edit}, {level}: " + ", ".join(f"{r['found']}" for r in rows if (r["edit"], r["level"]) == (edit, level)))
    return rows


def main():
    parser = argparse.ArgumentParser(prog="tools/robustness", description="Edits marked texts and tests them; writes docs/results/robustness.json and docs/robustness.md's tables.")
    parser.add_argument("--sets", default=",".join(made.SETS), help="sets of texts, with commas (default: all)")
    parser.add_argument("--quick", action="store_true", help="a few edits of a few texts, to see that it works; nothing is written")
    parser.add_argument("--tables", action="store_true", help="rewrite the tables from the results there are, and measure nothing")
    parser.add_argument("--allow-dirty", action="store_true", help="measure a working tree that differs from its commit; the result says so")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="build folder (default: build)")
    args = parser.parse_args()
    if args.tables:
        return tables.rewrite(ROOT)
    from edits import edits
    commit = None if args.quick else results.commit(ROOT, args.allow_dirty)
    folder = os.path.join(os.environ["COUNTERMARK_CACHE"], "robustness")
    packages = os.path.join(folder, "debian")
    words.fetch(packages)
    every = list(edits(ROOT, packages, os.path.join(os.environ["COUNTERMARK_CACHE"], "models", "mistral-v1.model")))
    chosen = args.sets.split(",")
    for name in chosen:
        if name not in made.SETS:
            parser.error(f"unknown set '{name}' ({', '.join(made.SETS)})")
    rows = []
    for name in chosen:
        answers = made.read(folder, name)
        tests = detectors(folder, os.path.join(args.build, "bin", "watermark-detect"), name)
        rows += figures_of(name, tests, every[::5] if args.quick else every, answers[:6] if args.quick else answers)
    if args.quick:
        return 0
    try:
        with open(RESULT) as f:
            rows = [row for row in json.load(f)["figures"] if row["set"] not in chosen] + rows
    except FileNotFoundError:
        pass
    rows.sort(key=lambda row: made.SETS.index(row["set"]))
    import transformers
    machine = results.machine()
    out = {"command": "./tools/robustness", "commit": commit, "date": results.now(), "machine": f"{machine['cpu']}, {machine['cores']} cores",
           "texts": {"model": "SmolLM2-135M-Instruct", "tokens": made.TOKENS, "temperature": made.TEMPERATURE, "top_p": made.TOP_P, "transformers": transformers.__version__},
           "level": 1e-6, "figures": rows}
    with open(RESULT + ".part", "w") as f:
        json.dump(out, f, indent=1, ensure_ascii=False)
        f.write("\n")
    os.replace(RESULT + ".part", RESULT)
    tables.rewrite(ROOT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
