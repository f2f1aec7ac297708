"""Bad input to watermark-audit: every kind has an error with its place, what could be read is kept, and the verdict says how much that was."""
import gzip
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import stat
import struct
import subprocess
import threading

import pytest

from audit_support import BIN, audit, bare_key, documents, jsonl, result
from detect_inputs_test import tokenizer  # noqa: F401  (a fixture)

CLEAN = {k: v for k, v in os.environ.items() if not k.startswith('COUNTERMARK_')}
GOOD = [{'id': f'g{i}', 'token_ids': [(i * 31 + j * j) % 50000 for j in range(40)]} for i in range(60)]


def coverage(run):
    return result(run)['coverage']


def rle_zstd(pieces):
    """A Zstandard stream of runs of one byte, (byte, count) each: gigabytes in kilobytes."""
    out = bytearray()
    for piece in pieces:
        blocks = [(piece[i:i + 1], 1) for i in range(len(piece))] if isinstance(piece, bytes) else [(piece[0], min(1 << 17, piece[1] - at)) for at in range(0, piece[1], 1 << 17)]
        out += struct.pack('<I', 0xFD2FB528) + bytes([0x00, 0x38])  # no content size, no checksum, window 128 KiB
        for i, (byte, count) in enumerate(blocks):
            header = count << 3 | 1 << 1 | (i + 1 == len(blocks))
            out += struct.pack('<I', header)[:3] + byte
    return bytes(out)


