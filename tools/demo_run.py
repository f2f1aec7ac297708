"""What tools/demo shows, step by step; every step is checked, and the exit status is 0 only if all of it was right."""
import argparse
import json
import os
import random
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time

ACCOUNTS = ["org-north", "org-south", "org-west"]
THIEF = "org-south"
SCHEMES = ["gumbel", "partition", "tournament"]
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
]
# Keys are fresh at every run, so a check can fail by chance. What is called clean is held to one in ten million: three schemes, the base channel and the
# accounts of each (Holm over three), and in step 4 the accounts that nothing was taken from: at most 7 runs in ten million. What is called found lies far
# beyond its bound: under gumbel and tournament every account at 1e-18 or less, whose standard deviation is four decades and some; partition's base channel at
# 1e-80, of eight. Partition's accounts are weaker: four answers give one about 1e-7 give or take two decades and more, which would miss 1e-3 in one run of
# fifty, so they are shown and its mark alone is checked.
CLEAN = -7
failures = []


def say(text=""):
    print(text, flush=True)


def step(number, text):
    say(f"\n{number}. {text}")


def check(ok, what):
    say(f"   {'ok ' if ok else 'WRONG'}  {what}")
    if not ok:
        failures.append(what)


def run(*command, expect=(0,)):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode not in expect:
        say(done.stdout[-2000:])
        say(done.stderr[-2000:])
        sys.exit(f"demo: error: {os.path.basename(command[0])} ended with {done.returncode}, not {' or '.join(map(str, expect))}")
    return done


def write_jsonl(path, records):
    with open(path, "w") as f:
        for record in records:
            f.write(json.dumps(record, ensure_ascii=False) + "\n")


def read_jsonl(path):
    with open(path) as f:
        return [json.loads(line) for line in f]


def pooled(result):
    """(base channel's log10 p, {account: adjusted log10 p}) of the pooled test in watermark-detect's JSON."""
    pool = result["pooled"]
    base = next(c for c in pool["channels"] if c["name"] == "base")
    return base["log10_p"], {a["account"]: a["log10_p_adjusted"] for a in pool["accounts"]}


