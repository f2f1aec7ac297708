"""--html and --csv as files: the same numbers as the run's own, whole or absent, bounded, and repeatable where they say so."""
import csv
import io
import json
import re

import pytest

from page_support import HOSTILE, HOSTILE_LABEL, Texts

from detect_support import bare_key, jsonl, run


@pytest.fixture(scope='module')
def texts(tmp_path_factory):
    return Texts(tmp_path_factory.mktemp('texts'))


@pytest.fixture(scope='module')
def suspect(tmp_path_factory, texts):
    return jsonl(tmp_path_factory.mktemp('in') / 'suspect.jsonl', [{'id': 'one', 'text': texts.marked('org-2', 200)}, {'id': '=HYPERLINK("x")', 'text': texts.plain(200)}])


def common(texts):
    return ['--epoch-key', texts.key, '--tokenizer', texts.tokenizer, '--text-field', 'text', '--account', 'org-1', 'org-2', '-3+4']


def rows(path):
    data = path.read_bytes()
    assert data.endswith(b'\r\n') and b'\n' not in data.replace(b'\r\n', b'')   # no cell of these holds a line end
    return list(csv.DictReader(io.StringIO(data.decode(), newline='')))


def test_csv_has_a_row_a_test_with_the_numbers_of_the_run(texts, suspect, tmp_path):
    made = run(suspect, *common(texts), '--csv', tmp_path / 'tests.csv', '--json')
    assert made.returncode == 1, made.err
    said = json.loads(made.out)
    table = rows(tmp_path / 'tests.csv')
    wanted = [(0, said['pooled'])] + [(i + 1, record) for i, record in enumerate(said['records'])]
    assert len(table) == sum(len(r['channels']) + len(r['accounts']) for _, r in wanted) == 12
    at = {(int(row['record']), row['kind'], row['name']): row for row in table}
    for record, result in wanted:
        for kind, tests, name in (('channel', result['channels'], 'name'), ('account', result['accounts'], 'account')):
            for test in tests:
                label = test[name] if test[name] != '-3+4' else "'-3+4"   # what a spreadsheet would run is quoted
                row = at[record, kind, label]
                assert int(row['scored']) == test['scored'] and int(row['statistic']) == test['statistic']
                assert float(row['log10_p']) == test['log10_p'] and float(row['log10_p_adjusted']) >= test['log10_p']
                assert row['view'] == 'raw' and len(row['tokenizer_sha256']) == 64
    assert {row['subject'] for row in table} == {'', 'one', '\'=HYPERLINK("x")'}
    assert [row['at_alpha'] for row in table if row['name'] == 'org-2' and row['record'] in '01'] == ['yes', 'yes']
    for row in table:
        assert not any(re.match(r'[=+@\t\r]|-(?![\d.])', cell) for cell in row.values())


def test_the_page_says_what_the_run_says(texts, suspect, tmp_path):
    made = run(suspect, *common(texts), '--html', tmp_path / 'p.html', '--json')
    assert made.returncode == 1, made.err
    html = (tmp_path / 'p.html').read_text()
    pooled = json.loads(made.out)['pooled']
    for test in pooled['channels'] + pooled['accounts']:
        assert f"{test['log10_p']:.2f}".replace('-', '−') in html
    assert 'Evidence found' in html and '<strong>org-2</strong>' in html and '1,001' in html
    assert 'No signed report was made with this page' in html
    unmarked = jsonl(tmp_path / 'plain.jsonl', [{'id': 'x', 'text': texts.plain(300)}])
    # Under this key, which is fixed, nothing is found; the text is fixed too.
    assert run(unmarked, *common(texts), '--html', tmp_path / 'q.html').returncode == 0
    html = (tmp_path / 'q.html').read_text()
    assert 'No evidence found' in html and 'does not say that no such model wrote it' in html


def test_decoys_are_fresh_and_can_be_run_again(texts, suspect, tmp_path):
    def control(name, *more):
        assert run(suspect, *common(texts), '--html', tmp_path / name, *more).returncode == 1
        html = (tmp_path / name).read_text()
        return re.search(r'seed <code>([0-9a-f]{64})</code>', html), re.sub(r' on \d{4}-\d\d-\d\dT[\d:]+Z', '', html)
    first, a = control('a.html')
    second, _ = control('b.html')
    assert first[1] != second[1]
    _, again = control('c.html', '--decoy-seed', first[1])
    assert again == a   # the whole page, its time aside
    none, html = control('d.html', '--decoys', 0)
    assert none is None and 'Control' not in html
    assert run(suspect, *common(texts), '--html', tmp_path / 'e.html', '--decoy-seed', 'ab').returncode == 2
    assert not (tmp_path / 'e.html').exists()