def peak_kib(arguments):
    """Exit status, standard error and the peak memory of a run, in KiB."""
    process = subprocess.Popen([str(a) for a in arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=CLEAN)
    err = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, err, usage.ru_maxrss


@pytest.mark.parametrize('program', ['audit', 'detect'])
def test_a_line_of_two_gigabytes(tmp_path, program):
    first, last = (json.dumps(r).encode() + b'\n' for r in GOOD[:2])
    packed = rle_zstd([first + b'{"token_ids":[1', (b' ', 2 << 30), b']}\n' + last])
    assert len(packed) < 100_000
    path = tmp_path / 'bomb.jsonl.zst'
    path.write_bytes(packed)
    key = bare_key(tmp_path)
    if program == 'audit':
        status, err, peak = peak_kib([BIN / 'watermark-audit', 'dataset', path, '--run', tmp_path / 'run', '--epoch-key', key, '--threads', 2])
        limit, most = 4 << 20, 400 << 10
        assert result(tmp_path / 'run')['documents']['read'] == 2 and coverage(tmp_path / 'run')['records'] == 3
        assert [d['id'] for d in documents(tmp_path / 'run') if 'error' not in d] == ['g0', 'g1']
    else:
        status, err, peak = peak_kib([BIN / 'watermark-detect', path, '--epoch-key', key, '--jsonl', '--records', 3])
        limit, most = 256 << 20, 1 << 20
    assert status == 3 and f'bomb.jsonl.zst:2: byte {len(first)}: the record is longer than {limit} bytes' in err
    assert peak < most, peak


def test_compressed_files_that_break_in_the_middle(tmp_path):
    key = bare_key(tmp_path)
    rng = random.Random(4)
    lines = ''.join(json.dumps({'token_ids': [rng.randrange(50000) for _ in range(100)]}) + '\n' for _ in range(4000)).encode()
    plain = tmp_path / 'plain.jsonl'
    plain.write_bytes(lines)
    gz = gzip.compress(lines)
    zst = subprocess.run(['zstd', '-q', '-c', str(plain)], stdout=subprocess.PIPE, check=True).stdout
    good = jsonl(tmp_path / 'good.jsonl', GOOD)
    for name, packed, broken, damaged in (('cut.jsonl.gz', gz, 'the gzip stream breaks off', 'the gzip stream is damaged'),
                                          ('cut.jsonl.zst', zst, 'the Zstandard stream breaks off', 'the Zstandard stream is damaged')):
        for kind, message in (('cut', broken), ('flipped', damaged)):
            raw = bytearray(packed[:len(packed) // 2] if kind == 'cut' else packed)
            if kind == 'flipped':
                raw[len(raw) // 2:len(raw) // 2 + 64] = bytes(64)
            path = tmp_path / f'{kind}-{name}'
            path.write_bytes(raw)
            run = tmp_path / f'{kind}-{name}-run'
            done = audit(path, good, '--run', run, '--epoch-key', key)
            assert done.returncode == 3 and f'{path}:' in done.err and message in done.err, (name, kind, done.err)
            place = done.err.split(f'{path}:')[1].split(':')
            assert 1000 < int(place[0]) < 4000 and place[1].strip().startswith('byte ')
            got = coverage(run)
            assert not got['complete'] and got['broken_files'] == 1 and got['records'] > 1000 + len(GOOD) and result(run)['verdict'] == 'inconclusive'
            assert [d['id'] for d in documents(run)][-len(GOOD):] == [r['id'] for r in GOOD]  # the files behind it are read


def test_encodings(tmp_path, tokenizer):  # noqa: F811
    model, _ = tokenizer
    key = bare_key(tmp_path)
    folder = tmp_path / 'in'
    folder.mkdir()
    text = 'the rain fell on a dark road and nobody walked there until morning came with bread. ' * 3
    (folder / 'a.txt').write_text(text)
    (folder / 'b.txt').write_text('\ufeff' + text)
    (folder / 'c.txt').write_text(text + 'für', encoding='latin-1')
    (folder / 'd.txt').write_text(text, encoding='utf-16')
    (folder / 'e.txt').write_text(text, encoding='utf-16-le')
    done = audit(folder, '--run', tmp_path / 'run', '--epoch-key', key, '--tokenizer', model)
    assert done.returncode == 3
    assert f'{folder}/c.txt:1: byte {len(text) + 1}: not UTF-8' in done.err
    assert f'{folder}/d.txt:1: byte 0: the file is UTF-16' in done.err and 'iconv -f UTF-16 -t UTF-8' in done.err
    assert f'{folder}/e.txt:1: byte 1: a NUL byte' in done.err
    got = coverage(tmp_path / 'run')
    assert (got['records'], got['unreadable'], got['broken_files']) == (4, 2, 1)
    # Rows in two encodings, as exports put together by hand have them.
    rows = tmp_path / 'rows.csv'
    rows.write_bytes(b'id,text\n' + b''.join(b'%d,%s\n' % (i, (text + 'für').encode('latin-1' if i == 17 else 'utf-8')) for i in range(40)))
    done = audit(rows, '--run', tmp_path / 'rows', '--epoch-key', key, '--tokenizer', model)
    assert done.returncode == 0 and "rows.csv:19: byte" in done.err and "'text': not UTF-8" in done.err
    assert [d['document'] for d in documents(tmp_path / 'rows') if 'error' in d] == [17]


def test_csv_with_line_ends_in_cells_and_quotes_that_nobody_closes(tmp_path):
    key = bare_key(tmp_path)
    ids = ' '.join(str(i * 7) for i in range(30))
    rows = [f'{i},"{ids[:40]}\n{ids[41:]}"' for i in range(50)]
    path = tmp_path / 'in.csv'
    path.write_text('id,token_ids\n' + '\n'.join(rows) + '\n')
    assert audit(path, '--run', tmp_path / 'good', '--epoch-key', key).returncode == 0
    assert [d['line'] for d in documents(tmp_path / 'good')] == [2 + 2 * i for i in range(50)] and all(d['pairs'] == 28 for d in documents(tmp_path / 'good'))
    rows[20] = '20,"never closed'
    path.write_text('id,token_ids\n' + '\n'.join(rows) + '\n')
    done = audit(path, '--run', tmp_path / 'open', '--epoch-key', key)
    assert done.returncode == 0 and 'in.csv:42: byte' in done.err  # one of 50 is lost, not thirty
    assert [d['document'] for d in documents(tmp_path / 'open') if 'error' in d] == [20] and result(tmp_path / 'open')['documents']['read'] == 49
    rows[20] = '20'  # a cell too few
    rows[49] = '49,"never closed'
    path.write_text('id,token_ids\n' + '\n'.join(rows) + '\n')
    done = audit(path, '--run', tmp_path / 'end', '--epoch-key', key, '--min-coverage', 0.97)
    assert done.returncode == 3 and 'the row has 1 cells, and the first row names 2 columns' in done.err and 'its quote is not closed before the end of the file' in done.err


def test_rows_of_separators_take_no_memory(tmp_path):
    path = tmp_path / 'wide.csv.zst'
    path.write_bytes(rle_zstd([b'id,token_ids\n1,2 3 4\n', (b',', 300 << 20), b'\n2,3 4 5\n']))
    status, err, peak = peak_kib([BIN / 'watermark-audit', 'dataset', path, '--run', tmp_path / 'run', '--epoch-key', bare_key(tmp_path), '--token-ids-field', 'token_ids', '--max-record-mib', 512])
    assert status == 3 and 'wide.csv.zst:3: byte 21: the row has 314572801 cells' in err
    assert peak < 900 << 10, peak
    assert result(tmp_path / 'run')['documents']['read'] == 2


def test_deep_json_nul_bytes_and_ids_that_come_twice(tmp_path):
    key = bare_key(tmp_path)
    lines = [json.dumps(r) for r in GOOD]
    lines[5] = '[' * 1_000_000 + ']' * 1_000_000
    lines[6] = '{"token_ids":' + '[' * 1_000_000 + ']' * 1_000_000 + '}'
    lines[7] = '{"x":' * 200_000 + '1' + '}' * 200_000
    lines[8] = '{"x":' + '[' * 1_000_000 + ']' * 1_000_000 + ',"token_ids":[1,2,3]}'  # of no interest, and good JSON
    lines[9] = '{"token_ids":[1,2\0,3]}'
    lines[10] = json.dumps({'id': 'g3', 'token_ids': GOOD[3]['token_ids']})
    path = tmp_path / 'in.jsonl'
    path.write_text('\n'.join(lines) + '\n')
    done = audit(path, '--run', tmp_path / 'run', '--epoch-key', key, '--min-coverage', 0.9)
    assert done.returncode == 0, done.err
    for line in (6, 7, 8, 10):
        assert f'in.jsonl:{line}: byte' in done.err
    got = documents(tmp_path / 'run')
    assert [d['document'] for d in got if 'error' in d] == [5, 6, 7, 9]
    # An id is a name and need not be one alone: number, file and line are. The copy's pairs belong to the first.
    assert [(d['document'], d['line'], d['first_scored'] > 0) for d in got if d['id'] == 'g3'] == [(3, 4, True), (10, 11, False)]
    assert got[3]['pairs'] == got[10]['pairs']


def test_files_that_cannot_be_read(tmp_path):
    key = bare_key(tmp_path)
    folder = tmp_path / 'in'
    folder.mkdir()
    jsonl(folder / 'a.jsonl', GOOD)
    os.mkfifo(folder / 'pipe')  # in a folder, no file to wait for
    (folder / 'again').symlink_to(folder)
    done = audit(folder, '--run', tmp_path / 'run', '--epoch-key', key)
    assert done.returncode == 0 and coverage(tmp_path / 'run')['records'] == len(GOOD)
    (folder / 'loop').symlink_to(folder / 'loop')
    done = audit(folder, '--run', tmp_path / 'run2', '--epoch-key', key)
    assert done.returncode == 2 and f'{folder}/loop' in done.err and 'symbolic links' in done.err
    (folder / 'loop').unlink()
    (folder / 'empty.jsonl').touch()
    done = audit(folder, '--run', tmp_path / 'run3', '--epoch-key', key)
    assert done.returncode == 3 and f'{folder}/empty.jsonl:1: byte 0: the file is empty' in done.err and coverage(tmp_path / 'run3')['broken_files'] == 1
    assert result(tmp_path / 'run3')['documents']['read'] == len(GOOD)
    # A file that gives an error when it is read: this process's memory at 0.
    done = audit(folder / 'a.jsonl', '/proc/self/mem', '--run', tmp_path / 'run4', '--epoch-key', key)
    assert done.returncode == 3 and '/proc/self/mem' in done.err and 'cannot read' in done.err and result(tmp_path / 'run4')['documents']['read'] == len(GOOD)
    if os.geteuid() == 0 and stat.S_IMODE(os.stat(BIN).st_mode) & 1:
        os.chmod(folder / 'a.jsonl', 0)
        for parent in (tmp_path, *tmp_path.parents):
            if not os.stat(parent).st_mode & 1:
                return  # nobody cannot come here
        done = audit(folder / 'a.jsonl', '--run', tmp_path / 'run5', '--epoch-key', key, preexec_fn=lambda: os.setuid(65534))
        assert done.returncode == 2 and 'Permission denied' in done.err


def test_a_named_pipe(tmp_path):
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    data = ''.join(json.dumps(r) + '\n' for r in GOOD)
    writer = threading.Thread(target=lambda: pipe.write_text(data))
    writer.start()
    done = audit(pipe, '--run', tmp_path / 'run', '--epoch-key', bare_key(tmp_path), '--format', 'jsonl')
    writer.join()
    assert done.returncode == 0 and coverage(tmp_path / 'run')['records'] == len(GOOD)
    assert audit('-', '--run', tmp_path / 'run2', '--epoch-key', bare_key(tmp_path), stdin=data).returncode == 0
    assert [d['log10_p'] for d in documents(tmp_path / 'run')] == [d['log10_p'] for d in documents(tmp_path / 'run2')]


@pytest.fixture(scope='module')
def big(tmp_path_factory):
    folder = tmp_path_factory.mktemp('big')
    rng = random.Random(9)
    path = jsonl(folder / 'in.jsonl', [{'token_ids': [rng.randrange(50000) for _ in range(200)]} for _ in range(1600)])
    (folder / 'accounts').write_text(''.join(f'org-{i}\n' for i in range(20)))
    flags = [path, '--epoch-key', bare_key(folder), '--accounts', folder / 'accounts', '--no-progress']
    assert audit(*flags, '--run', folder / 'whole').returncode in (0, 1)
    return folder, flags


def test_a_disk_that_fills_at_any_point(big, tmp_path):
    """A limit on the length of files, at every power of ~2: spilling, first pairs, scores, candidates and results each meet it."""
    folder, flags = big
    run = tmp_path / 'run'
    met = set()
    limit = 100
    while True:
        stopped = subprocess.run([BIN / 'watermark-audit', 'dataset', *map(str, flags), '--run', run, '--threads', '1'], capture_output=True, text=True, env=CLEAN, timeout=60, check=False,
                                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        if stopped.returncode in (0, 1):
            break
        assert stopped.returncode == 3 and 'cannot write' in stopped.stderr and 'start the same command again' in stopped.stderr, (limit, stopped.stderr)
        met.add(next(name for name in ('run.json', 'pairs-', 'firsts-', 'sums-', 'candidates.state', 'documents.jsonl', 'result.json', 'input.json') if name in stopped.stderr))
        assert not (run / 'result.json').exists()
        limit = limit * 7 // 4
    assert {'run.json', 'pairs-'} <= met
    for name in ('result.json', 'documents.jsonl'):
        assert (run / name).read_bytes() == (folder / 'whole' / name).read_bytes()
    # The later phases write less than the first: a directory where the first is done.
    for kept in (('pairs-000.log', 'input.json'), ('pairs-000.log', 'input.json', 'firsts-000.log'), ('pairs-000.log', 'input.json', 'firsts-000.log', 'sums-000.log', 'candidates.state')):
        late = tmp_path / f'late{len(kept)}'
        late.mkdir()
        for name in ('run.json', *kept):
            shutil.copy(folder / 'whole' / name, late / name)
        stopped = subprocess.run([BIN / 'watermark-audit', 'dataset', *map(str, flags), '--run', late, '--threads', '1'], capture_output=True, text=True, env=CLEAN, timeout=60, check=False,
                                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)))
        assert stopped.returncode == 3 and 'cannot write' in stopped.stderr and 'pairs-' not in stopped.stderr, stopped.stderr
        assert audit(*flags, '--run', late).returncode in (0, 1)
        assert (late / 'result.json').read_bytes() == (folder / 'whole' / 'result.json').read_bytes()


def test_an_input_that_changed_between_kill_and_start(big, tmp_path):
    _, flags = big
    path = tmp_path / 'in.jsonl'
    shutil.copy(flags[0], path)
    run = tmp_path / 'run'
    assert audit(path, *flags[1:], '--run', run).returncode in (0, 1)
    done = (run / 'result.json').read_bytes()
    # After the input was read: another length is refused, and the same length with another time is said.
    (run / 'result.json').unlink()
    os.utime(path, ns=(1, 1))
    touched = audit(path, *flags[1:], '--run', run)
    assert touched.returncode in (0, 1) and 'was written to since this run read it' in touched.err and (run / 'result.json').read_bytes() == done
    with open(path, 'a', encoding='utf-8') as f:
        f.write('{"token_ids":[1,2,3,4]}\n')
    grown = audit(path, *flags[1:], '--run', run)
    assert grown.returncode == 2 and f"'{path}' had" in grown.err and 'take another run directory' in grown.err and (run / 'result.json').read_bytes() == done
    # While it was being read: shorter than the segments that are there.
    (run / 'input.json').unlink()
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(''.join(lines[:300]))
    shrunk = audit(path, *flags[1:], '--run', run)
    assert shrunk.returncode == 2 and ('the input has changed since this run began' in shrunk.err or 'shorter than it was' in shrunk.err)


def test_two_runs_on_one_directory(big, tmp_path):
    _, flags = big
    run = tmp_path / 'run'
    command = [BIN / 'watermark-audit', 'dataset', *map(str, flags), '--run', run, '--threads', '1']
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=CLEAN)
    try:
        while not (run / 'pairs-000.log').exists() and first.poll() is None:
            pass
        os.kill(first.pid, signal.SIGSTOP)  # at work, for as long as it takes
        second = audit(*flags, '--run', run)
        assert second.returncode == 2 and 'another process is at work in this run directory' in second.err
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert first.wait() in (0, 1)
    assert audit(*flags, '--run', run).returncode in (0, 1)


def test_run_directories_that_others_wrote(big, tmp_path):
    folder, flags = big
    whole = folder / 'whole'
    for content, says in (('[' * 1_000_000, 'not the options of a run'), ('null', 'not the options of a run'), ('{"format":' + '[' * 300_000 + ']' * 300_000 + '}', 'not the options of a run'), ('{}', 'was not known')):
        run = tmp_path / 'run'
        shutil.copytree(whole, run)
        (run / 'run.json').write_text(content)
        wrong = audit(*flags, '--run', run)
        assert wrong.returncode == 2 and says in wrong.err, (content[:20], wrong.err)
        shutil.rmtree(run)
    for name, content, says in (('run.json', '{"format":1,"kind":7}', 'not the options of a run'), ('run.json', '[' * 1_000_000, 'not the options of a run'),
                                ('run.json', (whole / 'run.json').read_text().replace('"of":1', '"of":"one"'), "'part.of' is no number of a part"),
                                ('run.json', (whole / 'run.json').read_text().replace('"files":[', '"files":[7,'), "'input.files' holds what is no string"),
                                ('input.json', '[]', "no member 'segments'"), ('input.json', '{"segments":' + '9' * 400 + '}', "no member 'segments'")):
        run = tmp_path / 'run'
        shutil.copytree(whole, run)
        (run / name).write_text(content)
        wrong = subprocess.run([BIN / 'watermark-audit', 'merge', run, '--run', tmp_path / 'merged', *map(str, flags[1:])], capture_output=True, text=True, env=CLEAN, check=False)
        assert wrong.returncode == 2 and says in wrong.stderr, (name, content[:40], wrong.stderr)
        shutil.rmtree(run)
    # A log of another format version.
    run = pathlib.Path(shutil.copytree(whole, tmp_path / 'run'))
    raw = bytearray((run / 'firsts-000.log').read_bytes())
    raw[8] = 77
    (run / 'firsts-000.log').write_bytes(raw)
    wrong = audit(*flags, '--run', run)
    assert wrong.returncode == 2 and "firsts-000.log': format version 77, and this program knows" in wrong.err
