"""The hook in vLLM's V2 runner, in the place of the sampler's last step and of the check of drafts. countermark.vllm's processor puts it there; see docs/vllm.md.

    sampler, rejection_sampler = marked_samplers(engine)          # subclasses of vLLM's, under whose names the runner makes its own

Logits come before temperature, whole; tokens are chosen, counted and committed on the device. Nothing waits for it, but a preempted request's return and /metrics.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from vllm.config.model import PROCESSED_LOGPROBS_MODES
from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsContext
from vllm.v1.worker.gpu.sample.sampler import Sampler
from vllm.v1.worker.gpu.spec_decode.rejection_sampler import RejectionSampler

from countermark.hook import NO_TOKEN
from countermark.serving.engine import Admission, Engine
from countermark.vllm_request import TICKET, asked_and_used, step, stream_of

_NEVER = 0xFFFFFE  # no token has this id: in the place of a draft that must not hold


class DeviceSeat:
    """The hook in the V2 runner's sampler. A request's place in the runner's tables is its slot; tokens are committed where they are sampled, on the device and its stream."""

    def __init__(self, engine: Engine, req_states: Any) -> None:
        self._engine, self._hook, self._states = engine, engine.hook, req_states
        self._entered: dict[int, tuple[str, int, Sequence[int]]] = {}
        self._known: collections.OrderedDict[str, tuple[Any, Admission, int]] = collections.OrderedDict()
        self._running = np.zeros(req_states.max_num_reqs, dtype=bool)
        # Neither the prompt nor the output of a request that was preempted is given to a sampler: they are seen on their way into the tables.
        add, remove = req_states.add_request, req_states.remove_request

        def add_request(req_id: str, prompt_len: int, all_token_ids: Sequence[int], *args: Any, **kwargs: Any) -> None:
            add(req_id, prompt_len, all_token_ids, *args, **kwargs)
            self._entered[req_states.req_id_to_index[req_id]] = (req_id, prompt_len, all_token_ids)

        def remove_request(req_id: str) -> int | None:
            index: int | None = remove(req_id)
            if index is not None and self._running[index]:
                self._running[index] = False
                self._hook.end(index, stream=stream_of(req_states.device))
            return index

        req_states.add_request, req_states.remove_request = add_request, remove_request

    def begin(self, index: int, params: Any) -> None:
        """A request takes its place; one that was preempted comes back with its output."""
        req_id, prompt_len, tokens = self._entered.pop(index, (None, 0, ()))
        ticket = (params.extra_args or {}).get(TICKET)
        known = self._known.pop(req_id, None) if req_id is not None else None
        committed = list(tokens[prompt_len:])
        if known is None or known[0] != ticket or not committed:
            known = (ticket, self._engine.admit(ticket), self._engine.next_child(ticket))
        if req_id is not None:
            self._known[req_id] = known
            if len(self._known) > 16 * len(self._running):
                self._known.popitem(last=False)
        asked, _ = asked_and_used(self._engine, params)  # the hook raises it to the floor itself
        self._engine.begin(
            index,
            known[1],
            child=known[2],
            temperature=asked.temperature,
            top_k=asked.top_k,
            top_p=asked.top_p,
            min_p=asked.min_p,
            seed=params.seed,
            prompt=list(tokens[:prompt_len]) or None,
            committed=committed,
            stream=stream_of(self._states.device),
        )
        self._running[index] = True

    def sample(
        self, logits: torch.Tensor, rows: torch.Tensor, requests: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any], depths: Any = None, drafts: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits before temperature. rows: each row's slot. requests, lengths: on the host, each request's slot and its tokens. Tokens, and with drafts how many hold."""
        if not self._running[requests].any():  # the runner's trial run, before any request
            best = logits.argmax(dim=-1)
            return best, None if depths is None else torch.ones_like(best)
        tokens, accepted = step(self._engine, rows, logits, commit=True, depths=depths, drafts=drafts)
        for slot in requests[lengths < self._states.prefill_len.np[requests]]:
            # A prompt that is not wholly read yet: the runner throws its token away.
            self._hook.rollback(int(slot), 1, stream=stream_of(logits.device))
        return tokens.to(torch.int64).clamp_(min=0), accepted


def marked_samplers(engine: Engine) -> tuple[Any, Any]:
    """The V2 runner's Sampler and RejectionSampler with the hook as their last step."""
    class MarkedSampler(Sampler):  # type: ignore[misc,unused-ignore]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.seat = DeviceSeat(engine, self.req_states)

        def add_request(self, req_idx: int, sampling_params: Any) -> None:
            super().add_request(req_idx, sampling_params)
            self.seat.begin(req_idx, sampling_params)

        def before_temperature(self, logits: torch.Tensor, rows: Any, requests: Any, requests_np: Any, pos: Any, input_ids: Any, depths: Any, lengths: Any) -> torch.Tensor:
            """Biases, penalties, bad words, the operator's processors and thinking budgets, as apply_sampling_params does them."""
            if not np.any(self.needs_logits_processing[requests_np]):
                return logits
            logits = torch.empty_like(logits, dtype=torch.float32).copy_(logits)
            context = LogitsContext(
                expanded_idx_mapping=rows,
                idx_mapping=requests,
                idx_mapping_np=requests_np,
                expanded_local_pos=depths,
                input_ids=input_ids,
                pos=pos,
                seq_lens_upper_bound_np=lengths,
            )
            for processor in self.logits_processors:
                logits = processor.apply(logits, context)
            self.thinking_budget_state.apply(logits, context)
            return logits

        def sample(
            self,
            logits: torch.Tensor,
            expanded_idx_mapping: torch.Tensor,
            idx_mapping: torch.Tensor,
            idx_mapping_np: Any,
            pos: torch.Tensor,
            input_ids: torch.Tensor,
            expanded_local_pos: torch.Tensor,
            seq_lens_upper_bound_np: Any,
            return_logprobs: bool = False,
        ) -> tuple[torch.Tensor, torch.Tensor]:
            """One row a request."""
            given = (expanded_idx_mapping, idx_mapping, idx_mapping_np, pos, input_ids, expanded_local_pos, seq_lens_upper_bound_np)
            ready = self.before_temperature(logits, *given)
            tokens, _ = self.seat.sample(ready, expanded_idx_mapping, idx_mapping_np, seq_lens_upper_bound_np)
            if return_logprobs and self.logprobs_mode in PROCESSED_LOGPROBS_MODES:
                ready = self.apply_sampling_params(logits, *given)
            return tokens, ready

    class MarkedRejectionSampler(RejectionSampler):  # type: ignore[misc,unused-ignore]
        def _verify(
            self,
            logits: torch.Tensor,
            draft_logits: Any,
            draft_sampled: torch.Tensor,
            pos: torch.Tensor,
            cu_num_logits: torch.Tensor,
            idx_mapping: torch.Tensor,
            idx_mapping_np: Any,
            expanded_idx_mapping: torch.Tensor,
            expanded_local_pos: torch.Tensor,
            seq_lens_upper_bound_np: Any,
            verify_draft_sampled: torch.Tensor,
        ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            """Row d of a request follows its d-th draft. What holds are the tokens up to and with the first that is not its draft: those of marked sampling without drafts, so
            that no residual is drawn and the drafts' own distribution is not looked at."""
            given = (expanded_idx_mapping, idx_mapping, idx_mapping_np, pos, draft_sampled, expanded_local_pos, seq_lens_upper_bound_np)
            ready = self.sampler.before_temperature(logits, *given)
            # vLLM names a row by the token that it follows, the hook by the one that is proposed for it.
            drafts = torch.roll(verify_draft_sampled, -1)
            drafts = drafts.masked_fill(drafts < 0, _NEVER)
            tokens, accepted = self.sampler.seat.sample(ready, expanded_idx_mapping, idx_mapping_np, seq_lens_upper_bound_np, depths=expanded_local_pos, drafts=drafts)
            assert accepted is not None
            places = torch.arange(logits.shape[0], dtype=cu_num_logits.dtype, device=logits.device)
            request = torch.searchsorted(cu_num_logits[1:].contiguous(), places, right=True)
            sampled = tokens.new_full((cu_num_logits.shape[0] - 1, self.num_speculative_steps + 1), NO_TOKEN)
            sampled[request, expanded_local_pos.to(torch.int64)] = tokens
            if self.sampler.logprobs_mode in PROCESSED_LOGPROBS_MODES:
                ready = self.sampler.apply_sampling_params(logits, *given)
            return ready, sampled, accepted[cu_num_logits[:-1].to(torch.int64)]

    return MarkedSampler, MarkedRejectionSampler
