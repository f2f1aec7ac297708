"""The hook inside a server's engine process: what every Python adapter needs there, whichever server it is for.

    engine = Engine(ServingConfig.load(), server="vllm", vocabularies=(49152,), slots=512, rows=256)   # SetupError: do not serve; one line says why
    admission = engine.admit(ticket)                               # whose request it is: from the ticket that the API made, or the port's account
    engine.begin(slot, admission, child=0, temperature=0.8, top_p=0.95, prompt=ids, seed=None)
    step = engine.hook.sample([slot], logits, commit=False)        # and commit, rebuild, end as the hook says
    engine.counters()                                              # published to the state folder twice a second, for the API's /metrics

Bundles are looked at again every few seconds: the next epoch's, and new accounts, are taken in while serving, and requests that run keep their epoch.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import hashlib
import os
import resource
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from countermark._core import EpochKeys, EpochRecord, Keys
from countermark.errors import Error, InvalidArgumentError, PolicyError
from countermark.hook import BASE_ONLY, CAUSES, CPU, Array, Hook
from countermark.serving.config import ServingConfig
from countermark.serving.metrics import Publisher
from countermark.serving.policy import MAX_MIN_P, MIN_TEMPERATURE, MIN_TOP_K, MIN_TOP_P
from countermark.serving.ticket import TicketError, TicketKey, child_label

OUTCOMES = ("signed", "port", "unsigned", "stale", "forged")
"""What a request's ticket was worth: the last three are marked in the base channel alone."""

_PUBLISH_S = 0.5
_BUNDLES_S = 3.0
_TICKETS = 1 << 16


class SetupError(Exception):
    """Why a server must not start: one line without any secret."""


def refuse(why: object) -> NoReturn:
    """Ends the process with one line."""
    line = " ".join(str(why).split())
    # A framework's loggers and handlers may swallow an exit's message, and whoever started the server reads standard error.
    print(f"countermark: not serving: {line}", file=sys.stderr, flush=True)
    raise SystemExit(1)


