"""Kills, full disks, damaged and foreign files, inputs that are broken: what was done is kept, and the result is the same bytes or an error with its place."""
import gzip
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time

import pytest

from audit_support import BIN, KEY, audit, bare_key, documents, exported_key, jsonl, mark_oracle, merge, result

CLEAN = {k: v for k, v in os.environ.items() if not k.startswith('COUNTERMARK_')}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """About 3 MB, a few segments, some of the documents marked and some copied."""
    folder = tmp_path_factory.mktemp('data')
    rng = random.Random(3)
    epoch = mark_oracle.Epoch(KEY)
    marked = [epoch.write('org-1', 80, 50000, rng) for _ in range(4)]
    texts = [marked[i % 4] if i % 500 == 7 else [rng.randrange(50000) for _ in range(200)] for i in range(2600)]
    texts[900] = texts[5]
    path = jsonl(folder / 'in.jsonl', [{'id': str(i), 'token_ids': t} for i, t in enumerate(texts)])
    (folder / 'accounts').write_text(''.join(f'org-{i}\n' for i in range(300)))
    flags = [path, '--epoch-key', bare_key(folder), '--accounts', folder / 'accounts', '--no-progress']
    assert audit(*flags, '--run', folder / 'whole').returncode in (0, 1)
    return folder, flags


def same(run, whole):
    return all((run / name).read_bytes() == (whole / name).read_bytes() for name in ('result.json', 'documents.jsonl'))


def test_threads_and_memory_change_no_byte(data):
    folder, flags = data
    for threads, memory in ((1, 256), (5, 1024)):
        run = folder / f'threads{threads}'
        audit(*flags, '--run', run, '--threads', threads, '--memory', memory)
        assert same(run, folder / 'whole')


def test_killed_at_any_moment_and_started_again(data):
    folder, flags = data
    rng = random.Random(17)
    started = time.monotonic()
    audit(*flags, '--run', folder / 'timed', '--threads', 2)
    full = time.monotonic() - started
    deadline = time.monotonic() + 8
    kills = 0
    for attempt in range(100):
        run = folder / f'killed{attempt}'
        while time.monotonic() < deadline or attempt == 0:
            process = subprocess.Popen([BIN / 'watermark-audit', 'dataset', *map(str, flags), '--run', run, '--threads', str(rng.choice((1, 2, 3)))],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=CLEAN)
            time.sleep(rng.random() * full * 0.9)
            process.kill()
            process.wait()
            if process.returncode != -signal.SIGKILL:
                break
            kills += 1
        assert audit(*flags, '--run', run).returncode in (0, 1)
        assert same(run, folder / 'whole')
        shutil.rmtree(run)
        if time.monotonic() > deadline:
            break
    assert kills >= 3


def test_a_full_disk_keeps_what_is_done(data):
    folder, flags = data
    run = folder / 'full'
    arguments = [BIN / 'watermark-audit', 'dataset', *map(str, flags), '--run', run, '--threads', '1']
    stopped = subprocess.run(arguments, capture_output=True, text=True, env=CLEAN, timeout=60, check=False,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4_500_000, 4_500_000)))
    assert stopped.returncode == 3
    assert 'pairs-000.log' in stopped.stderr and 'cannot write' in stopped.stderr and 'start the same command again' in stopped.stderr
    before = (run / 'pairs-000.log').stat().st_size
    assert 2_000_000 < before <= 4_500_000
    assert audit(*flags, '--run', run).returncode in (0, 1)
    assert same(run, folder / 'whole')


