"""KeyStore, EpochKeys and Keys: what they keep, refuse and never show."""
import copy
import hashlib
import hmac
import json
import os
import pickle
import re
import subprocess
import threading
import traceback

import pytest

import countermark
from fixture import ACCOUNTS, BIN, PASSPHRASE, FixedEpoch

SECRET = "correct horse battery staple"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "keys.cmks"
    store = countermark.KeyStore.create(path, tenant="acme", passphrase_callback=lambda: bytearray(SECRET.encode()))
    store.add_accounts(["org-1", "org-2"])
    store.add_epoch("2026-11", tokenizer_sha256="a" * 64, vocabulary=500, weights={"base": 0.4, "account": 0.4, "request": 0.2}, first_use="2020-01-01",
                    last_use="2999-12-31")
    return path, store


def reopen(path):
    return countermark.KeyStore.open(path, passphrase_callback=lambda: SECRET)


def test_everything_is_on_the_disk(store):
    path, held = store
    assert os.stat(path).st_mode & 0o777 == 0o600
    again = reopen(path)
    assert again.tenant == "acme" and again.accounts == ["org-1", "org-2"]
    [record] = again.epochs
    assert record == held.epochs[0]
    assert record.channels == {"base": 26214, "account": 26214, "request": 13108}
    assert (record.scheme, record.window, record.first_use, record.last_use) == ("gumbel", 2, "2020-01-01T00:00:00Z", "2999-12-31T23:59:59Z")
    assert countermark.EpochRecord.parse(record.to_json()) == record
    assert pickle.loads(pickle.dumps(record)) == record  # a record is public
    assert list(json.loads(record.to_json())) == sorted(json.loads(record.to_json()))


def test_the_program_reads_it(store, tmp_path):
    path, _ = store
    secret = tmp_path / "passphrase"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    listed = subprocess.run([os.path.join(BIN, "watermark-keys"), "list", "--store", path, "--passphrase-file", secret, "--json"], check=True,
                            capture_output=True, text=True)
    assert "2026-11" in listed.stdout and "org-2" in listed.stdout


def test_commitments_by_hand(store, tmp_path):
    """SHA-256("countermark/v1/commit" ‖ salt ‖ key ‖ SHA-256(record)), the base key by HKDF of Python's own hmac."""
    _, held = store
    held.export("2026-11", tmp_path / "epoch.key")
    key = bytes.fromhex((tmp_path / "epoch.key").read_text())
    assert os.stat(tmp_path / "epoch.key").st_mode & 0o777 == 0o600
    record = (tmp_path / "epoch.key.json").read_text().strip().encode()

    def derive(parent, *labels):
        info = b"countermark/v1" + b"".join(bytes([len(label)]) + label for label in labels)
        return hmac.new(hmac.new(bytes(32), parent, "sha256").digest(), info + b"\x01", "sha256").digest()

    by_hand = {"base": derive(key, b"base"), "route": derive(key, b"route"), "account:org-1": derive(key, b"account", b"org-1"),
               "account:org-2": derive(key, b"account", b"org-2")}
    commitments = held.commitments("2026-11")
    assert [name for name, _, _ in commitments] == list(by_hand)
    for name, salt, commitment in commitments:
        assert hashlib.sha256(b"countermark/v1/commit" + bytes.fromhex(salt) + by_hand[name] + hashlib.sha256(record).digest()).hexdigest() == commitment


def test_bundle(store, tmp_path):
    _, held = store
    held.bundle("2026-11", tmp_path / "b", passphrase_callback=lambda: b"another one\n")
    keys = countermark.Keys()
    keys.open_bundle(tmp_path / "b", passphrase_callback=lambda: "another one")
    assert keys.epoch == "acme/2026-11"
    opened = countermark.EpochKeys.from_bundle(tmp_path / "b", passphrase_callback=lambda: "another one")
    assert opened.accounts == ["org-1", "org-2"] and opened.record == held.epochs[0]
    with pytest.raises(countermark.AlreadyExistsError):
        held.bundle("2026-11", tmp_path / "b", passphrase_callback=lambda: "x")


def test_passphrase_from_a_descriptor(tmp_path):
    epoch = FixedEpoch(tmp_path)
    read, write = os.pipe()
    os.write(write, PASSPHRASE.encode() + b"\n")
    os.close(write)
    keys = countermark.Keys()
    keys.open_bundle(epoch.bundle, passphrase_fd=read)
    os.close(read)
    assert keys.epoch == "test/fixed"
    assert epoch.epoch_keys().accounts == ACCOUNTS