def main():
    parser = argparse.ArgumentParser(prog="tools/demo")
    parser.add_argument("--bin", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--keep", metavar="DIR", help="keep every file in DIR, a new folder")
    args = parser.parse_args()
    cache = os.environ["COUNTERMARK_CACHE"]
    model = os.path.join(cache, "models", "SmolLM2-135M-Instruct.Q4_1.gguf")
    keys, generate, detect, verify = (os.path.join(args.bin, "watermark-" + n) for n in ("keys", "generate", "detect", "verify"))

    folder = args.keep or tempfile.mkdtemp(prefix="countermark-demo-")
    if args.keep:
        os.makedirs(folder, exist_ok=False)
    path = lambda name: os.path.join(folder, name)
    start = time.time()
    try:
        demo(keys, generate, detect, verify, model, path)
    finally:
        if not args.keep:
            shutil.rmtree(folder)
    say(f"\n{time.time() - start:.0f} s" + (f"; the files are in {folder}" if args.keep else ""))
    if failures:
        say(f"{len(failures)} of the checks above went wrong")
        return 1
    say("All of it was right.")
    return 0


def demo(keys, generate, detect, verify, model, path):
    step(1, "Keys: a master key that never leaves its encrypted store, an epoch for each scheme, three API accounts")
    with open(os.open(path("passphrase"), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as f:
        f.write(secrets.token_hex(16) + "\n")
    store = ["--store", path("keys.cmks"), "--passphrase-file", path("passphrase")]
    run(keys, "init", *store, "--tenant", "demo")
    for scheme in SCHEMES:
        run(keys, "epoch", *store, "--name", scheme, "--scheme", scheme, "--tokenizer", model)
    run(keys, "account", "add", *store, *ACCOUNTS)
    run(keys, "signing-key", *store, "--public-out", path("public.pem"))
    listed = run(keys, "list", *store, "--commitments").stdout
    say("   " + "\n   ".join(listed.strip().splitlines()[:14]))
    check(all(a in listed for a in ACCOUNTS), "the store knows its accounts, and its commitments can be published before first use")

    step(2, f"Answers of a real model, {os.path.basename(model)}: {len(PROMPTS)} prompts, four for each account, marked in each scheme; and unmarked")
    prompts = [{"id": f"{ACCOUNTS[i % 3]}/{i // 3 + 1}", "prompt": p, "account": ACCOUNTS[i % 3]} for i, p in enumerate(PROMPTS)]
    write_jsonl(path("prompts.jsonl"), prompts)
    common = [generate, "--model", model, "--prompts", path("prompts.jsonl"), "--parallel", "12", "--max-tokens", "200", "--temperature", "1.0",
              "--no-progress"]
    speed = {}
    for name in ["unmarked"] + SCHEMES:
        extra = ["--no-mark"] if name == "unmarked" else ["--keystore", path("keys.cmks"), "--epoch", name, "--passphrase-file", path("passphrase")]
        done = run(*common, *extra, "--seed", "7", "--jsonl", path(f"{name}.jsonl"))
        speed[name] = float(re.search(r"([0-9.]+) tokens/s", done.stderr).group(1))
        counters = [r["counters"] for r in read_jsonl(path(f"{name}.jsonl"))]
        total = sum(sum(c.values()) for c in counters)
        say(f"   {name:11s} {speed[name]:6.1f} tokens/s ({speed[name] / speed['unmarked']:.2f} of unmarked), {total} tokens, "
            f"{sum(c['marked'] for c in counters) / total:.0%} marked" + ("   (llama.cpp's own samplers)" if name == "unmarked" else ""))
    sample = next(r for r in read_jsonl(path("gumbel.jsonl")) if r["account"] == THIEF)
    say(f"   {sample['id']}: “{' '.join(sample['text'].split())[:160]} …”")

    step(3, "Who is in it? Every scheme's 12 answers and the 12 unmarked ones, log10 p (−6: a chance of one in a million)")
    say(f"   {'scheme':11s} {'text':9s} {'base channel':>12s}  " + "  ".join(f"{a:>10s}" for a in ACCOUNTS) + "   (accounts: corrected, Holm)")
    for scheme in SCHEMES:
        for text in (scheme, "unmarked"):
            result = json.loads(run(detect, path(f"{text}.jsonl"), "--keystore", path("keys.cmks"), "--epoch", scheme, "--passphrase-file",
                                    path("passphrase"), "--account", *ACCOUNTS, "--tokenizer", model, "--text-field", "text", "--json",
                                    "--no-progress", expect=(0, 1)).stdout)
            base, accounts = pooled(result)
            say(f"   {scheme:11s} {'marked' if text == scheme else 'unmarked':9s} {base:12.1f}  " + "  ".join(f"{accounts[a]:10.1f}" for a in ACCOUNTS))
            if text == scheme:
                if scheme == "partition":
                    check(base < -20, f"{scheme}: the mark is found")
                else:
                    check(base < -20 and max(accounts.values()) < -3, f"{scheme}: the mark and all three accounts are found")
            else:
                check(base > CLEAN and min(accounts.values()) > CLEAN, f"{scheme}: unmarked text is clean")

    step(4, f"A suspect data set: four answers served to {THIEF}, hidden among eight unmarked texts, without ids")
    stolen = [r["text"] for r in read_jsonl(path("gumbel.jsonl")) if r["account"] == THIEF]
    own = [r["text"] for r in read_jsonl(path("unmarked.jsonl")) if r["account"] is None][:8]
    mixed = [{"text": t} for t in stolen + own]
    random.Random(2026).shuffle(mixed)
    write_jsonl(path("suspect.jsonl"), mixed)
    common = [detect, path("suspect.jsonl"), "--keystore", path("keys.cmks"), "--epoch", "gumbel", "--passphrase-file", path("passphrase"),
              "--account", *ACCOUNTS, "--tokenizer", model, "--text-field", "text", "--no-progress"]
    shown = run(*common, "--color", "never", "--report", path("report.json"), expect=(1,))
    say("   " + "\n   ".join(shown.stdout.strip().splitlines()))
    base, accounts = pooled(json.loads(run(*common, "--json", expect=(1,)).stdout))
    check(base < CLEAN, f"the data set carries the mark (log10 p {base:.1f})")
    check(accounts[THIEF] < CLEAN and all(p > CLEAN for a, p in accounts.items() if a != THIEF), f"{THIEF} is named, and nobody else")

    step(5, "The signed report, verified without the key store, and a tampered copy refused")
    done = run(verify, path("report.json"), "--public-key", path("public.pem"), "--input", path("suspect.jsonl"))
    say("   " + "\n   ".join(done.stdout.strip().splitlines()))
    check(True, "the report verifies")
    envelope = json.load(open(path("report.json")))
    import base64
    payload = base64.b64decode(envelope["payload"]).decode()
    assert THIEF in payload
    envelope["payload"] = base64.b64encode(payload.replace(THIEF, "org-north", 1).encode()).decode()
    json.dump(envelope, open(path("tampered.json"), "w"))
    done = run(verify, path("tampered.json"), "--public-key", path("public.pem"), expect=(0, 2))
    say("   " + done.stderr.strip().splitlines()[0] if done.stderr.strip() else "")
    check(done.returncode == 2, f"a copy that accuses org-north instead is refused")


if __name__ == "__main__":
    sys.exit(main())
