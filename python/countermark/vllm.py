"""Marking what vLLM serves: a logits processor for its V1 runner, the sampling step of its V2 runner, one class for both.

    export COUNTERMARK_CONFIG=/etc/countermark/serving.toml
    vllm serve MODEL --middleware countermark.vllm.AccountMiddleware        # the installed package's entry point brings the processor
    vllm serve MODEL --logits-processors countermark.vllm:MarkProcessor …   # the same, said aloud: without a configuration this does not start

V1 runner (processors, or VLLM_USE_V2_MODEL_RUNNER=0): the seat after penalties, masks and temperature. The processor truncates by the request's own top-k and top-p, chooses, and
leaves one logit finite. V2 runner (the default on a GPU): countermark.vllm_v2. Both are described in docs/vllm.md. Nothing here stops a step that runs: what cannot be marked goes out
unmarked, and is counted.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import os
import sys
import time
import weakref
from collections.abc import Sequence
from typing import Any

import torch
import vllm

from countermark._core import has_cuda
from countermark.errors import Error
from countermark.hook import CPU, Step
from countermark.serving import metrics
from countermark.serving.body import BodyError
from countermark.serving.config import ENVIRONMENT, ServingConfig
from countermark.serving.engine import Admission, Engine, Sampling, SetupError, check, no_core_dumps, refuse
from countermark.serving.middleware import AccountMiddleware as _AccountMiddleware
from countermark.serving.policy import MAX_PENALTY, MIN_PENALTY

SUPPORTED = ("0.32.0",)
"""Versions of vLLM whose seats this file was written and tested against."""

try:
    from vllm.logger import init_logger
    from vllm.v1.sample.logits_processor.interface import LogitsProcessor as V1LogitsProcessor
    from vllm.v1.sample.logits_processor.interface import MoveDirectionality
    from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsProcessor as V2LogitsProcessor
except ImportError as error:
    if os.environ.get(ENVIRONMENT):
        refuse(f"vLLM {vllm.__version__} is not a version that this build knows ({', '.join(SUPPORTED)}): {error}")
    raise

__all__ = ["AccountMiddleware", "MarkProcessor", "plugin"]

TICKET = "countermark"
"""The member of vllm_xargs, and so of SamplingParams.extra_args, that carries a request's ticket."""

_ASKED = "countermark_asked"  # what a request has asked for, beside the ticket: `validate_params` puts it there
_NEUTRAL = (0, 1.0, 0.0)  # top_k, top_p and min_p that leave nothing to vLLM
_NAME = "countermark.vllm:MarkProcessor"
_LEFT_ROWS, _LEFT_TOKENS = 1 << 14, 1 << 23  # of requests that left the batch and may come back: most have ended, and hold their prompts
_PLACEHOLDER = -1  # asynchronous scheduling's: a token was sampled, and the host has not seen it yet

logger = init_logger("vllm.countermark")


# ---- what is refused -------------------------------------------------------------------------------------------------------


def _is_ours(processor: object) -> bool:
    return processor is MarkProcessor or (isinstance(processor, str) and processor.replace(".", ":").endswith("countermark:vllm:MarkProcessor"))


def _asked_for(vllm_config: Any) -> bool:
    """Whether the operator wants marks: a configuration is named, or the processor is."""
    return bool(os.environ.get(ENVIRONMENT)) or any(map(_is_ours, vllm_config.model_config.logits_processors or ()))


def _vocabularies(vllm_config: Any) -> Sequence[int]:
    """The model's counts of its tokens: rows of the embedding, and tokens of the tokenizer, which may be fewer."""
    counts = [int(vllm_config.model_config.get_vocab_size())]
    with contextlib.suppress(Exception):
        from vllm.tokenizers import cached_tokenizer_from_config

        counts.append(len(cached_tokenizer_from_config(vllm_config.model_config)))
    return tuple(dict.fromkeys(counts))


