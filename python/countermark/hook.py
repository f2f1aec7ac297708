"""The sampling hook: logits in, marked tokens out, one call a decoding step.

    keys = Keys()
    keys.open_bundle("2026-11.cmkb", passphrase_file="/run/secrets/bundle")
    with Hook(keys, max_slots=64) as hook:
        hook.begin(slot, account="org-1", temperature=0.8, top_p=0.95)   # the account comes from your authentication
        step = hook.sample([slot], logits)                               # after penalties and grammar masks
        hook.end(slot)

The rules are those of the C interface (docs/c-api.md): the prompt is never committed; a fault in a row leaves its token unmarked and counted.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from countermark import _core
from countermark.errors import InvalidArgumentError, UnknownAccountError, WrongEpochError

Array: TypeAlias = Any
"""Whatever speaks DLPack or the buffer protocol: numpy's, torch's, CuPy's."""

CAUSES = ("marked", "start", "greedy", "repeated_window", "forced", "tail", "fault", "off")
"""What became of a token, in the order of the C interface's countermark_cause."""

BASE_ONLY = ""
"""The account of a request whose authentication names none: marked in the base channel only; windows of other channels are drawn plainly and counted as off."""

CPU = -1
NO_TOKEN = -1


class Step(NamedTuple):
    """A decoding step's outcome, a value a row, on the hook's device."""

    tokens: Array
    """int32; NO_TOKEN where no logit is finite."""
    logprobs: Array | None
    """float32: ln of the token's probability in the unmarked, truncated distribution."""
    causes: Array | None
    """uint8: indices of CAUSES."""
    accepted: Array | None
    """int32: with drafts, how many of a slot's tokens hold; on its row of depth 0."""


@dataclasses.dataclass(frozen=True, slots=True)
class Metrics:
    """Totals of a hook's whole life."""

    marked: int
    start: int
    greedy: int
    repeated_window: int
    forced: int
    tail: int
    fault: int
    off: int
    bad_slots: int
    bad_rows: int
    too_long: int
    unknown_accounts: int
    ended_epochs: int
    requests: int
    slots_in_use: int
    slots: int
    steps: int
    last_step_seconds: float
    all_steps_seconds: float

    @property
    def tokens(self) -> int:
        """All that were committed."""
        return sum(getattr(self, cause) for cause in CAUSES)


def _integers(values: Array) -> Array:
    """Lists become int32 arrays of the host; arrays stay what and where they are."""
    return np.asarray(values, dtype=np.int32) if isinstance(values, (list, tuple, range)) else values


def _ids(values: Array) -> npt.NDArray[np.uint32]:
    """Token ids for a call that copies them."""
    ids = np.asarray(values)
    if ids.size == 0:
        return np.empty(0, np.uint32)
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or int(ids.min()) < 0 or int(ids.max()) > 0xFFFFFFFF:
        raise InvalidArgumentError("token ids must be one dimension of integers from 0 on")
    return np.ascontiguousarray(ids, dtype=np.uint32)


