"""docs/results/accounts-growth.svg from docs/results/audit.json: whole runs over accounts and over tokens, with the line of least squares."""
import json
import os
import re

NAME = re.compile(r"([0-9,]+) accounts x ([0-9]+) tokens, whole run, one thread, (\w+)")
COLOURS = {"avx512": "#1f6f8b", "avx2": "#b8621b", "scalar": "#555"}
LABELS = {"avx512": "AVX-512", "avx2": "AVX2", "scalar": "scalar"}
WIDTH, HEIGHT, LEFT, TOP = 330, 220, 48, 34


def points_of(figures):
    """{"accounts" or "tokens": {instruction set: [(x, seconds)]}}"""
    panels = {"accounts": {}, "tokens": {}}
    for figure in figures:
        match = NAME.match(figure["name"])
        if not match:
            continue
        accounts, tokens, isa = int(match[1].replace(",", "")), int(match[2]), match[3]
        if tokens == 400:
            panels["accounts"].setdefault(isa, []).append((accounts, figure["value"]))
        if accounts == 250000:
            panels["tokens"].setdefault(isa, []).append((tokens, figure["value"]))
    return panels


def fit(points):
    """Least squares a + b·x."""
    n = len(points)
    mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    b = sum((x - mx) * (y - my) for x, y in points) / sum((x - mx) ** 2 for x, _ in points)
    return my - b * mx, b


def panel(at, title, unit, series):
    most_x = max(x for points in series.values() for x, _ in points)
    most_y = 1.1 * max(y for points in series.values() for _, y in points)
    px, py = lambda x: at + LEFT + WIDTH * x / most_x, lambda y: TOP + HEIGHT * (1 - y / most_y)
    out = [f'<text x="{at + LEFT}" y="18" font-weight="bold">{title}</text>',
           f'<path d="M{at + LEFT} {TOP}V{TOP + HEIGHT}H{at + LEFT + WIDTH}" fill="none" stroke="currentColor"/>']
    for i in range(5):
        x, y = most_x * i / 4, most_y * i / 4
        out.append(f'<text x="{px(x):.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{x:,.0f}</text><text x="{at + LEFT - 6}" y="{py(y) + 4:.1f}" text-anchor="end">{y:.3g}</text>')
    out.append(f'<text x="{at + LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 34}" text-anchor="middle">{unit}</text>')
    for row, (isa, points) in enumerate(series.items()):
        colour = COLOURS[isa]
        a, b = fit(points)
        out.append(f'<path d="M{px(0):.1f} {py(a):.1f}L{px(most_x):.1f} {py(a + b * most_x):.1f}" stroke="{colour}" fill="none"/>')
        out += [f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="3.5" fill="{colour}"><title>{x:,}: {y:.3g} s</title></circle>' for x, y in points]
        off = max(abs(y - a - b * x) / y for x, y in points)
        out.append(f'<text x="{at + LEFT + 12}" y="{TOP + 14 + 16 * row}" fill="{colour}">{LABELS[isa]}: at most {100 * off:.0f} % off the line</text>')
    return out


def draw(root):
    folder = os.path.join(root, "docs", "results")
    try:
        with open(os.path.join(folder, "audit.json")) as f:
            panels = points_of(json.load(f)["figures"])
    except FileNotFoundError:
        return
    if any(len(points) < 2 for series in panels.values() for points in series.values()) or not all(panels.values()):
        return
    step = WIDTH + LEFT + 30
    body = panel(0, "seconds, 400 tokens", "accounts", panels["accounts"]) + panel(step, "seconds, 250,000 accounts", "tokens", panels["tokens"])
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * step} {TOP + HEIGHT + 44}" font-family="sans-serif" font-size="12" role="img" aria-label="Seconds of a whole run over accounts and tokens">',
           f'<rect width="{2 * step}" height="{TOP + HEIGHT + 44}" fill="#fff"/><g color="#222" fill="#222">', *body, "</g></svg>"]
    path = os.path.join(folder, "accounts-growth.svg")
    with open(path + ".part", "w") as f:
        f.write("\n".join(svg) + "\n")
    os.replace(path + ".part", path)
