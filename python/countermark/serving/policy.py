"""What of a request is refused, raised or cut because it would leave nothing to mark, or hand out what a mark must not: decided before the server sees it.

    policy = Policy(config, server="vllm")
    refuse_other_decoders(body)                     # beam search, best_of, stored responses: BodyError
    policy.logprobs(body, "chat")                   # BodyError, or the members cut to what the policy gives
    change = policy.low_entropy(body, account)      # "", "floored" or "allowed"; BodyError where the policy is deny

**Log-probabilities.** Raw ones are clean soft labels for a distiller; processed ones can show the mark. deny: none (400 where they are asked for). top1: of the
served token alone. quantise: at most five a position, rounded to multiples of logprob_step (0.25 nats). Of the prompt: quantise alone, one a position. The
answer is filtered likewise (serving/answer.py), whatever the server sends.

**Low entropy.** A request below the floor (temperature 0.3, top-k 8, top-p 0.5; min-p at most 0.5) has too little choice to carry a mark. floor: raised to it,
with a seed derived from account and request, so that the same greedy request gets the same answer still. deny: 400. allow: handed on, counted. What the request
does not say is looked up in `defaults`, the server's own. Two more act like a temperature near 0 over the words of the prompt, or leave the last of the likely
tokens alone, and have limits too: a repetition penalty (0.9 to 2: it multiplies logits) and llama-server's XTC (probability at most 0.5, threshold at least 0.1).
typical_p, top_n_sigma and a dynamic temperature can leave one token: under floor they are taken out. The epoch's record names the policy; the hook's process compares it with the configuration's and does not start where they differ.
"""

import hashlib
from dataclasses import replace
from typing import Literal

from countermark.serving.body import JSON, BodyError, boolean, dump, integer, number
from countermark.serving.config import DefaultsConfig, Server, ServingConfig
from countermark.serving.routes import Api

# mark-format.md, low entropy.
MIN_TEMPERATURE, MIN_TOP_K, MIN_TOP_P, MAX_MIN_P = 0.3, 8, 0.5, 0.5
MIN_PENALTY, MAX_PENALTY = 0.9, 2.0
MAX_XTC_PROBABILITY, MIN_XTC_THRESHOLD = 0.5, 0.1
MAX_ALTERNATIVES = 5
MAX_N = 128
_NOT_THE_QUESTION = frozenset({"stream", "stream_options", "stream_interval", "user", "metadata", "priority", "session_id", "service_tier", "return_token_ids", "return_tokens"})
_INCLUDE = "message.output_text.logprobs"

Change = Literal["", "floored", "allowed"]


def refuse_other_decoders(body: JSON) -> None:
    """Ways of decoding that pass the hook by, or answers kept for later. Errors: BodyError."""
    for name in ("use_beam_search", "background"):
        if body.get(name) not in (None, False):
            raise BodyError(f"{name} is not available here", name, code="not_available", reason="policy")
    if body.get("best_of") is not None and integer(body, "best_of") not in (0, 1):
        raise BodyError("best_of is not available here; use n", "best_of", code="not_available", reason="policy")
    if body.get("previous_response_id") is not None:
        raise BodyError("previous_response_id is not available here: answers are not stored", "previous_response_id", code="not_available", reason="policy")
    for name in ("n", "n_cmpl"):
        n = integer(body, name)
        if n is not None and not 1 <= n <= MAX_N:
            raise BodyError(f"{name} is from 1 to {MAX_N}", name)