def check_server(vllm_config: Any) -> ServingConfig:
    """SetupError: this server must not start, since something of it would go out unmarked without anybody's wish, or by two marks at once."""
    version = vllm.__version__.partition("+")[0]
    if version not in SUPPORTED:
        raise SetupError(f"vLLM {version} is not a version that this build knows ({', '.join(SUPPORTED)}): its seats may have moved")
    model, v2, speculative = vllm_config.model_config, vllm_config.use_v2_model_runner, vllm_config.speculative_config
    named = sum(map(_is_ours, model.logits_processors or ()))
    if getattr(vllm_config, "watermark_config", None) is not None:
        raise SetupError("vLLM's own watermark (--watermark-config) is on: one text takes one mark")
    if named > 1:
        raise SetupError(f"--logits-processors names {_NAME} {named} times")
    if speculative is not None and not v2:
        raise SetupError("speculative decoding on the V1 runner drops logits processors without a word: everything would be unmarked; use the V2 runner, or leave --speculative-config out")
    if speculative is not None and speculative.rejection_sample_method == "synthetic":
        raise SetupError("rejection_sample_method 'synthetic' accepts drafts by chance: nothing could be marked")
    if model.is_diffusion:
        raise SetupError("a diffusion model brings a sampler of its own, which has no seat for a mark")
    for name in ("enable_trace_replay", "return_sampling_mask"):
        if getattr(model, name, False):
            raise SetupError(f"--{name.replace('_', '-')} takes the choice of tokens out of the sampler's hands")
    if v2 and vllm_config.parallel_config.enable_batch_sharded_sampling:
        raise SetupError("--enable-batch-sharded-sampling spreads a request's steps over ranks, and its state is in one")
    try:
        config = ServingConfig.load()
    except Error as error:
        raise SetupError(str(error)) from None
    if config.policy.low_entropy == "allow" and (model.get_diff_sampling_param() or {}).get("temperature", 1) == 0:
        raise SetupError("the model's default temperature is 0 and the policy is allow: a request that says nothing would be unmarked")
    return config


def plugin() -> None:
    """Entry point of vllm.general_plugins: a bad set-up ends `vllm serve` before the model is loaded. The engine checks again."""
    from vllm.engine.arg_utils import EngineArgs

    if getattr(EngineArgs.create_engine_config, "countermark", False):
        return
    create = EngineArgs.create_engine_config

    @functools.wraps(create)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        vllm_config = create(self, *args, **kwargs)
        if vllm_config.model_config.runner_type != "pooling" and _asked_for(vllm_config):
            no_core_dumps()
            try:
                # The keys are opened to see whether they open, and wiped.
                check(check_server(vllm_config), vocabularies=lambda: _vocabularies(vllm_config))
                if any(word.endswith(f"{__name__}.{AccountMiddleware.__name__}") for word in sys.argv):
                    AccountMiddleware.prepare()
            except (SetupError, Error) as error:
                refuse(error)
        return vllm_config

    checked.countermark = True  # type: ignore[attr-defined]
    EngineArgs.create_engine_config = checked


# ---- the API's process -------------------------------------------------------------------------------------------------------


class AccountMiddleware(_AccountMiddleware):
    """serving/middleware.py before vLLM's routes. It lets nothing through while no engine's hook is at work: an installation that lost its entry points must not serve unmarked."""

    server = "vllm"
    _looked = -1e9

    async def _generate(self, *arguments: Any) -> None:
        state_dir = self.gate.config.state_dir
        if state_dir is not None and time.monotonic() - self._looked > 2:
            if not metrics.living(state_dir, "vllm-engine"):
                raise BodyError("no engine is at work that marks", status=503, code="not_marking", reason="engine")
            self._looked = time.monotonic()
        await super()._generate(*arguments)


# ---- the class that vLLM loads ---------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _front() -> ServingConfig | None:
    """For the process that answers the API."""
    return ServingConfig.load() if os.environ.get(ENVIRONMENT) else None


