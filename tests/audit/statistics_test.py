"""Every number of a data set's result against the oracle; merging as it may be done, and as it may not."""
import json
import math
import random

import pytest

import audit_support  # noqa: F401  (puts the oracles on the path)
import audit_oracle
from audit_support import KEY, audit, bare_key, corpus, documents, exported_key, jsonl, mark_oracle, merge, result

ACCOUNTS = ['org-1', 'org-2', 'org/β']


@pytest.mark.parametrize('scheme,h', [('gumbel', 2), ('tournament', 3), ('partition', 4), ('gumbel', 1)])
def test_every_number_against_the_oracle(tmp_path, scheme, h):
    rng = random.Random(f'{scheme} {h}')
    epoch = mark_oracle.Epoch(KEY, scheme, h)
    texts = corpus(epoch, rng, count=20, marked=4, length=80)
    path = jsonl(tmp_path / 'in.jsonl', [{'id': f'd{i}', 'token_ids': t} for i, t in enumerate(texts)])
    (tmp_path / 'accounts').write_text('\n'.join(ACCOUNTS) + '\n')
    done = audit(path, '--run', tmp_path / 'run', '--epoch-key', bare_key(tmp_path), '--scheme', scheme, '--window', h, '--accounts', tmp_path / 'accounts', '--json')
    got = json.loads(done.out)
    assert got == result(tmp_path / 'run')
    want = audit_oracle.audit(epoch, texts, ACCOUNTS)

    pooled = got['pooled']
    assert (pooled['scored'], int(pooled['statistic'])) == want['pooled'] and pooled['pairs'] == want['distinct']
    assert pooled['log10_p'] == pytest.approx(epoch.log10_p(*want['pooled']), rel=1e-12, abs=1e-12)
    assert pooled['log10_e'] == pytest.approx(float(audit_oracle.log10_e(epoch, *want['pooled'])), abs=1e-10)
    assert pooled['log10_p_corrected'] == pytest.approx(min(0, pooled['log10_p'] + math.log10(3)), abs=1e-12)

    lines = documents(tmp_path / 'run')
    assert [d['document'] for d in lines] == list(range(len(texts)))
    assert [d['id'] for d in lines] == [f'd{i}' for i in range(len(texts))]
    assert [d['pairs'] for d in lines] == want['pairs']
    assert [(d['scored'], int(d['statistic'])) for d in lines] == want['own']
    assert [(d['first_scored'], int(d['first_statistic'])) for d in lines] == want['first']
    assert [d['log10_e'] for d in lines] == pytest.approx(want['log10_e'], abs=1e-10)
    for d, count in zip(lines, want['own']):
        assert d['log10_p'] == pytest.approx(epoch.log10_p(*count), rel=1e-12, abs=1e-12)
    assert {d['document'] for d in lines if d['listed']} == want['listed'] and got['documents']['listed'] == len(want['listed']) > 0

    assert got['sparse']['log10_e'] == pytest.approx(want['sparse'][-1], abs=1e-9)
    assert got['sparse']['log10_e_highest'] == pytest.approx(max(0, want['sparse'][-1]), abs=1e-9)  # one block of documents
    assert got['sparse']['log10_p'] == -got['sparse']['log10_e_highest']
    assert got['how_much']['documents_at_least'] == want['documents_at_least'] > 0
    assert got['how_much']['pairs_at_least'] == want['pairs_at_least']

    family, = got['candidates']
    assert family['count'] == 3 and family['scored'] == want['account_scored']
    for candidate in family['ranked']:
        statistic, p, adjusted = want['accounts'][candidate['label']]
        assert int(candidate['statistic']) == statistic
        assert candidate['log10_p'] == pytest.approx(p, rel=1e-12, abs=1e-12)
        assert candidate['log10_p_adjusted'] == pytest.approx(adjusted, rel=1e-12, abs=1e-12)
        assert candidate['log10_p_corrected'] == pytest.approx(min(0, adjusted + math.log10(3)), rel=1e-12, abs=1e-12)
    assert [c['log10_p'] for c in family['ranked']] == sorted(c['log10_p'] for c in family['ranked'])
    assert got['ledger']['parts_of_alpha'] == 3 and got['ledger']['tests_counted'] == 4 + 3 + len(texts)
    assert done.returncode == (1 if got['verdict'] == 'marked' else 0)


