"""The mark in vLLM's V1 runner: a logits processor's state, row by row. countermark/vllm.py makes it."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

import torch
from vllm.v1.sample.logits_processor.interface import MoveDirectionality

from countermark.errors import Error
from countermark.hook import CPU
from countermark.serving.engine import Admission, Engine
from countermark.vllm_request import TICKET, asked_and_used, step, stream_of

_LEFT_ROWS, _LEFT_TOKENS = 1 << 14, 1 << 23  # of requests that left the batch and may come back: most have ended, and hold their prompts
_PLACEHOLDER = -1  # asynchronous scheduling's: a token was sampled, and the host has not seen it yet


class _Row:
    """A request in the batch, or one that left it and may come back."""

    __slots__ = ("admission", "child", "chosen", "greedy", "outputs", "params", "prompt", "slot", "tokens", "weight")

    def __init__(self, params: Any, prompt: list[int] | None, outputs: list[int], admission: Admission, child: int) -> None:
        self.params, self.prompt, self.outputs, self.admission, self.child = params, prompt, outputs, admission, child
        self.greedy = params.temperature < 1e-5
        self.slot: int | None = None
        self.tokens: list[int] = []  # committed to the hook
        self.chosen: int | None = None  # by the last step, and not yet seen in `outputs`
        self.weight = 0  # tokens that it held when it left

    def emitted(self) -> list[int]:
        """Output that the hook has not been told of. The list is vLLM's own and grows by itself."""
        new = self.outputs[len(self.tokens) :]
        if _PLACEHOLDER in new and not self.greedy:
            place = new.index(_PLACEHOLDER)
            # One logit was finite: what was sampled is what was chosen.
            new = new[:place] if self.chosen is None else [*new[:place], self.chosen]
        self.chosen = None
        return new

    def finished(self) -> bool:
        """Surely so; stop strings and aborts are not seen from here."""
        p = self.params
        if p.max_tokens is not None and len(self.tokens) >= p.max_tokens:
            return True
        return bool(self.tokens) and (self.tokens[-1] in p.all_stop_token_ids or (not p.ignore_eos and self.tokens[-1] == p.eos_token_id))


