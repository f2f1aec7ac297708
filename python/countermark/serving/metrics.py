"""Counters that the hook's process, the API's and others share: a mapped file a process in `state_dir`, summed by whoever is asked for them.

    counters = Counters.open(config.state_dir, "engine")       # state_dir None: this process's own, in memory
    counters.add("countermark_requests_total", outcome="signed")
    counters.set("countermark_tokens_total", 12345, cause="marked")     # of a count that is kept elsewhere: never to a smaller value
    prometheus_text(config.state_dir)                          # "# HELP …", all processes' sums

A process that has ended, also by SIGKILL, keeps what it counted: the next one to open the folder folds the files of the dead into past.json, so sums never fall
while the folder lives. A name that ends in _total is a counter; any other is a gauge, summed over living processes alone.

The file ROLE-PID-RANDOM.counters, for writers in other languages (little-endian):
    0   8 bytes "CMCNT001"        8   u32 number of entries, raised after the entry is written        12..63 zero
    64  entries of 192 bytes: u64 value, then the series as text padded with NUL, as `name{label="value"}` with labels sorted, at most 183 bytes
The file has its whole size (64 + 254 · 192) from the start, and its process holds flock(LOCK_EX) on it as long as it lives.
"""

import fcntl
import json
import mmap
import os
import re
import secrets
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from countermark.errors import DeniedError, InvalidArgumentError

_MAGIC = b"CMCNT001"
_HEADER, _ENTRY, _CAPACITY = 64, 192, 254
_SIZE = _HEADER + _ENTRY * _CAPACITY
_SERIES = re.compile(r"([a-z_][a-z0-9_]*)(?:\{(.*)\})?", re.ASCII)

HELP = {
    "countermark_tokens_total": "Tokens chosen, by what became of their mark",
    "countermark_requests_total": "Requests that reached the hook, by what their ticket was",
    "countermark_unknown_accounts_total": "Requests of accounts that have no key in the epoch",
    "countermark_ended_epochs_total": "Requests that found no epoch in use",
    "countermark_api_requests_total": "Generating requests let through by the API, by what carries their account",
    "countermark_api_refused_total": "Requests refused by the API, by reason",
    "countermark_api_removed_fields_total": "Members removed from requests",
    "countermark_api_floored_total": "Requests raised to the entropy floor by the API",
    "countermark_api_low_entropy_total": "Requests below the entropy floor that the policy let through",
    "countermark_api_aborted_total": "Answers whose client went away",
    "countermark_api_filtered_total": "Answers from which something was taken",
    "countermark_accounts_reloads_total": "Readings of a changed accounts file, by result",
    "countermark_accounts": "API keys known",
    "countermark_log_records_total": "Records written to the serving log",
    "countermark_log_recovered_total": "Cut lines of the serving log that a start has ended",
    "countermark_log_errors_total": "Records that could not be written to the serving log",
}


class Counters:
    """One process's counters. Safe between threads; a forked child opens a file of its own with its first count."""

    def __init__(self, folder: Path | None, role: str):
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,30}", role):
            raise InvalidArgumentError(f"role {role!r}: lower-case letters, digits, - and _")
        self._folder, self._role = folder, role
        self._lock = threading.Lock()
        self._descriptor = -1
        self._begin()

    @classmethod
    def open(cls, state_dir: str | os.PathLike[str] | None, role: str) -> "Counters":
        """Makes the process's file and folds those of the dead. The folder is made where it is missing. Errors: DeniedError."""
        if state_dir is None:
            return cls(None, role)
        folder = Path(state_dir)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o755)
            _fold(folder)
            return cls(folder, role)
        except OSError as error:
            raise DeniedError(f"{folder}: no counters can be kept there: {error.strerror}") from None

    def add(self, name: str, value: int = 1, **labels: str) -> None:
        """Adds to a counter or gauge."""
        with self._lock:
            at = self._at(name, labels)
            self._values[at] += value

    def set(self, name: str, value: int, **labels: str) -> None:
        """Sets a gauge, or a counter that is kept elsewhere and only rises."""
        with self._lock:
            at = self._at(name, labels)
            self._values[at] = max(value, self._values[at]) if name.endswith("_total") else value

    def get(self, name: str, **labels: str) -> int:
        """This process's value."""
        with self._lock:
            return self._values[self._at(name, labels)]

    def series(self) -> dict[str, int]:
        """This process's values by series."""
        with self._lock:
            return {key: self._values[at] for key, at in self._index.items()}

    def close(self) -> None:
        """Leaves the file to be folded by the next process."""
        with self._lock:
            if self._descriptor >= 0 and self._pid == os.getpid():
                os.close(self._descriptor)
                self._descriptor = -1

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._index: dict[str, int] = {}
        self._descriptor = -1
        if self._folder is None:
            self._map = mmap.mmap(-1, _SIZE)
        else:
            # Made under a name that nobody reads, so that no reader finds it unlocked or short.
            name = f"{self._role}-{self._pid}-{secrets.token_hex(4)}"
            part = self._folder / f".{name}.part"
            self._descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            os.posix_fallocate(self._descriptor, 0, _SIZE)  # a full disk is an error here and not a SIGBUS later
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._map = mmap.mmap(self._descriptor, _SIZE)
        self._map[:8] = _MAGIC
        self._values = memoryview(self._map).cast("Q")  # whole 8-byte stores
        if self._folder is not None:
            os.rename(part, self._folder / f"{name}.counters")

    def _at(self, name: str, labels: dict[str, str]) -> int:
        """The place of a series among the 8-byte values."""
        if self._pid != os.getpid():
            if self._descriptor >= 0:
                os.close(self._descriptor)  # the parent's own keeps the lock
            self._begin()
        key = name
        if labels:
            key += "{" + ",".join(f'{k}="{labels[k]}"' for k in sorted(labels)) + "}"
        at = self._index.get(key)
        if at is None:
            text, n = key.encode(), len(self._index)
            if len(text) > _ENTRY - 9 or n >= _CAPACITY or not _SERIES.fullmatch(key):
                raise InvalidArgumentError(f"no room for the series {key[:80]!r}")
            start = _HEADER + _ENTRY * n
            self._map[start + 8 : start + 8 + len(text)] = text
            struct.pack_into("<I", self._map, 8, n + 1)
            at = self._index[key] = start // 8
        return at