def write(epoch, account, length, rng):
    """A text marked on three channels, the last by the account's request r1."""
    keys = [epoch.base, epoch.account(account), mark_oracle.derive(epoch.account(account), 'request', 'r1')]
    text = [1, 2]
    while len(text) < length:
        window = tuple(text[-2:])
        seed = mark_oracle.seed_of(keys[mark_oracle.channel_of(epoch.route, 3, window, epoch.weights)], 3, window)
        text.append(max((rng.randrange(50000) for _ in range(16)), key=lambda t: mark_oracle.token_score(seed, t, 3, 64, 30)))
    return text


def test_prompts_requests_and_a_ring(tmp_path):
    rng = random.Random(5)
    epoch = mark_oracle.Epoch(KEY, weights=(26214, 26214, 13108))
    texts = [write(epoch, a, 260, rng) for a in ('org-1', 'org-7', 'org-9')] + [[rng.randrange(50000) for _ in range(50)] for _ in range(6)]
    prompts = [t[:40] for t in texts]
    path = jsonl(tmp_path / 'in.jsonl', [{'token_ids': t, 'prompt': p} for t, p in zip(texts, prompts)])
    accounts = [f'org-{i}' for i in range(200)]
    (tmp_path / 'accounts').write_text('\n'.join(accounts) + '\n')
    (tmp_path / 'requests').write_text('r1\nr2\n')
    done = audit(path, '--run', tmp_path / 'run', '--epoch-key', exported_key(tmp_path, channels=[{'name': 'base', 'weight': 26214}, {'name': 'account', 'weight': 26214},
                 {'name': 'request', 'weight': 13108}]), '--accounts', tmp_path / 'accounts', '--requests', tmp_path / 'requests', '--requests-of', 'org-1',
                 '--prompt-ids-field', 'prompt', '--top', 5)
    assert done.returncode == 1, done.err
    want = audit_oracle.audit(epoch, texts, accounts, prompts)
    got = result(tmp_path / 'run')
    assert (got['pooled']['scored'], int(got['pooled']['statistic'])) == want['pooled']
    accounts_family, requests = got['candidates']
    assert {c['label'] for c in accounts_family['ranked'] if c['named']} == {'org-1', 'org-7', 'org-9'} and accounts_family['named'] == 3
    assert len(accounts_family['ranked']) == 5
    for c in accounts_family['ranked']:
        assert int(c['statistic']) == want['accounts'][c['label']][0]
        assert c['log10_p_adjusted'] == pytest.approx(want['accounts'][c['label']][2], abs=1e-9)
    # Requests of one account, on their own channel, under keys derived from the account's.
    pairs = [p for p in dict.fromkeys(q for t, r in zip(texts, prompts) for q in epoch.pairs([t], [r])) if mark_oracle.channel_of(epoch.route, 3, p[0], epoch.weights) == 2]
    assert requests['of'] == 'org-1' and requests['scored'] == len(pairs)
    assert [c['label'] for c in requests['ranked'] if c['named']] == ['r1']
    for c in requests['ranked']:
        key = mark_oracle.derive(epoch.account('org-1'), 'request', c['label'])
        assert int(c['statistic']) == sum(mark_oracle.token_score(mark_oracle.seed_of(key, 3, w), t, 3, 64, 30) for w, t in pairs)
    assert got['ledger']['parts_of_alpha'] == 4
    # Where one record in ten cannot be read there is no verdict, and nobody is named, whatever the numbers.
    path.write_bytes(path.read_bytes() + b'{\n')
    done = audit(path, '--run', tmp_path / 'torn', '--epoch-key', tmp_path / 'epoch.key', '--accounts', tmp_path / 'accounts', '--prompt-ids-field', 'prompt')
    assert done.returncode == 3, done.err
    torn = result(tmp_path / 'torn')
    assert torn['verdict'] == 'inconclusive' and torn['candidates'][0]['named'] == 0 and not any(c['named'] for c in torn['candidates'][0]['ranked'])
    assert torn['candidates'][0]['ranked'][0]['log10_p_corrected'] < -6


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    rng = random.Random(11)
    epoch = mark_oracle.Epoch(KEY)
    texts = corpus(epoch, rng)
    (folder / 'accounts').write_text('\n'.join(ACCOUNTS) + '\n')
    flags = ['--epoch-key', bare_key(folder), '--accounts', folder / 'accounts']
    path = jsonl(folder / 'in.jsonl', [{'token_ids': t} for t in texts])
    assert audit(path, '--run', folder / 'run', *flags).returncode == 1
    return folder, epoch, texts, path, flags


