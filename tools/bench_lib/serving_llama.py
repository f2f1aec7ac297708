"""The real llama-server over HTTP, marked and unmarked, asked in turn: figures(programs, quick) gives tokens a second, speculative(programs, quick) how many drafted tokens are accepted.

By itself: serving_llama.py --build BUILD [--quick] [--speculative [--write]], with COUNTERMARK_CACHE set, prints the figures as JSON. --write: speculative's into docs/results.
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

        keys, self.folder = Keys(p), Path(p.path("serving-llama"))
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
def servers(p, *options):
    """Two that listen, by name. The one that is not asked waits without using a processor."""
    os.environ.setdefault("COUNTERMARK_SOURCE", ROOT)
    os.environ.setdefault("COUNTERMARK_BIN", os.path.join(p.build, "bin"))
    os.environ.setdefault("COUNTERMARK_LIB", os.path.join(p.build, "lib"))
    os.environ.setdefault("COUNTERMARK_PYTHON_REFERENCE", "")
    for folder in ("servers", "python"):
        sys.path.append(os.path.join(ROOT, "tests", folder))
    from llama_support import LlamaServer

    host, threads = Host(p), str(os.cpu_count())
    options = ("-t", threads, "-tb", threads, *options)
    with LlamaServer(host, *options, slots=8, context=512) as marked, LlamaServer(host, *options, slots=8, context=512, marked=False) as unmarked:
        yield {"marked": marked, "unmarked": unmarked}
        from countermark.serving.metrics import collect

        assert collect(host.state_dir)['countermark_tokens_total{cause="marked"}'] > 0, "the marked server has marked nothing"


def ask(server, seeds, tokens=TOKENS):
    """Answers at once, and how long they took from the first request to the last answer."""
    bodies = [{"prompt": f"Write a long story about the number {seed}.", "n_predict": tokens, "seed": seed, **PARAMETERS} for seed in seeds]
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


def speculative(p, quick):
    """The model drafts three tokens for itself, the likeliest ones; of these so many are what the target then draws."""
    counts = {name: [0, 0] for name in ("marked", "unmarked")}
    # One thread: speed is not what is measured, and a busy machine does not change the rates.
    with servers(p, "-md", p.model, "--spec-type", "draft-simple", "--spec-draft-n-max", "3", "-t", "1", "-tb", "1", "-td", "1", "-tbd", "1") as both:
        for r in range(1 if quick else 12):
            for name, server in both.items():
                for answer in ask(server, range(1000 + 8 * r, 1008 + 8 * r), 32 if quick else 64)[0]:
                    counts[name][0] += answer["timings"]["draft_n_accepted"]
                    counts[name][1] += answer["timings"]["draft_n"]
    rates = {name: accepted / drafted for name, (accepted, drafted) in counts.items()}
    # Drafts stand in runs of three: their standard error is taken as if only a third of them were independent.
    error = sum((1 - rates[name]) / rates[name] / (counts[name][1] / 3) for name in rates) ** 0.5
    out = [{"name": f"drafted tokens accepted, {name}", "value": 100 * rates[name], "unit": "%", "against": "{} of {} drafted".format(*counts[name])} for name in rates]
    out.append({"name": "drafted tokens accepted, marked / unmarked", "value": rates["marked"] / rates["unmarked"], "unit": "x", "against": f"standard error {error:.3f}; target >= 0.97"})
    return out


def main():
    import results
    from programs import Programs

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--speculative", action="store_true")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="countermark-bench-") as folder:
        p = Programs(ROOT, args.build, os.environ["COUNTERMARK_CACHE"], folder)
        machine, commit = results.machine(), results.commit(ROOT, True)
        found = (speculative if args.speculative else figures)(p, args.quick)
    if args.write and args.speculative:
        results.write(ROOT, "speculative-llama", "tools/bench_lib/serving_llama.py --speculative --write", commit, machine, found)
    print(json.dumps({"figures": found}, indent=1))


if __name__ == "__main__":
    main()
