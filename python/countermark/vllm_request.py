"""What a request carries into vLLM's engine, and a step of the hook on torch's tensors: what both seats need (countermark/vllm.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from countermark.hook import CPU, Step
from countermark.serving.engine import Engine, Sampling

TICKET = "countermark"
"""The member of vllm_xargs, and so of SamplingParams.extra_args, that carries a request's ticket."""

ASKED = "countermark_asked"
"""The member beside it: what the request has asked for. `validate_params` puts it there."""


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
    given = (params.extra_args or {}).get(ASKED)
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
