"""Bad input to watermark-detect: each has a clear error with its place, a count, and an exit status."""
import gzip
import hashlib
import io
import json
import os
import random
import stat
import subprocess

import pytest
import sentencepiece

from detect_support import BIN, KEY, bare_key, exported_key, jsonl, lines, mark_oracle, run

WORDS = 'the rain fell on a dark road and nobody walked there until morning came with bread'.split()


def prose(seed, words):
    rng = random.Random(seed)
    return ' '.join(rng.choice(WORDS) for _ in range(words))


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
    """A small SentencePiece model, and Python's own reading of it."""
    folder = tmp_path_factory.mktemp('tokenizer')
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(prose(i, 40) for i in range(200)), model_writer=model, vocab_size=60,
                                             model_type='bpe', byte_fallback=False, minloglevel=2)
    path = folder / 'tiny.model'
    path.write_bytes(model.getvalue())
    return path, sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def test_text_in_every_form_is_what_its_token_ids_are(tmp_path, tokenizer):
    model, python = tokenizer
    key = bare_key(tmp_path)
    texts = [prose(100 + i, 60 + i) for i in range(5)]
    by_ids = lines(run(jsonl(tmp_path / 'ids.jsonl', [{'id': i, 'token_ids': python.encode(t)} for i, t in enumerate(texts)]), '--epoch-key', key,
                       '--account', 'a', '--jsonl'))
    assert all(r['scored'] > 20 for r in by_ids)
    by_text = run(jsonl(tmp_path / 't.jsonl', [{'id': i, 'text': t} for i, t in enumerate(texts)]), '--epoch-key', key, '--tokenizer', model,
                  '--account', 'a', '--jsonl')
    assert lines(by_text) == by_ids
    named = run(jsonl(tmp_path / 'n.jsonl', [{'id': i, 'answer': t} for i, t in enumerate(texts)]), '--epoch-key', key, '--tokenizer', model,
                '--account', 'a', '--jsonl', '--text-field', 'answer')
    assert lines(named) == by_ids
    folder = tmp_path / 'texts'
    (folder / 'deep').mkdir(parents=True)
    for i, t in enumerate(texts):
        (folder / 'deep' / f'{i}.txt').write_text(t)
    (folder / 'deep' / '3.txt').unlink()
    (folder / 'deep' / '3.txt').write_bytes(gzip.compress(texts[3].encode()))
    by_folder = lines(run(folder, '--epoch-key', key, '--tokenizer', model, '--account', 'a', '--jsonl'))
    assert [r['id'] for r in by_folder] == [str(folder / 'deep' / f'{i}.txt') for i in range(5)]
    assert [r['channels'] for r in by_folder] == [r['channels'] for r in by_ids]
    piped = lines(run('--epoch-key', key, '--tokenizer', model, '--account', 'a', '--jsonl', stdin=texts[0]))
    assert piped[0]['channels'] == by_ids[0]['channels'] and piped[0]['id'] == '-'
    prompted = lines(run(jsonl(tmp_path / 'p.jsonl', [{'text': texts[0], 'q': texts[0][:60]}]), '--epoch-key', key, '--tokenizer', model,
                         '--prompt-field', 'q', '--jsonl'))
    assert 0 < prompted[0]['scored'] < by_ids[0]['scored']


def test_zstandard(tmp_path):
    path = jsonl(tmp_path / 'in.jsonl', [{'id': i, 'token_ids': list(range(i, i + 9))} for i in range(20)])
    subprocess.run(['zstd', '-q', str(path)], check=True)
    key = bare_key(tmp_path)
    assert lines(run(f'{path}.zst', '--epoch-key', key, '--jsonl')) == lines(run(path, '--epoch-key', key, '--jsonl'))


