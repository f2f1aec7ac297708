"""Marking what Hugging Face transformers generates.

    answers = generate_marked(model, tokenizer, prompts, hook, accounts=["org-1", "org-2"], do_sample=True, temperature=0.8, max_new_tokens=200)

or, where `model.generate` is called elsewhere, a logits processor for it, last in the list:

    config = model.generation_config
    with MarkLogitsProcessor(hook, ["org-1"], parameters=parameters_of(config), eos_token_ids=eos_of(config)) as mark:
        model.generate(**inputs, logits_processor=LogitsProcessorList([mark]))

The processor does temperature, top-k, top-p and min-p itself, on the logits as penalties left them, chooses, and leaves one token finite: whatever transformers
does to the row afterwards chooses that token.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from countermark.errors import InvalidArgumentError
from countermark.hook import CPU, NO_TOKEN, Hook, Step

# What transformers takes where neither the caller nor the model says (GenerationConfig._get_default_generation_params).
_DEFAULT_TOP_K = 50

# Ways of decoding in which a token is not one draw from one row of its own sequence, and truncations that the hook does not know: under these a text would go out
# unmarked, or marked from another distribution than the caller asked for.
_REFUSED = {
    "num_beams": "beam search keeps the likelier of several texts, and the mark would be in none of them as it was drawn",
    "num_beam_groups": "beam search keeps the likelier of several texts, and the mark would be in none of them as it was drawn",
    "constraints": "constrained beam search",
    "force_words_ids": "constrained beam search",
    "penalty_alpha": "contrastive search chooses by the model's inner states, and no draw is left to mark",
    "dola_layers": "DoLa",
    "prompt_lookup_num_tokens": "assisted generation checks several tokens at once; this processor sees one row a step",
    "assistant_early_exit": "assisted generation checks several tokens at once; this processor sees one row a step",
    "assistant_model": "assisted generation checks several tokens at once; this processor sees one row a step",
    "use_mtp": "assisted generation checks several tokens at once; this processor sees one row a step",
    "custom_generate": "a decoding method of somebody else's",
    "typical_p": "a truncation that the hook does not know",
    "epsilon_cutoff": "a truncation that the hook does not know",
    "eta_cutoff": "a truncation that the hook does not know",
    "top_h": "a truncation that the hook does not know",
    "watermarking_config": "another watermark",
}
_OFF: dict[str, tuple[Any, ...]] = {
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "typical_p": (1, 1.0),
    "epsilon_cutoff": (0, 0.0),
    "eta_cutoff": (0, 0.0),
    "penalty_alpha": (0, 0.0),
    "use_mtp": (False,),
}


@dataclasses.dataclass(frozen=True, slots=True)
class SamplingParameters:
    """As transformers means them; temperature 0 is greedy."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


def refuse_unmarkable(config: GenerationConfig, arguments: Mapping[str, Any] | None = None) -> None:
    """InvalidArgumentError, in words, for a way of decoding that cannot be marked."""
    for name, why in _REFUSED.items():
        given = (arguments or {}).get(name, getattr(config, name, None))
        if given is not None and given not in _OFF.get(name, ()):
            raise InvalidArgumentError(f"{name} cannot be marked: {why}")


def parameters_of(config: GenerationConfig) -> SamplingParameters:
    """What a generation config asks for. Without do_sample: greedy, with which the epoch's low-entropy policy deals."""
    refuse_unmarkable(config)
    if not config.do_sample:
        return SamplingParameters(temperature=0.0)
    return SamplingParameters(
        temperature=1.0 if config.temperature is None else float(config.temperature),
        top_k=_DEFAULT_TOP_K if config.top_k is None else int(config.top_k),
        top_p=1.0 if config.top_p is None else float(config.top_p),
        min_p=0.0 if config.min_p is None else float(config.min_p),
    )


def eos_of(config: GenerationConfig) -> tuple[int, ...]:
    """The tokens that end an answer."""
    eos = config.eos_token_id
    if eos is None:
        return ()
    return tuple(int(token) for token in eos) if isinstance(eos, (list, tuple)) else (int(eos),)


