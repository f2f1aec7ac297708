"""vLLM over HTTP, marked and unmarked: two real servers of the small model, asked in turn. figures(programs, quick) gives rows for a part of tools/bench.

By itself: serving_vllm.py --build BUILD [--quick], with COUNTERMARK_CACHE set, prints them as JSON.
"""
import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOKENS = 128


def marked_configuration(p):
    """A port for one account: bundle, passphrase and configuration in the run's own folder."""
    from parts import Keys

    keys, folder = Keys(p), p.path("serving-vllm")
    os.makedirs(os.path.join(folder, "state"), exist_ok=True)
    p.run(p.binary("watermark-keys"), "bundle", "--store", keys.store, "--passphrase-file", keys.passphrase, "--epoch", "gumbel", "--out", os.path.join(folder, "epoch.cmkb"),
          "--bundle-passphrase-file", keys.passphrase)
    path = os.path.join(folder, "config.toml")
    with open(path, "w") as f:
        f.write(f'bundles = ["epoch.cmkb"]\npassphrase_file = {json.dumps(keys.passphrase)}\naccount = "org-1"\nstate_dir = "state"\nserver = "vllm"\n')
    return path


def speed(server, batch, seed):
    """Tokens a second of so many answers at once, from the first request to the last answer."""
    from serving_fixture import Call, drive

    calls = [Call("/v1/completions", {"model": "m", "prompt": f"Write a long story about the number {seed * 10 + i}.", "max_tokens": TOKENS, "ignore_eos": True, "temperature": 0.8, "top_p": 0.95,
                                      "seed": seed * 10 + i}) for i in range(batch)]
    begun = time.perf_counter()
    answers = drive(server.url, calls)
    took = time.perf_counter() - begun
    tokens = sum(answer.json()["usage"]["completion_tokens"] for answer in answers)
    assert tokens == TOKENS * batch, [answer.text[:200] for answer in answers]
    return tokens / took


def figures(p, quick):
    os.environ.setdefault("COUNTERMARK_SOURCE", ROOT)
    os.environ.setdefault("COUNTERMARK_BIN", os.path.join(p.build, "bin"))
    os.environ.setdefault("COUNTERMARK_PYTHON_REFERENCE", "")
    for folder in ("servers", "python"):
        sys.path.append(os.path.join(ROOT, "tests", folder))
    import vllm_support

    why = vllm_support.cannot_be_had()
    if why:
        print(f"bench: vLLM is left out: {why}", file=sys.stderr)
        return []
    config = marked_configuration(p)
    folders = {name: p.path(f"vllm-{name}") for name in ("marked", "unmarked")}
    for folder in folders.values():
        os.makedirs(folder, exist_ok=True)
    options = ("--max-num-seqs", "8", "--no-enable-prefix-caching")
    with vllm_support.Vllm(folders["marked"], "--middleware", "countermark.vllm.AccountMiddleware", *options, config=config) as marked:
        marked.up()
        with vllm_support.Vllm(folders["unmarked"], *options) as unmarked:
            unmarked.up()
            servers, out = {"marked": marked, "unmarked": unmarked}, []
            for batch in (1, 8):
                for server in servers.values():
                    speed(server, batch, 0)
                speeds = {"marked": [], "unmarked": []}
                for r in range(2 if quick else 10):
                    for name in ("unmarked", "marked") if r % 2 == 0 else ("marked", "unmarked"):
                        speeds[name].append(speed(servers[name], batch, r + 1))
                ratios = sorted(m / u for m, u in zip(speeds["marked"], speeds["unmarked"], strict=True))
                what = f"SmolLM2-135M-Instruct over HTTP, {TOKENS} tokens an answer, {len(ratios)} pairs of runs in turn"
                out += [{"name": f"vLLM 0.32.0 on the processor, batch {batch}, {name}", "value": statistics.median(values), "unit": "tokens/s", "against": what} for name, values in speeds.items()]
                out.append({"name": f"vLLM 0.32.0 on the processor, batch {batch}, tokens/s marked / unmarked", "value": statistics.median(ratios), "unit": "x",
                            "against": f"the unmarked run beside it, {ratios[0]:.3f} to {ratios[-1]:.3f}; target >= 0.97"})
            counted = re.findall(r'countermark_tokens_total\{cause="marked"\} (\d+)', __import__("httpx").get(marked.url + "/metrics").text)
            assert counted and int(counted[0]) > 0, "the marked server has marked nothing"
    return out


if __name__ == "__main__":
    from programs import Programs

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="countermark-bench-") as folder:
        print(json.dumps({"figures": figures(Programs(ROOT, args.build, os.environ["COUNTERMARK_CACHE"], folder), args.quick)}, indent=1))