def test_files_are_whole_or_absent(texts, suspect, tmp_path):
    for flag in ('--html', '--csv'):
        taken = tmp_path / f'taken{flag}'
        taken.write_text('mine')
        result = run(suspect, *common(texts), flag, taken, '--jsonl')
        assert result.returncode == 2 and result.out == '' and 'exists already' in result.err
        assert taken.read_text() == 'mine'
        assert run(suspect, *common(texts), flag, '-').returncode == 2
    bad = tmp_path / 'nothing.jsonl'
    bad.write_text('')
    assert run(bad, *common(texts), '--html', tmp_path / 'n.html').returncode == 2
    assert not (tmp_path / 'n.html').exists()


def test_a_run_that_broke_off_has_an_inconclusive_page(texts, suspect, tmp_path):
    result = run('-', *common(texts), '--records', 1, '--html', tmp_path / 'p.html', stdin=suspect.read_bytes())
    assert result.returncode == 3, result.err
    html = (tmp_path / 'p.html').read_text()
    assert 'Inconclusive' in html and 'Evidence found' not in html and 'The input broke off' in html


def test_token_ids_and_a_bare_key(tmp_path, texts):
    records = [{'id': HOSTILE_LABEL, 'token_ids': texts.epoch.write('org-2', 150, 3000, texts.rng)}]
    made = run(jsonl(tmp_path / 'ids.jsonl', records), '--epoch-key', bare_key(tmp_path), '--html', tmp_path / 'p.html')
    assert made.returncode == 1, made.err
    html = (tmp_path / 'p.html').read_text()
    assert 'tokens, given as ids' in html and 'committed to nowhere' in html and '<script>document' not in html


@pytest.mark.parametrize('kind', ['hostile', 'bytes', 'one line'])
def test_ten_megabytes_make_a_small_page(tmp_path, texts, kind):
    if kind == 'bytes':   # ill-formed UTF-8: an unreadable record; tests/page/blocks_test.cc shades such a text
        body = bytes(texts.rng.randrange(256) for _ in range(50_000)) * 100
        path = tmp_path / 'big.txt'
        path.write_bytes(texts.marked('org-2', 300).encode() + b' ' + body.replace(b'\0', b'\1'))
    else:
        path = tmp_path / 'big.txt'
        filler = HOSTILE.replace('\0', '') if kind == 'hostile' else texts.plain(200)
        path.write_text(texts.marked('org-2', 300) + (' ' + filler) * (10_000_000 // len(filler)))
    made = run(path, '--epoch-key', texts.key, '--tokenizer', texts.tokenizer, '--format', 'text', '--html', tmp_path / 'p.html')
    assert made.returncode == 3 if kind == 'bytes' else made.returncode in (0, 1), made.err
    html = (tmp_path / 'p.html').read_bytes().decode()   # is UTF-8
    assert (5_000 if kind == 'bytes' else 50_000) < len(html.encode()) < 2_000_000
    assert kind == 'bytes' or 'bytes are not shown' in html
    assert '<script' not in html and re.search('[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]', html) is None


def test_marked_passages_are_outlined(tmp_path, texts):
    marked = texts.marked('org-2', 300)
    before, behind = texts.plain(20_000), texts.plain(20_000)
    path = jsonl(tmp_path / 'long.jsonl', [{'id': 'long', 'text': f'{before} {marked} {behind}'}])
    made = run(path, *common(texts), '--regions', '--html', tmp_path / 'p.html', '--csv', tmp_path / 'p.csv')
    assert made.returncode == 1, made.err
    html = (tmp_path / 'p.html').read_text()
    begin, end = len(before) + 1, len(before) + 1 + len(marked)
    found = [(int(r['begin']), int(r['end'])) for r in rows(tmp_path / 'p.csv') if r['kind'] == 'region' and r['at_alpha'] == 'yes']
    assert len(found) == 1 and abs(found[0][0] - begin) < 400 and abs(found[0][1] - end) < 400   # ends are estimates
    assert html.count('<mark>') == html.count('</mark>') == 1 and f'{found[0][0]:,}' in html
    outlined = re.sub('<[^>]*>', '', html.split('<mark>')[1].split('</mark>')[0])
    assert outlined == f'{before} {marked} {behind}'[found[0][0]:found[0][1]]
    assert html.count('bytes are not shown') == 2   # of a long text only what stands around its passages


def test_the_page_is_for_our_own_mark(tmp_path, suspect):
    (tmp_path / 'c.json').write_text('{}')
    result = run(suspect, '--format', 'hf-kgw', '--format-config', tmp_path / 'c.json', '--html', tmp_path / 'p.html')
    assert result.returncode == 2 and '--html' in result.err
