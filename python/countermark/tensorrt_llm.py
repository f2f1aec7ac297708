"""Marking what TensorRT-LLM's PyTorch backend generates: a logits processor for each request.

    marking = Marking(llm, vocabulary=model_config.vocab_size)              # COUNTERMARK_CONFIG names the configuration; SetupError: do not serve
    llm.generate_async(prompt, marking.params(SamplingParams(temperature=0.8, top_p=0.95, max_tokens=200), ticket=ticket))

The processor does temperature, top-k, top-p and min-p itself, chooses, and leaves one token finite: whatever the sampler does to the row afterwards chooses that token. It travels to the
processes of the executor, and holds no key: each of them opens the bundles that the configuration names when the first request comes. docs/tensorrt-llm.md says what is refused, and why.

Nothing of TensorRT-LLM is imported: a processor is any callable with its LogitsProcessor's signature.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import hashlib
import os
import secrets
import threading
from typing import Any

import numpy as np
import torch

from countermark._core import has_cuda
from countermark.errors import Error, InvalidArgumentError
from countermark.hook import CPU, Step
from countermark.serving.config import ServingConfig
from countermark.serving.engine import Admission, Engine, Sampling, SetupError, check

__all__ = ["MarkProcessor", "Marking"]

# Members of SamplingParams under which a text would go out unmarked, or the sampler would take back the processor's choice, with the values that are off.
_REFUSED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "use_beam_search": ("beam search keeps the likelier of several texts, and the mark would be in none of them as it was drawn", (False,)),
    "beam_width_array": ("beam search keeps the likelier of several texts, and the mark would be in none of them as it was drawn", ()),
    "beam_search_diversity_rate": ("beam search", ()),
    "lookahead_config": ("drafts are checked outside the processor", ()),
    "guided_decoding": ("its mask comes after the processor, and would take back its choice", ()),
    "min_tokens": ("the end token is forbidden after the processor, which may have chosen it", (0, 1)),
    "bad": ("forbidden words are taken out after the processor, which may have chosen one", ([],)),
    "bad_token_ids": ("forbidden words are taken out after the processor, which may have chosen one", ([],)),
    "no_repeat_ngram_size": ("repeats are taken out after the processor, which may have chosen one", (0,)),
    "embedding_bias": ("the bias is added after the processor", ()),
    "repetition_penalty": ("the penalty is taken after the processor, where one token is left", (1.0,)),
    "presence_penalty": ("the penalty is taken after the processor, where one token is left", (0.0,)),
    "frequency_penalty": ("the penalty is taken after the processor, where one token is left", (0.0,)),
    "top_p_decay": ("a truncation that the hook does not know", (1.0,)),
    "apply_batched_logits_processor": ("a batched processor is the engine releases', and this is the PyTorch backend's", (False,)),
    "logprobs": ("after the processor every row has one token of probability 1", (0,)),
    "return_generation_logits": ("after the processor every row has one token of probability 1", (False,)),
}


def sampling_of(params: Any) -> Sampling:
    """What a SamplingParams asks for. InvalidArgumentError, in words, for what cannot be marked."""
    for name, (why, off) in _REFUSED.items():
        value = getattr(params, name, None)
        if value is not None and not any(type(value) is type(o) and value == o or (isinstance(value, (int, float)) and isinstance(o, (int, float)) and value == o) for o in off):
            raise InvalidArgumentError(f"{name} cannot be marked: {why}")
    if getattr(params, "best_of", None) not in (None, params.n):
        raise InvalidArgumentError("best_of above n cannot be marked: answers are chosen by probabilities that the processor has set to 1")
    temperature, top_k, top_p, min_p = params.temperature, params.top_k, params.top_p, getattr(params, "min_p", None)
    if (temperature is None and top_k is None and top_p is None) or temperature == 0 or top_p == 0 or top_k == 1:
        return Sampling(temperature=0.0)
    return Sampling(1.0 if temperature is None else float(temperature), int(top_k or 0), 1.0 if top_p is None else float(top_p), float(min_p or 0))


class Marking:
    """In the process that takes requests: what has been checked once, and a processor for each request."""

    def __init__(self, llm: Any, *, vocabulary: int, config: ServingConfig | None = None) -> None:
        """llm: the tensorrt_llm.LLM. vocabulary: the model's number of tokens. config: by default the file that COUNTERMARK_CONFIG names, which the executor's processes read too.
        SetupError: do not serve.
        """
        try:
            self._config = ServingConfig.load() if config is None else config
        except Error as error:
            raise SetupError(str(error)) from None
        args = llm.args
        if getattr(args, "backend", "pytorch") not in (None, "pytorch"):
            raise SetupError(f"the backend is {args.backend}, and this is a processor of the PyTorch backend")
        if getattr(args, "speculative_config", None) is not None:
            raise SetupError("speculative decoding checks drafts outside the processor: everything would be unmarked")
        if getattr(args, "enable_chunked_prefill", False):
            raise SetupError("enable_chunked_prefill: the processor cannot tell a part of a prompt from the first token after it")
        batch = getattr(args, "max_batch_size", None)
        if batch is not None and batch > self._config.max_slots:
            raise SetupError(f"{self._config.path}: max_slots is {self._config.max_slots}, and the executor runs {batch} requests at once")
        # The keys are opened to see whether they open, and wiped.
        check(self._config, vocabularies=(vocabulary,))
        self._vocabulary = vocabulary
        self._every_rank = bool(getattr(args, "enable_attention_dp", False))

    def params(self, params: Any, *, ticket: str | None = None) -> Any:
        """A copy of a SamplingParams that marks; for one request. ticket: whose request it is, from your authentication (countermark.serving.ticket); without one it is the port's account, or of
        the base channel alone. InvalidArgumentError: it cannot be marked, in words.
        """
        processor = MarkProcessor(sampling_of(params), ticket, params.seed, str(self._config.path), self._vocabulary, self._every_rank)
        before = params.logits_processor
        marked = copy.copy(params)
        marked.logits_processor = [*(before if isinstance(before, list) else [] if before is None else [before]), processor]
        return marked


class MarkProcessor:
    """A LogitsProcessor of one request; `Marking.params` makes it."""

    def __init__(self, sampling: Sampling, ticket: str | None, seed: int | None, config: str, vocabulary: int, every_rank: bool) -> None:
        self._sampling = sampling
        self._ticket = ticket
        self._seed = seed
        self._config = config
        self._vocabulary = vocabulary
        self._every_rank = every_rank
        self._name = secrets.token_bytes(16)
        """Not the request's number, of which every executor begins with 1; and, without a seed, what the ranks of a request draw from alike."""
        self._requests: dict[int, _Request] = {}
        """In the executor's process, where this object lives as long as its request: one entry, or one a child."""

    def __repr__(self) -> str:
        return "<countermark.tensorrt_llm.MarkProcessor>"

    def __call__(self, req_id: int, logits: torch.Tensor, token_ids: list[list[int]], stream_ptr: int | None, client_id: int | None) -> None:
        """logits: beams × 1 × columns, changed in place. token_ids: a list a beam, prompt and output; with the overlap scheduler its end is a token behind."""
        if len(token_ids) != 1 or logits.numel() != logits.shape[-1]:
            raise InvalidArgumentError(f"{len(token_ids)} beams: beam search cannot be marked")
        with _lock:
            _table(self, logits).choose(self, req_id, logits.view(-1), token_ids[0])


