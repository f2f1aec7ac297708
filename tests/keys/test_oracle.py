"""A second implementation opens what watermark-keys writes, and the other way round."""
import hashlib
import json

import oracle
from conftest import BUNDLE_PASSPHRASE, PASSPHRASE
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def opened(work):
    body, cost = oracle.unseal(work.read('keys.cmks'), PASSPHRASE.encode(), oracle.STORE)
    assert cost == (32768, 8, 1)   # what every program writes; no option lowers it
    return body, json.loads(body)


def test_the_store_decrypts_and_is_canonical(full):
    body, store = opened(full)
    assert body.decode() == oracle.canonical(store)
    assert sorted(store) == ['accounts', 'epochs', 'format', 'master', 'signing_key', 'tenant']
    assert store['tenant'] == 'acme' and store['format'] == 1
    assert store['accounts'] == ['org-1', 'org-7f3a/user-α', 'quote"back\\slash']
    first, second = (epoch['record'] for epoch in store['epochs'])
    assert first == {'channels': [{'name': 'base', 'weight': 32768}, {'name': 'account', 'weight': 32768}], 'delta': 2, 'epoch': '2026-11',
                     'first_use': '2026-11-01T00:00:00Z', 'format': 1, 'green': 64, 'last_use': '2026-11-30T23:59:59Z', 'layers': 30,
                     'low_entropy': 'floor', 'scheme': 'gumbel', 'tenant': 'acme',
                     'tokenizer_sha256': hashlib.sha256(b'not a real tokenizer').hexdigest(), 'vocabulary': 49152, 'window': 2}
    assert second['channels'] == [{'name': 'base', 'weight': 26214}, {'name': 'account', 'weight': 26214}, {'name': 'request', 'weight': 13108}]
    assert (second['scheme'], second['green'], second['delta'], second['window'], second['low_entropy']) == ('partition', 85, 1.375, 3, 'deny')
    assert second['epoch'] == 'Ära 2' and second['first_use'] == '2026-12-01T10:00:00Z'


def test_keys_and_records_that_leave_the_store(full):
    _, store = opened(full)
    master = bytes.fromhex(store['master'])
    for index, name in enumerate(('2026-11', 'Ära 2')):
        key = oracle.derive(master, 'epoch', 'acme', name)
        record = oracle.canonical(store['epochs'][index]['record'])
        full.store('export', '--epoch', name, '--out', f'{index}.key')
        assert full.read(f'{index}.key').decode() == key.hex() + '\n'
        assert full.read(f'{index}.key.json').decode() == record
        full.store('bundle', '--epoch', name, '--out', f'{index}.cmkb', '--bundle-passphrase-file', 'hosts')
        body, cost = oracle.unseal(full.read(f'{index}.cmkb'), BUNDLE_PASSPHRASE.encode(), oracle.BUNDLE)
        assert cost == (32768, 8, 1)
        bundle = json.loads(body)
        assert body.decode() == oracle.canonical(bundle)
        assert bundle == {'accounts': store['accounts'], 'epoch_key': key.hex(), 'format': 1, 'record': store['epochs'][index]['record']}
        for secret in (store['master'], store['signing_key'], store['epochs'][index]['salt_seed']):
            assert secret not in body.decode()


def test_commitments(full):
    _, store = opened(full)
    master = bytes.fromhex(store['master'])
    listed = json.loads(full.store('list', '--json', '--commitments')[0])
    text = full.store('list', '--commitments')[0]
    assert len(listed['epochs']) == 2
    for stored, epoch in zip(store['epochs'], listed['epochs']):
        record = oracle.canonical(stored['record']).encode()
        assert epoch['record'] == stored['record']
        assert epoch['record_sha256'] == hashlib.sha256(record).hexdigest()
        key = oracle.derive(master, 'epoch', 'acme', stored['record']['epoch'])
        seed = bytes.fromhex(stored['salt_seed'])

        def commitment(name, secret):
            return oracle.commitment(oracle.derive(seed, 'salt', name), secret, record)

        expected = [commitment('account:' + a, oracle.derive(key, 'account', a)) for a in store['accounts']]
        found = epoch['commitments']
        assert found['base'] == commitment('base', oracle.derive(key, 'base'))
        assert found['route'] == commitment('route', oracle.derive(key, 'route'))
        assert found['accounts'] == [{'account': a, 'commitment': c} for a, c in zip(store['accounts'], expected)]
        assert found['accounts_root'] == oracle.merkle_root([bytes.fromhex(c) for c in expected]).hex()
        for digest in (found['base'], found['route'], found['accounts_root'], *expected):
            assert digest in text


def test_the_signing_key(full):
    _, store = opened(full)
    public = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(store['signing_key'])).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert full.read('signing.pem') == pem
    assert json.loads(full.store('list', '--json')[0])['signing_key'].encode() == pem


def test_a_store_written_elsewhere_opens_here(work):
    record = {'channels': [{'name': 'base', 'weight': 65536}], 'delta': 0.001, 'epoch': 'e', 'first_use': '2026-01-01T00:00:00Z', 'format': 1,
              'green': 1, 'last_use': '2026-01-01T00:00:00Z', 'layers': 32, 'low_entropy': 'allow', 'scheme': 'tournament', 'tenant': 'élan "q"',
              'tokenizer_sha256': 'f' * 64, 'vocabulary': 1, 'window': 4}
    body = {'accounts': [], 'epochs': [{'record': record, 'salt_seed': '11' * 32}], 'format': 1, 'master': '22' * 32, 'signing_key': None,
            'tenant': 'élan "q"'}
    work.write('keys.cmks', oracle.seal(oracle.canonical(body).encode(), PASSPHRASE.encode(), oracle.STORE), 0o600)
    listed = json.loads(work.store('list', '--json', '--commitments')[0])
    assert listed['epochs'][0]['record'] == record and listed['signing_key'] is None
    assert listed['epochs'][0]['commitments']['accounts_root'] == hashlib.sha256(b'').hexdigest()
    work.store('export', '--epoch', 'e', '--out', 'e.key')
    assert work.read('e.key').decode().strip() == oracle.derive(b'\x22' * 32, 'epoch', 'élan "q"', 'e').hex()
    assert work.read('e.key.json').decode() == oracle.canonical(record)
    # One space more, and it is not the canonical body: sealed all the same, and refused.
    work.write('keys.cmks', oracle.seal(oracle.canonical(body).replace(':', ': ', 1).encode(), PASSPHRASE.encode(), oracle.STORE), 0o600)
    work.store('list', code=2)


def test_the_canonical_delta(work):
    work.store('init', '--tenant', 'acme')
    for number, text in enumerate(['0.001', '1.005', '16']):
        work.epoch(f'e{number}', '--scheme', 'partition', '--delta', text)
        work.store('export', '--epoch', f'e{number}', '--out', f'{number}.key')
        exported = work.read(f'{number}.key.json').decode()
        assert exported == oracle.canonical(json.loads(exported))
        assert f'"delta":{text},' in exported
