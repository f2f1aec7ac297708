"""What the tests of watermark-audit share."""
import json
import os
import pathlib
import sys

SOURCE = pathlib.Path(os.environ['COUNTERMARK_SOURCE'])
sys.path.insert(0, str(SOURCE / 'tests' / 'cli'))

from detect_support import BIN, KEY, bare_key, exported_key, jsonl, mark_oracle, run  # noqa: E402,F401  (needs the path above)


def audit(*arguments, **options):
    return run('dataset', *arguments, program='watermark-audit', **options)


def merge(*arguments, **options):
    return run('merge', *arguments, program='watermark-audit', **options)


def result(folder):
    return json.loads((folder / 'result.json').read_text())


def documents(folder):
    return [json.loads(line) for line in (folder / 'documents.jsonl').read_text().splitlines()]


def corpus(epoch, rng, count=40, marked=8, account='org-2', length=120):
    """Documents of which some are marked, some empty, some copies, near copies and patchworks of others."""
    out = [epoch.write(account, length, 50000, rng) if i % (count // marked) == 3 else [rng.randrange(50000) for _ in range(rng.randrange(0, length))] for i in range(count)]
    out += [out[3], out[1], out[1][:len(out[1]) // 2] + out[3][:60], [5, 6, 7] * 30, out[3][:50] + [9] + out[3][51:], []]
    return out
