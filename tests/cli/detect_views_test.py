"""Views and tokenizers: a marked text under disguise is found again in the cleaned view, and every reading is counted.

Marked by the oracle under fixed keys and seeds, so that no test fails by chance.
"""
import json
import math
import random
import subprocess
import sys

import pytest
import tokenizers
from detect_support import KEY, SOURCE, bare_key, exported_key, jsonl, lines, mark_oracle, run

EPOCH = mark_oracle.Epoch(KEY)
SYLLABLES = 'ba co de fi go ha jo ka le mi no pa qu re so ta ve xy po ace oce ise ope'.split()
HOMOGLYPHS = dict(zip('aceopxyis', 'асеорхуіѕ'))
UNSEEN = '\u200b\u200c\u200d\u2060\ufeff\u00ad\ufe00\ufe0f\u200e\u202c\U000e0101\U000e0061'


def words(rng, count=400):
    return sorted({''.join(rng.choice(SYLLABLES) for _ in range(rng.randrange(2, 5))) for _ in range(count)})


def train(path, texts, size, seed_words):
    """Byte-level BPE in a tokenizer.json, the package's own reading of it beside."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(texts + [' '.join(seed_words)], trainer)
    tokenizer.save(str(path))
    return path, tokenizer


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp('views')
    rng = random.Random(3)
    vocabulary = words(rng)
    prose = [' '.join(rng.choice(vocabulary) for _ in range(200)) for _ in range(20)]
    one = train(folder / 'one.json', prose, 600, vocabulary)
    two = train(folder / 'two.json', prose, 330, vocabulary)
    marked = write(one[1], vocabulary, rng, 260)
    return {'folder': folder, 'one': one, 'two': two, 'marked': marked, 'plain': ' '.join(rng.choice(vocabulary) for _ in range(600)), 'key': bare_key(folder)}


def write(tokenizer, vocabulary, rng, length):
    """A text whose words are chosen, of eight each time, by the scores of their tokens."""
    text, ids, known = rng.choice(vocabulary), [], {}
    ids = tokenizer.encode(text).ids
    for _ in range(length):
        best = None
        for word in rng.sample(vocabulary, 8):
            new = known.setdefault(word, tokenizer.encode(' ' + word).ids)
            after, gain = ids + new, 0.0
            for i in range(len(ids), len(after)):
                window = after[i - 2:i]
                if mark_oracle.channel_of(EPOCH.route, EPOCH.scheme, window, EPOCH.weights) == 0:
                    seed = mark_oracle.seed_of(EPOCH.base, EPOCH.scheme, window)
                    gain += -math.log(1 - mark_oracle.word_of(seed, after[i]) / 2**32) - 1
            if best is None or gain > best[0]:
                best = (gain, word, after)
        text, ids = text + ' ' + best[1], best[2]
    assert tokenizer.encode(text).ids == ids
    return text


def homoglyphs(text, rng, share=0.3):
    return ''.join(HOMOGLYPHS[c] if c in HOMOGLYPHS and rng.random() < share else c for c in text)


def unseen(text, rng, share=0.2):
    return ''.join(c + (rng.choice(UNSEEN) if rng.random() < share else '') for c in text)


def full_width(text, rng, share=0.5):
    return ''.join(chr(ord(c) + 0xFEE0) if '!' <= c <= '~' and rng.random() < share else c for c in text)


def odd_spaces(text, rng):
    return ''.join(rng.choice('\u00a0\u2003\u2009\u202f\u3000') if c == ' ' else c for c in text)


def detect(world, text, *flags, name='in.jsonl', tokenizer=('one',)):
    chosen = [x for t in tokenizer for x in ('--tokenizer', world[t][0])]
    path = jsonl(world['folder'] / name, [{'id': 'r', 'text': text}])
    return run(path, '--epoch-key', world['key'], *chosen, '--scheme', 'gumbel', *flags)


def base(reading):
    return reading['channels'][0]


ATTACKS = {'homoglyphs': homoglyphs, 'unseen': unseen, 'full width': full_width, 'odd spaces': odd_spaces,
           'all of them': lambda text, rng: odd_spaces(unseen(full_width(homoglyphs(text, rng, 0.2), rng, 0.2), rng), rng)}


@pytest.mark.parametrize('attack', ATTACKS)
def test_a_disguised_text_is_found_again(world, attack):
    text = world['marked']
    before = base(lines(detect(world, text, '--jsonl'))[0])
    assert before['log10_p'] < -30
    ids = world['one'][1].encode(text).ids
    assert [before['scored'], before['statistic']] == list(EPOCH.count([ids])['base'])
    disguised = ATTACKS[attack](text, random.Random(5))
    assert disguised != text
    alone = detect(world, disguised, '--jsonl')
    result = detect(world, disguised, '--views', 'raw,cleaned', '--jsonl')
    record = lines(result)[0]
    raw, cleaned = record['readings']
    assert (raw['view'], cleaned['view'], record['reading']) == ('raw', 'cleaned', 1)
    assert base(raw) == base(lines(alone)[0])  # what the raw view is alone, it is beside another
    assert base(raw)['log10_p'] > before['log10_p'] / 3
    if attack in ('homoglyphs', 'all of them'):  # words that are wholly of look-alikes stay
        assert base(cleaned)['log10_p'] < 0.75 * before['log10_p']
    else:
        assert base(cleaned) == before
    assert record['log10_p'] == base(cleaned)['log10_p'] and record['verdict'] == 'marked' and result.returncode == 1
    if attack == 'all of them':
        assert lines(alone)[0]['verdict'] == 'no evidence' and alone.returncode == 0


def test_readings_are_counted(world):
    text = unseen(world['plain'], random.Random(1))
    whole = json.loads(detect(world, text, '--views', 'raw,cleaned', '--account', 'a', '--json', tokenizer=('one', 'two')).out)
    assert [(r['view'], r['tokenizer_sha256']) for r in whole['readings']] == [(r['view'], r['tokenizer_sha256']) for r in whole['records'][0]['readings']]
    assert [r['view'] for r in whole['readings']] == ['raw', 'cleaned', 'raw', 'cleaned']
    assert len({r['tokenizer_sha256'] for r in whole['readings']}) == 2
    ledger = whole['ledger']
    assert (ledger['views'], ledger['tokenizers'], ledger['questions'], ledger['tests_counted']) == (2, 2, 1, 2 * 2 * 2)
    assert whole['pooled']['readings'] == whole['records'][0]['readings']  # a single record is its own pool, in every reading
    for reading, name, cleaned in zip(whole['readings'], ('one', 'one', 'two', 'two'), (False, True, False, True)):
        ids = world[name][1].encode(world['plain'] if cleaned else text).ids
        scored = whole['records'][0]['readings'][whole['readings'].index(reading)]
        assert [base(scored)['scored'], base(scored)['statistic']] == list(EPOCH.count([ids])['base'])
    alone = json.loads(detect(world, text, '--account', 'a', '--json').out)
    assert alone['ledger']['tests_counted'] == 2 and 'readings' not in alone['records'][0] and len(alone['readings']) == 1


def test_pools_are_of_their_reading(world):
    texts = [unseen(world['marked'], random.Random(8)), world['marked'], world['plain']]
    path = jsonl(world['folder'] / 'three.jsonl', [{'text': t} for t in texts])
    whole = json.loads(run(path, '--epoch-key', world['key'], '--tokenizer', world['one'][0], '--views', 'cleaned,raw', '--scheme', 'gumbel', '--json').out)
    encode = lambda t: world['one'][1].encode(t).ids
    expected = [EPOCH.count([encode(world['marked']), encode(world['plain'])])['base'], EPOCH.count([encode(t) for t in texts])['base']]
    assert [[base(r)['scored'], base(r)['statistic']] for r in whole['pooled']['readings']] == [list(e) for e in expected]
    assert whole['pooled']['reading'] == 0 and whole['ledger']['tests_counted'] == (3 + 1) * 2


def test_the_factor_decides(world):
    """At the level between the corrected value with two views and that with one, only the count of readings tells them apart."""
    text = ' '.join(world['marked'].split()[:40])
    p = base(lines(detect(world, text, '--jsonl'))[0])['log10_p']
    alpha = 10 ** (p + 0.15)
    assert detect(world, text, '--alpha', repr(alpha), '--jsonl').returncode == 1
    assert detect(world, text, '--alpha', repr(alpha), '--jsonl', '--views', 'raw,cleaned').returncode == 0
    assert detect(world, text, '--alpha', repr(alpha * 2), '--jsonl', '--views', 'raw,cleaned').returncode == 1


def test_passages_point_at_the_original(world):
    rng = random.Random(9)
    head, tail = unseen(world['plain'][:1200], rng), unseen(world['plain'][1200:2400], rng)
    inside = odd_spaces(unseen(full_width(world['marked'], rng, 0.3), rng), rng)
    text = head + ' ' + inside + ' ' + tail
    record = lines(detect(world, text, '--views', 'raw,cleaned', '--regions', '--jsonl'))[0]
    assert record['verdict'] == 'marked' and {r['reading'] for r in record['regions']} == {1}
    raw = text.encode()
    first, last = record['regions'][0]['begin'], record['regions'][-1]['end']
    begin, end = len((head + ' ').encode()), len((head + ' ' + inside).encode())
    assert abs(first - begin) < 600 and abs(last - end) < 600  # some forty letters with what was put between them
    for region in record['regions']:
        raw[region['begin']:region['end']].decode()  # whole characters


def test_a_signed_report_of_readings(world, tmp_path):
    (tmp_path / 'pass').write_text('secret\n')
    secret = ('--passphrase-file', tmp_path / 'pass')
    path = tmp_path / 'in.jsonl'
    jsonl(path, [{'id': 'r', 'text': unseen(world['marked'], random.Random(2))}, {'text': world['plain']}])
    (tmp_path / 'pass').chmod(0o600)
    for step in (('init', '--tenant', 'acme'), ('signing-key', '--public-out', tmp_path / 'signer.pem')):
        made = run(*step, '--store', tmp_path / 'keys.cmks', *secret, program='watermark-keys')
        assert made.returncode == 0, made.err
    result = run(path, '--epoch-key', world['key'], '--tokenizer', world['one'][0], '--tokenizer', world['two'][0], '--views', 'raw,cleaned', '--scheme', 'gumbel', '--regions',
                 '--report', tmp_path / 'report.json', '--html', tmp_path / 'page.html', '--decoys', 20, '--signing-keystore', tmp_path / 'keys.cmks', *secret, '--json')
    assert result.returncode == 1, result.err
    checked = run(tmp_path / 'report.json', '--public-key', tmp_path / 'signer.pem', '--input', path, '--tokenizer', world['one'][0], '--tokenizer', world['two'][0], '--json',
                  program='watermark-verify')
    assert checked.returncode == 0, checked.err
    verification = json.loads(checked.out)
    report = verification['report']
    assert [r['view'] for r in report['readings']] == ['raw', 'cleaned', 'raw', 'cleaned'] and report['verdict'] == 'evidence'
    assert report['ledger']['views'] == report['ledger']['tokenizers'] == 2 and report['ledger']['questions'] == 3
    assert sorted({(t['record'], t['reading']) for t in report['tests']}) == [(r, v) for r in range(3) for v in range(4)]
    assert any(r['reading'] == 1 for r in report['regions'])
    assert sum('that was used' in line for line in verification['checked']) == 2
    other = subprocess.run([sys.executable, SOURCE / 'tests' / 'oracle' / 'verify_report.py', tmp_path / 'signer.pem', tmp_path / 'report.json'], capture_output=True, text=True, check=True)
    assert json.loads(other.stdout)['outcome'] == 'verified', other.stdout
    shown = run(tmp_path / 'report.json', '--public-key', tmp_path / 'signer.pem', program='watermark-verify').out
    assert '1: cleaned text, tokenizer ' in shown and 'Marked passages' in shown


def test_what_cannot_be(world, tmp_path):
    path = jsonl(tmp_path / 'in.jsonl', [{'text': 'a b c'}])
    ids = jsonl(tmp_path / 'ids.jsonl', [{'token_ids': [1, 2, 3, 4]}])
    one, two = world['one'][0], world['two'][0]
    key = ('--epoch-key', world['key'])
    for flags, message in (
            ((path, *key, '--tokenizer', one, '--views', 'raw,raw'), 'names a view twice'),
            ((path, *key, '--tokenizer', one, '--views', 'clean'), '--views'),
            ((ids, *key, '--views', 'raw,cleaned'), 'token ids are taken as they are'),
            ((ids, *key, '--tokenizer', one, '--tokenizer', two, '--token-ids-field', 'token_ids'), 'token ids are taken as they are'),
            ((path, *key, '--tokenizer', one, '--tokenizer', one), 'is the same tokenizer as'),
            ((path, '--epoch-key', exported_key(tmp_path), '--tokenizer', one, '--tokenizer', two), "none of the 2 tokenizers is the epoch's"),
    ):
        result = run(*flags)
        assert result.returncode == 2 and message in result.err, (flags, result.err)


def test_another_tokenizers_ids_may_be_beyond_the_epochs_vocabulary(world, tmp_path):
    import hashlib
    sha = hashlib.sha256(world['two'][0].read_bytes()).hexdigest()
    key = exported_key(tmp_path, tokenizer_sha256=sha, vocabulary=world['two'][1].get_vocab_size())
    path = jsonl(tmp_path / 'in.jsonl', [{'text': world['plain']}])
    result = run(path, '--epoch-key', key, '--tokenizer', world['one'][0], '--tokenizer', world['two'][0], '--jsonl')
    assert result.returncode == 0, result.err
    assert [r['scored'] > 500 for r in lines(result)[0]['readings']] == [True, True]


def test_the_table_names_readings(world):
    out = detect(world, unseen(world['marked'], random.Random(4)), '--views', 'raw,cleaned', '--regions').out
    assert 'pooled, cleaned: ' in out and 'in 2 readings, equal parts' in out
    assert [line for line in out.splitlines() if line.startswith('r ')][0].endswith('cleaned')
