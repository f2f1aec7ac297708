#!/usr/bin/env python3
"""What the gateway adds to an answer, in milliseconds: requests one after another, straight to a server that computes nothing and through the gateway, taken in turns.

    COUNTERMARK_SOURCE=. COUNTERMARK_BIN=build/bin COUNTERMARK_CACHE=~/.cache/countermark COUNTERMARK_PYTHON_REFERENCE=- build/venv/bin/python3 tests/servers/gateway_cost.py [--requests 400]

Prints one JSON object: medians and 90th percentiles of whole answers, of a stream's first event, and of the time from a stream's event to the next (20 events a stream). Both programs share this machine's cores
with this one, so it is an upper bound of what the gateway costs on a machine of its own.
"""
import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parent))
from serving_fixture import FixedServing, Server, free_port  # noqa: E402

HERE = Path(__file__).parent


def quantiles(values):
    ordered = sorted(values)
    return {"median_ms": round(statistics.median(ordered) * 1e3, 3), "p90_ms": round(ordered[int(len(ordered) * 0.9)] * 1e3, 3)}


def once(client, url, headers, stream):
    begun = time.perf_counter()
    with client.stream("POST", url + "/v1/completions", json={"prompt": "p", "stream": stream}, headers=headers) as response:
        assert response.status_code == 200
        first = None
        for _ in response.iter_raw():
            first = first or time.perf_counter() - begun
    return time.perf_counter() - begun, first


def measure(requests, token_ids="hash"):
    with tempfile.TemporaryDirectory() as name:
        folder, port, gate = Path(name), free_port(), free_port()
        urls = {"direct": f"http://127.0.0.1:{port}", "gateway": f"http://127.0.0.1:{gate}"}
        serving = FixedServing(folder, server="vllm", tokenizer=None, extra=f'[gateway]\nupstream = "{urls["direct"]}"\n[log]\ndirectory = "log"\ntoken_ids = "{token_ids}"')
        with Server([sys.executable, "-P", HERE / "fake_server.py", port], folder / "fake.log").wait(urls["direct"] + "/health"):
            with Server([sys.executable, "-P", "-m", "countermark.gateway", "--config", serving.config, "--port", gate], folder / "gateway.log", env=serving.environment()).wait(urls["gateway"] + "/metrics"):
                times = {(where, stream): [] for where in urls for stream in (False, True)}
                with httpx.Client(timeout=30) as client:
                    for i in range(requests + 20):
                        for key in times:
                            taken = once(client, urls[key[0]], serving.headers("org-a"), key[1])
                            if i >= 20:
                                times[key].append(taken)
    out = {}
    for stream, kind in ((False, "whole"), (True, "stream")):
        for i, what in ((0, "answer"), (1, "first_bytes")):
            both = {where: [t[i] for t in times[where, stream]] for where in urls}
            added = statistics.median(g - d for g, d in zip(both["gateway"], both["direct"]))
            out[f"{kind}_{what}"] = {**{where: quantiles(values) for where, values in both.items()}, "added_median_ms": round(added * 1e3, 3)}
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--token-ids", choices=["ids", "hash", "none"], default="hash")
    options = parser.parse_args()
    print(json.dumps(measure(options.requests, options.token_ids), indent=1))
