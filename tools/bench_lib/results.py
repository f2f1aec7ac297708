"""docs/results/NAME.json: one run's figures, and docs/benchmarks.md's tables made from them."""
import datetime
import json
import os
import re
import statistics
import subprocess

ISAS = ("avx512", "avx2", "scalar")
TARGET = re.compile(r"target (<=|>=) ([0-9.]+)")


def commit(root, allow_dirty):
    """The commit the programs are built from. Files that the bench itself writes do not make a tree dirty."""
    git = lambda *a: subprocess.run(["git", "-C", root, *a], check=True, capture_output=True, text=True).stdout
    changed = [line[3:] for line in git("status", "--porcelain").splitlines()]
    changed = [p for p in changed if not p.startswith("docs/results/") and p not in ("docs/benchmarks.md", "docs/robustness.md")]
    if changed and not allow_dirty:
        raise SystemExit(f"bench: error: the working tree differs from its commit ({changed[0]}, {len(changed)} in all); figures could not be "
                         "said to be that commit's\nbench: hint: commit first, or --allow-dirty, which is written into the result")
    return git("rev-parse", "HEAD").strip() + ("+dirty" if changed else "")


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def machine():
    model = "unknown processor"
    flags = set()
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
            elif line.startswith("flags"):
                flags = set(line.split(":", 1)[1].split())
    isas = [isa for isa, needs in (("avx512", {"avx512f", "avx512bw", "avx512dq", "avx512vl"}), ("avx2", {"avx2", "fma"})) if needs <= flags]
    return {"cpu": model, "cores": os.cpu_count(), "isa": isas or ["scalar"], "load at start": round(os.getloadavg()[0], 2)}


def medians(runs):
    """One list of figures from several runs' lists: the median of each name and unit."""
    merged = {}
    for run in runs:
        for figure in run:
            merged.setdefault((figure["name"], figure["unit"]), []).append(figure)
    return [{**figures[0], "value": statistics.median(f["value"] for f in figures)} for figures in merged.values()]


def write(root, name, command, commit_id, machine_, figures):
    for figure in figures:
        figure.setdefault("against", "")
        figure["value"] = float(f"{figure['value']:.4g}")
    result = {"command": command, "commit": commit_id, "date": now(),
              "machine": machine_, "figures": figures}
    folder = os.path.join(root, "docs", "results")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"{name}.json")
    with open(path + ".part", "w") as f:
        json.dump(result, f, indent=1, ensure_ascii=False)
        f.write("\n")
    os.replace(path + ".part", path)
    return path


def split_isa(name):
    """("gumbel choice", "avx512") of "gumbel choice, avx512"; the second is None where the name ends in no instruction set."""
    head, _, tail = name.rpartition(", ")
    return (head, tail) if tail in ISAS else (name, None)


def met(figure):
    """True, False, or None where the figure has no target."""
    target = TARGET.search(figure["against"])
    if not target:
        return None
    limit = float(target[2])
    return figure["value"] <= limit if target[1] == "<=" else figure["value"] >= limit


def cell(figure):
    if figure is None:
        return ""
    text = f"{figure['value']:,.4g}" if abs(figure["value"]) < 10000 else f"{figure['value']:,.0f}"
    target = TARGET.search(figure["against"])
    if target:
        sense = "≤" if target[1] == "<=" else "≥"
        text += f" ({sense} {target[2]}: {'met' if met(figure) else '**missed**'})"
    return text


def table(result):
    """A result's figures as Markdown: a column for each instruction set where the names end in one."""
    rows = {}
    for figure in result["figures"]:
        head, isa = split_isa(figure["name"])
        rows.setdefault((head, figure["unit"]), {})[isa] = figure
    isas = [isa for isa in ISAS if any(isa in row for row in rows.values())]
    names = {"avx512": "AVX-512", "avx2": "AVX2", "scalar": "scalar"}
    lines = []
    if isas:
        lines += ["| | unit | " + " | ".join(names[i] for i in isas) + " | against |", "|---|---|" + "---:|" * len(isas) + "---|"]
    else:
        lines += ["| | unit | | against |", "|---|---|---:|---|"]
    for (head, unit), row in rows.items():
        against = next(iter(row.values()))["against"]
        against = re.sub(r"(; )?target [<>]= [0-9.]+", "", against)
        cells = [cell(row.get(i)) for i in isas] if isas else [""]
        if None in row:  # the same under every instruction set, as other projects' are
            cells[0] = cell(row[None])
        lines.append(f"| {head} | {unit} | " + " | ".join(cells) + f" | {against} |")
    m = result["machine"]
    where = m if isinstance(m, str) else f"{m['cpu']}, {m['cores']} cores, load {m['load at start']} at the start"
    lines += ["", f"`{result['command']}` at {result['commit'][:12]}{'+dirty' if result['commit'].endswith('+dirty') else ''}, {result['date']}, {where}."]
    return "\n".join(lines)


def rewrite_tables(root):
    """Fills every region `<!-- table: NAME -->` … `<!-- end -->` of docs/benchmarks.md from docs/results/NAME.json."""
    path = os.path.join(root, "docs", "benchmarks.md")
    with open(path) as f:
        page = f.read()

    def fill(match):
        try:
            with open(os.path.join(root, "docs", "results", f"{match[1]}.json")) as f:
                body = table(json.load(f))
        except FileNotFoundError:
            body = f"Not measured yet: `./tools/{'bare-debian DIR' if match[1] == 'bare-debian' else f'bench {match[1]}'}`."
        return f"<!-- table: {match[1]} -->\n{body}\n<!-- end -->"

    filled = re.sub(r"<!-- table: ([a-z0-9-]+) -->\n.*?<!-- end -->", fill, page, flags=re.S)
    with open(path + ".part", "w") as f:
        f.write(filled)
    os.replace(path + ".part", path)