def test_a_broken_line_keeps_its_place(tmp_path):
    good = [json.dumps({'id': f'g{i}', 'token_ids': list(range(i, i + 20))}) for i in range(40)]
    text = '\n'.join(good[:3] + ['{"id":"bad","token_ids":[1,2'] + good[3:]) + '\n'
    path = tmp_path / 'in.jsonl'
    path.write_text(text)
    result = run(path, '--epoch-key', bare_key(tmp_path), '--jsonl')
    assert result.returncode == 0  # 40 of 41 is above the floor of 0.95
    byte = len('\n'.join(good[:3])) + 1 + len('{"id":"bad","token_ids":[1,2')
    assert f'watermark-detect: error: {path}:4: byte {byte}: not JSON' in result.err
    got = lines(result)
    assert [r['id'] for r in got] == ['g0', 'g1', 'g2', 'bad'] + [f'g{i}' for i in range(3, 40)]
    assert got[3]['error'].startswith('not JSON') and got[3]['scored'] == 0 and got[3]['verdict'] == 'inconclusive'
    assert all('error' not in r and r['scored'] == 18 for i, r in enumerate(got) if i != 3)
    whole = json.loads(run(path, '--epoch-key', bare_key(tmp_path), '--json').out)
    assert whole['errors'] == [{'file': str(path), 'line': 4, 'byte': byte, 'message': got[3]['error']}]
    assert whole['coverage'] | {'share': 0} == {'records': 41, 'unreadable': 1, 'too_short': 0, 'errors': 1, 'share': 0, 'floor': 0.95, 'complete': True}
    assert run(path, '--epoch-key', bare_key(tmp_path), '--jsonl', '--min-coverage', 0.99).returncode == 3
    table = run(path, '--epoch-key', bare_key(tmp_path), '--min-coverage', 0.99)
    assert table.returncode == 3 and 'unreadable' in table.out and 'verdict: inconclusive' in table.out


@pytest.mark.parametrize('ids,message', [
    ('[1,2,50000]', 'token id 50000 at position 2 is beyond the vocabulary of 50000'),
    ('[1,-2]', "'token_ids': position 1: -2 is not a token id"),
    ('[1.0]', "'token_ids': position 0: 1.0 is not a token id"),
    ('[4294967297]', 'is not a token id'),
    ('"1 2"', "'token_ids' is a string, not an array of token ids"),
    ('null', "'token_ids' is null"),
])
def test_ids_that_are_none(tmp_path, ids, message):
    path = tmp_path / 'in.jsonl'
    path.write_text('{"token_ids":[1,2,3,4]}\n{"token_ids":' + ids + '}\n')
    result = run(path, '--epoch-key', exported_key(tmp_path), '--jsonl')
    assert result.returncode == 3
    assert f'{path}:2: byte 24: ' in result.err and message in result.err
    assert message in lines(result)[1]['error'] and 'error' not in lines(result)[0]


def test_a_missing_member(tmp_path, tokenizer):
    path = jsonl(tmp_path / 'in.jsonl', [{'body': 'x'}])
    result = run(path, '--epoch-key', bare_key(tmp_path), '--tokenizer', tokenizer[0], '--jsonl')
    assert result.returncode == 3 and "no member 'text'" in result.err
    assert "no member 'ids'" in run(path, '--epoch-key', bare_key(tmp_path), '--token-ids-field', 'ids').err
    text = tmp_path / 'a.txt'
    text.write_text('some words')
    assert 'no --tokenizer was given' in run(text, '--epoch-key', bare_key(tmp_path)).err


def test_nothing_to_read(tmp_path):
    key = bare_key(tmp_path)
    empty = tmp_path / 'empty.jsonl'
    empty.write_text('')
    result = run(empty, '--epoch-key', key, '--jsonl')
    assert result.returncode == 2 and result.out == '' and 'the file is empty' in result.err and 'no record in the input' in result.err
    assert run('-', '--epoch-key', key, stdin='').returncode == 2
    (tmp_path / 'blank.jsonl').write_text('\n \n')
    assert run(tmp_path / 'blank.jsonl', '--epoch-key', key).returncode == 2
    (tmp_path / 'folder').mkdir()
    assert 'no files in this folder' in run(tmp_path / 'folder', '--epoch-key', key).err
    # With records elsewhere, an empty file makes the run incomplete.
    good = jsonl(tmp_path / 'good.jsonl', [{'token_ids': [1, 2, 3]}])
    assert run(good, empty, '--epoch-key', key).returncode == 3


def test_short_texts_have_their_line(tmp_path):
    path = jsonl(tmp_path / 'in.jsonl', [{'token_ids': []}, {'token_ids': [1]}, {'token_ids': [1, 2]}, {'token_ids': [1, 2, 3]}])
    result = run(path, '--epoch-key', bare_key(tmp_path), '--jsonl')
    assert [(r['scored'], r['log10_p'] == 0, r['verdict']) for r in lines(result)][:3] == [(0, True, 'inconclusive')] * 3
    assert lines(result)[3]['scored'] == 1
    only_short = jsonl(tmp_path / 'short.jsonl', [{'token_ids': [1]}])
    assert run(only_short, '--epoch-key', bare_key(tmp_path)).returncode == 3