class Publisher:
    """The hook's counts, which its library keeps, in this process's file: tokens_CAUSE, requests_OUTCOME, and plain names of other totals."""

    def __init__(self, state_dir: str | os.PathLike[str] | None, role: str):
        self._counters = Counters.open(state_dir, role)

    def set(self, totals: Mapping[str, int]) -> None:
        """Publishes all totals."""
        for name, value in totals.items():
            for kind, label in (("tokens", "cause"), ("requests", "outcome")):
                if name.startswith(kind + "_"):
                    self._counters.set(f"countermark_{kind}_total", value, **{label: name[len(kind) + 1 :]})
                    break
            else:
                self._counters.set(f"countermark_{name}_total", value)

    def close(self) -> None:
        """The process will count no more."""
        self._counters.close()


def collect(state_dir: str | os.PathLike[str] | None, own: Counters | None = None) -> dict[str, int]:
    """Sums by series over all processes of the folder, the dead among them; `own` where there is no folder."""
    if state_dir is None:
        return own.series() if own is not None else {}
    folder = Path(state_dir)
    with _locked(folder):
        sums, folded = _past(folder)
        for file in sorted(folder.glob("*.counters")):
            if file.name not in folded:
                _sum(sums, _read(file), living=_alive(file))
    return sums


def living(state_dir: str | os.PathLike[str], role: str) -> bool:
    """Whether a process of this role is counting in the folder now."""
    return any(_alive(file) for file in Path(state_dir).glob(f"{role}-[0-9]*.counters"))


def prometheus_text(state_dir: str | os.PathLike[str] | None, own: Counters | None = None) -> str:
    """All counters in Prometheus' text format."""
    lines: list[str] = []
    last = None
    for key, value in sorted(collect(state_dir, own).items(), key=lambda item: (item[0].partition("{")[0], item[0])):
        name = key.partition("{")[0]
        if name != last:
            last = name
            lines += [f"# HELP {name} {HELP.get(name, name)}", f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}"]
        lines.append(f"{key} {value}")
    return "".join(line + "\n" for line in lines)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # Not readable by others: whoever can open it can lock it, and an API would wait for that with every answer of /metrics.
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _past(folder: Path) -> tuple[dict[str, int], set[str]]:
    """What the dead have counted, and the files that are in it though they may still be there."""
    try:
        past = json.loads((folder / "past.json").read_text())
        return {str(k): int(v) for k, v in past["values"].items()}, set(past["folded"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}, set()


def _fold(folder: Path) -> None:
    """Adds the files of dead processes to past.json, which names them before they are removed: ended in between, nothing is counted twice."""
    with _locked(folder):
        values, folded = _past(folder)
        dead = [file for file in sorted(folder.glob("*.counters")) if not _alive(file)]
        new = [file for file in dead if file.name not in folded]
        if new:
            for file in new:
                _sum(values, _read(file), living=False)
            part = folder / ".past.part"
            part.write_text(json.dumps({"values": values, "folded": [file.name for file in dead]}))
            os.replace(part, folder / "past.json")
        for file in dead:
            file.unlink(missing_ok=True)


def _alive(file: Path) -> bool:
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return os.path.exists(file)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def _read(file: Path) -> dict[str, int]:
    try:
        data = file.read_bytes()
    except OSError:
        return {}
    if len(data) != _SIZE or data[:8] != _MAGIC:
        return {}
    values = {}
    for i in range(min(struct.unpack_from("<I", data, 8)[0], _CAPACITY)):
        at = _HEADER + _ENTRY * i
        key = data[at + 8 : at + _ENTRY].rstrip(b"\0").decode("ascii", "replace")
        if _SERIES.fullmatch(key):
            values[key] = struct.unpack_from("<Q", data, at)[0]
    return values


def _sum(sums: dict[str, int], values: dict[str, int], living: bool) -> None:
    for key, value in values.items():
        if living or key.partition("{")[0].endswith("_total"):
            sums[key] = sums.get(key, 0) + value