class Policy:
    """The operator's policies for one kind of server."""

    def __init__(self, config: ServingConfig, server: Server):
        self.server, self.rule, self.step = server, config.policy.logprobs, config.policy.logprob_step
        self._entropy, self._defaults = config.policy.low_entropy, config.defaults

    def set_defaults(self, defaults: DefaultsConfig) -> None:
        """What the server itself says of its defaults; the configuration's win."""
        ours = {name: value for name in ("temperature", "top_k", "top_p") if (value := getattr(self._defaults, name)) is not None}
        self._defaults = replace(defaults, **ours)

    def logprobs(self, body: JSON, api: Api) -> bool:
        """Cuts the request to the policy. Returns whether log-probabilities are asked for and given. Errors: BodyError."""
        asked = _asked(body, api, self.server)
        if not asked:
            for name in ("logprobs", "top_logprobs", "n_probs", "prompt_logprobs"):
                body.pop(name, None)
            return False
        if self.rule == "deny" or body.get("logprob_token_ids"):
            raise BodyError("log-probabilities are not available here", asked, code="logprobs_denied", reason="policy")
        top = 0 if self.rule == "top1" else MAX_ALTERNATIVES
        if self.rule == "top1" and (body.get("prompt_logprobs") is not None or boolean(body, "echo")):
            raise BodyError("log-probabilities of the prompt are not available here", "prompt_logprobs", code="logprobs_denied", reason="policy")
        if body.get("prompt_logprobs") is not None:
            body["prompt_logprobs"] = _cut(body["prompt_logprobs"], 1)
        if api == "completions" and boolean(body, "echo"):
            top = min(top, 1)  # an echo's are the prompt's too
        # llama-server and others give none where 0 are asked for; the answer's filter takes out what is too much.
        least = 0 if self.server == "vllm" else 1
        if api == "chat":
            if body.get("logprobs"):
                if top == 0 and least == 0:
                    body.pop("top_logprobs", None)
                else:
                    body["top_logprobs"] = max(least, _cut(body.get("top_logprobs", top), top))
            else:
                body.pop("top_logprobs", None)
        elif api == "responses":
            body["top_logprobs"] = _cut(body.get("top_logprobs") or 0, top)
        else:
            body.pop("top_logprobs", None)
            if body.get("logprobs") is not None:
                body["logprobs"] = max(least, _cut(int(body["logprobs"]), top))
        if body.get("n_probs"):
            body["n_probs"] = max(1, _cut(body["n_probs"], top))
        return True

    def low_entropy(self, body: JSON, account: str) -> Change:
        """Raises the request's parameters, or refuses it, or lets it pass. Errors: BodyError."""
        defaults = self._defaults
        temperature, top_k, top_p, min_p = number(body, "temperature"), integer(body, "top_k"), number(body, "top_p"), number(body, "min_p")
        if top_k is not None and top_k >= 1 << 31:
            raise BodyError("top_k is out of range", "top_k")  # 2**32 + 1 is 1 to a server that keeps 32 bits
        temperature = defaults.temperature if temperature is None else temperature
        top_k = defaults.top_k if top_k is None else top_k
        top_p = defaults.top_p if top_p is None else top_p
        raised: JSON = {}
        if temperature is not None and temperature < MIN_TEMPERATURE:
            raised["temperature"] = MIN_TEMPERATURE
        if top_k is not None and 0 < top_k < MIN_TOP_K:
            raised["top_k"] = MIN_TOP_K
        if top_p is not None and top_p < MIN_TOP_P:
            raised["top_p"] = MIN_TOP_P
        if min_p is not None and min_p > MAX_MIN_P:
            raised["min_p"] = MAX_MIN_P
        for name in ("repetition_penalty", "repeat_penalty"):
            penalty = number(body, name)
            if penalty is not None and not MIN_PENALTY <= penalty <= MAX_PENALTY:
                raised[name] = min(max(penalty, MIN_PENALTY), MAX_PENALTY)
        dropped = []
        if self.server == "llama":
            chance, threshold = number(body, "xtc_probability"), number(body, "xtc_threshold")
            if chance is not None and chance > MAX_XTC_PROBABILITY:
                raised["xtc_probability"] = MAX_XTC_PROBABILITY
            if threshold is not None and threshold < MIN_XTC_THRESHOLD and chance != 0:
                raised["xtc_threshold"] = MIN_XTC_THRESHOLD
            typical, sigma, span = number(body, "typical_p"), number(body, "top_n_sigma"), number(body, "dynatemp_range")
            number(body, "dynatemp_exponent")
            dropped += ["typical_p"] if typical is not None and typical < 1 else []
            dropped += ["top_n_sigma"] if sigma is not None and sigma > 0 else []
            dropped += ["dynatemp_range"] if span is not None and span > 0 else []
        if not raised and not dropped:
            return ""
        if self._entropy == "allow":
            return "allowed"
        if self._entropy == "deny":
            name = next(iter(raised), None) or dropped[0]
            limits = f"temperature {MIN_TEMPERATURE}, top_k {MIN_TOP_K}, top_p {MIN_TOP_P}; min_p at most {MAX_MIN_P}; penalties of repetition from {MIN_PENALTY} to {MAX_PENALTY}"
            raise BodyError(f"{name} leaves too little choice; the least is {limits}", name, code="low_entropy", reason="policy")
        # Of the request as it came: greedy requests get the same answer each time, whatever their seed, and two accounts get two.
        body.pop("seed", None)
        asked = {name: body[name] for name in sorted(body) if name not in _NOT_THE_QUESTION}
        digest = hashlib.sha256(b"countermark/floored-seed/v1\0" + account.encode() + b"\0" + dump(asked)).digest()
        body.update(raised)
        for name in dropped:
            del body[name]
        body["seed"] = int.from_bytes(digest[:4], "little") >> 1  # llama-server's is 32 bits, and -1 there is none
        return "floored"


def _asked(body: JSON, api: Api, server: Server) -> str | None:
    """The member by which log-probabilities are asked for. Errors: BodyError for one of another type than the server expects."""
    found: str | None = None
    for name in ("prompt_logprobs", "n_probs", "top_logprobs"):
        value = integer(body, name)
        if value is not None and (value != 0 or name == "prompt_logprobs"):
            found = name
    value = body.get("logprobs")
    if api in ("chat", "responses"):
        found = "logprobs" if boolean(body, "logprobs") else found
    elif value is True:
        body["logprobs"] = 1
        found = "logprobs"
    elif value is not None and value is not False:
        # To OpenAI's completions 0 is: of the served token.
        found = "logprobs" if integer(body, "logprobs") != 0 or api == "completions" and server != "llama" else found
    if body.get("logprob_token_ids"):
        found = "logprob_token_ids"
    include = body.get("include")
    if include is not None and not isinstance(include, list):
        raise BodyError("include must be a list", "include")
    if include and _INCLUDE in include:
        found = "include"
    return found


def _cut(value: object, most: int) -> int:
    """A number of alternatives, of which negative ones are all of the vocabulary."""
    return most if not isinstance(value, int) or value < 0 else min(value, most)
