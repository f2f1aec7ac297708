"""API key → account. The file holds hashes of keys and never a key.

    accounts = Accounts(config.accounts_file, config.accounts_hmac_file)
    accounts.find("sk-…")            # "org-1", or None

TOML (accounts.toml)                             SQLite (any name that does not end in .toml)
    [[keys]]                                         CREATE TABLE api_keys (
    sha256 = "64 hex digits"                           hash TEXT PRIMARY KEY,      -- 64 lower-case hex digits
    account = "org-1"                                  account TEXT NOT NULL,
    disabled = true        # optional                  disabled INTEGER NOT NULL DEFAULT 0);

The hash is SHA-256 of the key's UTF-8 bytes, which is enough for keys of 128 random bits or more. With an HMAC file (0600, 64 hex digits) it is HMAC-SHA256
under those 32 bytes: then the file alone does not let anyone try keys. Several keys may name one account.

A changed file is taken up within a second. Where the new one cannot be read, what was read before stays in use, and that is counted and said on standard error.
At start-up it is an error. SQLite is asked for each request, so it needs no reading again; a replaced file is opened anew. While another program holds its lock, requests get 503 and not 401.
"""

import hashlib
import hmac
import os
import re
import sqlite3
import sys
import time
import tomllib
from pathlib import Path

from countermark.errors import CorruptError, Error, InvalidArgumentError, NotFoundError
from countermark.serving.metrics import Counters
from countermark.serving.ticket import MAX_ACCOUNT_BYTES, read_private

_LOOK_S = _RETRY_S = 1.0
_HASH = re.compile(r"[0-9a-f]{64}")
_MAX_KEY_BYTES = 4096
MAX_FILE_BYTES = 256 << 20


class LookupFailed(Exception):
    """No key can be looked up at the moment: another program holds the database. It may be well in a second."""


class Accounts:
    """The accounts file, looked at again when it changes. Used by one thread (an event loop's)."""

    def __init__(self, path: Path, hmac_file: Path | None = None, counters: Counters | None = None):
        """Errors: NotFoundError, CorruptError, DeniedError, InvalidArgumentError."""
        self._path, self._counters = path, counters or Counters.open(None, "accounts")
        self._mac: hmac.HMAC | None = None
        if hmac_file is not None:
            digits = read_private(hmac_file, "accounts' HMAC key").strip().decode("ascii", "replace").lower()
            if not _HASH.fullmatch(digits):
                raise InvalidArgumentError(f"{hmac_file}: an HMAC key is 64 hex digits and nothing else")
            self._mac = hmac.new(bytes.fromhex(digits), b"", hashlib.sha256)
        self._table: dict[str, str] = {}
        self._database: sqlite3.Connection | None = None
        self._looked = time.monotonic()
        self._failing_until = 0.0
        self._state = _state(path)
        self._read()

    def find(self, key: str) -> str | None:
        """The account of an API key; None: unknown or disabled. Errors: LookupFailed."""
        self._refresh()
        data = key.encode("utf-8", "surrogatepass")
        if not 0 < len(data) <= _MAX_KEY_BYTES:
            return None
        digest = self.hash(data)
        if self._database is None:
            return self._table.get(digest)  # of hashes: what the lookup's time tells of them does not lead to a key
        if time.monotonic() < self._failing_until:
            raise LookupFailed  # every request would wait for the same lock, one after another
        try:
            row = self._database.execute("SELECT account FROM api_keys WHERE hash = ? AND NOT disabled", (digest,)).fetchone()
        except sqlite3.Error as error:
            self._failing_until = time.monotonic() + _RETRY_S
            self._failed(f"{self._path}: {error}")
            raise LookupFailed from None
        return row[0] if row and _account_problem(row[0]) is None else None

    def hash(self, key: bytes) -> str:
        """What the file holds in place of the key."""
        if self._mac is None:
            return hashlib.sha256(key).hexdigest()
        mac = self._mac.copy()
        mac.update(key)
        return mac.hexdigest()

    def close(self) -> None:
        """Closes the database."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        state = _state(self._path)
        if state == self._state or (self._database is not None and state is not None and self._state is not None and state[0] == self._state[0]):
            return
        self._state = state
        try:
            self._read()
        except Error as error:
            self._failed(str(error))

    def _failed(self, why: str) -> None:
        self._counters.add("countermark_accounts_reloads_total", result="failed")
        print(f"countermark: accounts: {why}; what was read before stays in use", file=sys.stderr, flush=True)

    def _read(self) -> None:
        if self._path.suffix == ".toml":
            self._table = read_toml(self._path)
            self._counters.set("countermark_accounts", len(self._table))
        else:
            database, n = _open_database(self._path)
            self.close()
            self._database = database
            self._counters.set("countermark_accounts", n)
        self._counters.add("countermark_accounts_reloads_total", result="ok")

    def __repr__(self) -> str:
        return f"Accounts({str(self._path)!r})"


def read_toml(path: Path) -> dict[str, str]:
    """hash → account of the keys that are not disabled. Errors: NotFoundError, CorruptError (file, entry, what is wrong)."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise CorruptError(f"{path}: more than {MAX_FILE_BYTES} bytes; use SQLite")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such accounts file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CorruptError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    entries = content.get("keys", [])
    if set(content) - {"keys"} or not isinstance(entries, list):
        raise CorruptError(f"{path}: [[keys]] entries and nothing else are expected")
    table: dict[str, str] = {}
    seen: set[str] = set()
    for i, entry in enumerate(entries, 1):
        where = f"{path}: entry {i}"
        if not isinstance(entry, dict) or set(entry) - {"sha256", "account", "disabled"}:
            raise CorruptError(f"{where}: members are sha256, account and disabled")
        digest, account, disabled = entry.get("sha256"), entry.get("account"), entry.get("disabled", False)
        # Not repeated in the message: an operator may have put a key there.
        if not isinstance(digest, str) or not _HASH.fullmatch(digest):
            raise CorruptError(f"{where}: sha256 is 64 lower-case hex digits")
        if digest in seen:
            raise CorruptError(f"{where}: its key is there already")
        problem = _account_problem(account)
        if problem or not isinstance(account, str) or not isinstance(disabled, bool):
            raise CorruptError(f"{where}: {problem or 'disabled is true or false'}")
        seen.add(digest)
        if not disabled:
            table[digest] = account
    return table


def _open_database(path: Path) -> tuple[sqlite3.Connection, int]:
    if not path.exists():
        raise NotFoundError(f"{path}: no such accounts file")
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False, timeout=0.1)
    try:
        (n,) = database.execute("SELECT count(*) FROM api_keys WHERE NOT disabled").fetchone()
        database.execute("SELECT account FROM api_keys WHERE hash = ? AND NOT disabled", ("",)).fetchone()
    except sqlite3.Error as error:
        database.close()
        raise CorruptError(f"{path}: {error}") from None
    return database, int(n)


def _account_problem(account: object) -> str | None:
    if not isinstance(account, str) or not 1 <= len(account.encode("utf-8", "surrogatepass")) <= MAX_ACCOUNT_BYTES:
        return f"account is a text of 1 to {MAX_ACCOUNT_BYTES} bytes"
    if not account.isprintable() or account != account.strip():
        return "account has characters that do not print, or blanks at its ends"
    return None


def _state(path: Path) -> tuple[int, int, int, int] | None:
    """Changes whenever the file does."""
    try:
        s = os.stat(path)
    except OSError:
        return None
    return s.st_ino, s.st_mtime_ns, s.st_size, s.st_ctime_ns
