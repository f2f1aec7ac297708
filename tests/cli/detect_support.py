"""What the tests of watermark-detect share: running it, and files to run it on."""
import json
import os
import pathlib
import subprocess
import sys

SOURCE = pathlib.Path(os.environ['COUNTERMARK_SOURCE'])
BIN = pathlib.Path(os.environ['COUNTERMARK_BIN'])
sys.path.insert(0, str(SOURCE / 'tests' / 'oracle'))

import mark_oracle  # noqa: E402  (needs the path above)

KEY = bytes(range(32))


def run(*arguments, stdin=None, env=None, program='watermark-detect', **options):
    clean = {k: v for k, v in os.environ.items() if not k.startswith('COUNTERMARK_') and k != 'NO_COLOR'}
    if isinstance(stdin, str):
        stdin = stdin.encode()
    options.setdefault('stdout', subprocess.PIPE)
    if stdin is None:
        options.setdefault('stdin', subprocess.DEVNULL)
    result = subprocess.run([BIN / program, *map(str, arguments)], input=stdin, stderr=subprocess.PIPE, env={**clean, **(env or {})}, timeout=120,
                            check=False, **options)
    result.err = result.stderr.decode()
    result.out = result.stdout.decode() if result.stdout is not None else ''
    return result


def lines(result):
    return [json.loads(line) for line in result.out.splitlines()]


def bare_key(folder, key=KEY):
    path = folder / 'bare.key'
    path.write_text(key.hex() + '\n')
    path.chmod(0o600)
    return path


def exported_key(folder, key=KEY, **changes):
    """A key with its record beside it, as watermark-keys export writes it."""
    path = folder / 'epoch.key'
    path.write_text(key.hex() + '\n')
    path.chmod(0o600)
    record = {'channels': [{'name': 'base', 'weight': 32768}, {'name': 'account', 'weight': 32768}], 'delta': 2, 'epoch': '2026-11',
              'first_use': '2026-11-01T00:00:00Z', 'format': 1, 'green': 64, 'last_use': '2026-11-30T23:59:59Z', 'layers': 30, 'low_entropy': 'floor',
              'scheme': 'gumbel', 'tenant': 'acme', 'tokenizer_sha256': '0' * 64, 'vocabulary': 50000, 'window': 2} | changes
    (folder / 'epoch.key.json').write_text(json.dumps(record, sort_keys=True, separators=(',', ':')))
    return path


def jsonl(path, records):
    path.write_text(''.join(json.dumps(r) + '\n' for r in records))
    return path
