"""docs/robustness.md's tables, made from docs/results/robustness.json and from nothing else."""
import json
import os
import re

POWER = (("ours, gumbel", "gumbel", "gumbel"), ("ours, tournament", "tournament", "tourna-ment"), ("ours, partition", "partition", "parti-tion"),
         ("ours, gumbel-accounts", "gumbel-accounts", "gumbel, half of it"), ("transformers, KGW", "hf-kgw", "KGW: trans-formers"), ("ours, --format hf-kgw", "hf-kgw", "KGW: ours"),
         ("transformers, SynthID, Bayesian", "hf-synthid", "SynthID: trans-formers"), ("SynthID, mean g-value, normal p", "hf-synthid", "SynthID: mean g"),
         ("ours, --format hf-synthid", "hf-synthid", "SynthID: ours"))
VIEWS = tuple((f"ours, {scheme}{view}", scheme, f"{scheme}, {'cleaned' if view else 'raw'}") for scheme in ("gumbel", "tournament", "partition") for view in ("", ", cleaned view"))


def lines_of(figures, columns, cell, edits=None):
    found = {(f["detector"], f["set"], f["edit"], f["level"]): f for f in figures}
    columns = [c for c in columns if any((c[0], c[1]) == key[:2] for key in found)]
    order = list(dict.fromkeys((f["edit"], f["level"]) for f in figures))
    lines = ["| edit | | " + " | ".join(head for _, _, head in columns) + " |", "|---|---|" + "---:|" * len(columns)]
    for edit, level in order:
        cells = [found.get((detector, of, edit, level)) for detector, of, _ in columns]
        if any(cells) and (edits is None or edit in edits):
            lines.append(f"| {edit} | {level} | " + " | ".join("" if f is None else cell(f) for f in cells) + " |")
    return lines


def share(f):
    return f"{100 * f['found'] / f['of']:.0f}"


def body(result, name):
    figures = result["figures"]
    if name == "power":
        lines = lines_of([f for f in figures if f["set"] != "unmarked"], POWER, share)
    elif name == "views":
        lines = lines_of([f for f in figures if f["set"] != "unmarked"], VIEWS, share, ("homoglyphs", "zero-width spaces", "homoglyphs and zero-width spaces"))
    else:
        columns = [(d, "unmarked", head) for d, _, head in POWER if d != "ours, gumbel-accounts"]
        lines = lines_of(figures, columns, lambda f: f"{f['found']}, {f['at_1e-2']}")
    sizes = sorted({f["of"] for f in figures})
    return "\n".join([*lines, "", f"{' or '.join(map(str, sizes))} texts a cell. `{result['command']}` at {result['commit'][:12]}"
                      f"{'+dirty' if result['commit'].endswith('+dirty') else ''}, {result['date']}, transformers {result['texts']['transformers']}."])


def rewrite(root):
    path = os.path.join(root, "docs", "robustness.md")
    with open(path) as f:
        page = f.read()
    try:
        with open(os.path.join(root, "docs", "results", "robustness.json")) as f:
            result = json.load(f)
    except FileNotFoundError:
        result = None

    def fill(match):
        return f"<!-- table: {match[1]} -->\n{body(result, match[1]) if result else 'Not measured yet: `./tools/robustness`.'}\n<!-- end -->"

    filled = re.sub(r"<!-- table: ([a-z]+) -->\n.*?<!-- end -->", fill, page, flags=re.S)
    with open(path + ".part", "w") as f:
        f.write(filled)
    os.replace(path + ".part", path)
    return 0