@dataclass(frozen=True, slots=True)
class Admission:
    """Whose request it is, and what its ticket was worth."""

    account: str
    label: str | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """A request's parameters, as servers mean them. temperature 0: greedy; top_k 0, top_p 1, min_p 0: off."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def floored(self) -> Sampling:
        """The nearest parameters at or above the floor."""
        return Sampling(
            max(self.temperature, MIN_TEMPERATURE), max(self.top_k, MIN_TOP_K) if self.top_k > 0 else 0, max(self.top_p, MIN_TOP_P), min(self.min_p, MAX_MIN_P)
        )


class Bundles:
    """The epoch bundles that the configuration names, and the Keys that hold them."""

    def __init__(self, config: ServingConfig) -> None:
        """Opens all of them. SetupError: there is none, or one cannot be opened."""
        self._config = config
        self._seen: dict[str, tuple[int, ...]] = {}
        self.keys = Keys()
        self.records: dict[str, EpochRecord] = {}
        """By "tenant/epoch"."""
        self.has_port_account: dict[str, bool] = {}
        """Whether the account of the configuration, if it names one, has a key in the epoch."""
        self.failures = 0
        files = [str(file) for file in config.bundle_files()]
        if not files:
            raise SetupError(f"{config.path}: no bundle matches {', '.join(config.bundles) or 'bundles = []'}")
        for file in files:
            state = _state(file)
            try:
                self._open(file)
            except Error as error:
                raise SetupError(_named(file, error)) from None
            if state is not None:
                self._seen[file] = state

    def _open(self, file: str) -> None:
        passphrase = self._config.passphrase_file
        self.keys.open_bundle(file, passphrase_file=passphrase)
        keys = EpochKeys.from_bundle(file, passphrase_file=passphrase)
        name = f"{keys.record.tenant}/{keys.record.epoch}"
        self.records[name] = keys.record
        self.has_port_account[name] = self._config.account is None or self._config.account in keys.accounts

    def refresh(self) -> list[str]:
        """Opens what is new or has changed; what could not be opened, in words. What is open stays open."""
        wrong = []
        for file in map(str, self._config.bundle_files()):
            state = _state(file)
            if state is None or self._seen.get(file) == state:
                continue
            self._seen[file] = state  # a file that cannot be opened is not tried again until it changes
            try:
                self._open(file)
            except Error as error:
                self.failures += 1
                wrong.append(_named(file, error))
        return wrong

    @property
    def record(self) -> EpochRecord | None:
        """Of the epoch that a request beginning now would get."""
        epoch = self.keys.epoch
        return None if epoch is None else self.records.get(epoch)


def _state(file: str) -> tuple[int, ...] | None:
    try:
        s = os.stat(file)
    except OSError:
        return None
    return (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns)


def _named(file: str, error: Exception) -> str:
    return str(error) if file in str(error) else f"{file}: {error}"


def check(config: ServingConfig, *, vocabularies: Sequence[int] | Callable[[], Sequence[int]]) -> Bundles:
    """What can be known before a model is loaded. SetupError: do not start.

    vocabularies: how many tokens the model has, by every count of its own (rows of its embedding, tokens of its tokenizer); the epoch's must be one of them.
    """
    if config.state_dir is None:
        raise SetupError(f"{config.path}: state_dir is missing: the hook counts in another process than the one that answers /metrics")
    with contextlib.suppress(OSError):
        os.makedirs(config.state_dir, mode=0o755, exist_ok=True)
    if not os.path.isdir(config.state_dir) or not os.access(config.state_dir, os.W_OK | os.X_OK):
        raise SetupError(f"{config.state_dir}: state_dir is no folder that this process may write to")
    if config.ticket_key_file is None and config.account is None:
        raise SetupError(f"{config.path}: neither ticket_key_file nor account: nothing says whose requests these are")
    if config.ticket_key_file is not None:
        _ticket_key(config)
    bundles = Bundles(config)
    record = bundles.record
    if record is None:
        raise SetupError(f"no epoch that was opened is in use at this time ({', '.join(bundles.records)})")
    if not bundles.has_port_account[f"{record.tenant}/{record.epoch}"]:
        raise SetupError(f"{config.path}: account {config.account!r} is not registered in epoch {record.tenant}/{record.epoch}")
    known = tuple(vocabularies() if callable(vocabularies) else vocabularies)
    if record.vocabulary not in known:
        raise SetupError(f"epoch {record.tenant}/{record.epoch} is for a vocabulary of {record.vocabulary} tokens, and the model has {' or '.join(map(str, known))}")
    if record.low_entropy != config.policy.low_entropy:
        raise SetupError(
            f"{config.path}: policy.low_entropy is {config.policy.low_entropy}, and epoch {record.tenant}/{record.epoch} was made with {record.low_entropy}"
        )
    return bundles


def _ticket_key(config: ServingConfig) -> TicketKey | None:
    if config.ticket_key_file is None:
        return None
    try:
        return TicketKey.from_file(config.ticket_key_file)
    except Error as error:
        raise SetupError(_named(str(config.ticket_key_file), error)) from None


def no_core_dumps() -> None:
    """This process leaves no image of its memory when it crashes. The limit is 1 byte and not 0, which the kernel takes for "hand it to the program of core_pattern"."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