class BatchSeat:
    """The hook behind vLLM's V1 batch, whose rows come, go and change places. vLLM takes a preempted request out and puts it back later with its output so far, and throws away
    what it samples for a prompt that is not wholly read: so tokens are committed when they stand in the output, not when they are chosen.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self._hook = engine, engine.hook
        self._device = torch.device("cpu") if self._hook.device == CPU else torch.device("cuda", self._hook.device)
        self._rows: dict[int, _Row] = {}
        self._left: collections.OrderedDict[int, list[_Row]] = collections.OrderedDict()  # by the identity of their parameters, oldest first
        self._left_tokens = 0

    def update(self, batch: Any) -> None:
        """Removed, added, moved: vLLM's order. An added request may take the place of one that is not among the removed."""
        for index in (*batch.removed, *(added[0] for added in batch.added)):
            if (row := self._rows.pop(index, None)) is not None:
                self._leave(row)
        for index, params, prompt, outputs in batch.added:
            self._rows[index] = self._enter(params, prompt, outputs)
        for source, target, direction in batch.moved:
            row, other = self._rows.pop(source, None), self._rows.pop(target, None)
            if row is not None:
                self._rows[target] = row
            if other is not None and direction == MoveDirectionality.SWAP:
                self._rows[source] = other
            elif other is not None:
                self._leave(other)

    def _leave(self, row: _Row) -> None:
        self._settle([row])
        if row.finished():
            self._give_slot(row)
            return
        self._left.setdefault(id(row.params), []).append(row)
        self._left.move_to_end(id(row.params))
        row.weight = len(row.prompt or ()) + len(row.outputs)
        self._left_tokens += row.weight
        while len(self._left) > _LEFT_ROWS or (self._left_tokens > _LEFT_TOKENS and len(self._left) > 1):
            for old in self._left.popitem(last=False)[1]:
                self._left_tokens -= old.weight
                self._give_slot(old)

    def _enter(self, params: Any, prompt: list[int] | None, outputs: list[int]) -> _Row:
        row = self._back(params, prompt, outputs) if outputs else None
        if row is None:
            ticket = (params.extra_args or {}).get(TICKET)
            row = _Row(params, prompt, outputs, self._engine.admit(ticket), self._engine.next_child(ticket))
        row.outputs = outputs
        if row.greedy:
            row.tokens = list(outputs)
        elif row.slot is None:
            self._begin(row)
        elif row.tokens != outputs:
            self._hook.rebuild(row.slot, outputs, stream=stream_of(self._device))
            row.tokens = list(outputs)
        return row

    def _back(self, params: Any, prompt: list[int] | None, outputs: list[int]) -> _Row | None:
        """The row that left with these parameters, prompt and beginning of an output."""
        rows = self._left.get(id(params), [])
        for row in reversed(rows):
            n = min(len(row.tokens), len(outputs))
            if row.prompt is prompt and (row.greedy or row.tokens[:n] == outputs[:n]):
                rows.remove(row)
                self._left_tokens -= row.weight
                if not rows:
                    del self._left[id(params)]
                return row
        return None

    def _begin(self, row: _Row) -> None:
        p = row.params
        asked, used = asked_and_used(self._engine, p)
        row.slot = self._take_slot()
        row.tokens = list(row.outputs)
        # Logits come divided by the temperature that vLLM knows.
        self._engine.begin(
            row.slot,
            row.admission,
            child=row.child,
            temperature=used.temperature / p.temperature,
            top_k=used.top_k,
            top_p=used.top_p,
            min_p=used.min_p,
            seed=p.seed,
            prompt=row.prompt,
            repeats=None if used == asked else asked,
            committed=row.tokens,
            stream=stream_of(self._device),
        )

    def _take_slot(self) -> int:
        for rows in (*self._left.values(), None):
            try:
                return self._hook.take_slots(1)[0]
            except Error:
                for row in rows or ():  # the longest gone: if it comes back it is begun anew with what it had
                    self._give_slot(row)
        raise AssertionError("there are twice as many slots as rows")

    def _give_slot(self, row: _Row) -> None:
        if row.slot is not None:
            self._hook.give_slots([row.slot])
            row.slot = None

    def _settle(self, rows: Sequence[_Row]) -> None:
        """Commits what has come into the outputs. The hook counts a token that is not the one it chose as forced."""
        slots, tokens = [], []
        for row in rows:
            new = row.emitted()
            if len(row.outputs) < len(row.tokens):  # taken back, after a cache that could not be read
                if row.slot is not None:
                    self._hook.rollback(row.slot, len(row.tokens) - len(row.outputs), stream=stream_of(self._device))
                del row.tokens[len(row.outputs) :]
                continue
            row.tokens += new
            if row.greedy:
                self._engine.count("tokens_greedy", len(new))
            elif row.slot is not None and len(new) == 1 and self._hook.device == CPU:
                slots.append(row.slot)
                tokens += new
            elif row.slot is not None and new:
                self._hook.commit(row.slot, new, stream=stream_of(self._device))
        if slots:
            self._hook.commit_rows(slots, tokens)

    def choose(self, logits: torch.Tensor) -> None:
        """Rows of vLLM's batch, in its order, after temperature; what is left of each is one finite logit. Rows of greedy requests are let be: their token is chosen already."""
        self._settle(list(self._rows.values()))
        chosen = [(index, row) for index, row in self._rows.items() if not row.greedy and index < logits.shape[0]]
        if not chosen:
            return
        indices = torch.tensor([index for index, _ in chosen], device=logits.device)
        every = [index for index, _ in chosen] == list(range(logits.shape[0]))
        tokens, _ = step(self._engine, [row.slot or 0 for _, row in chosen], logits if every else logits[indices], commit=False)
        tokens = tokens.to(torch.int64).clamp_(min=0)  # nothing finite: token 0, which the hook has counted as a fault
        for (_, row), token in zip(chosen, tokens.tolist(), strict=True):
            row.chosen = token
        if every:
            logits.fill_(-torch.inf)
        else:
            logits.index_fill_(0, indices, -torch.inf)
        logits[indices, tokens] = 0
