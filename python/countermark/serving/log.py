"""The serving log: a line of JSON an answer, appended, for audits later. No prompt, no text, no API key.

    log = ServingLog(config.log, counters)
    log.write({"account": "org-1", …})            # on its way to the disk as the fsync policy says
    await log.settle()                            # fsync = "each": returns when what was written is on the disk

Files: serving-N.jsonl, N the first number that no living process has; full ones become serving-N.YYYYMMDDTHHMMSSZ.K.jsonl. One writer a file (flock). `keep` >
0: that many full ones of this N stay.

A record is one write(2) of one line. After kill -9 every record that was written is there, since the kernel has it; a line that was cut short is ended by the
next start, which says so with a record {"event": "recovered"}: a reader skips the one line before it. After a power failure: fsync "each" loses no record whose
answer has ended, "interval" those of the last fsync_interval_s, "never" what the kernel had not written. A record that cannot be written (a full disk) is
counted as countermark_log_errors_total and said once; serving goes on.
"""

import asyncio
import datetime
import fcntl
import json
import os
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from countermark.errors import DeniedError
from countermark.serving.config import LogConfig
from countermark.serving.metrics import Counters

VERSION = 1
_MAX_WRITERS = 1024


class ServingLog:
    """One process's log. Safe between threads; a forked child writes a file of its own."""

    def __init__(self, config: LogConfig, counters: Counters):
        """Errors: DeniedError where the folder cannot be written to."""
        if config.directory is None:
            raise DeniedError("log.directory is missing")
        self._config, self._counters, self._folder = config, counters, config.directory
        self._lock = threading.Lock()
        self._descriptor = -1
        self._said = False
        self._dirty = False
        self._stop = threading.Event()
        self._torn = False
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._open()
            self._start()
        except OSError as error:
            raise DeniedError(f"{self._folder}: no serving log can be kept there: {error.strerror}") from None

    def write(self, record: dict[str, Any]) -> None:
        """Appends a record; `v` and `time` are put in front. Never raises for the disk's sake."""
        line = _line(record)
        with self._lock:
            try:
                if self._pid != os.getpid():
                    os.close(self._descriptor)
                    self._open()
                    self._start()
                if self._size and self._size + len(line) > self._config.rotate_bytes:
                    self._rotate()
                self._append(line)
                self._counters.add("countermark_log_records_total")
                self._dirty = True
            except OSError as error:
                self._failed(error)

    async def settle(self) -> None:
        """Where the policy is "each": returns when all that was written is on the disk."""
        if self._config.fsync == "each" and self._dirty:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._sync)

    def close(self) -> None:
        """Writes out and gives the file up."""
        self._stop.set()
        if self._descriptor >= 0:
            if self._config.fsync != "never":
                self._sync()
            with self._lock:
                os.close(self._descriptor)
                self._descriptor = -1

    @property
    def path(self) -> Path:
        """The file that is written."""
        return self._path

    def _append(self, line: bytes) -> None:
        if self._torn:
            line = b"\n" + line  # a reader skips the part of a line before it
        done = os.write(self._descriptor, line)
        self._size += done
        self._torn = done < len(line)
        if self._torn:
            raise OSError(28, "the disk is full")

    def _failed(self, error: OSError) -> None:
        self._counters.add("countermark_log_errors_total")
        if not self._said:
            self._said = True
            print(f"countermark: serving log {self._path}: {error.strerror}; records are lost until there is room", file=sys.stderr, flush=True)

    def _open(self) -> None:
        """Takes the first file that no living process has, and ends a line that was cut short."""
        for n in range(_MAX_WRITERS):
            path = self._folder / f"serving-{n}.jsonl"
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                here = os.stat(path)
                if os.fstat(descriptor).st_ino == here.st_ino:  # else it was rotated between the two
                    break
            except (BlockingIOError, FileNotFoundError):
                pass
            os.close(descriptor)
        else:
            raise OSError(11, f"{_MAX_WRITERS} processes write there")
        self._path, self._n, self._descriptor, self._size, self._torn = path, n, descriptor, here.st_size, False
        if self._size and os.pread(descriptor, 1, self._size - 1) != b"\n":
            self._torn = True
            self._append(_line({"event": "recovered"}))
            self._counters.add("countermark_log_recovered_total")

    def _start(self) -> None:
        """Threads do not outlive a fork."""
        self._pid = os.getpid()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="countermark-log")
        if self._config.fsync == "interval":
            threading.Thread(target=self._every, name="countermark-log", daemon=True).start()

    def _every(self) -> None:
        while not self._stop.wait(self._config.fsync_interval_s):
            if self._dirty:
                self._sync()

    def _sync(self) -> None:
        with self._lock:
            if self._descriptor < 0:
                return
            self._dirty = False
            descriptor = os.dup(self._descriptor)  # a rotation meanwhile closes the other one
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            self._failed(error)
        finally:
            os.close(descriptor)

    def _rotate(self) -> None:
        stamp = _now().strftime("%Y%m%dT%H%M%SZ")
        # One more than the last, not the first that is free: `keep` has removed older ones.
        k = 1 + max((_order(file)[1] for file in self._folder.glob(f"serving-{self._n}.{stamp}.*.jsonl")), default=-1)
        to = self._folder / f"serving-{self._n}.{stamp}.{k}.jsonl"
        if self._config.fsync != "never":
            os.fdatasync(self._descriptor)
        if os.path.exists(self._path) and os.stat(self._path).st_ino == os.fstat(self._descriptor).st_ino:  # else a rotation got no further than this
            os.rename(self._path, to)
        old = self._descriptor
        self._open()
        os.close(old)
        if self._config.keep:
            full = sorted(self._folder.glob(f"serving-{self._n}.*.jsonl"), key=_order)
            for file in full[: -self._config.keep]:
                file.unlink(missing_ok=True)


def _order(file: Path) -> tuple[str, int]:
    form = re.fullmatch(r"serving-\d+\.(\w+)\.(\d+)\.jsonl", file.name)
    return (form[1], int(form[2])) if form else ("", 0)


def _line(record: dict[str, Any]) -> bytes:
    time = _now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"v": VERSION, "time": time, **record}, separators=(",", ":")).encode() + b"\n"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
