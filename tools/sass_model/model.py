"""What the sampling kernel must cost on an H100, from its machine code. No GPU needed; a model, not a measurement.

    python3 tools/sass_model/model.py                        prints the table
    python3 tools/sass_model/model.py --write                and writes docs/results/gpu-model.json and the table of docs/gpu.md
    python3 tools/sass_model/model.py --logits rows.bin      with a model's rows (build/bin/logits_dump) beside the normal ones

Needs nvcc, nvdisasm (PyPI: nvidia-cuda-nvdisasm) and numpy. kernels/sample.cu is compiled for sm_90 as the build does, with line numbers, which change
no instruction. Each instruction then names the source lines that it came from, through all inlining (sass.py); the loops are found by the functions they
lie in, and the way through each by its branches (loops.py). How often a branch in a loop is taken is simulated on rows (rows.py). What this leaves out is said in docs/gpu.md.
"""
import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import loops
import rows
import sass

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
H100 = {"multiprocessors": 132, "clock_ghz": 1.755, "bytes_per_s": 3.35e12}
# Lanes a cycle of a multiprocessor (CUDA C++ Programming Guide, arithmetic throughput, 9.0); issue: four schedulers of 32.
RATES = {"fp32": 128, "int": 64, "fp64": 64, "mufu": 16, "convert": 64, "convert64": 16, "lsu": 32, "other": 128}
ISSUE = 128
LAUNCH_US = 3.0   # docs/gpu.md: 2 to 4


def lane_seconds(counts, tokens, rate_of):
    per_us = H100["multiprocessors"] * H100["clock_ghz"] * 1e3
    return {pipe: n * tokens / (rate_of(pipe) * per_us) for pipe, n in counts.items()}


def limits(per_token, tokens):
    """Microseconds that each pipe, and the issue of instructions, needs for `tokens` tokens at `per_token` instructions by pipe."""
    us = lane_seconds(per_token, tokens, RATES.get)
    us["issue"] = sum(per_token.values()) * tokens / (ISSUE * H100["multiprocessors"] * H100["clock_ghz"] * 1e3)
    return us


def step(costs, look, dtype, batch, vocabulary, field):
    """One decoding step: first look and second look share the schedulers; memory is read beside them. field: a tournament's lane-instructions a row."""
    tokens = batch * vocabulary
    per_token = dict(costs["scan with sums" if look.get("sums") else "scan"][dtype])
    # A row drawn by sums weighs the slice that its token lies in once more, one of 16 (FinishSum).
    again = 1 + 1 / 16 if look["second"].startswith("sum") else 1.0
    for pipe, n in costs[look["second"]][dtype].items():
        per_token[pipe] = per_token.get(pipe, 0) + n * again
    if look.get("field"):
        per_token["other"] = per_token.get("other", 0) + field / vocabulary
    us = limits(per_token, tokens)
    bound = max(us, key=us.get)
    memory = tokens * (4 if dtype == "fp32" else 2) / H100["bytes_per_s"] * 1e6
    return {"instructions": sum(per_token.values()), "issue": us["issue"], "pipe": bound, "pipe_us": us[bound], "memory": memory,
            "step": max(us[bound], memory) + LAUNCH_US}


def compile_cubin(folder):
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    cubin = os.path.join(folder, "sample.cubin")
    subprocess.run([nvcc, "-std=c++20", "-O3", "-DNDEBUG", "--fmad=false", "-lineinfo", "-arch=sm_90", "-cubin", "-Xptxas=-v", "-I", ROOT, "-I", os.path.join(ROOT, "include"),
                    "-o", cubin, os.path.join(ROOT, "kernels", "sample.cu")], check=True, stderr=open(os.path.join(folder, "ptxas"), "w"))
    with open(os.path.join(folder, "ptxas")) as f:
        said = f.read()
    used = re.search(r"Compiling entry function '\w*SampleRows.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\s+ptxas info\s+: Used (\d+) registers.*?(\d+) bytes smem",
                     said, re.S)
    return cubin, dict(zip(("stack", "spill_stores", "spill_loads", "registers", "shared"), map(int, used.groups())))


