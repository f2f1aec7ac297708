"""From a key store to a signed report: keys made, a suspect examined, the report verified and an altered one refused.

The store draws its keys afresh at every run, so that some verdicts have a chance of failing by it. Under the keys of others or unmarked, "evidence" is held to alpha over all that one run of the
program asks: below 10⁻⁶ for each such assertion, of which there are two. A marked record of 200 tokens is missed with odds below 10⁻¹² (the number of its windows in the base
channel, Binomial(198, 1/2), among the causes).
"""
import json
import random

import pytest

from detect_support import KEY, bare_key, exported_key, jsonl, lines, mark_oracle, run


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keys')
    secret = folder / 'pass'
    secret.write_text('correct horse\n')
    secret.chmod(0o600)
    store = folder / 'keys.cmks'
    common = ['--store', store, '--passphrase-file', secret]

    def make(*arguments):
        result = run(*arguments, program='watermark-keys')
        assert result.returncode == 0, result.err
    make('init', *common, '--tenant', 'acme')
    make('epoch', *common, '--name', '2026-11', '--tokenizer-sha256', '0' * 64, '--vocabulary', 50000)
    make('account', 'add', *common, 'org-1', 'org-2', 'org-3')
    make('signing-key', *common, '--public-out', folder / 'signer.pem')
    make('export', *common, '--epoch', '2026-11', '--out', folder / 'epoch.key')
    bundle_secret = folder / 'bundle-pass'
    bundle_secret.write_text('battery staple\n')
    bundle_secret.chmod(0o600)
    make('bundle', *common, '--epoch', '2026-11', '--out', folder / 'epoch.cmkb', '--bundle-passphrase-file', bundle_secret)
    return folder


@pytest.fixture(scope='module')
def suspect(keys):
    rng = random.Random(11)
    epoch = mark_oracle.Epoch(bytes.fromhex((keys / 'epoch.key').read_text().strip()))
    records = [{'id': f'm{i}', 'token_ids': epoch.write('org-2', 200, 50000, rng)} for i in range(3)]
    records += [{'id': f'p{i}', 'token_ids': [rng.randrange(50000) for _ in range(200)]} for i in range(3)]
    return jsonl(keys / 'suspect.jsonl', records)


def from_store(keys):
    return ['--keystore', keys / 'keys.cmks', '--epoch', '2026-11', '--passphrase-file', keys / 'pass']


def test_store_bundle_and_export_say_the_same(keys, suspect):
    accounts = ['--account', 'org-1', 'org-2']
    by_store = run(suspect, *from_store(keys), *accounts, '--json')
    assert by_store.returncode == 1, by_store.err
    by_bundle = run(suspect, '--bundle', keys / 'epoch.cmkb', '--passphrase-file', keys / 'bundle-pass', *accounts, '--json')
    by_export = run(suspect, '--epoch-key', keys / 'epoch.key', *accounts, '--json')
    assert by_store.out == by_bundle.out == by_export.out
    assert [r['verdict'] for r in json.loads(by_store.out)['records']] == ['marked'] * 3 + ['no evidence'] * 3
    registered = json.loads(run(suspect, *from_store(keys), '--registered-accounts', '--json').out)['pooled']['accounts']
    assert [a['account'] for a in registered] == ['org-1', 'org-2', 'org-3']
    assert min(registered, key=lambda a: a['log10_p'])['account'] == 'org-2'
    assert "'stranger' is not registered" in run(suspect, *from_store(keys), '--account', 'stranger').err


def test_keys_that_do_not_open(keys, suspect):
    wrong = keys / 'wrong'
    wrong.write_text('wrong\n')
    wrong.chmod(0o600)
    for flags in (['--keystore', keys / 'keys.cmks', '--epoch', '2026-11', '--passphrase-file', wrong], ['--bundle', keys / 'epoch.cmkb', '--passphrase-file', wrong],
                  ['--keystore', keys / 'keys.cmks', '--epoch', '2026-12', '--passphrase-file', keys / 'pass'],
                  ['--keystore', keys / 'none', '--epoch', '2026-11', '--passphrase-file', keys / 'pass'],
                  ['--bundle', suspect, '--passphrase-file', keys / 'pass'],
                  ['--bundle', keys / 'epoch.cmkb', '--passphrase-file', keys / 'bundle-pass', '--epoch', 'other']):
        result = run(suspect, *flags)
        assert result.returncode == 2 and result.out == '' and result.err.startswith('watermark-detect: error: '), flags


