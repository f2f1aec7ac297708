"""API keys and their accounts: TOML and SQLite, changed while in use, broken while in use, and who may read what."""
import hashlib
import hmac
import os
import sqlite3
import stat
import threading

import pytest

from countermark.errors import CorruptError, DeniedError, InvalidArgumentError, NotFoundError
from countermark.gateway import main, make_key
from countermark.serving import accounts as module
from countermark.serving.accounts import Accounts, LookupFailed
from countermark.serving.config import ServingConfig
from countermark.serving.metrics import Counters

KEYS = {"sk-a": "org-a", "sk-a2": "org-a", "sk-b": "org-b é"}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(module, "_LOOK_S", 0.0)


def digest(key, pepper=None):
    return hashlib.sha256(key.encode()).hexdigest() if pepper is None else hmac.digest(pepper, key.encode(), "sha256").hex()


def entry(key, account, more=""):
    return f'[[keys]]\nsha256 = "{digest(key)}"\naccount = "{account}"\n{more}\n'


def write(path, text):
    part = path.with_suffix(".part")
    part.write_text(text)
    os.replace(part, path)


def toml(folder, keys=KEYS, name="accounts.toml"):
    path = folder / name
    write(path, "\n".join(entry(k, a) for k, a in keys.items()))
    return path


def database(folder, keys=KEYS, name="accounts.sqlite"):
    path = folder / name
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE api_keys (hash TEXT PRIMARY KEY, account TEXT NOT NULL, disabled INTEGER NOT NULL DEFAULT 0)")
        db.executemany("INSERT INTO api_keys VALUES (?, ?, 0)", [(digest(k), a) for k, a in keys.items()])
    db.close()
    return path


@pytest.mark.parametrize("make", [toml, database])
def test_keys_are_found(tmp_path, make):
    accounts = Accounts(make(tmp_path))
    assert {key: accounts.find(key) for key in KEYS} == KEYS
    for key in ("", "sk-", "sk-a ", "SK-A", "sk-c", digest("sk-a"), "x" * 5000, "\ud800", "' OR 1=1 --", "org-a"):
        assert accounts.find(key) is None


def test_toml_changes_are_taken_up(tmp_path):
    path, counters = toml(tmp_path), Counters.open(None, "test")
    accounts = Accounts(path, counters=counters)
    write(path, entry("sk-new", "org-n") + entry("sk-a", "org-a", "disabled = true"))
    assert accounts.find("sk-new") == "org-n" and accounts.find("sk-a") is None and accounts.find("sk-b") is None
    assert counters.get("countermark_accounts_reloads_total", result="ok") == 2 and counters.get("countermark_accounts") == 1


@pytest.mark.parametrize("broken", ["[[keys]", '[[keys]]\nsha256 = "x"\naccount = "a"', f'[[keys]]\nsha256 = "{digest("k")}"', entry("k", ""), entry("k", "a") * 2, entry("k", "a", "more = 1"), "keys = 3", "other = 1",
                                    entry("k", "a" * 255), entry("k", " a"), entry("k", "a\\u200b"), entry("k", "a", 'disabled = "no"'), None], ids=range(13))
def test_a_broken_file_keeps_what_was_read(tmp_path, broken, capfd):
    path, counters = toml(tmp_path), Counters.open(None, "test")
    accounts = Accounts(path, counters=counters)
    path.unlink() if broken is None else write(path, broken)
    assert accounts.find("sk-a") == "org-a" and accounts.find("k") is None
    assert counters.get("countermark_accounts_reloads_total", result="failed") == 1, "said once for one change"
    assert str(path) in capfd.readouterr().err
    with pytest.raises((CorruptError, NotFoundError)):
        Accounts(path)
    write(path, entry("sk-new", "org-n"))
    assert accounts.find("sk-new") == "org-n"


def test_a_key_that_somebody_put_into_the_file_is_not_repeated(tmp_path, capfd):
    path = tmp_path / "accounts.toml"
    path.write_text('[[keys]]\nsha256 = "sk-very-secret"\naccount = "a"')
    with pytest.raises(CorruptError, match="entry 1: sha256 is 64 lower-case hex digits") as error:
        Accounts(path)
    assert "very-secret" not in str(error.value) + capfd.readouterr().err


def test_sqlite_changes_are_seen_at_once_and_replaced_files_too(tmp_path):
    path, counters = database(tmp_path), Counters.open(None, "test")
    accounts = Accounts(path, counters=counters)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE api_keys SET disabled = 1 WHERE hash = ?", (digest("sk-a"),))
        db.execute("INSERT INTO api_keys VALUES (?, 'org-n', 0)", (digest("sk-new"),))
    db.close()
    assert accounts.find("sk-a") is None and accounts.find("sk-new") == "org-n" and accounts.find("sk-a2") == "org-a"
    os.replace(database(tmp_path, {"sk-z": "org-z"}, "next.sqlite"), path)
    assert accounts.find("sk-z") == "org-z" and accounts.find("sk-b") is None
    write(path, "no database")
    assert accounts.find("sk-z") == "org-z" and counters.get("countermark_accounts_reloads_total", result="failed") == 1
    with pytest.raises(CorruptError):
        Accounts(path)


