"""Marked passages in long texts, as a user finds them: bytes of the original, counts by the oracle, corrected for every interval, in reports too.

Texts are marked by the oracle under fixed keys and seeds, so that no test fails by chance; but for the report, whose store draws its keys afresh: a passage of 300
tokens, with more than 100 pairs in the base channel unless Binomial(298, 1/2) is below 100 (odds 1e-8), is missed with odds far below that, and what is named in the unmarked record
is held to alpha, 10⁻⁶.
"""
import base64
import hashlib
import json
import math
import random
import subprocess
import sys

import pytest

from detect_support import KEY, SOURCE, bare_key, jsonl, lines, mark_oracle, run

VOCABULARY = 2000
FIRST = 0x4E00  # token i is one character of three bytes


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp('tokenizer') / 'tokenizer.json'
    vocabulary = {chr(FIRST + i): i for i in range(VOCABULARY)} | {'<unk>': VOCABULARY}
    path.write_text(json.dumps({
        'version': '1.0', 'truncation': None, 'padding': None, 'added_tokens': [], 'normalizer': None, 'pre_tokenizer': None, 'post_processor': None,
        'decoder': None, 'model': {'type': 'BPE', 'dropout': None, 'unk_token': '<unk>', 'continuing_subword_prefix': None, 'end_of_word_suffix': None,
                                   'fuse_unk': False, 'byte_fallback': False, 'vocab': vocabulary, 'merges': []}}))
    return path


def text_of(ids):
    return ''.join(chr(FIRST + i) for i in ids)


def plain(length, seed):
    rng = random.Random(seed)
    return [rng.randrange(VOCABULARY) for _ in range(length)]


