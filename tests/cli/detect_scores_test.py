"""Every number that watermark-detect prints, against the oracle."""
import gzip
import json
import random

import pytest

from detect_support import KEY, bare_key, exported_key, jsonl, lines, mark_oracle, run

ACCOUNTS = ['org-1', 'org-2', 'org/β']


def check_tests(got, want, accounts, epoch):
    """`got` has channels and accounts as JSON; `want` is the oracle's count."""
    base = got['channels'][0]
    assert base['name'] == 'base'
    assert (base['scored'], base['statistic']) == want['base']
    assert base['log10_p'] == pytest.approx(epoch.log10_p(*want['base']), rel=1e-12, abs=1e-12)
    assert got['log10_p'] == base['log10_p']
    assert [a['account'] for a in got['accounts']] == accounts
    for a in got['accounts']:
        assert (a['scored'], a['statistic']) == want[a['account']]
        assert a['log10_p'] == pytest.approx(epoch.log10_p(*want[a['account']]), rel=1e-12, abs=1e-12)
    adjusted = mark_oracle.holm([a['log10_p'] for a in got['accounts']])
    assert [a['log10_p_adjusted'] for a in got['accounts']] == pytest.approx(adjusted, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize('scheme,h', [('gumbel', 2), ('gumbel', 1), ('tournament', 3), ('partition', 4), ('partition', 2)])
def test_records_and_pool_against_the_oracle(tmp_path, scheme, h):
    rng = random.Random(f'{scheme} {h}')
    epoch = mark_oracle.Epoch(KEY, scheme, h)
    marked = [epoch.write('org-2', 150, 50000, rng) for _ in range(2)]
    plain = [[rng.randrange(50000) for _ in range(100)], [5, 6, 7] * 30, [1] * h, []]
    texts = marked + plain + [marked[0][:80] + plain[0]]  # the last shares pairs with others: the pool counts them once
    path = jsonl(tmp_path / 'in.jsonl', [{'id': f'r{i}', 'token_ids': t} for i, t in enumerate(texts)])
    flags = ['--epoch-key', bare_key(tmp_path), '--scheme', scheme, '--window', h, '--account', *ACCOUNTS]

    per_line = run(path, *flags, '--jsonl')
    assert per_line.returncode == 1, per_line.err
    records = lines(per_line)
    assert [r['id'] for r in records] == [f'r{i}' for i in range(len(texts))]
    total = (len(texts) + 1) * (1 + len(ACCOUNTS))  # the pool is one more subject
    for record, text in zip(records, texts):
        want = epoch.count([text], ACCOUNTS)
        assert list(record) == ['id', 'scored', 'log10_p', 'verdict', 'channels', 'accounts', 'tests_counted']
        assert record['scored'] == len(epoch.pairs([text])) == want['base'][0] + want['org-1'][0]
        assert record['tests_counted'] == total
        check_tests(record, want, ACCOUNTS, epoch)
    assert [r['verdict'] for r in records[:6]] == ['marked', 'marked', 'no evidence', 'no evidence', 'inconclusive', 'inconclusive']

    whole = run(path, *flags, '--json')
    assert whole.returncode == 1
    report = json.loads(whole.out)
    assert report['schema_version'] == 2
    assert report['records'] == records
    pooled = report['pooled']
    assert pooled['scored'] == len(epoch.pairs(texts))
    check_tests(pooled, epoch.count(texts, ACCOUNTS), ACCOUNTS, epoch)
    assert pooled['tests_counted'] == total
    assert pooled['verdict'] == report['verdict'] == 'marked'
    assert report['ledger'] == {'records': len(texts), 'keys': 1, 'channels': 1, 'candidates': 3, 'schemes': 1, 'views': 1, 'tokenizers': 1,
                                'questions': 2, 'regions': 0, 'weighted': 0, 'tests_counted': total}
    assert report['coverage']['records'] == len(texts) and report['coverage']['too_short'] == 2 and report['errors'] == []
    # The account is named, and the others are not.
    best = min(pooled['accounts'], key=lambda a: a['log10_p'])
    assert best['account'] == 'org-2' and best['log10_p_adjusted'] < -15
    assert all(a['log10_p_adjusted'] > -4 for a in pooled['accounts'] if a['account'] != 'org-2')


@pytest.mark.parametrize('weights,expected', [('1', [65536]), ('0.4,0.4,0.2', [26214, 26214, 13108]), ('0.75,0.25', [49152, 16384])])
def test_weights_route_as_the_oracle_does(tmp_path, weights, expected):
    epoch = mark_oracle.Epoch(KEY, 'gumbel', 2, expected)
    text = [random.Random(3).randrange(9000) for _ in range(300)]
    path = jsonl(tmp_path / 'in.jsonl', [{'token_ids': text}])
    accounts = ['a'] if len(expected) > 1 else []
    result = run(path, '--epoch-key', bare_key(tmp_path), '--weights', weights, '--jsonl', *(['--account', 'a'] if accounts else []))
    assert result.returncode == 0, result.err
    check_tests(lines(result)[0], epoch.count([text], accounts), accounts, epoch)


def test_green_and_layers(tmp_path):
    text = [random.Random(4).randrange(9000) for _ in range(200)]
    path = jsonl(tmp_path / 'in.jsonl', [{'token_ids': text}])
    for scheme, flags, options in (('partition', ['--green', 128], {'green': 128}), ('tournament', ['--layers', 7], {'layers': 7})):
        epoch = mark_oracle.Epoch(KEY, scheme, 2, **options)
        result = run(path, '--epoch-key', bare_key(tmp_path), '--scheme', scheme, *flags, '--jsonl')
        check_tests(lines(result)[0], epoch.count([text]), [], epoch)


def test_windows_of_the_prompt_are_not_scored(tmp_path):
    rng = random.Random(5)
    epoch = mark_oracle.Epoch(KEY)
    prompt, rest = [rng.randrange(9000) for _ in range(60)], [rng.randrange(9000) for _ in range(60)]
    text = prompt[10:50] + rest
    path = jsonl(tmp_path / 'in.jsonl', [{'token_ids': text, 'p': prompt}, {'token_ids': text, 'p': None}, {'token_ids': rest + prompt, 'p': []}])
    records = lines(run(path, '--epoch-key', bare_key(tmp_path), '--prompt-ids-field', 'p', '--account', 'a', '--jsonl'))
    check_tests(records[0], epoch.count([text], ['a'], [prompt]), ['a'], epoch)
    assert records[0]['scored'] < records[1]['scored']
    check_tests(records[1], epoch.count([text], ['a']), ['a'], epoch)
    check_tests(records[2], epoch.count([rest + prompt], ['a']), ['a'], epoch)


def test_the_same_answer_for_every_number_of_threads_and_every_wrapping(tmp_path):
    rng = random.Random(6)
    records = [{'id': i, 'token_ids': [rng.randrange(50000) for _ in range(rng.randrange(60))]} for i in range(3000)]
    path = jsonl(tmp_path / 'in.jsonl', records)
    key = exported_key(tmp_path)
    one = run(path, '--epoch-key', key, '--account', 'a', '--json', '--threads', 1)
    assert one.returncode == 0
    for threads in (2, 3, 8):
        assert run(path, '--epoch-key', key, '--account', 'a', '--json', '--threads', threads).out == one.out
    (tmp_path / 'in.gz').write_bytes(gzip.compress(path.read_bytes()))
    packed = run(tmp_path / 'in.gz', '--epoch-key', key, '--account', 'a', '--json', '--token-ids-field', 'token_ids')
    assert packed.out == one.out
    piped = run('-', '--epoch-key', key, '--account', 'a', '--json', '--records', 3000, stdin=path.read_bytes())
    assert piped.out == one.out
    rows = 'id,ids\n' + ''.join(f'{r["id"]},{" ".join(map(str, r["token_ids"]))}\n' for r in records)
    (tmp_path / 'in.csv').write_text(rows)
    assert run(tmp_path / 'in.csv', '--epoch-key', key, '--account', 'a', '--json', '--token-ids-field', 'ids').out == one.out


def test_a_thousand_candidates_and_the_one_who_wrote_it(tmp_path):
    rng = random.Random(7)
    epoch = mark_oracle.Epoch(KEY)
    path = jsonl(tmp_path / 'in.jsonl', [{'token_ids': epoch.write('org-777', 120, 50000, rng)} for _ in range(3)])
    (tmp_path / 'accounts').write_text(''.join(f'org-{i}\n' for i in range(1000)))
    result = run(path, '--epoch-key', bare_key(tmp_path), '--accounts', tmp_path / 'accounts', '--json')
    assert result.returncode == 1
    pooled = json.loads(result.out)['pooled']
    ranked = sorted(pooled['accounts'], key=lambda a: a['log10_p'])
    assert ranked[0]['account'] == 'org-777'
    assert ranked[0]['log10_p_adjusted'] == pytest.approx(ranked[0]['log10_p'] + 3, abs=1e-9)
    assert ranked[1]['log10_p_adjusted'] > -2
    table = run(path, '--epoch-key', bare_key(tmp_path), '--accounts', tmp_path / 'accounts')
    assert 'org-777' in table.out and table.out.count('  named\n') == 1
    assert 'Holm over 1,000 candidates; the nearest 10:' in table.out


def test_the_number_of_records_changes_the_verdict(tmp_path):
    """One passage whose p is just below alpha: marked alone, no evidence among many, uncorrected where nobody says how many."""
    rng = random.Random(8)
    epoch = mark_oracle.Epoch(KEY)
    text = epoch.write('x', 24, 50000, rng)
    path = jsonl(tmp_path / 'one.jsonl', [{'token_ids': text}])
    key = bare_key(tmp_path)
    p = lines(run(path, '--epoch-key', key, '--jsonl'))[0]['log10_p']
    alpha = 10 ** (p + 0.5)
    assert lines(run(path, '--epoch-key', key, '--jsonl', '--alpha', alpha))[0]['verdict'] == 'marked'
    assert lines(run(path, '--epoch-key', key, '--jsonl', '--alpha', alpha, '--records', 4))[0]['verdict'] == 'no evidence'
    more = jsonl(tmp_path / 'four.jsonl', [{'token_ids': text}] + [{'token_ids': [i, i + 1, i + 2]} for i in range(3)])
    assert lines(run(more, '--epoch-key', key, '--jsonl', '--alpha', alpha))[0]['verdict'] == 'no evidence'
    piped = run('-', '--epoch-key', key, '--jsonl', '--alpha', alpha, stdin=path.read_bytes())
    assert lines(piped)[0]['verdict'] == 'uncorrected'
    assert piped.returncode == 1  # the pooled test is one test, whatever the number of records
    counted = run('-', '--epoch-key', key, '--jsonl', '--alpha', alpha, '--records', 1, stdin=path.read_bytes())
    assert lines(counted)[0]['verdict'] == 'marked'
    exceeded = run('-', '--epoch-key', key, '--jsonl', '--records', 1, stdin=more.read_bytes())
    assert exceeded.returncode == 3 and 'more records than the 1 that --records said' in exceeded.err
    assert [line['verdict'] for line in lines(exceeded)[1:]] == ['uncorrected'] * 3
    refused = run(more, '--epoch-key', key, '--jsonl', '--records', 2)
    assert refused.returncode == 2 and '--records is 2, and the input holds 4' in refused.err


def test_the_pool_and_the_records_share_alpha(tmp_path):
    """Each verdict's edge, computed from the printed p: alpha/2 for the pool, alpha/(2 * records) for a record, all of alpha for a lone one."""
    rng = random.Random(9)
    epoch = mark_oracle.Epoch(KEY)
    text = epoch.write('x', 24, 50000, rng)
    one = jsonl(tmp_path / 'one.jsonl', [{'token_ids': text}])
    four = jsonl(tmp_path / 'four.jsonl', [{'token_ids': text}] + [{'token_ids': [i, i + 1, i + 2]} for i in range(3)])
    key = bare_key(tmp_path)

    def judged(path, alpha, *flags):
        out = json.loads(run(path, '--epoch-key', key, '--json', '--alpha', alpha, *flags).out)
        return out['records'][0]['verdict'], out['pooled']['verdict'], out['verdict'], out
    _, _, _, alone = judged(one, 1e-6)
    _, _, _, among = judged(four, 1e-6)
    assert alone['ledger']['questions'] == 1 and alone['ledger']['tests_counted'] == 1
    assert among['ledger']['questions'] == 2 and among['ledger']['tests_counted'] == 5
    record, pool = 10 ** among['records'][0]['log10_p'], 10 ** among['pooled']['log10_p']
    assert 10 ** alone['pooled']['log10_p'] == record and pool < 1e-3
    marked, nothing = 'marked', 'no evidence'
    assert judged(one, record * 1.01)[:3] == (marked, marked, marked)
    assert judged(one, record * 0.99)[:3] == (nothing, nothing, nothing)
    assert judged(four, 2 * 4 * record * 1.01)[0] == marked
    assert judged(four, 2 * 4 * record * 0.99)[0] == nothing
    assert judged(four, 2 * pool * 1.01)[1:3] == (marked, marked)
    assert judged(four, 2 * pool * 0.99)[1] == nothing
    table = run(four, '--epoch-key', key).out
    assert 'tests counted: 5; alpha 1e-06, half of it for the pool and half for the records\n' in table
    assert 'tests counted: 1; alpha 1e-06\n' in run(one, '--epoch-key', key).out
    piped = run('-', '--epoch-key', key, stdin=four.read_bytes()).out
    assert 'tests counted: 1 for the pool and as many a record, and the number of records is not known; alpha 1e-06, half' in piped


def test_a_prompt_leaves_out_pairs_of_its_own_record_alone(tmp_path):
    """A record that quotes another in its prompt takes nothing from the pool, whatever the order of the two."""
    rng = random.Random(10)
    epoch = mark_oracle.Epoch(KEY)
    served = {'token_ids': epoch.write('x', 300, 50000, rng), 'prompt_ids': []}
    quoting = {'token_ids': served['token_ids'][:200], 'prompt_ids': served['token_ids']}
    key = bare_key(tmp_path)
    pools = []
    for name, records in (('a', [served, quoting]), ('b', [quoting, served])):
        out = run(jsonl(tmp_path / f'{name}.jsonl', records), '--epoch-key', key, '--json', '--prompt-ids-field', 'prompt_ids').out
        pools.append(json.loads(out)['pooled'])
    assert pools[0]['channels'] == pools[1]['channels']
    alone = json.loads(run(jsonl(tmp_path / 'c.jsonl', [served]), '--epoch-key', key, '--json').out)['pooled']
    assert pools[0]['channels'] == alone['channels']
