"""Marking what SGLang serves: a sampler backend, brought by the installed package's entry point.

    export COUNTERMARK_CONFIG=/etc/countermark/serving.toml
    python -m sglang.launch_server --model-path MODEL --sampling-backend countermark --host 127.0.0.1 --port 30000
    countermark-gateway                                                     # before it: API keys to accounts, and no client speaks to SGLang itself

The seat is the sampling step: logits come after penalties, grammar masks and biases and before temperature; the hook does temperature, truncation and choice. A request's account comes in
`custom_params["countermark"]`, a ticket that the gateway makes. docs/sglang.md says what is marked and what is refused.

With tensor parallelism the first rank of a group chooses, and the others take its tokens: keys and counters are in one process, and ranks cannot disagree.
"""

from __future__ import annotations

import collections
import os
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import sglang
import torch
import torch.distributed as dist
from sglang.srt.layers import sampler as sglang_sampler
from sglang.srt.layers.sampler import Sampler, register_sampler_backend
from sglang.srt.plugins.hook_registry import HookRegistry, HookType
from sglang.srt.runtime_context import get_disagg, get_exec, get_parallel, get_spec
from sglang.srt.sampling.sampling_params import TOP_K_ALL

from countermark._core import has_cuda
from countermark.errors import Error
from countermark.hook import CPU, Step
from countermark.serving.config import ENVIRONMENT, ServingConfig
from countermark.serving.engine import Admission, Engine, SetupError, check, refuse

__all__ = ["MarkSampler", "register"]

SUPPORTED = ("0.5.23",)
"""Versions of SGLang whose seat this file was written against."""

BACKEND = "countermark"
TICKET = "countermark"
"""The member of custom_params that carries a request's ticket."""

_NONE, _NEVER = -1, -2  # in place of a slot's number
_ROWS = "countermark_rows"  # set on the SamplingBatchInfo of each forward: who sits in its rows
_RUNNER = "sglang.srt.model_executor.model_runner.ModelRunner"
_SEATS = (f"{_RUNNER}.initialize", f"{_RUNNER}.alloc_memory_pool", "sglang.srt.model_executor.forward_batch_info.ForwardBatch.init_new")
_BEAMS = "sglang.srt.beam_search.coordinator.BeamCoordinator.validate_and_init"


class Row(NamedTuple):
    """A row of logits: whose it is, and what the host knew of its output when the batch was made."""

    request: Any
    """SGLang's Req: one object from the request's arrival to its end, retraction included."""
    chooses: bool
    """False for a prefill that goes on: what is chosen from it is thrown away."""
    output: npt.NDArray[np.uint32] | None
    """A prefill's tokens of before: those of a request that was retracted. None while decoding."""
    known: int
    """How many tokens of the output the host has seen; while decoding it may be one behind."""


class _State:
    """What the sampler keeps of a request."""

    __slots__ = ("admission", "child", "request", "slot", "taken")

    def __init__(self, request: Any, admission: Admission, child: int) -> None:
        self.request = weakref.ref(request)
        self.admission = admission
        self.child = child
        self.slot = _NONE
        self.taken = 0
        """Tokens that the hook holds."""

    @property
    def over(self) -> bool:
        request = self.request()
        return request is None or bool(request.finished())


# ---- what is refused -------------------------------------------------------------------------------------------------------


def _vocabularies(runner: Any) -> tuple[int, ...]:
    """The model's counts of its tokens: rows of the embedding, and tokens of the tokenizer, which may be fewer."""
    counts = [int(runner.model_config.vocab_size)]
    try:
        from sglang.srt.utils.hf_transformers_utils import get_tokenizer

        args = runner.server_args
        counts.append(len(get_tokenizer(args.tokenizer_path or args.model_path, tokenizer_mode=args.tokenizer_mode, trust_remote_code=args.trust_remote_code)))
    except Exception:  # noqa: BLE001 - none, or one that cannot say
        pass
    return tuple(dict.fromkeys(counts))