def test_files_that_cannot_be_read(tmp_path):
    key = bare_key(tmp_path)
    missing = run(tmp_path / 'missing.jsonl', '--epoch-key', key)
    assert missing.returncode == 2 and 'missing.jsonl' in missing.err and 'No such file' in missing.err and missing.out == ''
    good = jsonl(tmp_path / 'good.jsonl', [{'token_ids': [1, 2, 3]}])
    if os.geteuid() != 0:  # root may read anything
        good.chmod(0)
        assert run(good, '--epoch-key', key).returncode == 2
        good.chmod(0o644)
    assert run(good, '--epoch-key', tmp_path / 'no.key').returncode == 2
    assert run(good, '--epoch-key', key, '--accounts', tmp_path / 'no.txt').returncode == 2
    assert run(good, '--epoch-key', key, '--tokenizer', tmp_path / 'no.model').returncode == 2
    (tmp_path / 'bad.model').write_text('not a model')
    assert run(good, '--epoch-key', key, '--tokenizer', tmp_path / 'bad.model').returncode == 2
    (tmp_path / 'loose.key').write_text(KEY.hex())
    (tmp_path / 'loose.key').chmod(0o644)
    assert run(good, '--epoch-key', tmp_path / 'loose.key').returncode == 2
    (tmp_path / 'short.key').write_text('abcd')
    (tmp_path / 'short.key').chmod(0o600)
    result = run(good, '--epoch-key', tmp_path / 'short.key')
    assert result.returncode == 2 and 'abcd' not in result.err
    assert KEY.hex() not in run(good, '--epoch-key', key, '--json').out


