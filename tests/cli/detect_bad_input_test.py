"""Files that are not what they say, and levels that are none: watermark-detect names the place, reads the rest, and counts."""
import json
import os
import subprocess
import threading

import pytest

from detect_inputs_test import prose, tokenizer  # noqa: F401  (a fixture)
from detect_support import bare_key, jsonl, lines, run

GOOD = [{'id': f'g{i}', 'token_ids': [(i * 31 + j * j) % 50000 for j in range(40)]} for i in range(30)]


@pytest.mark.parametrize('level', ['nan', '-nan', 'inf', '-inf', '0', '2', '-1', '0x', ''])
def test_levels_that_are_none(tmp_path, level):
    path = jsonl(tmp_path / 'in.jsonl', GOOD)
    result = run(path, '--epoch-key', bare_key(tmp_path), f'--alpha={level}')
    assert result.returncode == 2 and '--alpha' in result.err.splitlines()[0] and result.out == ''
    config = tmp_path / 'c.toml'
    config.write_text(f'alpha = {level or "nan"}\n')
    result = run(path, '--epoch-key', bare_key(tmp_path), '--config', config)
    assert result.returncode == 2 and result.out == ''
    foreign = tmp_path / 'f.json'
    foreign.write_text('{"vocab_size":50257}')
    assert run(path, '--format', 'hf-kgw', '--format-config', foreign, f'--alpha={level}').returncode == 2


def test_encodings(tmp_path, tokenizer):  # noqa: F811
    model, _ = tokenizer
    key = bare_key(tmp_path)
    text = prose(1, 80)
    cases = {'latin.txt': ((text + 'für').encode('latin-1'), f'latin.txt:1: byte {len(text) + 1}: not UTF-8'), 'wide.txt': (text.encode('utf-16'), 'wide.txt:1: byte 0: the file is UTF-16'),
             'bare.txt': (text.encode('utf-16-le'), 'bare.txt:1: byte 1: a NUL byte'), 'four.jsonl': (json.dumps({'text': text}).encode('utf-32'), 'the file is UTF-32')}
    for name, (content, says) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        (tmp_path / 'good.txt').write_text(text)
        result = run(path, tmp_path / 'good.txt', '--epoch-key', key, '--tokenizer', model, '--jsonl')
        assert result.returncode == 3 and says in result.err, (name, result.err)
        assert [r['scored'] > 20 for r in lines(result) if r['id'].endswith('good.txt')] == [True]
        assert run(path, '--epoch-key', key, '--tokenizer', model).returncode in (2, 3)  # never "no evidence"
    rows = tmp_path / 'rows.csv'
    rows.write_bytes(b'id,text\n' + b''.join(b'%d,"%s\n%s"\n' % (i, text.encode(), 'für'.encode('latin-1' if i == 3 else 'utf-8')) for i in range(30)) + b'30,"open\n')
    result = run(rows, '--epoch-key', key, '--tokenizer', model, '--json')
    got = json.loads(result.out)
    assert result.returncode == 3 and got['coverage']['records'] == 31 and got['coverage']['unreadable'] == 2
    assert [(e['line'], e['message'][:20]) for e in got['errors']] == [(8, "'text': not UTF-8; c"), (62, 'cell 2: its quote is')]


def test_json_that_is_deep_and_streams_that_break(tmp_path):
    key = bare_key(tmp_path)
    rows = [json.dumps(r) for r in GOOD]
    rows[3] = '[' * 1_000_000 + ']' * 1_000_000
    rows[4] = '{"a":' * 300_000
    path = tmp_path / 'in.jsonl'
    path.write_text('\n'.join(rows) + '\n')
    result = run(path, '--epoch-key', key, '--jsonl')
    assert result.returncode == 3 and 'in.jsonl:4: byte' in result.err and 'in.jsonl:5: byte' in result.err  # 28 of 30 are below 0.95
    assert [r['id'] for r in lines(result) if 'error' not in r] == [f'g{i}' for i in range(30) if i not in (3, 4)]
    big = jsonl(tmp_path / 'big.jsonl', [{'id': i, 'token_ids': [(i * 7919 + j * j * 31) % 50000 for j in range(60)]} for i in range(3000)])
    subprocess.run(['zstd', '-q', str(big)], check=True)
    raw = (tmp_path / 'big.jsonl.zst').read_bytes()
    for kind, content in (('breaks off', raw[:len(raw) // 2]), ('is damaged', raw[:len(raw) // 2] + bytes(64) + raw[len(raw) // 2 + 64:])):
        (tmp_path / 'big.jsonl.zst').write_bytes(content)
        result = run(tmp_path / 'big.jsonl.zst', '--epoch-key', key, '--jsonl')
        assert result.returncode == 3 and f'the Zstandard stream {kind}' in result.err and 'the input is incomplete' in result.err
        assert 200 < len(lines(result)) < 3000 and all('error' not in r for r in lines(result))


def test_links_and_pipes(tmp_path):
    key = bare_key(tmp_path)
    folder = tmp_path / 'in'
    folder.mkdir()
    jsonl(folder / 'a.jsonl', GOOD)
    os.mkfifo(folder / 'pipe')
    (folder / 'round').symlink_to(folder)
    assert len(lines(run(folder, '--epoch-key', key, '--jsonl'))) == len(GOOD)
    (folder / 'loop').symlink_to(folder / 'loop')
    result = run(folder, '--epoch-key', key)
    assert result.returncode == 2 and f'{folder}/loop' in result.err and 'symbolic links' in result.err
    writer = threading.Thread(target=lambda: (folder / 'pipe').write_text(''.join(json.dumps(r) + '\n' for r in GOOD)))
    writer.start()
    result = run(folder / 'pipe', '--format', 'jsonl', '--epoch-key', key, '--jsonl', '--records', len(GOOD))
    writer.join()
    assert len(lines(result)) == len(GOOD)
    result = run(folder / 'a.jsonl', '/proc/self/mem', '--epoch-key', key, '--jsonl', '--records', len(GOOD))
    assert result.returncode == 3 and 'cannot read' in result.err and len(lines(result)) == len(GOOD)