def check_server() -> ServingConfig:
    """SetupError: this server must not start, since something of it would go out unmarked without anybody's wish, or the keys would lie open."""
    version = sglang.__version__.partition("+")[0]
    if version not in SUPPORTED:
        raise SetupError(f"SGLang {version} is not a version that this build knows ({', '.join(SUPPORTED)}): its seat may have moved")
    backend = get_exec().kernel.sampling_backend
    if backend != BACKEND:
        why = " (--enable-deterministic-inference sets it)" if get_exec().deterministic.enable_deterministic_inference else ""
        raise SetupError(f"{ENVIRONMENT} is set, and the sampling backend is {backend}{why}: everything would be unmarked; start with --sampling-backend {BACKEND}")
    missing = [seat for seat in (*_SEATS, _BEAMS) if seat not in HookRegistry._patched]
    if missing:
        raise SetupError(f"SGLang did not take the plugin's hook on {missing[0]}")
    if get_spec().speculative_algorithm is not None:
        raise SetupError("speculative decoding checks drafts outside the sampler: everything would be unmarked; start without --speculative-algorithm")
    if get_exec().dllm.dllm_algorithm is not None:
        raise SetupError("a diffusion model chooses its tokens outside the sampler")
    if get_disagg().disaggregation_mode != "null":
        raise SetupError("with prefill and decoding on different servers a text's first token is chosen on another host")
    if get_exec().features.enable_custom_logit_processor:
        raise SetupError("--enable-custom-logit-processor runs clients' own code in the process that holds the keys")
    if getattr(get_exec().features, "enable_watermark", False):
        raise SetupError("SGLang's own watermark (--enable-watermark) is on: one text takes one mark")
    if get_parallel().attn_cp_size > 1 and sglang_sampler.is_dp_attention_enabled():
        raise SetupError("attention's context parallelism together with data-parallel attention splits a row's ranks into groups that have no common first rank")
    try:
        return ServingConfig.load()
    except Error as error:
        raise SetupError(str(error)) from None


# ---- the plugin ------------------------------------------------------------------------------------------------------------


def register() -> None:
    """Entry point of sglang.srt.plugins. Without a configuration it only makes the backend's name known, so that asking for it is answered in words."""
    register_sampler_backend(BACKEND, MarkSampler)
    if not os.environ.get(ENVIRONMENT):
        return
    HookRegistry.register(_SEATS[0], _before_initialize, HookType.BEFORE)
    HookRegistry.register(_SEATS[1], _after_pools, HookType.AFTER)
    HookRegistry.register(_SEATS[2], _after_init_new, HookType.AFTER)
    HookRegistry.register(_BEAMS, _no_beams, HookType.AROUND)


def _before_initialize(runner: Any, *_: Any, **__: Any) -> None:
    """Before the model is loaded: a bad set-up ends the server."""
    if runner.is_draft_worker or not runner.is_generation:
        return
    try:
        # The keys are opened to see whether they open, and wiped.
        check(check_server(), vocabularies=lambda: _vocabularies(runner))
    except SetupError as error:
        refuse(error)


def _after_pools(_: None, runner: Any, *__: Any, **___: Any) -> None:
    """The number of running requests is known now."""
    if isinstance(getattr(runner, "sampler", None), MarkSampler) and not runner.is_draft_worker:
        try:
            runner.sampler.open(runner)
        except SetupError as error:
            refuse(error)


def _no_beams(_: Callable[..., Any], __: Any, ___: Any, ____: Any) -> str:
    """What a client is told who asks for a beam search."""
    return "Beam search is not offered: it keeps the likelier of several texts, and the mark would be in none of them as it was drawn."


def _after_init_new(forward: Any, _: type, batch: Any, runner: Any, *__: Any, **___: Any) -> None:
    """Names the rows: the sampler is given parameters of rows and not whose they are."""
    if batch.sampling_info is not None and isinstance(getattr(runner, "sampler", None), MarkSampler):
        setattr(batch.sampling_info, _ROWS, rows_of(batch))


def rows_of(batch: Any) -> list[Row]:
    """One for each request of a ScheduleBatch, in its order."""
    decoding = {id(request) for request in batch.decoding_reqs or ()}  # the running ones of a mixed batch
    extends = batch.forward_mode.is_extend_without_speculative()
    rows = []
    for request in batch.reqs:
        known = len(request.output_ids)
        if not extends or id(request) in decoding:
            rows.append(Row(request, True, None, known))
        else:
            whole = request.extend_end == len(request.full_untruncated_fill_ids) and request.sampling_params.max_new_tokens != 0
            rows.append(Row(request, whole, np.array(request.output_ids, np.uint32), known))
    return rows


# ---- the sampler -----------------------------------------------------------------------------------------------------------