def test_a_stream_that_breaks_off_is_incomplete(tmp_path):
    rng = random.Random(1)
    whole = gzip.compress(''.join(json.dumps({'token_ids': [rng.randrange(50000) for _ in range(50)]}) + '\n' for _ in range(500)).encode())
    path = tmp_path / 'cut.jsonl.gz'
    path.write_bytes(whole[:len(whole) // 2])
    result = run(path, '--epoch-key', bare_key(tmp_path), '--jsonl')
    assert result.returncode == 3
    assert 'the gzip stream breaks off' in result.err and 'the input is incomplete' in result.err
    assert 100 < len(lines(result)) < 400 and all('error' not in r for r in lines(result))


def test_more_records_are_said_of_an_incomplete_run_too(tmp_path):
    empty = tmp_path / 'empty.jsonl'
    empty.write_text('')
    two = ''.join(json.dumps({'token_ids': [1, 2, 3 + i]}) + '\n' for i in range(2))
    result = run(empty, '-', '--epoch-key', bare_key(tmp_path), '--records', 1, stdin=two)
    assert result.returncode == 3 and 'the file is empty' in result.err
    assert result.err.count('there are more records than the 1 that --records said') == 1


def test_a_key_without_its_record(tmp_path):
    good = jsonl(tmp_path / 'good.jsonl', [{'token_ids': [1, 2, 3]}])
    key = bare_key(tmp_path)
    assumed = 'no record beside it; gumbel, window 2, weights 0.5,0.5 assumed'
    said = run(good, '--epoch-key', key)
    assert said.returncode == 0 and f'watermark-detect: warning: {key}: {assumed}\n' in said.err
    for flags in (['--scheme', 'gumbel'], ['--window', 2], ['--weights', '0.5,0.5'], ['--green', 64], ['--layers', 30], ['--delta', 2]):
        assert assumed not in run(good, '--epoch-key', key, *flags).err
    assert assumed in run(good, '--epoch-key', key, '--vocabulary', 9).err  # says nothing of the mark
    assert assumed not in run(good, '--epoch-key', exported_key(tmp_path)).err
    # A record that is there and cannot be looked at, or leads nowhere, is an error and not an absent one.
    record = tmp_path / 'bare.key.json'
    for target in (record, tmp_path / 'gone'):
        record.symlink_to(target)
        result = run(good, '--epoch-key', key)
        assert result.returncode == 2 and result.out == '' and 'bare.key.json' in result.err and assumed not in result.err, target
        record.unlink()
    long = tmp_path / ('k' * 252)  # a name to which .json cannot be added: ENAMETOOLONG
    key.rename(long)
    result = run(good, '--epoch-key', long)
    assert result.returncode == 2 and result.out == '' and 'cannot look for the record' in result.err


def test_flags_and_records_that_disagree(tmp_path, tokenizer):
    good = jsonl(tmp_path / 'good.jsonl', [{'token_ids': [1, 2, 3]}])
    key = exported_key(tmp_path)
    for flags, says in ((['--scheme', 'partition'], '--scheme partition conflicts with the epoch record, which says gumbel'),
                        (['--window', 3], '--window 3 conflicts with the epoch record, which says 2'), (['--green', 5], '--green'),
                        (['--delta', 1.5], '--delta'), (['--layers', 3], '--layers'), (['--weights', '1'], '--weights'),
                        (['--epoch', '2027-01'], '--epoch'), (['--vocabulary', 9], '--vocabulary')):
        result = run(good, '--epoch-key', key, *flags)
        assert result.returncode == 2 and says in result.err and result.out == '', flags
    same = ['--scheme', 'gumbel', '--window', 2, '--green', 64, '--delta', 2, '--layers', 30, '--weights', '0.5,0.5', '--epoch', '2026-11']
    assert run(good, '--epoch-key', key, *same).returncode == 0
    model = tokenizer[0]
    sha = hashlib.sha256(model.read_bytes()).hexdigest()
    wrong = run(good, '--epoch-key', key, '--tokenizer', model)
    assert wrong.returncode == 2 and sha in wrong.err and '0' * 64 in wrong.err
    assert run(good, '--epoch-key', exported_key(tmp_path, tokenizer_sha256=sha), '--tokenizer', model, '--token-ids-field', 'token_ids').returncode == 0


@pytest.mark.parametrize('flags,says', [
    (['--scheme', 'red'], 'red'), (['--window', 5], 'window'), (['--window', 0], 'window'), (['--green', 256], 'green'), (['--layers', 33], 'layers'),
    (['--weights', '0.5,0.6'], 'weights'), (['--weights', 'x'], 'weight'), (['--delta', 0], 'delta'), (['--alpha', 2], 'alpha'), (['--epoch', 'e'], 'epoch'),
    (['--account', 'a', '--weights', '1'], 'no account channel'), (['--account', 'a', '--account', 'a'], 'named twice'), (['--jsonl', '--json'], '--json'),
    (['--keystore', 'x'], '--keystore'), (['--text-field', 'a', '--token-ids-field', 'b'], '--text-field'), (['--text-field', 'a'], '--tokenizer'),
    (['--report', 'r'], 'signing key'), (['--nonsense'], '--nonsense'), (['--threads', -1], '--threads'), (['--records', 0], '--records'),
])
def test_usage_errors(tmp_path, flags, says):
    good = jsonl(tmp_path / 'good.jsonl', [{'token_ids': [1, 2, 3]}])
    result = run(good, '--epoch-key', bare_key(tmp_path), *flags)
    assert result.returncode == 2 and result.out == ''
    first = result.err.splitlines()[0]
    assert first.startswith('watermark-detect: error: ') and says in first and not first.endswith('.')


def test_accounts_files(tmp_path):
    good = jsonl(tmp_path / 'good.jsonl', [{'token_ids': [1, 2, 3, 4, 5]}])
    names = tmp_path / 'names'
    names.write_text('b\r\na\n\nz w')
    result = lines(run(good, '--epoch-key', bare_key(tmp_path), '--accounts', names, '--jsonl'))
    assert [a['account'] for a in result[0]['accounts']] == ['b', 'a', 'z w']
    names.write_bytes(b'ok\n\xff\xfe\n')
    broken = run(good, '--epoch-key', bare_key(tmp_path), '--accounts', names)
    assert broken.returncode == 2 and f'{names}:2' in broken.err
    names.write_text('\n')
    assert 'no names' in run(good, '--epoch-key', bare_key(tmp_path), '--accounts', names).err
    # Several names behind one flag; and with no FILES elsewhere, what follows the first name is input.
    for arguments in ([good, '--account', 'x', 'y'], ['--account', 'x', '--account', 'y', good]):
        result = lines(run('--epoch-key', bare_key(tmp_path), '--jsonl', *arguments))
        assert [a['account'] for a in result[0]['accounts']] == ['x', 'y']


def test_output_that_cannot_be_written(tmp_path):
    rng = random.Random(2)
    path = jsonl(tmp_path / 'in.jsonl', [{'token_ids': [rng.randrange(50000) for _ in range(40)]} for _ in range(3000)])
    key = bare_key(tmp_path)
    with open('/dev/full', 'w', encoding='ascii') as full:
        for form in ('--json', '--jsonl', '--no-progress'):
            result = run(path, '--epoch-key', key, form, stdout=full)
            assert result.returncode == 2 and 'cannot write: No space left on device' in result.err
    # A reader that goes away: no trace, no signal.
    with subprocess.Popen([BIN / 'watermark-detect', path, '--epoch-key', key, '--window', '2', '--jsonl'], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=60) == 2
        assert process.stderr.read() == b''