_seated: list[weakref.ref[Any]] = []


def _takes_seat(vllm_config: Any) -> bool:
    """One seat an engine: the entry point and --logits-processors may both bring the class."""
    _seated[:] = [ref for ref in _seated if ref() is not None]
    if any(ref() is vllm_config for ref in _seated):
        return False
    _seated.append(weakref.ref(vllm_config))
    return True


class MarkProcessor(V1LogitsProcessor, V2LogitsProcessor):  # type: ignore[misc,unused-ignore]
    """What --logits-processors and the entry point name; vLLM makes it, in each rank."""

    def __init__(self, vllm_config: Any, where: Any, is_pin_memory: bool | None = None) -> None:
        """where: V1's torch.device; V2's LogitsProcRequestState, and then there is no is_pin_memory."""
        self._seat: BatchSeat | None = None
        self._idle = not _asked_for(vllm_config)
        if self._idle:
            logger.warning("countermark is installed and %s is not set: NOTHING IS MARKED", ENVIRONMENT)
            return
        if not _takes_seat(vllm_config):
            return
        try:
            config = check_server(vllm_config)
            if is_pin_memory is None:
                from vllm.v1.worker.gpu import model_runner

                from countermark.vllm_v2 import marked_samplers

                sampler, rejection_sampler = marked_samplers(_engine(vllm_config, config, where.device, where.max_num_reqs))
                # The runner is about to make its samplers by these names.
                model_runner.Sampler, model_runner.RejectionSampler = sampler, rejection_sampler
            else:
                # As many slots again as run: a preempted request keeps its own.
                self._seat = BatchSeat(_engine(vllm_config, config, where, 2 * vllm_config.scheduler_config.max_num_seqs))
        except SetupError as error:
            refuse(error)

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Where requests enter the engine, by whatever route: the low-entropy policy, and the hook's truncation in the place of vLLM's, which sorts whole rows where the hook makes one pass.
        ValueError: the request is refused (400 to the client).
        """
        config, p = _front(), sampling_params
        was = carried(p)
        if config is None:
            if p.extra_args and _ASKED in p.extra_args:  # a client's own
                p.extra_args = {name: value for name, value in p.extra_args.items() if name != _ASKED}
            return
        policy = config.policy.low_entropy
        if was is not None and (p.temperature, p.top_k, p.top_p, p.min_p) == ((was if policy == "allow" else was.floored()).temperature, *_NEUTRAL) and p.temperature > 0:
            asked = was  # parameters that were here before
        else:
            asked = Sampling(p.temperature, max(p.top_k, 0), p.top_p, p.min_p)
        used = asked if policy == "allow" else asked.floored()
        penalty = p.repetition_penalty if policy == "allow" else min(max(p.repetition_penalty, MIN_PENALTY), MAX_PENALTY)
        if (used != asked or penalty != p.repetition_penalty) and policy == "deny":
            raise ValueError("this server takes no request below its entropy floor: temperature, top_k, top_p, min_p or repetition_penalty leave too little choice")
        p.repetition_penalty = penalty  # it multiplies logits: near 0 it is a low temperature over the prompt's words
        p.extra_args = {**(p.extra_args or {}), _ASKED: [asked.temperature, asked.top_k, asked.top_p, asked.min_p]}
        if used.temperature == 0:  # the policy is allow: vLLM takes the likeliest token, and the engine counts it
            return
        p.temperature, (p.top_k, p.top_p, p.min_p) = used.temperature, _NEUTRAL
        p.__dict__.pop("sampling_type", None)  # computed once, from the temperature

    def is_argmax_invariant(self) -> bool:
        """V1: after temperature, and out of the way of requests that take the likeliest token."""
        return True

    def update_state(self, batch_update: Any) -> None:
        """V1: the batch changes."""
        if batch_update is None:
            return
        if self._seat is not None:
            self._seat.update(batch_update)
        elif self._idle and any(carried(params) is not None for _, params, _, _ in batch_update.added):
            raise RuntimeError(f"the API's process marks and this one does not: give {ENVIRONMENT} to both")

    def apply(self, logits: torch.Tensor, ctx: Any = None) -> torch.Tensor:
        """V1: chooses. V2: nothing, since the sampler does."""
        if self._seat is not None:
            self._seat.choose(logits)
        return logits

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """V2: not here."""
        if self._idle and carried(sampling_params) is not None:
            raise RuntimeError(f"the API's process marks and this one does not: give {ENVIRONMENT} to both")
        return False


def _engine(vllm_config: Any, config: ServingConfig, device: torch.device, slots: int) -> Engine:
    from vllm.distributed.parallel_state import get_pp_group, get_tensor_model_parallel_rank

    try:
        first, last = get_tensor_model_parallel_rank() == 0, get_pp_group().is_last_rank
    except AssertionError:  # no groups: one process
        first = last = True
    parallel, speculative = vllm_config.parallel_config, vllm_config.speculative_config
    on_device = device.type == "cuda" and has_cuda()
    return Engine(
        config,
        server="vllm",
        vocabularies=lambda: _vocabularies(vllm_config),
        slots=slots,
        rows=slots * (1 if speculative is None else speculative.num_speculative_tokens + 1),
        columns=-(-int(vllm_config.model_config.get_vocab_size()) // 256) * 256,
        max_length=vllm_config.model_config.max_model_len,
        device=(device.index or 0) if on_device else CPU,
        leads=first and last,
        shared_seed=vllm_config.instance_id if parallel.tensor_parallel_size > 1 else None,
    )


def step(
    engine: Engine, slots: Sequence[int] | torch.Tensor, logits: torch.Tensor, *, commit: bool, depths: torch.Tensor | None = None, drafts: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A step of the hook on torch's tensors, on its current stream: tokens, and with drafts how many hold; int32, where the logits are."""
    logits = logits.detach()
    if logits.stride(-1) != 1 or logits.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        logits = logits.to(torch.float32).contiguous()
    here = torch.device("cpu") if engine.hook.device == CPU else logits.device

    def moved(values: Any) -> Any:
        return None if values is None else torch.as_tensor(values, dtype=torch.int32).to(here)

    out = Step(
        torch.empty(logits.shape[0], dtype=torch.int32, device=here), None, None, None if depths is None else torch.empty(logits.shape[0], dtype=torch.int32, device=here)
    )
    engine.hook.sample(moved(slots), logits.to(here), depths=moved(depths), drafts=moved(drafts), commit=commit, out=out, stream=stream_of(here))
    return out.tokens.to(logits.device), None if out.accepted is None else out.accepted.to(logits.device)


def stream_of(device: torch.device) -> int:
    return int(torch.cuda.current_stream(device).cuda_stream) if device.type == "cuda" else 0


def carried(params: Any) -> Sampling | None:
    """What `validate_params` has put beside the ticket; None where it has not, or what stands there cannot be."""
    given = (params.extra_args or {}).get(_ASKED)
    if not isinstance(given, (list, tuple)) or len(given) != 4 or not all(type(x) in (int, float) for x in given):
        return None
    temperature, top_k, top_p, min_p = given
    if not (0 <= temperature <= 2 and 0 <= top_k < 2**31 and 0 < top_p <= 1 and 0 <= min_p <= 1):
        return None
    return Sampling(float(temperature), int(top_k), float(top_p), float(min_p))


def asked_and_used(engine: Engine, params: Any) -> tuple[Sampling, Sampling]:
    """What a request has asked for, and what it gets by the epoch's low-entropy policy."""
    asked = carried(params) or Sampling(params.temperature, max(params.top_k, 0), params.top_p, params.min_p)
    return asked, asked if engine.low_entropy == "allow" else asked.floored()


# ---- V1 --------------------------------------------------------------------------------------------------------------------


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