def test_a_cut_shard_is_mended_and_a_damaged_one_is_an_error(data):
    folder, flags = data
    for name in ('pairs', 'firsts', 'sums'):
        run = folder / f'cut-{name}'
        shutil.copytree(folder / 'whole', run)
        log = run / f'{name}-000.log'
        os.truncate(log, log.stat().st_size * 2 // 3)
        mended = audit(*flags, '--run', run)
        assert mended.returncode in (0, 1) and f'{name}-000.log: cut off at byte' in mended.err and same(run, folder / 'whole')

        raw = bytearray(log.read_bytes())
        raw[len(raw) // 2] ^= 1
        log.write_bytes(raw)
        for kept in ('result.json', 'documents.jsonl') + (('sums-000.log',) if name == 'pairs' else ()):
            (run / kept).unlink()
        damaged = audit(*flags, '--run', run)
        assert damaged.returncode == 2 and f"{name}-000.log': byte" in damaged.err and 'remove this file and start again' in damaged.err, damaged.err
        log.unlink()
        assert audit(*flags, '--run', run).returncode in (0, 1)
        assert same(run, folder / 'whole')


def test_a_directory_of_another_key_version_or_input(data, tmp_path):
    folder, flags = data
    run = tmp_path / 'run'
    shutil.copytree(folder / 'whole', run)
    (tmp_path / 'other').mkdir()
    other = bare_key(tmp_path / 'other', bytes(32))
    wrong = audit(flags[0], '--epoch-key', other, *flags[3:], '--run', run)
    assert wrong.returncode == 2 and 'made with other options: key_fingerprint was' in wrong.err
    wrong = audit(*flags, '--run', run, '--limit', 5)
    assert wrong.returncode == 2 and 'input.limit was 0 and is 5' in wrong.err
    options = json.loads((run / 'run.json').read_text())
    assert KEY.hex() not in (run / 'run.json').read_text()
    (run / 'run.json').write_text(json.dumps(options | {'format': 9}, sort_keys=True, separators=(',', ':')) + '\n')
    wrong = audit(*flags, '--run', run)
    assert wrong.returncode == 2 and 'format was 9 and is 1' in wrong.err
    # A shard of another run in this one.
    shutil.rmtree(run)
    shutil.copytree(folder / 'whole', run)
    small = jsonl(tmp_path / 'small.jsonl', [{'token_ids': list(range(50))}])
    audit(small, *flags[1:], '--run', tmp_path / 'small')
    shutil.copy(tmp_path / 'small' / 'pairs-000.log', run / 'pairs-000.log')
    wrong = audit(*flags, '--run', run)
    assert wrong.returncode == 2 and "pairs-000.log': this file belongs to a run with other options" in wrong.err


def test_an_input_that_changed_meanwhile(data, tmp_path):
    _, flags = data
    path = tmp_path / 'in.jsonl'
    shutil.copy(flags[0], path)
    assert audit(path, *flags[1:], '--run', tmp_path / 'run').returncode in (0, 1)
    (tmp_path / 'run' / 'input.json').unlink()  # as if it had been killed just before
    raw = bytearray(path.read_bytes())
    raw[2_000_000:].index(b'1')
    at = raw.index(b'1', 2_000_000)
    raw[at] = ord('2')
    path.write_bytes(raw)
    wrong = audit(path, *flags[1:], '--run', tmp_path / 'run')
    assert wrong.returncode == 2 and 'the input has changed since this run began' in wrong.err and 'in.jsonl:' in wrong.err


def test_two_at_once(data):
    folder, flags = data
    run = folder / 'held'
    shutil.copytree(folder / 'whole', run)
    import fcntl
    with open(run / 'lock', 'w', encoding='utf-8') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = audit(*flags, '--run', run)
    assert refused.returncode == 2 and 'another process is at work' in refused.err


def test_broken_inputs_are_told_and_counted(tmp_path):
    key = bare_key(tmp_path)
    good = [{'token_ids': [i * 7 + j for j in range(30)]} for i in range(40)]
    lines = [json.dumps(r) for r in good]
    lines[3] = '{"token_ids": [1, 2, "x"]}'
    lines[5] = '{"text": "no ids"}'
    lines[7] = '\xff\xfe not utf-8'
    lines[9] = '[' * 100_000
    path = tmp_path / 'in.jsonl'
    path.write_bytes('\n'.join(lines).encode('latin-1'))
    done = audit(path, '--run', tmp_path / 'run', '--epoch-key', key)
    assert done.returncode == 3  # 36 of 40 is below 0.95
    assert 'in.jsonl:4: byte' in done.err and "in.jsonl:6: byte" in done.err and "no member 'token_ids'" in done.err
    got = result(tmp_path / 'run')
    assert got['verdict'] == 'inconclusive' and got['coverage']['unreadable'] == 4 and got['coverage']['share'] == 0.9 and len(got['errors']) == 4
    assert [d['document'] for d in documents(tmp_path / 'run') if 'error' in d] == [3, 5, 7, 9]
    again = audit(path, '--run', tmp_path / 'run', '--epoch-key', key, '--min-coverage', 0.5)
    assert again.returncode == 0 and result(tmp_path / 'run')['verdict'] == 'no evidence'

    packed = gzip.compress(''.join(json.dumps({'token_ids': [(i * 31 + j * j) % 50000 for j in range(100)]}) + '\n' for i in range(3000)).encode())
    (tmp_path / 'broken.jsonl.gz').write_bytes(packed[:len(packed) // 2])
    done = audit(tmp_path / 'broken.jsonl.gz', path, '--run', tmp_path / 'run2', '--epoch-key', key, '--min-coverage', 0.5)
    assert done.returncode == 3 and 'the gzip stream breaks off' in done.err
    got = result(tmp_path / 'run2')
    assert not got['coverage']['complete'] and got['coverage']['broken_files'] == 1 and got['coverage']['records'] > 1000 and got['pooled']['pairs'] > 1000

    long_line = tmp_path / 'long.jsonl'
    with open(long_line, 'wb') as f:  # the middle line is 40 MB, and --max-record-mib 1: it is never held whole
        f.write(json.dumps(good[0]).encode() + b'\n{"token_ids":[')
        for _ in range(40):
            f.write(b'1,' * 500_000)
        f.write(b'1]}\n' + json.dumps(good[1]).encode() + b'\n')
    done = audit(long_line, '--run', tmp_path / 'run3', '--epoch-key', key, '--max-record-mib', 1)
    assert done.returncode == 3 and 'long.jsonl:2: byte' in done.err and 'longer than 1048576 bytes' in done.err
    assert result(tmp_path / 'run3')['documents']['read'] == 2


def test_usage_and_plan(tmp_path):
    key = bare_key(tmp_path)
    path = jsonl(tmp_path / 'in.jsonl', [{'token_ids': list(range(100))}] * 5)
    assert audit(path, '--epoch-key', key).returncode == 2
    assert audit(path, '--run', tmp_path / 'r').returncode == 2
    assert audit(path, '--run', tmp_path / 'r', '--epoch-key', key, '--part', '3/2').returncode == 2
    assert audit(path, '--run', tmp_path / 'r', '--epoch-key', key, '--requests', path).returncode == 2
    for option in ('--alpha', '--fdr', '--confidence', '--min-coverage'):
        assert audit(path, '--run', tmp_path / 'r', '--epoch-key', key, option, 'nan').returncode == 2
    (tmp_path / 'twice').write_text('a\nb\na\n')
    twice = audit(path, '--run', tmp_path / 'r', '--epoch-key', key, '--accounts', tmp_path / 'twice')
    assert twice.returncode == 2 and "'a' is named twice" in twice.err
    plan = audit(path, '--epoch-key', key, '--dry-run')
    assert plan.returncode == 0 and 'nothing was written' in plan.out and not (tmp_path / 'r').exists()
    empty = audit(jsonl(tmp_path / 'empty.jsonl', []), '--run', tmp_path / 'r2', '--epoch-key', key)
    assert empty.returncode == 3
    short = audit(jsonl(tmp_path / 'short.jsonl', [{'token_ids': [1, 2]}]), '--run', tmp_path / 'r3', '--epoch-key', key)
    assert short.returncode == 3 and result(tmp_path / 'r3')['verdict'] == 'inconclusive'
    unfinished = merge(tmp_path / 'r9', '--run', tmp_path / 'm', '--epoch-key', key)
    assert unfinished.returncode == 2


def test_parts_that_read_other_fields_are_no_parts_of_one_input(tmp_path):
    key = bare_key(tmp_path)
    path = jsonl(tmp_path / 'in.jsonl', [{'token_ids': list(range(100)), 'other': list(range(50, 150))}])
    for part, field in (('1/2', 'token_ids'), ('2/2', 'other')):
        assert audit(path, '--run', tmp_path / part[0], '--epoch-key', key, '--part', part, '--token-ids-field', field).returncode == 0
    mixed = merge(tmp_path / '1', tmp_path / '2', '--run', tmp_path / 'm', '--epoch-key', key)
    assert mixed.returncode == 2 and 'content_field' in mixed.err
