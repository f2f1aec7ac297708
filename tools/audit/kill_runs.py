#!/usr/bin/env python3
"""Kills watermark-audit at random moments and goes on, many times; every run that reaches its end must give the bytes of one that was never disturbed.

    build/venv/bin/python3 tools/audit/kill_runs.py --bin build/bin --kills 200 --megabytes 20 --out docs/results/audit-kills.json
"""
import argparse
import hashlib
import json
import os
import pathlib
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument('--bin', type=pathlib.Path, required=True)
    arguments.add_argument('--kills', type=int, default=200)
    arguments.add_argument('--megabytes', type=int, default=20)
    arguments.add_argument('--accounts', type=int, default=64)
    arguments.add_argument('--seed', type=int, default=1)
    arguments.add_argument('--out', type=pathlib.Path)
    options = arguments.parse_args()
    rng = random.Random(options.seed)
    work = pathlib.Path(tempfile.mkdtemp(prefix='audit-kills-'))
    data = work / 'in.jsonl'
    size = documents = 0
    with open(data, 'w', encoding='utf-8') as f:
        copies = [[rng.randrange(50000) for _ in range(150)] for _ in range(20)]
        while size < options.megabytes * 1_000_000:
            ids = rng.choice(copies) if rng.random() < 0.05 else [rng.randrange(50000) for _ in range(rng.randrange(20, 400))]
            size += f.write(json.dumps({'id': documents, 'token_ids': ids}, separators=(',', ':')) + '\n')
            documents += 1
    (work / 'accounts').write_text(''.join(f'org-{i}\n' for i in range(options.accounts)))
    (work / 'key').write_text(bytes(range(32)).hex() + '\n')
    (work / 'key').chmod(0o600)
    program = options.bin / 'watermark-audit'

    def command(run, threads):
        return [program, 'dataset', data, '--run', run, '--epoch-key', work / 'key', '--accounts', work / 'accounts', '--threads', str(threads), '--no-progress']

    def digest(run):
        return [hashlib.sha256((run / name).read_bytes()).hexdigest() for name in ('result.json', 'documents.jsonl')]

    def quiet(argv):
        return subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)

    start = time.monotonic()
    if quiet(command(work / 'whole', 2)).returncode not in (0, 1):
        sys.exit('the undisturbed run failed')
    full = time.monotonic() - start
    want = digest(work / 'whole')
    kills = runs = 0
    by_phase = {}
    while kills < options.kills:
        run = work / f'run{runs}'
        span = full
        for _ in range(rng.randrange(1, 12)):
            process = subprocess.Popen(command(run, rng.choice((1, 2, 3))), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rng.random() * span)
            process.kill()
            if process.wait() == -signal.SIGKILL:
                kills += 1
                span = min(full, span * 1.1)
                there = [name for name in ('result.json', 'documents.jsonl', 'candidates.state', 'sums-000.log', 'firsts-000.log', 'input.json', 'pairs-000.log', 'run.json')
                         if (run / name).exists()]
                by_phase[there[0] if there else 'nothing'] = by_phase.get(there[0] if there else 'nothing', 0) + 1
            else:
                span *= 0.9  # it was over before: what is left of a run takes less than the whole
        end = quiet(command(run, rng.choice((1, 2, 3))))
        if end.returncode not in (0, 1) or digest(run) != want:
            sys.exit(f'run {runs} after {kills} kills differs or failed ({end.returncode}): {end.stderr.decode()}; kept in {run}')
        shutil.rmtree(run)
        runs += 1
    shutil.rmtree(work)
    result = {'command': ' '.join(['tools/audit/kill_runs.py', *[a for a in sys.argv[1:]]]), 'bytes': size, 'documents': documents, 'accounts': options.accounts,
              'kills': kills, 'runs_brought_to_their_end': runs, 'different': 0, 'furthest_file_when_killed': by_phase, 'undisturbed_seconds': round(full, 2),
              'machine': f'{platform.machine()}, {os.cpu_count()} cores'}
    text = json.dumps(result, indent=1) + '\n'
    print(text, end='')
    if options.out:
        options.out.write_text(text)


if __name__ == '__main__':
    main()