# One row alone: what waits for what, in microseconds. By hand, from the code: nothing here is counted. A trip to the L2 cache and back 0.3, to memory
# 0.6, an atomic with its fence 0.8, a thread's dependent instruction 2.5 ns, weighing a token some 130 cycles from the logit to the sum: 0.075.
BEFORE = [
    ("ticket", 0.8),
    ("window, history and two HChaCha20 on one thread (longer than the first look beside it)", 4.5),
    ("arrival, and what waits for it", 1.0),
    ("row prepared by one thread: 16 slices' maxima at once, the slot, its record, the seed", 1.2),
]
AFTER = [
    ("arrival, and the row's last block", 1.5),
    ("settling: another arrival, the slot's history", 2.5),
    ("launch", LAUNCH_US),
]
WEIGHED = ("second look: four octets a thread, a trip and 8 x 0.075 each", 3.6)
SELECTION = ("17 passes of radix selection, each five barriers, a warp's scan and atomics: 1.5", 25.5)
ALONE = {
    "unmarked or partition": [WEIGHED, ("the token's slice again, 64 tokens a thread: 8 trips, 64 x 0.075", 7.2)],
    "gumbel": [WEIGHED, ("two blocks of ChaCha8 and few logarithms a thread", 1.5)],
    "tournament": [WEIGHED, ("cut guessed", 2.0), SELECTION, ("words of 8 candidates a thread among 1,024", 2.0), ("30 layers, of 64-bit ratio, two rounds, sums and a barrier: 0.6", 18.0)],
}

WORKS = [
    # name, second look, whether the first look keeps sums, whether a tournament's field is played
    ("unmarked, no truncation", {"second": "sum"}),
    ("partition, no truncation", {"second": "sum, partition"}),
    ("gumbel, no truncation", {"second": "race"}),
    ("tournament, no truncation", {"second": "list", "field": True}),
    ("any, top-k 50 then top-p 0.9", {"second": "list, top-k"}),
    ("any, top-p alone", {"second": "list", "sums": True}),
]


def figures(costs, use, stats, layer, word):
    out = []

    def add(name, value, unit, against=""):
        out.append({"name": name, "value": float(f"{value:.4g}"), "unit": unit, "against": against})

    add("registers a thread", use["registers"], "", "128 leave two blocks of 256 a multiprocessor")
    add("warps a multiprocessor at once", 2 * 8, "", "64 fit")
    add("spills", use["spill_stores"] + use["spill_loads"], "bytes")
    add("local memory of indexed arrays", use["stack"], "bytes", "ChaCha blocks of WordOf and ByteOf")
    for name, value, unit in stats:
        add(name, value, unit)
    for loop, by_type in costs.items():
        for dtype, counts in by_type.items():
            add(f"instructions a token, {loop}, {dtype}", sum(counts.values()), "", ", ".join(f"{pipe} {n:.1f}" for pipe, n in sorted(counts.items()) if n >= 0.05))
    add(f"instructions a thread and layer, tournament of 1,024 on {loops.PLAYERS} threads", layer, "")
    add("instructions a candidate, read, its word and its place in shared memory", word, "")
    field = layer * 30 * loops.PLAYERS + word * 1024   # of a row
    add("tournament of 30 layers among 1,024, B=256, beyond the list of candidates", field * 256 / (ISSUE * H100["multiprocessors"] * H100["clock_ghz"] * 1e3), "us", "issue alone; target <= 10")
    add("finishing a listed row, waiting alone, estimated by hand", SELECTION[1], "us", SELECTION[0])
    for scheme, parts in ALONE.items():
        parts = BEFORE + parts + AFTER
        add(f"step, B=1, {scheme}, waiting alone, estimated by hand", sum(us for _, us in parts), "us", "; ".join(f"{what} {us:.2g}" for what, us in parts) + "; target <= 8")
    for batch, vocabulary, dtype in ((1, 128256, "bf16"), (32, 128256, "bf16"), (64, 128256, "bf16"), (128, 128256, "bf16"), (256, 128256, "bf16"), (256, 128256, "fp32"),
                                     (256, 151936, "bf16"), (128, 131072, "fp32")):
        shape = f"B={batch} V={vocabulary} {dtype}"
        add(f"reading the logits once, {shape}", batch * vocabulary * (4 if dtype == "fp32" else 2) / H100["bytes_per_s"] * 1e6, "us", "3.35 TB/s")
        if batch == 1:
            continue   # latency, which counting cannot tell
        base = step(costs, WORKS[0][1], dtype, batch, vocabulary, field)
        for name, look in WORKS:
            truncated = "top-" in name
            if truncated != (vocabulary == 131072):
                continue
            s = step(costs, look, dtype, batch, vocabulary, field)
            target = ""
            if (batch, vocabulary, dtype) == (256, 128256, "bf16") and "unmarked" not in name:
                target = "; target <= 30"
            if vocabulary == 131072 and "top-k" in name:
                target = "; target <= 60"
            add(f"step, {name}, {shape}", s["step"], "us", f"{s['pipe']} {s['pipe_us']:.1f} us, issue {s['issue']:.1f}, memory {s['memory']:.1f}, launch {LAUNCH_US:.0f}" + target)
            if not truncated and "unmarked" not in name and dtype == "bf16" and vocabulary == 128256:
                if batch >= 64:
                    add(f"marked / unmarked, {name}, {shape}", s["step"] / base["step"], "x", "target <= 1.03")
                else:
                    add(f"marked less unmarked, {name}, {shape}", s["step"] - base["step"], "us", "target <= 1")
    return out