def test_keys_that_are_made_at_once_are_all_there_and_others_may_not_write(tmp_path):
    path = tmp_path / "accounts.toml"
    config = tmp_path / "config.toml"
    config.write_text('accounts_file = "accounts.toml"\nticket_key_file = "t"\n')
    old = os.umask(0)
    try:
        threads = [threading.Thread(target=make_key, args=(ServingConfig.load(config), f"org-{i}")) for i in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        os.umask(old)
    assert sorted(module.read_toml(path).values()) == sorted(f"org-{i}" for i in range(20)) and stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_a_locked_database_is_no_wrong_key(tmp_path, capfd):
    """Who has a key is told to come again, at once, and not that the key is none."""
    path = database(tmp_path)
    accounts = Accounts(path)
    with sqlite3.connect(path) as db:
        db.execute("BEGIN EXCLUSIVE")
        for _ in range(50):
            with pytest.raises(LookupFailed):
                accounts.find("sk-a")
        assert capfd.readouterr().err.count("locked") <= 2
        db.execute("ROLLBACK")
    accounts._failing_until = 0.0
    assert accounts.find("sk-a") == "org-a"


def test_sqlite_is_opened_for_reading_alone(tmp_path):
    path = database(tmp_path)
    path.chmod(0o400)
    accounts = Accounts(path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        accounts._database.execute("DELETE FROM api_keys")


def test_an_account_in_the_database_that_cannot_be_one_is_none(tmp_path):
    assert Accounts(database(tmp_path, {"k": "x" * 300})).find("k") is None


def test_hmac(tmp_path):
    pepper = tmp_path / "pepper"
    pepper.write_text("ab" * 32 + "\n")
    pepper.chmod(0o600)
    path = tmp_path / "accounts.toml"
    path.write_text(f'[[keys]]\nsha256 = "{digest("sk-a", bytes.fromhex("ab" * 32))}"\naccount = "org-a"\n' + entry("sk-b", "org-b"))
    accounts = Accounts(path, pepper)
    assert accounts.find("sk-a") == "org-a" and accounts.find("sk-b") is None and "ab" * 8 not in repr(accounts)
    pepper.chmod(0o644)
    with pytest.raises(DeniedError):
        Accounts(path, pepper)
    pepper.chmod(0o600)
    pepper.write_text("ab" * 31)
    with pytest.raises(InvalidArgumentError, match="64 hex digits"):
        Accounts(path, pepper)


def test_a_file_that_changes_all_the_time(tmp_path):
    """Readers see the old or the new file, never half of one."""
    path = toml(tmp_path, {"sk-a": "org-a"} | {f"k{i}": f"a{i}" for i in range(200)})
    accounts, counters, stop = None, Counters.open(None, "test"), threading.Event()

    def churn():
        i = 0
        while not stop.is_set():
            i += 1
            toml(tmp_path, {"sk-a": "org-a"} | {f"k{i}": "x" for i in range(i % 200)})

    accounts = Accounts(path, counters=counters)
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        assert all(accounts.find("sk-a") == "org-a" for _ in range(300))
    finally:
        stop.set()
        thread.join()
    assert counters.get("countermark_accounts_reloads_total", result="failed") == 0


# Keys made by the program


def config(folder, name, more=""):
    path = folder / "config.toml"
    path.write_text(f'accounts_file = "{name}"\nticket_key_file = "t"\n{more}')
    return path


@pytest.mark.parametrize("name", ["accounts.toml", "accounts.sqlite"])
def test_make_key(tmp_path, name, capsys):
    path = config(tmp_path, name)
    keys = []
    for account in ("org-1", 'a "quoted" \\ one', "org-1"):
        assert main(["--config", str(path), "--make-key", account]) == 0
        keys.append(capsys.readouterr().out.strip())
    accounts = Accounts(tmp_path / name)
    assert [accounts.find(key) for key in keys] == ["org-1", 'a "quoted" \\ one', "org-1"] and len(set(keys)) == 3 and all(len(key) > 40 for key in keys)
    assert not any(key.encode() in (tmp_path / name).read_bytes() for key in keys)
    for bad in ("", " a", "x" * 255, "a\n"):
        with pytest.raises(InvalidArgumentError):
            make_key(ServingConfig.load(path), bad)
    assert {p.name for p in tmp_path.iterdir()} == {"config.toml", name}


def test_make_key_keeps_the_rest_and_the_mode(tmp_path):
    path = config(tmp_path, "accounts.toml", 'accounts_hmac_file = "pepper"')
    (tmp_path / "pepper").write_text("cd" * 32)
    (tmp_path / "pepper").chmod(0o600)
    (tmp_path / "accounts.toml").write_text("# ours\n" + entry("x", "org-x"))
    (tmp_path / "accounts.toml").chmod(0o640)
    key = make_key(ServingConfig.load(path), "org-y")
    assert (tmp_path / "accounts.toml").read_text().startswith("# ours\n") and stat.S_IMODE((tmp_path / "accounts.toml").stat().st_mode) == 0o640
    assert Accounts(tmp_path / "accounts.toml", tmp_path / "pepper").find(key) == "org-y"
    (tmp_path / "accounts.toml").write_text("[[keys]")
    with pytest.raises(CorruptError):
        make_key(ServingConfig.load(path), "org-z")
    assert (tmp_path / "accounts.toml").read_text() == "[[keys]"