class MarkSampler(Sampler):  # type: ignore[misc,unused-ignore]
    """SGLang's sampler with its choice replaced."""

    def __init__(self) -> None:
        if not os.environ.get(ENVIRONMENT):
            refuse(f"--sampling-backend {BACKEND}, and {ENVIRONMENT} is not set: it names the configuration file")
        super().__init__()
        self._engine: Engine | None = None
        self._states: dict[int, _State] = {}
        self._free: list[int] = []

    def open(self, runner: Any) -> None:
        """The keys and the hook, in the first rank of a group that samples. SetupError: do not serve."""
        if dist.get_rank(self.tp_sync_group) != 0 or not runner.pp_group.is_last_rank:
            return
        device = torch.device(runner.device)
        on_device = device.type == "cuda" and has_cuda()
        # A request that has ended keeps its slot until the next one begins; a retracted one until its slot is needed.
        slots = int(runner.max_running_requests) + 16
        self.attach(
            Engine(
                check_server(),
                server="sglang",
                vocabularies=lambda: _vocabularies(runner),
                slots=slots,
                columns=-(-int(runner.model_config.vocab_size) // 256) * 256,
                max_length=int(runner.model_config.context_len),
                device=int(runner.gpu_id) if on_device else CPU,
            ),
            slots,
        )

    def attach(self, engine: Engine, slots: int) -> None:
        """Uses an engine that has this many slots."""
        self._engine = engine
        self._free = list(range(slots - 1, -1, -1))

    def forward(
        self,
        logits_output: Any,
        sampling_info: Any,
        return_logprob: bool,
        top_logprobs_nums: list[int],
        token_ids_logprobs: list[Any],
        positions: torch.Tensor,
        *,
        logprob_logits: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """A token a row, int32, as Sampler.forward; logits_output takes the log-probabilities."""
        rows: list[Row] | None = getattr(sampling_info, _ROWS, None)
        logits = logits_output.next_token_logits
        if rows is None or len(rows) != logits.shape[0]:
            raise RuntimeError(f"countermark: {logits.shape[0]} rows of logits, and {'nobody' if rows is None else len(rows)} is known to sit in them")
        logits = self._preprocess_logits(logits, sampling_info)
        tokens = torch.zeros(len(rows), dtype=torch.int32, device=logits.device)
        if self._engine is not None:
            self._choose(self._engine, rows, logits, tokens)
        if rows and dist.get_world_size(self.tp_sync_group) > 1:
            dist.broadcast(tokens, group=self.tp_sync_group, group_src=0)
        if return_logprob:
            self._write_logprobs(logits_output, logits if logprob_logits is None else logprob_logits, sampling_info, top_logprobs_nums, token_ids_logprobs, tokens)
        if sampling_info.sampling_mask_batch_indices is not None:  # of a marked choice: the chosen token alone
            logits_output.sampling_mask_output = self._build_greedy_sampling_mask_output(
                sampling_info.sampling_mask_batch_indices, tokens, sampling_info.sampling_support_logprobs_capture_indices
            )
        return tokens

    def _write_logprobs(self, logits_output: Any, logits: torch.Tensor, sampling_info: Any, tops: list[int], asked: list[Any], tokens: torch.Tensor) -> None:
        """Those of SGLang's own sampler: of the unmarked distribution, before truncation."""
        plain = sampling_info.is_all_greedy or sglang_sampler.SGLANG_RETURN_ORIGINAL_LOGPROB
        logprobs = torch.log_softmax(logits.float() if plain else logits.float() / sampling_info.temperatures, dim=-1)
        self.output_logprob_processor.compute_logprobs(logprobs, tops, asked, tokens).write_output_to(logits_output)

    def _choose(self, engine: Engine, rows: list[Row], logits: torch.Tensor, tokens: torch.Tensor) -> None:
        on_device = engine.hook.device != CPU
        stream = torch.cuda.current_stream(logits.device).cuda_stream if on_device else 0
        current = {id(row.request) for row in rows}
        seated = [(place, self._slot(engine, row, current, stream)) for place, row in enumerate(rows) if row.chooses]
        places, slots = [place for place, slot in seated if slot >= 0], [slot for _, slot in seated if slot >= 0]
        for place, slot in seated:
            if slot < 0:
                tokens[place] = torch.multinomial(torch.softmax(logits[place].float() / rows[place].request.sampling_params.temperature, -1), 1)[0]
                engine.count("tokens_off", 1)
        if not places:
            return
        if len(places) < len(rows):
            index = torch.tensor(places, device=logits.device)
            logits = logits.index_select(0, index)
        if logits.stride(-1) != 1 or logits.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            logits = logits.float().contiguous()
        if on_device:
            chosen = torch.empty(len(slots), dtype=torch.int32, device=logits.device)
            engine.hook.sample(torch.tensor(slots, dtype=torch.int32, device=logits.device), logits, out=Step(chosen, None, None, None), stream=stream)
        else:
            chosen = torch.from_numpy(engine.hook.sample(slots, logits.cpu()).tokens).to(logits.device)
        chosen.clamp_(min=0)  # a row without a finite logit has no choice, and an id below 0 would end the server
        if len(places) == len(rows):
            tokens.copy_(chosen)
        else:
            tokens.index_copy_(0, index, chosen)
        for place in places:
            self._states[id(rows[place].request)].taken += 1

    # ---- requests and their slots

    def _slot(self, engine: Engine, row: Row, current: set[int], stream: int) -> int:
        """The slot of a row's request, holding its output so far; below 0 where it has none."""
        state = self._states.get(id(row.request))
        if state is None or state.request() is not row.request:
            if state is not None:  # another's, who is gone
                self._drop(engine, id(row.request), stream)
            state = self._admit(engine, row.request)
        if state.slot == _NEVER:
            return _NEVER
        if state.slot == _NONE:
            if not self._free:
                self._sweep(engine, current, stream)
            if not self._free:  # more requests than SGLang said would run: drawn plainly to their end, since the host sees their tokens too late to go on from them
                engine.count("requests_without_slot", 1)
                state.slot = _NEVER
                return _NEVER
            state.slot = self._free.pop()
            self._begin(engine, state, row, stream)
            return state.slot
        if row.known == state.taken or (row.output is None and row.known < state.taken):
            return state.slot
        if row.known < state.taken:  # retracted while a token was under way, which nobody ever saw
            engine.hook.rollback(state.slot, state.taken - row.known, stream=stream)
        else:  # the host put in tokens of its own
            engine.hook.rebuild(state.slot, np.array(row.request.output_ids[: row.known], np.uint32), stream=stream)
        state.taken = row.known
        return state.slot

    def _admit(self, engine: Engine, request: Any) -> _State:
        custom = request.sampling_params.custom_params
        ticket = custom.get(TICKET) if isinstance(custom, dict) else None
        admission = engine.admit(ticket)
        state = _State(request, admission, 0 if admission.label is None else engine.next_child(ticket))
        self._states[id(request)] = state
        return state

    def _begin(self, engine: Engine, state: _State, row: Row, stream: int) -> None:
        request, p = row.request, row.request.sampling_params
        output = np.array(request.output_ids[: row.known], np.uint32) if row.output is None else row.output
        engine.begin(
            state.slot,
            state.admission,
            child=state.child,
            temperature=p.temperature,
            top_k=0 if p.top_k >= TOP_K_ALL else max(p.top_k, 0),
            top_p=p.top_p,
            min_p=p.min_p,
            seed=None if p.sampling_seed is None else p.sampling_seed + state.child,
            prompt=np.array(request.origin_input_ids_unpadded, np.uint32),
            committed=output,
            stream=stream,
        )
        state.taken = len(output)

    def _drop(self, engine: Engine, name: int, stream: int) -> None:
        state = self._states.pop(name)
        if state.slot >= 0:
            engine.hook.end(state.slot, stream=stream)
            self._free.append(state.slot)

    def _sweep(self, engine: Engine, current: set[int], stream: int) -> None:
        """Frees the slots of requests that have ended; if there is none, of retracted ones, which begin again with the tokens they have."""
        for name in [name for name, state in self._states.items() if state.over and name not in current]:
            self._drop(engine, name, stream)
        if self._free:
            return
        for name, state in self._states.items():
            request = state.request()
            if state.slot >= 0 and name not in current and request is not None and request.is_retracted:
                engine.hook.end(state.slot, stream=stream)
                self._free.append(state.slot)
                state.slot = _NONE

    def counters(self) -> collections.Counter[str]:
        """The engine's, where this rank has one."""
        return collections.Counter({} if self._engine is None else self._engine.counters())