def test_the_report_verifies_and_an_altered_one_does_not(keys, suspect, tmp_path):
    report = tmp_path / 'report.json'
    made = run(suspect, *from_store(keys), '--registered-accounts', '--report', report, '--json')
    assert made.returncode == 1, made.err
    assert f'signed report: {report}' in made.err
    verified = run(report, '--public-key', keys / 'signer.pem', '--input', suspect, '--json', program='watermark-verify')
    assert verified.returncode == 0, verified.err + verified.out
    # What the report says is what was printed: the counts of the pooled tests, and the commitments of the keys that were used.
    said = json.dumps(json.loads(verified.out))
    pooled = json.loads(made.out)['pooled']
    for test in pooled['channels'] + pooled['accounts']:
        assert str(test['statistic']) in said
    assert 'account:org-2' in said and '"base"' in said
    envelope = json.loads(report.read_text())
    payload = envelope['payload']
    for at in (10, len(payload) // 2, len(payload) - 10):
        altered = tmp_path / f'altered{at}.json'
        altered.write_text(json.dumps(envelope | {'payload': payload[:at] + ('A' if payload[at] != 'A' else 'B') + payload[at + 1:]}))
        assert run(altered, '--public-key', keys / 'signer.pem', program='watermark-verify').returncode == 2
    other = jsonl(tmp_path / 'other.jsonl', [{'token_ids': [1, 2, 3]}])
    assert run(report, '--public-key', keys / 'signer.pem', '--input', other, program='watermark-verify').returncode == 2


def test_a_report_on_an_exported_key_is_signed_from_a_store(keys, suspect, tmp_path):
    report = tmp_path / 'report.json'
    made = run(suspect, '--epoch-key', keys / 'epoch.key', '--account', 'org-2', '--report', report, '--signing-keystore', keys / 'keys.cmks',
               '--passphrase-file', keys / 'pass')
    assert made.returncode == 1, made.err
    assert run(report, '--public-key', keys / 'signer.pem', program='watermark-verify').returncode == 0
    bare = tmp_path / 'bare.json'
    made = run(suspect, '--epoch-key', bare_key(tmp_path), '--alpha', 1e-9, '--report', bare, '--signing-keystore', keys / 'keys.cmks', '--passphrase-file', keys / 'pass')
    assert made.returncode == 0, made.err
    assert run(bare, '--public-key', keys / 'signer.pem', program='watermark-verify').returncode == 0


def test_report_files_are_whole_or_absent(keys, suspect, tmp_path):
    taken = tmp_path / 'taken.json'
    taken.write_text('mine')
    result = run(suspect, *from_store(keys), '--report', taken, '--jsonl')
    assert result.returncode == 2 and result.out == '' and f'{taken}: exists already' in result.err
    assert taken.read_text() == 'mine'
    nowhere = run(suspect, *from_store(keys), '--report', tmp_path / 'no' / 'report.json')
    assert nowhere.returncode == 2 and 'No such file' in nowhere.err

    import resource
    full = run(suspect, *from_store(keys), '--report', tmp_path / 'full.json', preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)))
    assert full.returncode == 2 and 'full.json: cannot write' in full.err
    assert not (tmp_path / 'full.json').exists()
    empty = tmp_path / 'empty.jsonl'
    empty.write_text('')
    assert run(empty, *from_store(keys), '--report', tmp_path / 'none.json').returncode == 2
    assert not (tmp_path / 'none.json').exists()
    unwritable = run(suspect, *from_store(keys), '--report', tmp_path / 'pipe.json', '--json', stdout=open('/dev/full', 'w', encoding='ascii'))
    assert unwritable.returncode == 2


def test_an_incomplete_run_has_no_report(keys, suspect, tmp_path):
    """The texts alone are evidence; with a part lost the run is inconclusive, and a signed 'evidence' would say otherwise."""
    report = tmp_path / 'report.json'
    common = [*from_store(keys), '--account', 'org-2', '--report', report]
    empty = tmp_path / 'empty.jsonl'
    empty.write_text('')
    for arguments, stdin in (([suspect, empty], None), (['-', '--records', 2], suspect.read_bytes())):
        result = run(*arguments, *common, '--json', stdin=stdin)
        assert result.returncode == 3, result.err
        assert f'no report is written to {report}: the run is incomplete' in result.err and 'signed report' not in result.err
        assert json.loads(result.out)['verdict'] == 'inconclusive' and json.loads(result.out)['records_marked'] > 0
        assert not report.exists()
    assert empty.exists() and suspect.exists()
    # Too few records that could be read are in the report itself, and it says what the program says.
    half = tmp_path / 'half.jsonl'
    half.write_text(suspect.read_text() + '{\n' * 6)
    low = run(half, *common)
    assert low.returncode == 3 and f'signed report: {report}' in low.err
    verified = run(report, '--public-key', keys / 'signer.pem', '--json', program='watermark-verify')
    assert json.loads(verified.out)['report']['verdict'] == 'inconclusive', verified.out


def test_a_report_cannot_drive_a_terminal(keys, tmp_path):
    report = tmp_path / 'report.json'
    named = jsonl(tmp_path / 'a\x9b2J\x1b[2J.jsonl', [{'id': f'{i}\x9b2J\x1b[2J', 'token_ids': [1, 2, 3, 4]} for i in range(2)])
    made = run(named, *from_store(keys), '--report', report)
    assert made.returncode in (0, 3), made.err   # 3: fresh keys may route the only windows to channels nobody asked about
    shown = run(report, '--public-key', keys / 'signer.pem', program='watermark-verify')
    assert '0?2J?[2J' in shown.out and 'a?2J?[2J.jsonl' in shown.out
    assert '\x9b' not in shown.out + made.out and '\x1b' not in shown.out + made.out


def test_a_store_without_a_signing_key_is_known_before_the_work(tmp_path):
    secret = tmp_path / 'pass'
    secret.write_text('x')
    secret.chmod(0o600)
    common = ['--store', tmp_path / 's.cmks', '--passphrase-file', secret]
    assert run('init', *common, '--tenant', 't', program='watermark-keys').returncode == 0
    assert run('epoch', *common, '--name', 'e', '--tokenizer-sha256', '0' * 64, '--vocabulary', 9, program='watermark-keys').returncode == 0
    path = jsonl(tmp_path / 'in.jsonl', [{'token_ids': [1, 2, 3]}])
    result = run(path, '--keystore', tmp_path / 's.cmks', '--epoch', 'e', '--passphrase-file', secret, '--report', tmp_path / 'r.json', '--jsonl')
    assert result.returncode == 2 and result.out == '' and 'signing key' in result.err
    assert not (tmp_path / 'r.json').exists()