def test_refusals_say_what_and_where(store, tmp_path):
    path, held = store
    epoch = FixedEpoch(tmp_path)
    keys = countermark.Keys()
    assert keys.epoch is None
    with pytest.raises(countermark.DeniedError, match="epoch.bundle") as wrong:
        keys.open_bundle(epoch.bundle, passphrase_callback=lambda: "wrong")
    assert wrong.value.status == 3 and isinstance(wrong.value, countermark.Error)
    with pytest.raises(countermark.NotFoundError, match="absent"):
        keys.open_bundle(tmp_path / "absent", passphrase_callback=lambda: "x")
    (tmp_path / "cut").write_bytes(epoch.bundle.read_bytes()[:40])
    (tmp_path / "cut").chmod(0o600)
    with pytest.raises(countermark.CorruptError):
        keys.open_bundle(tmp_path / "cut", passphrase_callback=lambda: "x")
    epoch.bundle.chmod(0o644)
    with pytest.raises(countermark.DeniedError):
        keys.open_bundle(epoch.bundle, passphrase_file=epoch.secret)
    with pytest.raises(countermark.AlreadyExistsError):
        countermark.KeyStore.create(path, tenant="acme", passphrase_callback=lambda: "x")
    with pytest.raises(countermark.AlreadyExistsError, match="org-1"):
        held.add_accounts(["org-9", "org-1"])
    assert "org-9" not in held.accounts
    with pytest.raises(countermark.NotFoundError, match="2026-11"):
        held.commitments("1999-01")
    with pytest.raises(countermark.NotFoundError):
        _ = held.signing_public_key
    with pytest.raises(countermark.InvalidArgumentError):
        held.add_epoch("e", tokenizer_sha256="a" * 64)
    with pytest.raises(ValueError, match="scheme"):
        held.add_epoch("e", tokenizer_sha256="a" * 64, vocabulary=10, scheme="none")
    with pytest.raises(countermark.InvalidArgumentError, match="bose"):
        held.add_epoch("e", tokenizer_sha256="a" * 64, vocabulary=10, weights={"bose": 1})


def test_another_program_has_saved(store):
    path, held = store
    other = reopen(path)
    other.add_accounts(["org-of-another"])
    with pytest.raises(countermark.ConflictError):
        reopened_late = held
        reopened_late.add_accounts(["org-too-late"])
    assert reopen(path).accounts == ["org-1", "org-2", "org-of-another"]


@pytest.mark.parametrize("given", [dict(), dict(passphrase_file="f", passphrase_fd=0), dict(passphrase_callback=lambda: ""), dict(passphrase_callback=lambda: b"\n"),
                                   dict(passphrase_callback=lambda: "x" * 5000), dict(passphrase_fd=-1), dict(passphrase_callback=lambda: "\ud800 surrogate")])
def test_a_passphrase_comes_one_way(tmp_path, given):
    with pytest.raises(countermark.InvalidArgumentError) as error:
        countermark.KeyStore.create(tmp_path / "k", tenant="t", **given)
    assert "surrogate" not in str(error.value)
    assert not (tmp_path / "k").exists()


def test_a_passphrase_is_no_string_in_the_call(tmp_path):
    for wrong in [dict(passphrase=SECRET), dict(passphrase_callback=SECRET)]:
        with pytest.raises(TypeError):
            countermark.KeyStore.create(tmp_path / "k", tenant="t", **wrong)
    with pytest.raises(TypeError) as error:
        countermark.KeyStore.create(tmp_path / "k", tenant="t", passphrase_callback=lambda: 12345678)
    assert "12345678" not in str(error.value)

    def own():
        raise KeyError("vault is shut")

    with pytest.raises(KeyError, match="vault"):
        countermark.KeyStore.create(tmp_path / "k", tenant="t", passphrase_callback=own)


def test_a_bytearray_is_wiped(tmp_path):
    given = bytearray(SECRET.encode())
    countermark.KeyStore.create(tmp_path / "k", tenant="t", passphrase_callback=lambda: given)
    assert given == bytes(len(given))


def holders(tmp_path):
    epoch = FixedEpoch(tmp_path)
    detector = countermark.Detector(epoch.epoch_keys())
    keys = epoch.keys()
    return [epoch.epoch_keys(), keys, countermark.Hook(keys, max_slots=1), detector, detector.run(records=1),
            countermark.KeyStore.create(tmp_path / "k", tenant="t", passphrase_callback=lambda: SECRET)]


def test_secrets_are_not_pickled_copied_or_printed(tmp_path):
    hexadecimal = bytes(range(32)).hex()
    for holder in holders(tmp_path):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="pickle"):
                pickle.dumps(holder, protocol)
        with pytest.raises(TypeError, match="copied"):
            copy.deepcopy(holder)
        shown = repr(holder) + str(holder) + repr(getattr(holder, "__dict__", "")) + repr(dir(holder))
        assert hexadecimal not in shown and SECRET not in shown and PASSPHRASE not in shown
        assert "000102" not in re.sub("0x[0-9a-f]+", "", shown)  # some ten addresses, each of which would hold these digits by chance in one run of two million


def test_tracebacks_hold_no_secret(tmp_path):
    epoch = FixedEpoch(tmp_path)
    wrong = "a passphrase that is wrong"
    try:
        countermark.Keys().open_bundle(epoch.bundle, passphrase_callback=lambda: wrong.upper())
    except countermark.Error as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        library = shown.replace(wrong, "")  # this function's own local
    assert wrong.upper() not in library and bytes(range(32)).hex() not in library


def test_opening_lets_other_threads_run(tmp_path):
    """scrypt takes a good part of a second; a thread of Python's counts meanwhile."""
    epoch = FixedEpoch(tmp_path)
    counted = 0
    done = threading.Event()

    def count():
        nonlocal counted
        while not done.is_set():
            counted += 1

    thread = threading.Thread(target=count)
    thread.start()
    before = counted
    epoch.epoch_keys()
    during = counted - before
    done.set()
    thread.join()
    assert during > 100
