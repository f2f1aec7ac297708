"""watermark-detect on other projects' marks: what a line holds, how records pool, what is refused. The counts themselves are detect_foreign_parity_test's."""
import json
import math

import pytest

from detect_support import SOURCE, bare_key, jsonl, lines, run

VECTORS = SOURCE / 'tests' / 'vectors' / 'foreign'
FORMATS = {
    'hf-kgw': ('hits', 'hf_scored', 'hf_hits'), 'hf-kgw-selfhash': ('hits', 'hf_scored', 'hf_hits'), 'hf-synthid': ('ones', 'hf_scored', 'mean_g'),
    'synthid-text': ('ones', 'hf_scored', 'mean_g'), 'vllm-gumbel': ('vllm_scored', 'vllm_score'), 'vllm-dual': ('vllm_scored', 'vllm_score'),
    'sglang-gumbel': ('sglang_scored', 'sglang_score'), 'textseal': ('textseal_scored', 'textseal_score'),
}


def setting(tmp_path, name):
    """The first case's configuration as a file, its marked texts, and unmarked ones."""
    cases = json.loads((VECTORS / f'{name}.json').read_text())['cases']
    config = tmp_path / f'{name}.json'
    config.write_text(json.dumps(cases[0]['config'] | {'vocab_size': cases[0]['vocab_size']}, indent=2, sort_keys=True))
    marked = next(c for c in cases if c['marked'] and c['config'] == cases[0]['config'])['texts']
    return config, marked, json.loads((VECTORS / 'texts.json').read_text())['texts']


def binomial_tail(n, k, p):
    terms = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p) for i in range(k, n + 1)]
    top = max(terms)
    return (top + math.log(math.fsum(math.exp(t - top) for t in terms))) / math.log(10)


@pytest.mark.parametrize('name', FORMATS)
def test_a_line_a_record(tmp_path, name):
    config, marked, unmarked = setting(tmp_path, name)
    path = jsonl(tmp_path / 'in.jsonl', [{'id': f'u{i}', 'token_ids': t} for i, t in enumerate(unmarked[:20])] + [{'id': f'm{i}', 'token_ids': t} for i, t in enumerate(marked)])
    result = run(path, '--format', name, '--format-config', config, '--jsonl')
    # transformers marks selfhash among a token's 40 likeliest alone, which in these texts is little: not enough for 1e-6.
    code = 0 if name == 'hf-kgw-selfhash' else 1
    assert result.returncode == code, result.err
    records = lines(result)
    assert [r['id'] for r in records] == [f'u{i}' for i in range(20)] + [f'm{i}' for i in range(len(marked))]
    for record in records:
        assert record['format'] == name and record['tests_counted'] == 20 + len(marked) + 1
        assert set(FORMATS[name]) < set(record)
        assert record['log10_p'] <= 0
        if record['id'][0] == 'u':
            assert record['verdict'] == 'no evidence'
    if 'synthid' in name:
        assert {r['hash'] for r in records} == {'table'}
    whole = json.loads(run(path, '--format', name, '--format-config', config, '--json').out)
    assert whole['records'] == records and whole['format'] == name
    assert whole['pooled']['verdict'] == ('marked' if code else 'no evidence')
    assert whole['pooled']['scored'] <= sum(r['scored'] for r in records)
    table = run(path, '--format', name, '--format-config', config)
    assert table.returncode == code and f'verdict: {whole["verdict"]}' in table.out and FORMATS[name][0] in table.out


def test_the_p_value_is_of_distinct_pairs(tmp_path):
    config, _, unmarked = setting(tmp_path, 'hf-kgw')
    path = jsonl(tmp_path / 'in.jsonl', [{'token_ids': t} for t in unmarked if 0 not in t])
    for record in lines(run(path, '--format', 'hf-kgw', '--format-config', config, '--jsonl')):
        if record['scored']:
            assert record['log10_p'] == pytest.approx(binomial_tail(record['scored'], record['hits'], 12564 / 50257), abs=1e-9)


def test_a_repeated_record_adds_nothing(tmp_path):
    for name in FORMATS:
        config, marked, _ = setting(tmp_path, name)
        once = json.loads(run(jsonl(tmp_path / 'a.jsonl', [{'token_ids': t} for t in marked[:3]]), '--format', name, '--format-config', config, '--json').out)
        again = json.loads(run(jsonl(tmp_path / 'b.jsonl', [{'token_ids': t} for t in marked[:3] * 4]), '--format', name, '--format-config', config, '--json').out)
        assert again['pooled']['scored'] == once['pooled']['scored'] and again['pooled']['log10_p'] == once['pooled']['log10_p']


def test_the_prompt_reaches_sglangs_windows(tmp_path):
    case = json.loads((VECTORS / 'sglang-gumbel.json').read_text())['cases'][1]
    config = tmp_path / 'c.json'
    config.write_text(json.dumps(case['config']))
    path = jsonl(tmp_path / 'in.jsonl', [{'token_ids': t, 'prompt': r['prompt']} for t, r in zip(case['texts'], case['results'])])
    records = lines(run(path, '--format', 'sglang-gumbel', '--format-config', config, '--jsonl', '--prompt-ids-field', 'prompt'))
    assert [r['sglang_scored'] for r in records] == [r['scored'] for r in case['results']]


def test_what_is_refused(tmp_path):
    config, _, unmarked = setting(tmp_path, 'hf-kgw')
    path = jsonl(tmp_path / 'in.jsonl', [{'token_ids': unmarked[0]}])
    for arguments, message in (
            (('--format', 'hf-kgw'), 'needs --format-config'),
            (('--format-config', config), 'name it by --format'),
            (('--format', 'hf-kgw', '--format-config', config, '--epoch-key', bare_key(tmp_path)), 'have no part in it'),
            (('--format', 'hf-kgw', '--format-config', config, '--scheme', 'gumbel'), 'have no part in it'),
            (('--format', 'hf-kgw', '--format-config', config, '--report', tmp_path / 'r'), '--report signs'),
            (('--format', 'hf-kgw', '--format-config', tmp_path / 'none.json'), 'none.json'),
            (('--format', 'textseal', '--format-config', config), "member 'bias': this format has no such member"),
            (('--format', 'nonsense', '--format-config', config), 'nonsense')):
        result = run(path, *arguments)
        assert result.returncode == 2 and message in result.err, (arguments, result.err)
    config.write_text('{"vocab_size": 50257,\n "hashing_key": "31415926"}')
    result = run(path, '--format', 'hf-kgw', '--format-config', config)
    assert result.returncode == 2 and f"{config}:2:2: member 'hashing_key'" in result.err and '31415926' not in result.err


def test_an_id_beyond_the_vocabulary_is_the_records_error(tmp_path):
    config, _, unmarked = setting(tmp_path, 'hf-kgw')
    path = jsonl(tmp_path / 'in.jsonl', [{'token_ids': unmarked[0]}, {'token_ids': [1, 50257]}])
    result = run(path, '--format', 'hf-kgw', '--format-config', config, '--jsonl')
    assert result.returncode == 3 and 'in.jsonl:2' in result.err and 'token id 50257 at position 1' in result.err
    assert 'error' in lines(result)[1]