class MarkLogitsProcessor(LogitsProcessor):  # type: ignore[misc,unused-ignore]
    """Marks the rows of one call of `generate`. State is taken from the ids: the prompt is what stands in them at the first call.

    Use one for each call of `generate`, then close it (or use it in a `with`): its slots go back to the hook.
    """

    supports_continuous_batching = False

    def __init__(
        self,
        hook: Hook,
        accounts: Sequence[str],
        *,
        parameters: SamplingParameters | Sequence[SamplingParameters] = SamplingParameters(),
        requests: Sequence[str | None] | None = None,
        seeds: Sequence[int | None] | None = None,
        prompts: Sequence[Sequence[int]] | None = None,
        eos_token_ids: Sequence[int] = (),
        pad_token_id: int | None = None,
        strict: bool = True,
    ) -> None:
        """accounts: one a row, from your authentication (countermark.BASE_ONLY where that names none). parameters: of all rows, or one a row. prompts: each row's ids without padding; by default those of the first
        call, less leading pad_token_id. eos_token_ids: after one of them a row is over, and what follows is padding. strict: see Hook.begin.
        """
        rows = len(accounts)
        self._hook = hook
        self._accounts = list(accounts)
        self._parameters = [parameters] * rows if isinstance(parameters, SamplingParameters) else list(parameters)
        self._requests: list[str | None] = [None] * rows if requests is None else list(requests)
        self._seeds: list[int | None] = [None] * rows if seeds is None else list(seeds)
        self._prompts = prompts
        for name, given in (("parameters", self._parameters), ("requests", self._requests), ("seeds", self._seeds), ("prompts", prompts)):
            if given is not None and len(given) != rows:
                raise InvalidArgumentError(f"there are {rows} accounts and {len(given)} {name}")
        self._eos = frozenset(eos_token_ids)
        self._pad = pad_token_id
        self._strict = strict
        self._slots: list[int] = []
        self._closed = False
        self._ids: torch.Tensor | None = None
        self._chosen: list[int] = []
        self._active: list[int] = []
        self.marked: list[bool] = []
        """Whether each row's request is marked; known from the first call on."""

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if self._closed:
            raise InvalidArgumentError("this processor is closed; make one for each call of generate")
        if self._ids is None:
            self._begin(input_ids)
        else:
            self._follow(input_ids)
        self._ids = input_ids
        return self._choose(scores)

    def _begin(self, input_ids: torch.Tensor) -> None:
        if input_ids.shape[0] != len(self._accounts):
            raise InvalidArgumentError(f"generate has {input_ids.shape[0]} rows and there are {len(self._accounts)} accounts; num_return_sequences counts, and beams cannot be marked")
        self._slots = self._hook.take_slots(len(self._accounts))
        try:
            for row, (slot, p) in enumerate(zip(self._slots, self._parameters, strict=True)):
                if self._prompts is not None:
                    prompt = list(self._prompts[row])
                else:
                    prompt = input_ids[row].tolist()
                    while self._pad is not None and len(prompt) > 1 and prompt[0] == self._pad:
                        del prompt[0]
                begun = self._hook.begin(
                    slot,
                    account=self._accounts[row],
                    request=self._requests[row],
                    temperature=p.temperature,
                    top_k=p.top_k,
                    top_p=p.top_p,
                    min_p=p.min_p,
                    seed=self._seeds[row],
                    prompt=prompt,
                    strict=self._strict,
                )
                self.marked.append(begun)
        except BaseException:
            self.close()
            raise
        self._active = list(range(len(self._accounts)))

    def _follow(self, input_ids: torch.Tensor) -> None:
        """Takes in what became of the last step's tokens: rows that ended are over, and a token of another's choosing replaces ours."""
        assert self._ids is not None
        if input_ids.shape[0] != self._ids.shape[0] or input_ids.shape[1] != self._ids.shape[1] + 1 or not torch.equal(input_ids[:, :-1], self._ids):
            raise InvalidArgumentError("the rows are not those of the step before with one token more: beam search, contrastive search and assisted generation cannot be marked")
        newest = input_ids[:, -1].tolist()
        still = []
        for row in self._active:
            token = newest[row]
            if token != self._chosen[row]:
                if self._chosen[row] != NO_TOKEN:
                    self._hook.rollback(self._slots[row], 1)
                self._hook.commit(self._slots[row], [token])
            if token not in self._eos:
                still.append(row)
        self._active = still

    def _choose(self, scores: torch.Tensor) -> torch.FloatTensor:
        chosen = [NO_TOKEN] * len(self._accounts)
        if self._active:
            logits = scores if len(self._active) == len(self._accounts) else scores[self._active]
            for row, token in zip(self._active, self._sample([self._slots[row] for row in self._active], logits), strict=True):
                chosen[row] = token
        self._chosen = chosen
        marked = torch.full_like(scores, -torch.inf)
        over = min(self._eos, default=0)
        active = frozenset(self._active)
        for row, token in enumerate(chosen):
            if token != NO_TOKEN:
                marked[row, token] = 0
            elif row in active:
                marked[row] = scores[row]  # nothing finite: as it came
            else:
                marked[row, over] = 0  # generate puts padding here
        return marked  # type: ignore[return-value,unused-ignore]

    def _sample(self, slots: list[int], logits: torch.Tensor) -> list[int]:
        logits = logits.detach()
        if logits.stride(-1) != 1 or logits.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            logits = logits.to(torch.float32).contiguous()
        if self._hook.device == CPU:
            tokens: list[int] = self._hook.sample(slots, logits.cpu()).tokens.tolist()
            return tokens
        device = torch.device("cuda", self._hook.device)
        if logits.device != device:
            raise InvalidArgumentError(f"the logits are on {logits.device}, and the hook is on {device}")
        out = torch.empty(len(slots), dtype=torch.int32, device=device)
        self._hook.sample(
            torch.tensor(slots, dtype=torch.int32, device=device), logits, out=Step(out, None, None, None), stream=torch.cuda.current_stream(device).cuda_stream
        )
        taken: list[int] = out.tolist()
        return taken

    def counters(self, row: int) -> dict[str, int]:
        """A row's tokens by cause; before `close`."""
        return self._hook.request_counters(self._slots[row])

    def close(self) -> None:
        """Wipes the rows' state and gives their slots back."""
        self._closed = True
        slots, self._slots = self._slots, []
        self._hook.give_slots(slots)

    def __enter__(self) -> MarkLogitsProcessor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a processor is part of a hook that holds keys: it is neither pickled nor copied")


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    prompt: int
    """The prompt's position."""
    account: str
    text: str
    token_ids: tuple[int, ...]
    """What was generated, an end token included, padding not."""
    marked: bool
    counters: dict[str, int]
    """Tokens by cause (countermark.CAUSES)."""