class Hook:
    """One hook for all running requests, on the host or on a CUDA device. Threads may share it; calls then wait for each other."""

    def __init__(
        self,
        keys: _core.Keys,
        *,
        device: int = CPU,
        max_slots: int = 256,
        max_rows: int = 0,
        max_length: int = 32768,
        vocabulary: int = 0,
        max_columns: int = 0,
        tournament_candidates: int = 0,
        account_cache: int = 0,
        marking: bool = True,
    ) -> None:
        """Runs the library's self-test. Whatever is raised here: do not serve.

        device: CPU, or a CUDA device's number. max_slots: requests at once. max_rows: rows a call, 0 for max_slots. vocabulary: the model's number of
        tokens, so that a bundle made for another model is refused; 0 takes the epoch's. max_columns: logits a row with padding, 0 for the vocabulary
        rounded up to a multiple of 256. marking False: the same hook with the mark left out, for comparisons.
        """
        self._core = _core.Hook(
            keys,
            device=device,
            max_slots=max_slots,
            max_rows=max_rows,
            max_length=max_length,
            vocabulary=vocabulary,
            max_columns=max_columns,
            tournament_candidates=tournament_candidates,
            account_cache=account_cache,
            marking=marking,
        )
        self._device = device
        self._lock = threading.Lock()
        self._free = list(range(max_slots - 1, -1, -1))

    @property
    def device(self) -> int:
        return self._device

    def take_slots(self, n: int) -> list[int]:
        """n slots that nobody else has taken; for hosts that do not number their requests themselves. Give them back with `give_slots`."""
        with self._lock:
            if n > len(self._free):
                raise InvalidArgumentError(f"{n} slots are asked for and {len(self._free)} are free; make the hook with a larger max_slots")
            return [self._free.pop() for _ in range(n)]

    def give_slots(self, slots: Sequence[int]) -> None:
        """Ends what runs in these slots and lets others take them."""
        for slot in slots:
            self.end(slot)
        with self._lock:
            self._free.extend(reversed(slots))

    def begin(
        self,
        slot: int,
        *,
        account: str,
        request: str | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int | None = None,
        prompt: Array | None = None,
        strict: bool = True,
        stream: int = 0,
    ) -> bool:
        """A slot starts anew; what it held is wiped. True if the request is marked.

        account: from the server's authentication, never from the client; BASE_ONLY where that names none. request: a label for the request channel. temperature 0: greedy, if the
        epoch's low-entropy policy allows it. top_k 0, top_p 1, min_p 0: off. seed: plain draws repeat for this account and seed. prompt: its ids; the floor
        policy gives the same prompt the same draws.

        An account without a key, or no epoch in use: UnknownAccountError or WrongEpochError, and the slot is empty. With strict False the slot begins all the
        same, unmarked and counted, and the answer is False: for servers that must go on.
        PolicyError: the epoch takes no such parameters. InvalidArgumentError: NaN, or out of range.
        """
        status = self._core.begin(
            slot,
            account=account,
            request=request,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            seed=seed,
            prompt=None if prompt is None else _ids(prompt),
            stream=stream,
        )
        if status and strict:
            self.end(slot, stream=stream)
            if status == UnknownAccountError.status:
                raise UnknownAccountError(f"account '{account}' has no key in this epoch")
            raise WrongEpochError("no epoch that this hook can mark with is in use at this time")
        return not status

    def commit(self, slot: int, tokens: Array, *, stream: int = 0) -> None:
        """The next tokens of the output, whoever chose them. Not needed after a `sample` that commits."""
        self._core.commit(slot, _ids(tokens), stream)

    def commit_rows(self, slots: Array, tokens: Array, *, stream: int = 0) -> None:
        """One token each for many slots, from int32 arrays on the hook's device."""
        self._core.commit_rows(_integers(slots), _integers(tokens), stream)

    def rollback(self, slot: int, n: int, *, stream: int = 0) -> None:
        """Forgets the last n tokens (all, where there are fewer)."""
        self._core.rollback(slot, n, stream)

    def rebuild(self, slot: int, tokens: Array, *, stream: int = 0) -> None:
        """Replaces everything committed, as after a preemption."""
        self._core.rebuild(slot, _ids(tokens), stream)

    def end(self, slot: int, *, stream: int = 0) -> None:
        """Wipes the slot."""
        self._core.end(slot, stream)

    def sample(
        self,
        slots: Array,
        logits: Array,
        *,
        depths: Array | None = None,
        drafts: Array | None = None,
        commit: bool = True,
        logprobs: bool = False,
        causes: bool = False,
        out: Step | None = None,
        stream: int = 0,
    ) -> Step:
        """Chooses a token a row: temperature, top-k, top-p, min-p and the mark.

        logits: rows × columns (or one row) of float32, float16 or bfloat16 on the hook's device, read where they lie, after penalties and grammar masks and
        before temperature. slots: a slot a row. depths, drafts: speculative decoding, see countermark_batch. out: arrays to write to; a device's hook
        needs them, and its work is queued on `stream` (a cudaStream_t as an integer), 0 for the default stream.
        """
        slots = _integers(slots)
        if out is None:
            if self._device != CPU:
                raise InvalidArgumentError("a hook on a device needs `out`: arrays there to write to")
            rows = len(slots)
            out = Step(
                np.empty(rows, np.int32),
                np.empty(rows, np.float32) if logprobs else None,
                np.empty(rows, np.uint8) if causes else None,
                np.empty(rows, np.int32) if depths is not None else None,
            )
        self._core.sample(
            slots,
            logits,
            out.tokens,
            out_logprobs=out.logprobs,
            out_causes=out.causes,
            out_accepted=out.accepted,
            depths=None if depths is None else _integers(depths),
            drafts=None if drafts is None else _integers(drafts),
            commit=commit,
            stream=stream,
        )
        return out

    def bias(
        self,
        slots: Array,
        logits: Array,
        *,
        depths: Array | None = None,
        drafts: Array | None = None,
        causes: bool = False,
        out: Step | None = None,
        stream: int = 0,
    ) -> Step:
        """For hosts that keep their own sampler: changes the logits in place and commits nothing.

        Partition adds to the green tokens' logits and leaves the choice to the host (tokens: NO_TOKEN), which truncates before this call and then draws with the
        request's own parameters. The other schemes leave one token finite.
        """
        slots = _integers(slots)
        if out is None:
            if self._device != CPU:
                raise InvalidArgumentError("a hook on a device needs `out`: arrays there to write to")
            out = Step(np.empty(len(slots), np.int32), None, np.empty(len(slots), np.uint8) if causes else None, None)
        self._core.bias(
            slots,
            logits,
            out.tokens,
            out_causes=out.causes,
            depths=None if depths is None else _integers(depths),
            drafts=None if drafts is None else _integers(drafts),
            stream=stream,
        )
        return out

    def metrics(self) -> Metrics:
        """Waits for the device."""
        return Metrics(**self._core.metrics())

    def request_counters(self, slot: int) -> dict[str, int]:
        """A slot's committed tokens by cause."""
        return dict(zip(CAUSES, self._core.request_counters(slot), strict=True))

    def close(self) -> None:
        """Wipes keys and frees. Calls after it raise InvalidArgumentError."""
        self._core.close()

    def __enter__(self) -> Hook:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<countermark.Hook on {'the host' if self._device == CPU else f'CUDA device {self._device}'}>"


def open_hook(
    bundle: str | os.PathLike[str],
    *,
    passphrase_file: str | os.PathLike[str] | None = None,
    passphrase_fd: int | None = None,
    max_slots: int = 256,
    vocabulary: int = 0,
) -> Hook:
    """A hook on the host from one bundle: what most programs start with."""
    keys = _core.Keys()
    keys.open_bundle(bundle, passphrase_file=passphrase_file, passphrase_fd=passphrase_fd)
    return Hook(keys, max_slots=max_slots, vocabulary=vocabulary)