@dataclasses.dataclass(slots=True)
class _Request:
    """Stays what it is when its slot goes to another and comes back."""

    admission: Admission
    child: int
    prompt: int
    """The prompt's length."""


@dataclasses.dataclass(slots=True)
class _State:
    slot: int
    taken: int
    """Tokens that the hook holds."""


class _Table:
    """An executor process' requests, and the engine that marks them."""

    def __init__(self, engine: Engine, slots: int) -> None:
        self._engine = engine
        self._free = list(range(slots - 1, -1, -1))
        self._states: collections.OrderedDict[tuple[bytes, int], _State] = collections.OrderedDict()
        """The one that was used last stands last; nothing says when a request ends, so that the first gives its slot to a new one."""

    def choose(self, processor: MarkProcessor, req_id: int, row: torch.Tensor, ids: list[int]) -> None:
        hook = self._engine.hook
        stream = torch.cuda.current_stream(row.device).cuda_stream if hook.device != CPU else 0
        state = self._state(processor, req_id, ids, stream)
        logits = row if row.dtype in (torch.float32, torch.float16, torch.bfloat16) else row.float()
        if hook.device != CPU:
            chosen = torch.empty(1, dtype=torch.int32, device=row.device)
            hook.sample(torch.tensor([state.slot], dtype=torch.int32, device=row.device), logits.view(1, -1), out=Step(chosen, None, None, None), stream=stream)
        else:
            chosen = torch.from_numpy(hook.sample([state.slot], logits.view(1, -1).cpu()).tokens).to(row.device)
        state.taken += 1
        row.fill_(-torch.inf)
        row.scatter_(0, chosen.clamp_(min=0).long(), 0)  # a row without a finite logit has no choice

    def _state(self, processor: MarkProcessor, req_id: int, ids: list[int], stream: int) -> _State:
        name = (processor._name, req_id)
        state = self._states.get(name)
        if state is None:
            state = self._begin(processor, req_id, ids, stream)
        else:
            self._states.move_to_end(name)
            known = len(ids) - processor._requests[req_id].prompt
            if known > state.taken:  # tokens of another's choosing
                self._engine.hook.rebuild(state.slot, np.array(ids[len(ids) - known :], np.uint32), stream=stream)
                state.taken = known
            elif known < state.taken - 1:  # taken back
                self._engine.hook.rollback(state.slot, state.taken - known, stream=stream)
                state.taken = known
        return state

    def _begin(self, processor: MarkProcessor, req_id: int, ids: list[int], stream: int) -> _State:
        engine, sampling, ticket = self._engine, processor._sampling, processor._ticket
        request = processor._requests.get(req_id)
        if request is None:
            admission = engine.admit(ticket)
            child = 0 if admission.label is None else engine.next_child(ticket)
            request = processor._requests[req_id] = _Request(admission, child, len(ids))  # the first call shows the prompt
        if not self._free:
            _, oldest = self._states.popitem(last=False)
            engine.hook.end(oldest.slot, stream=stream)
            self._free.append(oldest.slot)
        state = self._states[(processor._name, req_id)] = _State(self._free.pop(), len(ids) - request.prompt)
        if processor._seed is None:
            digest = hashlib.sha256(processor._name + req_id.to_bytes(8, "little", signed=True)).digest()
            seed = int.from_bytes(digest[:8], "little")
        else:
            seed = processor._seed + request.child
        engine.begin(
            state.slot,
            request.admission,
            child=request.child,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            seed=seed,
            prompt=np.array(ids[: request.prompt], np.uint32),
            committed=np.array(ids[request.prompt :], np.uint32),
            stream=stream,
        )
        return state


_lock = threading.Lock()
_tables: dict[tuple[str, str], _Table] = {}


def _table(processor: MarkProcessor, logits: torch.Tensor) -> _Table:
    """This process' table for the processor's configuration and device. SetupError fails the request: no text goes out unmarked."""
    name = (processor._config, str(logits.device))
    table = _tables.get(name)
    if table is None:
        try:
            config = ServingConfig.load(processor._config)
        except Error as error:
            raise SetupError(str(error)) from None
        on_device = logits.device.type == "cuda" and has_cuda()
        table = _tables[name] = _Table(
            Engine(
                config,
                server="tensorrt_llm",
                vocabularies=(processor._vocabulary,),
                slots=config.max_slots,
                rows=1,
                columns=-(-logits.shape[-1] // 256) * 256,
                device=(logits.device.index or 0) if on_device else CPU,
                leads=processor._every_rank or _rank() == 0,
            ),
            config.max_slots,
        )
    return table


def _rank() -> int:
    """Of MPI's world, as its launchers tell it: every rank of tensor parallelism chooses, and one of them counts."""
    for name in ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0
