"""The page and the CSV of watermark-audit dataset: result.json's numbers, a row a test and a document, whole or absent, and looked at in a browser."""
import csv
import io
import json
import os
import re
import sys

import pytest

from page_support import HOSTILE, HOSTILE_LABEL, Looker, Texts, new_browser

sys.path.insert(0, os.path.join(os.environ['COUNTERMARK_SOURCE'], 'tests', 'cli'))
from detect_support import jsonl, run  # noqa: E402


@pytest.fixture(scope='module')
def texts(tmp_path_factory):
    return Texts(tmp_path_factory.mktemp('texts'))


@pytest.fixture(scope='module')
def audit(tmp_path_factory, texts):
    """60 documents, the marked ones in the middle, hostile names and texts among them, one line that cannot be read."""
    folder = tmp_path_factory.mktemp('audit')
    records = [{'id': f'doc {i}', 'text': texts.marked('org-2', 150) if 20 <= i < 28 else texts.plain(120)} for i in range(60)]
    records[5] = {'id': HOSTILE_LABEL, 'text': HOSTILE}
    records[22]['id'] = '=cmd|x ' + HOSTILE_LABEL
    data = jsonl(folder / 'crawl<i>.jsonl', records)
    data.write_text(data.read_text() + '{"id": "<broken>\n')
    (folder / 'accounts').write_text('\n'.join([f'org-{i}' for i in range(1, 40)] + ['+1', HOSTILE_LABEL]) + '\n')
    command = [data, '--run', folder / 'run<b>', '--epoch-key', texts.key, '--tokenizer', texts.tokenizer, '--text-field', 'text', '--accounts', folder / 'accounts']
    made = run('dataset', *command, '--html', folder / 'page.html', '--csv', folder / 'tests.csv', program='watermark-audit')
    assert made.returncode == 1, made.err
    return folder, command


def test_csv(audit):
    folder, _ = audit
    result = json.loads((folder / 'run<b>' / 'result.json').read_text())
    documents = [json.loads(line) for line in (folder / 'run<b>' / 'documents.jsonl').read_text().splitlines()]
    table = list(csv.DictReader(io.StringIO((folder / 'tests.csv').read_bytes().decode(), newline='')))
    ranked = result['candidates'][0]['ranked']
    assert len(table) == 2 + len(ranked) + len(documents)
    pooled, sparse = table[:2]
    assert (pooled['kind'], int(pooled['scored']), pooled['statistic'], float(pooled['log10_p'])) == ('pooled', result['pooled']['scored'], result['pooled']['statistic'], result['pooled']['log10_p'])
    assert (sparse['kind'], float(sparse['log10_p_corrected'])) == ('sparse', result['sparse']['log10_p_corrected'])
    for row, candidate in zip(table[2:], ranked):
        assert row['name'].lstrip("'") == candidate['label'] and float(row['log10_p_corrected']) == candidate['log10_p_corrected'] and row['named'] == ('yes' if candidate['named'] else 'no')
    for row, document in zip(table[2 + len(ranked):], documents):
        assert row['name'].lstrip("'") == document['id'] and row['line'] == str(document['line'])
        assert row['named'] == ('yes' if document.get('listed') else 'no') and ('error' in document or float(row['log10_e']) == document['log10_e'])
    for row in table:
        assert not any(re.match(r'[=+@\t\r]|-(?![\d.])', cell) for cell in row.values())


def test_the_page_says_what_the_result_says(audit):
    folder, _ = audit
    html = (folder / 'page.html').read_text()
    result = json.loads((folder / 'run<b>' / 'result.json').read_text())
    for value in (result['pooled']['log10_p'], result['sparse']['log10_e_highest'], result['candidates'][0]['ranked'][0]['log10_p']):
        assert f'{value:.2f}'.replace('-', '−') in html
    assert 'Evidence found' in html and '<strong>org-2</strong>' in html and '41 candidates were tested' in html
    assert 'Of 1,001 keys' in html and 'has rank <strong>1</strong>' in html and f"all {result['pooled']['scored']:,} of the distinct pairs" in html
    # The control's statistic is the pooled one: the real key's value on it is the pooled test's.
    assert f"The real key's value is {-result['pooled']['log10_p']:.2f}" in html
    assert result['documents']['listed'] >= 5 and html.count('<tr><th scope="row">doc 2') >= 4
    assert '<script' not in html and '<broken>' not in html and len(html) < 500_000


def test_a_finished_run_is_shown_again(audit, tmp_path):
    _, command = audit
    again = run('dataset', *command, '--html', tmp_path / 'again.html', program='watermark-audit')
    assert again.returncode == 1, again.err
    seed = re.search('seed <code>([0-9a-f]{64})', (tmp_path / 'again.html').read_text())[1]
    assert run('dataset', *command, '--html', tmp_path / 'third.html', '--decoy-seed', seed, '--threads', 1, program='watermark-audit').returncode == 1
    at = re.compile(r' on \d{4}-\d\d-\d\dT[\d:]+Z')
    assert at.sub('', (tmp_path / 'third.html').read_text()) == at.sub('', (tmp_path / 'again.html').read_text())
    taken = run('dataset', *command, '--html', tmp_path / 'again.html', program='watermark-audit')
    assert taken.returncode == 2 and 'exists already' in taken.err
    assert run('dataset', *command, '--csv', '-', program='watermark-audit').returncode == 2


def test_nothing_found_and_nothing_decided(tmp_path, texts):
    plain = jsonl(tmp_path / 'plain.jsonl', [{'id': str(i), 'text': texts.plain(100)} for i in range(20)])
    common = ['--epoch-key', texts.key, '--tokenizer', texts.tokenizer, '--text-field', 'text']
    # One key and fixed texts: the same outcome every time.
    assert run('dataset', plain, '--run', tmp_path / 'a', *common, '--html', tmp_path / 'a.html', program='watermark-audit').returncode == 0
    assert 'No evidence found' in (tmp_path / 'a.html').read_text()
    plain.write_text(plain.read_text() + '{\n' * 10)
    assert run('dataset', plain, '--run', tmp_path / 'b', *common, '--html', tmp_path / 'b.html', program='watermark-audit').returncode == 3
    assert 'Inconclusive' in (tmp_path / 'b.html').read_text()


def test_in_a_browser(audit):
    folder, _ = audit
    driver = new_browser()
    try:
        page = Looker(driver, (folder / 'page.html').as_uri())
        for width in (360, 1280):
            for scheme in ('light', 'dark'):
                page.open(width, scheme)
                assert page.said() == [] and page.asked() == []
                assert page.js('return document.documentElement.scrollWidth') <= width
                assert page.js('return document.scripts.length + document.querySelectorAll("img, link, [style]").length') == 0
                assert page.js('return [...document.querySelectorAll("svg")].every(s => s.getAttribute("aria-hidden") === "true" || s.getAttribute("role") === "img")') is True
                if shots := os.environ.get('COUNTERMARK_SCREENSHOTS'):
                    page.screenshot(os.path.join(shots, f'dataset-{width}-{scheme}.png'))
        assert page.print().startswith(b'%PDF')
    finally:
        driver.quit()