def targets(result):
    """The targets, each beside what the figures say of it."""
    value = {f["name"]: f["value"] for f in result["figures"]}
    schemes = ("partition", "tournament", "gumbel")
    at = lambda form, batch: "; ".join(f"{s} {value[form.format(scheme=s, batch=batch)]:.3g}" for s in schemes)
    rows = [
        ("marked against unmarked in our own kernel ≤ 1.03 at B ≥ 64", at("marked / unmarked, {scheme}, no truncation, B={batch} V=128256 bf16", 256) + " times at B=256", "missed"),
        ("the same ≤ 1 µs at B ≤ 32", at("marked less unmarked, {scheme}, no truncation, B={batch} V=128256 bf16", 32) + " µs at B=32", "missed"),
        ("temperature, mark and selection at 256×128,256 bf16 ≤ 30 µs", at("step, {scheme}, no truncation, B={batch} V=128256 bf16", 256)
         + f" µs; unmarked {value['step, unmarked, no truncation, B=256 V=128256 bf16']:.3g}", "missed"),
        ("B=1 ≤ 8 µs", "about " + ", ".join(f"{value[f'step, B=1, {scheme}, waiting alone, estimated by hand']:.2g} ({scheme})" for scheme in ALONE) + " µs, by hand", "missed"),
        ("top-k 50 and top-p 0.9 at 128×131,072 fp32 ≤ 60 µs", f"{value['step, any, top-k 50 then top-p 0.9, B=128 V=131072 fp32']:.3g} µs, and some "
         f"{value['finishing a listed row, waiting alone, estimated by hand']:.2g} of waiting in the last rows' finish, by hand", "met"),
        ("tournament of 30 layers among 1,024 at B=256 ≤ +10 µs", f"+{value['tournament of 30 layers among 1,024, B=256, beyond the list of candidates']:.3g} µs", "missed"),
        ("history of 32,000 tokens ≤ 5 µs a step", "a look-up is one or two more trips to memory, about 1 µs whatever the length, by hand", "met"),
        ("one read of the logits from memory, no write-back", "by construction, while what lies between first and second looks stays in the L2 cache: at most 16 MiB of it by the order of work "
         "(53 rows of 128,256 in bf16, 32 in fp32), of 50 MB in two halves", "met"),
    ]
    for what, said, verdict in rows:   # the verdicts are sentences of this file: the figures must bear them out
        if what.startswith(("marked", "the same", "temperature", "tournament of")):
            limit = float(re.search(r"≤ \+?([0-9.]+)", what)[1])
            numbers = [float(x) for x in re.findall(r"(?:partition|tournament|gumbel|\+)\s?([0-9.]+)", said)]
            verdict = "met" if max(numbers) <= limit else "missed"
        yield f"| {what} | {said} | {verdict if verdict == 'met' else '**missed**'} |"


