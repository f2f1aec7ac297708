"""What tools/bench does once everything is installed and built."""
import argparse
import os
import shutil
import sys
import tempfile

import audit
import growth_plot
import parts
import results
from parts import say
from programs import Programs
from serving import serving

PARTS = {**parts.PARTS, "audit": audit.audit, "serving": serving}


def main():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser = argparse.ArgumentParser(prog="tools/bench", description="Measures this machine and writes docs/results/PART.json and docs/benchmarks.md's tables.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} or all (default: all)")
    parser.add_argument("--allow-dirty", action="store_true", help="measure a working tree that differs from its commit; the result says so")
    parser.add_argument("--quick", action="store_true", help="one short round of each, to see that it works; nothing is written")
    parser.add_argument("--tables", action="store_true", help="rewrite the tables from the results there are, and measure nothing")
    parser.add_argument("--build", default=os.path.join(root, "build"), help="build folder (default: build)")
    args = parser.parse_args()
    if args.tables:
        growth_plot.draw(root)
        return results.rewrite_tables(root)
    chosen = list(PARTS) if not args.parts or "all" in args.parts else args.parts
    for part in chosen:
        if part not in PARTS:
            parser.error(f"unknown part '{part}' ({', '.join(PARTS)}, all)")
    commit = None if args.quick else results.commit(root, args.allow_dirty)
    machine = results.machine()
    if machine["load at start"] > 0.5:
        say(f"warning: this machine is busy (load {machine['load at start']}); the figures will say so")
    cache = os.environ["COUNTERMARK_CACHE"]
    folder = tempfile.mkdtemp(prefix="countermark-bench-")
    missed = 0
    try:
        programs = Programs(root, args.build, cache, folder)
        for part in chosen:
            machine["load at start"] = round(os.getloadavg()[0], 2)
            figures = PARTS[part](programs, args.quick)
            for figure in figures:
                figure.setdefault("against", "")
                ok = results.met(figure)
                missed += ok is False
                print(f"{figure['value']:12.4g} {figure['unit']:10s} {'' if ok is None else 'met   ' if ok else 'MISSED'} {figure['name']}"
                      + (f"   [{figure['against']}]" if figure["against"] else ""), flush=True)
            if not args.quick:
                say("wrote " + os.path.relpath(results.write(root, part, f"./tools/bench {part}", commit, dict(machine), figures), root))
    finally:
        shutil.rmtree(folder)
    if not args.quick:
        growth_plot.draw(root)
        results.rewrite_tables(root)
    say("every target met" if not missed else f"{missed} figures miss their target")
    return 0


if __name__ == "__main__":
    sys.exit(main())