class Engine:
    """Keys, hook, accounts and counters of one engine process. Any thread may call it, one at a time for a slot."""

    def __init__(
        self,
        config: ServingConfig,
        *,
        server: str,
        vocabularies: Sequence[int] | Callable[[], Sequence[int]],
        slots: int,
        rows: int = 0,
        columns: int = 0,
        max_length: int = 32768,
        device: int = CPU,
        leads: bool = True,
        shared_seed: str | None = None,
    ) -> None:
        """SetupError: do not serve.

        slots: requests at once. rows: logits rows a step, 0 for slots. columns: logits a row, padding included. leads: False in ranks that only follow, so that a token is
        counted once. shared_seed: for several ranks that must draw alike; the same in all of them, and every rank begins the same requests in the same order.
        """
        no_core_dumps()
        self.config = config
        self._bundles = check(config, vocabularies=vocabularies)
        self._ticket_key = _ticket_key(config)
        record = self._bundles.record
        assert record is not None
        try:
            self.hook = Hook(
                self._bundles.keys,
                device=device,
                max_slots=slots,
                max_rows=rows,
                max_length=max_length,
                vocabulary=record.vocabulary,
                max_columns=columns,
            )
        except (Error, ValueError) as error:
            raise SetupError(str(error)) from None
        self.vocabulary = record.vocabulary
        self._shared_seed = shared_seed
        self._lock = threading.Lock()
        self._outcomes = dict.fromkeys(OUTCOMES, 0)
        self._more: collections.Counter[str] = collections.Counter()
        self._children: collections.OrderedDict[bytes, int] = collections.OrderedDict()
        self._begun = 0
        self._stop = threading.Event()
        self._publisher: Publisher | None = None
        self._thread: threading.Thread | None = None
        if leads:
            assert config.state_dir is not None
            try:
                self._publisher = Publisher(config.state_dir, f"{server}-engine")
            except Error as error:
                raise SetupError(str(error)) from None
            self._publish()
        self._thread = threading.Thread(target=self._watch, name="countermark", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    # ---- whose request

    def admit(self, ticket: object) -> Admission:
        """What a request's ticket says. No exception: who has no valid ticket is marked in the base channel alone, and counted."""
        admission = self._admission(ticket)
        with self._lock:
            self._outcomes[admission.outcome] += 1
        return admission

    def _admission(self, ticket: object) -> Admission:
        if ticket is None or ticket == "":
            if self.config.account is not None:
                return Admission(self.config.account, None, "port")
            return Admission(BASE_ONLY, None, "unsigned")
        if self._ticket_key is None or not isinstance(ticket, str):
            return Admission(BASE_ONLY, None, "forged")
        try:
            said = self._ticket_key.verify(ticket)
        except TicketError as error:
            return Admission(BASE_ONLY, None, error.outcome)
        return Admission(said.account, said.request, "signed")

    def next_child(self, ticket: object) -> int:
        """0 for the first request under this ticket, 1 for the next, …: the children of n > 1, and a request's several prompts, share one."""
        if not isinstance(ticket, str):
            return 0
        name = hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            child = self._children.pop(name, 0)
            self._children[name] = child + 1
            if len(self._children) > _TICKETS:
                self._children.popitem(last=False)
        return child

    # ---- requests

    @property
    def low_entropy(self) -> str:
        """The policy of the epoch in use."""
        record = self._bundles.record
        return "floor" if record is None else record.low_entropy

    def begin(
        self,
        slot: int,
        admission: Admission,
        *,
        child: int = 0,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int | None = None,
        prompt: Array | None = None,
        repeats: Sampling | None = None,
        committed: Array | None = None,
        stream: int = 0,
    ) -> bool:
        """A slot begins, and never fails for the mark's sake; True if it is marked for whom it was admitted.

        committed: tokens of an earlier life of this request (a preemption that lost its slot); they are not counted again. repeats: for a seat that has raised the parameters
        to the floor itself, what the request had asked for: the same prompt then gets the same draws, as the hook does where it raises them.
        """
        with self._lock:
            self._begun += 1
            begun = self._begun
        if repeats is not None:
            seed = _digest("floor", repeats, seed, _bytes(prompt))
        elif seed is None and self._shared_seed is not None:
            seed = _digest("rank", self._shared_seed, begun, _bytes(prompt))
        elif seed is not None:
            seed %= 1 << 64
        label = None if admission.label is None else child_label(admission.label, child)
        arguments: dict[str, Any] = {"request": label, "seed": seed, "prompt": prompt, "strict": False, "stream": stream}
        # A top-k beyond the vocabulary is none, and clients send ones that are no int32 either.
        asked = Sampling(temperature, top_k if top_k < self.vocabulary else 0, top_p, min_p)
        marked = self._begin(slot, admission.account, asked, arguments)
        if marked is None:
            # The epoch has no key of the account, which the hook has counted: the base channel is there all the same.
            self._begin(slot, BASE_ONLY, asked, arguments)
        if committed is not None and len(committed):
            self.count("tokens_forced", -len(committed))  # first: what is published never falls
            self.hook.rebuild(slot, committed, stream=stream)
        return bool(marked)

    def _begin(self, slot: int, account: str, asked: Sampling, arguments: dict[str, Any]) -> bool | None:
        """Whether the slot is marked; None: the account is not the epoch's."""
        for whose, sampling in ((account, asked), (account, asked.floored()), (account, Sampling()), (BASE_ONLY, Sampling())):
            try:
                marked = self.hook.begin(
                    slot, account=whose, temperature=sampling.temperature, top_k=sampling.top_k, top_p=sampling.top_p, min_p=sampling.min_p, **arguments
                )
            except (PolicyError, InvalidArgumentError):  # below the floor or out of range, by a way around the API's own check
                self.count("refused_parameters", 1)
            else:
                return None if not marked and whose != BASE_ONLY and self._bundles.record is not None else marked
        return False

    # ---- counters

    def count(self, name: str, n: int) -> None:
        """Adds to a counter of the adapter's own; "tokens_CAUSE" to that cause of countermark_tokens_total."""
        with self._lock:
            self._more[name] += n

    def counters(self) -> dict[str, int]:
        """Everything counted, by the names that /metrics gives it: tokens_CAUSE, requests_OUTCOME and plain names."""
        metrics = self.hook.metrics()
        with self._lock:
            more, outcomes = dict(self._more), dict(self._outcomes)
        out = {f"tokens_{cause}": getattr(metrics, cause) + more.pop(f"tokens_{cause}", 0) for cause in CAUSES}
        out |= {f"requests_{outcome}": n for outcome, n in outcomes.items()}
        out |= {
            "unknown_accounts": metrics.unknown_accounts,
            "ended_epochs": metrics.ended_epochs,
            "bad_rows": metrics.bad_rows,
            "bad_slots": metrics.bad_slots,
            "too_long": metrics.too_long,
            "bundle_failures": self._bundles.failures,
            "steps": metrics.steps,
        }
        return out | more

    def _publish(self) -> None:
        if self._publisher is not None:
            self._publisher.set(self.counters())

    def _watch(self) -> None:
        waited = 0.0
        while not self._stop.wait(_PUBLISH_S):
            waited += _PUBLISH_S
            # What goes wrong here is said and tried again: this thread must outlive a full disk.
            try:
                self._publish()
                if waited >= _BUNDLES_S:
                    waited = 0.0
                    for line in self._bundles.refresh():
                        print(f"countermark: a bundle could not be opened, and what is open stays in use: {line}", file=sys.stderr, flush=True)
            except Exception as error:  # noqa: BLE001
                print(f"countermark: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Counts a last time, and wipes the keys."""
        if self._stop.is_set():
            return
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2)
        with contextlib.suppress(Error, OSError):
            self._publish()
        if self._publisher is not None:
            self._publisher.close()
        self.hook.close()

    def __repr__(self) -> str:
        return f"<countermark engine: {self.hook!r}>"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("an engine holds keys: it is neither pickled nor copied")


def _bytes(prompt: Array | None) -> bytes:
    import numpy as np

    return b"" if prompt is None else np.asarray(prompt, dtype=np.int64).tobytes()


def _digest(*parts: object) -> int:
    """A seed of 64 bits from whatever stands still between two like requests."""
    h = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        h.update(len(data).to_bytes(8, "little") + data)
    return int.from_bytes(h.digest()[:8], "little")