def table(result):
    met = re.compile(r"(?:; )?target <= ([0-9.]+)")
    lines = ["| | | unit | |", "|---|---:|---|---|"]
    for f in result["figures"]:
        target = met.search(f["against"])
        text = f"{f['value']:,.4g}"
        if target:
            text += f" (≤ {target[1]}: {'met' if f['value'] <= float(target[1]) else '**missed**'})"
        lines.append(f"| {f['name']} | {text} | {f['unit']} | {met.sub('', f['against'])} |")
    lines += ["", f"`{result['command']}` at {result['commit'][:12]}, {result['date']}: **{result['kind']}**, for {result['machine']['device']}."]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="model.py", description="Models the sampling kernel's times on an H100 from its machine code.")
    parser.add_argument("--nvdisasm", default=shutil.which("nvdisasm") or "/usr/local/cuda/bin/nvdisasm")
    parser.add_argument("--logits", help="a model's rows, from build/bin/logits_dump")
    parser.add_argument("--write", action="store_true", help="write docs/results/gpu-model.json and docs/gpu.md's table")
    args = parser.parse_args()
    if not os.path.exists(args.nvdisasm):
        sys.exit("model: error: no nvdisasm\nmodel: hint: pip install nvidia-cuda-nvdisasm, and --nvdisasm PATH")
    with tempfile.TemporaryDirectory() as folder:
        cubin, use = compile_cubin(folder)
        listing = subprocess.run([args.nvdisasm, "-c", "-gi", cubin], check=True, capture_output=True, text=True).stdout
    code = sass.Code(listing, "SampleRows", ROOT)
    frequencies, stats = rows.simulate(args.logits)
    costs = loops.costs(code, frequencies)
    git = lambda *a: subprocess.run(["git", "-C", ROOT, *a], capture_output=True, text=True).stdout.strip()
    dirty = "+dirty" if git("status", "--porcelain", "--", "kernels", "include/countermark/mark", "tools/sass_model") else ""
    result = {"kind": "modelled, not measured", "command": "python3 tools/sass_model/model.py --write" + (" --logits ROWS" if args.logits else ""),
              "commit": git("rev-parse", "HEAD") + dirty, "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
              "machine": {"device": "H100 SXM (132 multiprocessors, 1.755 GHz, 3.35 TB/s)", "code": "sm_90"}, "figures": figures(costs, use, stats, *loops.tournament(code))}
    print(table(result))
    if args.write:
        path = os.path.join(ROOT, "docs", "results", "gpu-model.json")
        with open(path, "w") as f:
            json.dump(result, f, indent=1, ensure_ascii=False)
            f.write("\n")
        page_path = os.path.join(ROOT, "docs", "gpu.md")
        with open(page_path) as f:
            page = f.read()
        page = re.sub(r"<!-- table: gpu-model -->\n.*?<!-- end -->", lambda _: f"<!-- table: gpu-model -->\n{table(result)}\n<!-- end -->", page, flags=re.S)
        page = re.sub(r"<!-- table: gpu-targets -->\n.*?<!-- end -->",
                      lambda _: "\n".join(["<!-- table: gpu-targets -->", "| target | modelled | |", "|---|---|---|", *targets(result), "<!-- end -->"]), page, flags=re.S)
        with open(page_path, "w") as f:
            f.write(page)


if __name__ == "__main__":
    main()