def _encode(tokenizer: Any, prompt: str | Sequence[Mapping[str, str]]) -> list[int]:
    if isinstance(prompt, str):
        ids = tokenizer(prompt)["input_ids"]
    else:
        text = tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not len(ids):
        raise InvalidArgumentError("a prompt without a token: there is nothing to go on from")
    return [int(token) for token in ids]


def generate_marked(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str | Sequence[Mapping[str, str]]],
    hook: Hook,
    *,
    account: str | None = None,
    accounts: Sequence[str] | None = None,
    requests: Sequence[str] | None = None,
    seed: int | None = None,
    strict: bool = True,
    **generation: Any,
) -> list[Answer]:
    """Generates marked answers in one batch, padded on the left; num_return_sequences answers a prompt, one after another.

    prompts: texts, or chats (sequences of {"role": …, "content": …}) for the tokenizer's chat template. account, or accounts, one a prompt: from your authentication (countermark.BASE_ONLY where that names none).
    requests: labels for the request channel, one a prompt. seed: answer i of all draws plainly from seed + i, whatever else is in the batch; None: fresh randomness. strict:
    see Hook.begin. generation: what model.generate takes (do_sample, temperature, top_k, top_p, min_p, max_new_tokens, penalties, logits_processor, …); what neither it nor
    the model's own config says is transformers' default, do_sample False among them.

    InvalidArgumentError: beam search, contrastive search, assisted generation, a truncation that the hook does not know. The mark cannot be switched off by a parameter.
    """
    if (account is None) == (accounts is None):
        raise InvalidArgumentError("give either `account` or `accounts`")
    if isinstance(prompts, str):
        raise InvalidArgumentError("prompts is one text; a sequence of them is expected")
    of_prompts = [account] * len(prompts) if accounts is None else list(accounts)
    if len(of_prompts) != len(prompts):
        raise InvalidArgumentError(f"there are {len(prompts)} prompts and {len(of_prompts)} accounts")
    if not all(isinstance(of_prompt, str) for of_prompt in of_prompts):
        raise InvalidArgumentError("an account is no text; countermark.BASE_ONLY says that a request has none")
    if requests is not None and len(requests) != len(prompts):
        raise InvalidArgumentError(f"there are {len(prompts)} prompts and {len(requests)} requests")
    if not prompts:
        return []
    for name in ("input_ids", "inputs", "inputs_embeds", "attention_mask"):
        if name in generation:
            raise InvalidArgumentError(f"{name}: the prompts are given as `prompts`")
    if model.config.is_encoder_decoder:
        raise InvalidArgumentError("the model has an encoder; decoder-only models alone are marked")

    config = copy.deepcopy(generation.pop("generation_config", None) or model.generation_config)
    rest = config.update(**generation)
    refuse_unmarkable(config, rest)
    if rest.pop("return_dict_in_generate", None) or config.return_dict_in_generate:
        config.return_dict_in_generate = False
    for name, off in _OFF.items():  # what the config may spell out and is off
        if name in rest and rest[name] in off:
            del rest[name]
    parameters = parameters_of(config)
    copies = config.num_return_sequences or 1
    # The hook chooses: to transformers each row has one token left.
    config.do_sample = False
    config.num_return_sequences = None
    for name in ("temperature", "top_k", "top_p", "min_p"):
        setattr(config, name, None)
    eos = eos_of(config)
    pad = config.pad_token_id if config.pad_token_id is not None else min(eos, default=0)
    config.pad_token_id = pad

    encoded = [_encode(tokenizer, prompt) for prompt in prompts]
    order = [i for i in range(len(prompts)) for _ in range(copies)]
    longest = max(map(len, encoded))
    ids = torch.full((len(order), longest), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, i in enumerate(order):
        ids[row, longest - len(encoded[i]) :] = torch.tensor(encoded[i])
        mask[row, longest - len(encoded[i]) :] = 1

    with MarkLogitsProcessor(
        hook,
        [str(of_prompts[i]) for i in order],
        parameters=parameters,
        requests=None if requests is None else [requests[i] for i in order],
        seeds=None if seed is None else [(seed + row) % 2**64 for row in range(len(order))],
        prompts=[encoded[i] for i in order],
        eos_token_ids=eos,
        strict=strict,
    ) as mark:
        before = rest.pop("logits_processor", None) or ()
        with torch.inference_mode():
            sequences = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                generation_config=config,
                logits_processor=LogitsProcessorList([*before, mark]),
                **rest,
            )
        answers = []
        for row, i in enumerate(order):
            taken: list[int] = sequences[row, longest:].tolist()
            end = next((place + 1 for place, token in enumerate(taken) if token in eos), len(taken))
            taken = taken[:end]
            text = tokenizer.decode(taken, skip_special_tokens=True)
            answers.append(Answer(i, str(of_prompts[i]), text, tuple(taken), mark.marked[row], mark.counters(row)))
    return answers