def tries(n, length):
    """docs/regions.md, word for word."""
    def c(p, a, b):
        return sum(p - x + 1 for x in range(a, min(b, p) + 1))
    scales, k = n.bit_length(), length.bit_length() - 1
    d = 2 ** max(0, k - 4)
    if d == 1:
        return scales * c(n, 2 ** k, 2 ** (k + 1) - 1)
    if length % d == 0:
        return 2 * scales * c(n // d, 16, 31)
    return 2 * scales * (c(n, 2 ** k, 2 ** (k + 1) - 1) - sum(c(n, i * d, i * d) for i in range(16, 32)))


def check(region, record, ids, epoch, step=3):
    """One region against the oracle: its ends, count, tail and tries. step: bytes a token, or 1 where the region counts tokens."""
    h, firsts, seen = epoch.h, [], set()
    for i in range(h, len(ids)):
        pair = tuple(ids[i - h:i + 1])
        if pair not in seen and mark_oracle.channel_of(epoch.route, epoch.scheme, pair[:-1], epoch.weights) == 0:
            firsts.append(i)
        seen.add(pair)
    assert len(firsts) == record['channels'][0]['scored']
    inside = [i for i in firsts if region['begin'] <= (i - h) * step and (i + 1) * step <= region['end']]
    assert (region['begin'], region['end']) == ((inside[0] - h) * step, (inside[-1] + 1) * step)
    assert region['scored'] == len(inside) and region['name'] == 'base'
    assert region['statistic'] == sum(mark_oracle.token_score(mark_oracle.seed_of(epoch.base, epoch.scheme, tuple(ids[i - h:i])), ids[i], epoch.scheme,
                                                              epoch.green, epoch.layers) for i in inside)
    assert region['log10_p'] == pytest.approx(epoch.log10_p(region['scored'], region['statistic']), rel=1e-12, abs=1e-12)
    assert region['tries'] == str(tries(len(firsts), len(inside)))
    assert region['log10_p_adjusted'] == pytest.approx(min(0, region['log10_p'] + math.log10(int(region['tries']))), rel=1e-12, abs=1e-12)


def planted(epoch, length, before=1500, after=1500):
    """Unmarked text with a marked passage in it, and the passage's tokens."""
    return plain(before, 1) + epoch.write('org-1', length, VOCABULARY, random.Random(2)) + plain(after, 3), range(before, before + length)


def near(region, passage, tolerance, step=3):
    return abs(region['begin'] / step - passage.start) <= tolerance and abs(region['end'] / step - passage.stop) <= tolerance


@pytest.mark.parametrize('scheme,length', [('gumbel', 150), ('tournament', 150), ('partition', 400)])
def test_a_passage_is_found_in_the_original_bytes(tmp_path, tokenizer, scheme, length):
    epoch = mark_oracle.Epoch(KEY, scheme)
    ids, passage = planted(epoch, length)
    flags = ['--epoch-key', bare_key(tmp_path), '--scheme', scheme, '--regions']
    path = tmp_path / 'book.txt'
    path.write_text(text_of(ids))
    result = run(path, *flags, '--tokenizer', tokenizer, '--jsonl')
    assert result.returncode == 1, result.err
    record = lines(result)[0]
    assert record['verdict'] == 'marked'
    [region] = record['regions']
    check(region, record, ids, epoch)
    assert near(region, passage, 24)
    # The record as a whole is too little: the passage alone made the verdict.
    assert record['log10_p'] > -6 or scheme == 'partition'
    without = run(path, *flags[:-1], '--tokenizer', tokenizer, '--jsonl')
    assert 'regions' not in lines(without)[0]
    assert without.returncode == (1 if record['log10_p'] <= -6 else 0)
    # As ids: the same passage in tokens.
    by_ids = run(jsonl(tmp_path / 'ids.jsonl', [{'token_ids': ids}]), *flags, '--jsonl')
    [in_tokens] = lines(by_ids)[0]['regions']
    assert {**in_tokens, 'begin': 3 * in_tokens['begin'], 'end': 3 * in_tokens['end']} == region


def test_none_two_and_copied(tmp_path, tokenizer):
    epoch = mark_oracle.Epoch(KEY)
    ids, passage = planted(epoch, 200)
    marked = ids[passage.start:passage.stop]
    second = epoch.write('org-2', 200, VOCABULARY, random.Random(4))
    records = {'none': plain(3000, 5), 'short': [1, 2], 'empty': [], 'two': ids + second + plain(500, 6), 'copied': ids + marked, 'whole': marked}
    path = jsonl(tmp_path / 'in.jsonl', [{'id': name, 'text': text_of(tokens)} for name, tokens in records.items()])
    result = run(path, '--epoch-key', bare_key(tmp_path), '--tokenizer', tokenizer, '--regions', '--jsonl')
    assert result.returncode == 1, result.err
    got = {r['id']: r for r in lines(result)}
    for name, expected in {'none': 0, 'short': 0, 'empty': 0, 'two': 2, 'copied': 1, 'whole': 1}.items():
        assert len(got[name]['regions']) == expected, name
        for region in got[name]['regions']:
            check(region, got[name], records[name], epoch)
    assert near(got['two']['regions'][0], passage, 24) and near(got['two']['regions'][1], range(3200, 3400), 24)
    assert near(got['copied']['regions'][0], passage, 24)
    assert near(got['whole']['regions'][0], range(200), 4)
    table = run(path, '--epoch-key', bare_key(tmp_path), '--tokenizer', tokenizer, '--regions')
    assert table.returncode == 1
    for record in got.values():
        for region in record['regions']:
            assert f'{region["begin"]:,}–{region["end"]:,}' in table.out
            words = text_of(records[record['id']]).encode()[region['begin']:region['end']].decode()
            assert words[:8] in table.out  # how it begins
    whole = json.loads(run(path, '--epoch-key', bare_key(tmp_path), '--tokenizer', tokenizer, '--regions', '--json').out)
    assert whole['ledger']['regions'] == 1 and whole['ledger']['questions'] == 3
    assert [r.get('regions') for r in whole['records']] == [r['regions'] for r in got.values()]


def test_a_disguised_passage_is_found_in_the_cleaned_view_at_its_original_bytes(tmp_path, tokenizer):
    epoch = mark_oracle.Epoch(KEY)
    ids, passage = planted(epoch, 200)
    characters = text_of(ids)
    path = tmp_path / 'book.txt'
    # A zero-width space after each character of the passage: no word is as it was, and in the original the passage has six bytes a token.
    path.write_text(characters[:passage.start] + ''.join(c + '\u200b' for c in characters[passage.start:passage.stop]) + characters[passage.stop:])
    flags = [path, '--epoch-key', bare_key(tmp_path), '--tokenizer', tokenizer, '--regions', '--jsonl']
    raw = run(*flags)
    assert raw.returncode == 0 and lines(raw)[0]['regions'] == [], raw.err
    both = run(*flags, '--views', 'raw,cleaned')
    assert both.returncode == 1, both.err
    [region] = lines(both)[0]['regions']
    assert region['reading'] == 1
    begin, end = 3 * passage.start, 3 * passage.start + 6 * len(passage)
    assert abs(region['begin'] - begin) <= 6 * 24 and abs(region['end'] - end) <= 6 * 24
    inside = path.read_bytes()[region['begin']:region['end']].decode().replace('\u200b', '')  # whole characters
    plain_run = run(jsonl(tmp_path / 'plain.jsonl', [{'text': characters}]), *flags[1:])
    [undisguised] = lines(plain_run)[0]['regions']
    assert inside == characters.encode()[undisguised['begin']:undisguised['end']].decode()
    assert (region['scored'], region['statistic'], region['tries']) == (undisguised['scored'], undisguised['statistic'], undisguised['tries'])


def test_the_report_lists_passages_and_both_verifiers_agree(tmp_path, tokenizer):
    secret = tmp_path / 'pass'
    secret.write_text('correct horse\n')
    secret.chmod(0o600)
    common = ['--store', tmp_path / 'keys.cmks', '--passphrase-file', secret]
    for arguments in (['init', *common, '--tenant', 'acme'],
                      ['epoch', *common, '--name', 'e', '--tokenizer-sha256', hashlib.sha256(tokenizer.read_bytes()).hexdigest(), '--vocabulary', VOCABULARY + 1],
                      ['signing-key', *common, '--public-out', tmp_path / 'signer.pem'], ['export', *common, '--epoch', 'e', '--out', tmp_path / 'epoch.key']):
        made = run(*arguments, program='watermark-keys')
        assert made.returncode == 0, made.err
    epoch = mark_oracle.Epoch(bytes.fromhex((tmp_path / 'epoch.key').read_text().strip()))
    ids, passage = planted(epoch, 300)
    path = jsonl(tmp_path / 'in.jsonl', [{'id': 'unmarked', 'text': text_of(plain(2000, 8))}, {'id': 'book', 'text': text_of(ids)}])
    report = tmp_path / 'report.json'
    result = run(path, '--keystore', tmp_path / 'keys.cmks', '--epoch', 'e', '--passphrase-file', secret, '--tokenizer', tokenizer, '--regions', '--report', report, '--jsonl')
    assert result.returncode == 1, result.err
    assert lines(result)[0]['regions'] == []
    [region] = lines(result)[1]['regions']
    assert near(region, passage, 40)

    payload = json.loads(base64.b64decode(json.loads(report.read_text())['payload']))
    [signed] = payload['regions']
    assert {k: signed[k] for k in ('record', 'subject', 'reading', 'name', 'begin', 'end', 'scored', 'statistic', 'tries')} == {
        'record': 2, 'subject': 'book', 'reading': 0, 'name': 'base', 'begin': region['begin'], 'end': region['end'], 'scored': region['scored'],
        'statistic': str(region['statistic']), 'tries': region['tries']}
    # Three questions and two records: 6 · tries.
    assert signed['log10_p_adjusted'] == pytest.approx(region['log10_p'] + math.log10(6 * int(region['tries'])), abs=1e-9)
    assert payload['ledger']['regions'] == 1 and payload['verdict'] == 'evidence'
    verified = run(report, '--public-key', tmp_path / 'signer.pem', '--input', path, program='watermark-verify')
    assert verified.returncode == 0, verified.err + verified.out
    second = subprocess.run([sys.executable, SOURCE / 'tests' / 'oracle' / 'verify_report.py', tmp_path / 'signer.pem', report], capture_output=True, text=True, check=True)
    assert json.loads(second.stdout)['outcome'] == 'verified', second.stdout


def test_passages_are_of_our_own_mark(tmp_path):
    path = jsonl(tmp_path / 'in.jsonl', [{'token_ids': [1, 2, 3]}])
    config = tmp_path / 'c.json'
    config.write_text('{}')
    refused = run(path, '--format', 'hf-kgw', '--format-config', config, '--regions')
    assert refused.returncode == 2 and '--regions' in refused.err and refused.out == ''


def test_an_unknown_number_of_records_gives_no_verdict_on_one(tmp_path, tokenizer):
    epoch = mark_oracle.Epoch(KEY)
    ids, _ = planted(epoch, 150, 800, 800)
    texts = ''.join(json.dumps({'text': text_of(x)}) + '\n' for x in (ids, plain(100, 9)))
    flags = ['-', '--epoch-key', bare_key(tmp_path), '--tokenizer', tokenizer, '--text-field', 'text', '--regions', '--jsonl']
    unknown = lines(run(*flags, stdin=texts))
    assert [r['verdict'] for r in unknown] == ['uncorrected'] * 2 and len(unknown[0]['regions']) == 1
    known = lines(run(*flags, '--records', 2, stdin=texts))
    assert [r['verdict'] for r in known] == ['marked', 'no evidence']
    # A passage pays for every record: of so many it is too little, and is not listed.
    assert lines(run(*flags, '--records', 10**12, stdin=texts))[0]['regions'] == []