def without_run(value):
    return {k: v for k, v in value.items() if k != 'run'}


def test_parts_by_hash_add_up_to_the_whole(whole):
    folder, _, _, path, flags = whole
    parts = [folder / f'part{i}' for i in (1, 2, 3)]
    for i, part in enumerate(parts, 1):
        assert audit(path, '--run', part, '--part', f'{i}/3', *flags).returncode in (0, 1)
    assert sum(result(p)['pooled']['pairs'] for p in parts) == result(folder / 'run')['pooled']['pairs']
    for order in (parts, parts[::-1]):
        out = folder / f'merged-{order[0].name}'
        assert merge(*order, '--run', out, *flags).returncode == 1
        assert without_run(result(out)) == without_run(result(folder / 'run'))
        assert (out / 'documents.jsonl').read_bytes() == (folder / 'run' / 'documents.jsonl').read_bytes()
    missing = merge(*parts[:2], '--run', folder / 'm2', *flags)
    assert missing.returncode == 2 and 'there are 3 parts, and 2 were given' in missing.err
    twice = merge(parts[0], parts[1], parts[1], '--run', folder / 'm3', *flags)
    assert twice.returncode == 2 and 'part 2 is given twice' in twice.err


def input_checksum(run):
    end = json.loads((run / 'input.json').read_text())
    return end['raw_crc32c'], end['raw_bytes']


def test_runs_over_different_documents_merge_as_sets_of_pairs(whole):
    folder, epoch, texts, _, flags = whole
    pieces = [texts[:20], texts[20:] + texts[:5], texts[3:4] * 3]  # they share documents: counts must not add
    runs = []
    for i, piece in enumerate(pieces):
        runs.append(folder / f'piece{i}')
        audit(jsonl(folder / f'piece{i}.jsonl', [{'token_ids': t} for t in piece]), '--run', runs[-1], *flags)
    # The documents' order is that of the inputs' checksums, whoever asks and in whatever order: nobody can try the orders for the highest E.
    order = sorted(range(3), key=lambda i: input_checksum(runs[i]))
    assert merge(*runs, '--run', folder / 'both', *flags).returncode == 1
    want = audit_oracle.audit(epoch, sum((pieces[i] for i in order), []), ACCOUNTS)
    got = result(folder / 'both')
    assert (got['pooled']['scored'], int(got['pooled']['statistic'])) == want['pooled']
    assert got['pooled']['scored'] < sum(result(r)['pooled']['scored'] for r in runs)
    assert got['sparse']['log10_e'] == pytest.approx(want['sparse'][-1], abs=1e-9) and got['sparse']['order'] == 'of the runs by the checksums of their inputs'
    assert [(d['first_scored'], int(d['first_statistic'])) for d in documents(folder / 'both')] == want['first']
    files = [d['file'] for d in documents(folder / 'both')]
    assert list(dict.fromkeys(files)) == [str(folder / f'piece{i}.jsonl') for i in order]
    assert got['run']['runs'] == [result(runs[i])['run']['options_sha256'] for i in order]

    for i, other in enumerate((runs[::-1], runs[1:] + runs[:1])):
        assert merge(*other, '--run', folder / f'other{i}', *flags).returncode == 1
        for name in ('run.json', 'result.json', 'documents.jsonl'):
            assert (folder / f'other{i}' / name).read_bytes() == (folder / 'both' / name).read_bytes()
    assert merge(*runs[::-1], '--run', folder / 'both', *flags).returncode == 1  # the same run directory, in another order

    twice = merge(runs[0], runs[1], runs[0], '--run', folder / 'twice', *flags)
    assert twice.returncode == 2 and 'are the same run: its documents would count twice' in twice.err
    assert '--unordered' in merge(*runs, '--run', folder / 'loose', '--unordered', *flags).err  # there is no choice that could be made having seen results
