"""The real llama-server over HTTP, marked and unmarked, asked in turn: figures(programs, quick) gives tokens a second, speculative(programs, quick) how many drafted tokens are accepted.

By itself: serving_llama.py --build BUILD [--quick] [--speculative [--rounds N] [--write]], with COUNTERMARK_CACHE set, prints the figures as JSON. --write: speculative's into docs/results.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOKENS = 128
PARAMETERS = {"temperature": 0.8, "top_k": 0, "top_p": 0.95, "min_p": 0.0, "ignore_eos": True, "cache_prompt": False}


class Host:
    """What LlamaServer needs of a serving host: a port for one account."""

    def __init__(self, p):
        from parts import Keys

        keys, self.folder = Keys(p), Path(p.path("serving-llama"))  # a key store of this folder's own, with a fresh key
        (self.folder / "state").mkdir(parents=True, exist_ok=True)
        if not (self.folder / "epoch.cmkb").exists():
            p.run(p.binary("watermark-keys"), "bundle", "--store", keys.store, "--passphrase-file", keys.passphrase, "--epoch", "gumbel", "--out", self.folder / "epoch.cmkb",
                  "--bundle-passphrase-file", keys.passphrase)
        self.config = self.folder / "config.toml"
        self.config.write_text(f'bundles = ["epoch.cmkb"]\npassphrase_file = {json.dumps(keys.passphrase)}\naccount = "org-1"\nstate_dir = "state"\nserver = "llama"\n')
        self.state_dir = self.folder / "state"

    def environment(self, **more):
        return {**os.environ, "COUNTERMARK_CONFIG": str(self.config), **{name: str(value) for name, value in more.items()}}


@contextmanager
def servers(p, *options, threads=os.cpu_count()):
    """Two that listen, by name. The one that is not asked waits without using a processor."""
    os.environ.setdefault("COUNTERMARK_SOURCE", ROOT)
    os.environ.setdefault("COUNTERMARK_BIN", os.path.join(p.build, "bin"))
    os.environ.setdefault("COUNTERMARK_LIB", os.path.join(p.build, "lib"))
    os.environ.setdefault("COUNTERMARK_PYTHON_REFERENCE", "")
    for folder in ("servers", "python"):
        sys.path.append(os.path.join(ROOT, "tests", folder))
    from llama_support import LlamaServer

    host, sizes = Host(p), {"threads": threads, "slots": 8, "context": 512}
    with LlamaServer(host, *options, **sizes) as marked, LlamaServer(host, *options, **sizes, marked=False) as unmarked:
        yield {"marked": marked, "unmarked": unmarked}
        from countermark.serving.metrics import collect

        assert collect(host.state_dir)['countermark_tokens_total{cause="marked"}'] > 0, "the marked server has marked nothing"


def ask(server, seeds, tokens=TOKENS):
    """Answers at once, and how long they took from the first request to the last answer."""
    from parts import PROMPTS

    bodies = [{"prompt": f"<|im_start|>user\n{PROMPTS[seed % len(PROMPTS)]}<|im_end|>\n<|im_start|>assistant\n", "n_predict": tokens, "seed": seed, **PARAMETERS} for seed in seeds]
    begun = time.perf_counter()
    answers = server.complete(bodies)
    took = time.perf_counter() - begun
    assert all(answer["tokens_predicted"] == tokens for answer in answers)
    return answers, took


def figures(p, quick):
    out = []
    with servers(p) as both:
        for batch in (1, 8):
            for server in both.values():
                ask(server, range(batch))
            speeds = {"marked": [], "unmarked": []}
            for r in range(2 if quick else 10):
                for name in ("unmarked", "marked") if r % 2 == 0 else ("marked", "unmarked"):
                    speeds[name].append(TOKENS * batch / ask(both[name], range(100 * (r + 1), 100 * (r + 1) + batch))[1])
            ratios = sorted(m / u for m, u in zip(speeds["marked"], speeds["unmarked"], strict=True))
            what = f"SmolLM2-135M-Instruct over HTTP, {TOKENS} tokens an answer, {len(ratios)} pairs of runs in turn"
            out += [{"name": f"llama-server 0.5.0, batch {batch}, {name}", "value": statistics.median(values), "unit": "tokens/s", "against": what} for name, values in speeds.items()]
            out.append({"name": f"llama-server 0.5.0, batch {batch}, tokens/s marked / unmarked", "value": statistics.median(ratios), "unit": "x",
                        "against": f"the unmarked run beside it, {ratios[0]:.3f} to {ratios[-1]:.3f}; target >= 0.97"})
    return out


def speculative(p, quick, rounds=20):
    """The model drafts three tokens for itself, the likeliest ones; of these so many are what the target then draws.

    Each round has a key of its own: under one key gumbel writes like after like, and many answers would be few texts. Rates, and the standard error of their ratio, are over answers.
    """
    from programs import Programs

    counts = {"marked": [], "unmarked": []}  # (accepted, drafted) of each answer
    for r in range(2 if quick else rounds):
        folder = p.path(f"speculative-{r}")
        os.mkdir(folder)
        own = Programs(p.root, p.build, p.cache, folder)
        # One thread: speed is not what is measured, and a busy machine does not change the rates.
        with servers(own, "-md", p.model, "--spec-type", "draft-simple", "--spec-draft-n-max", "3", "-td", "1", "-tbd", "1", threads=1) as both:
            for name, server in both.items():
                answers, _ = ask(server, range(8 * r, 8 * r + 8), 24 if quick else 48)
                counts[name] += [(answer["timings"]["draft_n_accepted"], answer["timings"]["draft_n"]) for answer in answers]
        print(f"bench: round {r + 1}: " + ", ".join("{} {}/{}".format(name, *map(sum, zip(*of, strict=True))) for name, of in counts.items()), file=sys.stderr, flush=True)
    rates, variance, out = {}, 0.0, []
    for name, answers in counts.items():
        accepted, drafted = map(sum, zip(*answers, strict=True))
        rate = rates[name] = accepted / drafted
        variance += sum((a - rate * d) ** 2 for a, d in answers) / accepted**2  # of the rate's logarithm, by answers
        out.append({"name": f"drafted tokens accepted, {name}", "value": 100 * rate, "unit": "%", "against": f"{accepted} of {drafted} drafted in {len(answers)} answers"})
    out.append({"name": "drafted tokens accepted, marked / unmarked", "value": rates["marked"] / rates["unmarked"], "unit": "x",
                "against": f"standard error {variance**0.5 * rates['marked'] / rates['unmarked']:.3f}; target >= 0.97"})
    return out


def main():
    import results
    from programs import Programs

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--speculative", action="store_true")
    parser.add_argument("--rounds", type=int, default=20, help="of speculative, 16 answers each (default: %(default)s)")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="countermark-bench-") as folder:
        p = Programs(ROOT, args.build, os.environ["COUNTERMARK_CACHE"], folder)
        machine, commit = results.machine(), results.commit(ROOT, True)
        found = speculative(p, args.quick, args.rounds) if args.speculative else figures(p, args.quick)
    if args.write and args.speculative:
        results.write(ROOT, "speculative-llama", f"tools/bench_lib/serving_llama.py --speculative --rounds {args.rounds} --write", commit, machine, found)
    print(json.dumps({"figures": found}, indent=1))


if __name__ == "__main__":
    main()
