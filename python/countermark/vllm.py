"""Marking what vLLM serves: a logits processor for its V1 runner, the sampling step of its V2 runner, one class for both.

    export COUNTERMARK_CONFIG=/etc/countermark/serving.toml
    vllm serve MODEL --middleware countermark.vllm.AccountMiddleware        # the installed package's entry point brings the processor
    vllm serve MODEL --logits-processors countermark.vllm:MarkProcessor …   # the same, said aloud: without a configuration this does not start

V1 runner (processors, or VLLM_USE_V2_MODEL_RUNNER=0): the seat after penalties, masks and temperature. The processor truncates by the request's own top-k and top-p, chooses, and
leaves one logit finite. V2 runner (the default on a GPU): countermark.vllm_v2. Both are described in docs/vllm.md. Nothing here stops a step that runs: what cannot be marked goes out
unmarked, and is counted.
"""

from __future__ import annotations

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
from countermark.hook import CPU
from countermark.serving import metrics
from countermark.serving.body import BodyError
from countermark.serving.config import ENVIRONMENT, ServingConfig
from countermark.serving.engine import Engine, Sampling, SetupError, check, no_core_dumps, refuse
from countermark.serving.middleware import AccountMiddleware as _AccountMiddleware
from countermark.serving.policy import MAX_PENALTY, MIN_PENALTY
from countermark.vllm_request import ASKED, carried

SUPPORTED = ("0.32.0",)
"""Versions of vLLM whose seats this file was written and tested against."""

try:
    from vllm.logger import init_logger
    from vllm.v1.sample.logits_processor.interface import LogitsProcessor as V1LogitsProcessor
    from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsProcessor as V2LogitsProcessor

    from countermark.vllm_v1 import BatchSeat
except ImportError as error:
    if os.environ.get(ENVIRONMENT):
        refuse(f"vLLM {vllm.__version__} is not a version that this build knows ({', '.join(SUPPORTED)}): {error}")
    raise

__all__ = ["AccountMiddleware", "MarkProcessor", "plugin"]

_NEUTRAL = (0, 1.0, 0.0)  # top_k, top_p and min_p that leave nothing to vLLM
_NAME = "countermark.vllm:MarkProcessor"

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
            if p.extra_args and ASKED in p.extra_args:  # a client's own
                p.extra_args = {name: value for name, value in p.extra_args.items() if name != ASKED}
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
        p.extra_args = {**(p.extra_args or {}), ASKED: [asked.temperature, asked.top_k, asked.top_p, asked.min_p]}
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
