"""Which routes of a server may be reached, and which members of a request are handed on.

    route = find("vllm", "POST", "/v1/completions")        # Route(kind="generate", …); None: refuse
    removed = strip(body, "vllm", route.api, extra=())     # names of the members that were taken out

Both are lists of what is allowed, read out of the servers' own sources (vLLM 0.32.0, llama-server as in llama-cpp-python 0.3.36, SGLang's OpenAI routes). A
server's new route or member is refused or removed until it has been looked at, so an upgrade cannot open a way around the mark. Not allowed, among others:
    vLLM           /invocations (which takes every request type), /inference/v1/generate and /abort_requests (raw SamplingParams), /v1/messages, /v2/chat and
                   /cohere (no way for the account), /v1/chat/completions/batch, …/render and …/derender, /v1/systemone, /v1/audio/*, /v1/realtime,
                   /generative_scoring, stored responses, LoRA, sleep, RPC and profiling
    llama-server   /v1/messages, /v1/audio/transcriptions, /v1/stream (another's answers), /slots (others' prompts and parameters), /props (POST), /models/load,
                   /tools, /cors-proxy
"""

from dataclasses import dataclass
from typing import Literal

from countermark.serving.body import JSON
from countermark.serving.config import Server

Api = Literal["completions", "chat", "responses", "native", "infill", "none"]


@dataclass(frozen=True, slots=True)
class Route:
    """kind: "generate" (a key, a ticket, the body rewritten), "key" (a key, passed on as it is), "open" (no key), "metrics" (open, our counters added)."""

    kind: Literal["generate", "key", "open", "metrics"]
    api: Api = "none"


_OPENAI = {
    ("POST", "/v1/completions"): Route("generate", "completions"),
    ("POST", "/v1/chat/completions"): Route("generate", "chat"),
    ("GET", "/v1/models"): Route("key"),
    ("GET", "/health"): Route("open"),
    ("GET", "/metrics"): Route("metrics"),
}
_ROUTES: dict[str, dict[tuple[str, str], Route]] = {
    "openai": _OPENAI,
    "sglang": _OPENAI,
    "vllm": _OPENAI
    | {("POST", "/v1/responses"): Route("generate", "responses")}
    | {("GET", path): Route("open") for path in ("/ping", "/version")}
    | {("POST", "/ping"): Route("open")}
    | {("POST", path): Route("key") for path in ("/tokenize", "/detokenize")},
    "llama": _OPENAI
    | {("POST", path): Route("generate", "native") for path in ("/completion", "/completions")}
    | {
        ("POST", "/chat/completions"): Route("generate", "chat"),
        ("POST", "/infill"): Route("generate", "infill"),
        ("POST", "/v1/responses"): Route("generate", "responses"),
        ("POST", "/responses"): Route("generate", "responses"),
        ("GET", "/v1/health"): Route("open"),
        ("GET", "/models"): Route("key"),
        ("GET", "/props"): Route("key"),
    }
    | {("POST", path): Route("key") for path in ("/tokenize", "/detokenize", "/apply-template", "/v1/chat/completions/input_tokens", "/v1/responses/input_tokens")}
    | {("POST", path): Route("key") for path in ("/embedding", "/embeddings", "/v1/embeddings", "/rerank", "/v1/rerank")},
}


def find(server: Server, method: str, path: str) -> Route | None:
    """The route of exactly this path; HEAD goes with GET, and OPTIONS, which has no body, with any route of the path, without a key."""
    routes = _ROUTES[server]
    if method == "OPTIONS":
        return Route("open") if any(p == path for _, p in routes) else None
    return routes.get(("GET" if method == "HEAD" else method, path))


def paths(server: Server) -> set[str]:
    """Every path that is allowed with some method."""
    return {path for _, path in _ROUTES[server]}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What every server's sampling takes without harm to the mark: penalties and biases act before the hook.
_SAMPLING = _names("""model stream stream_options stop seed temperature top_p top_k min_p frequency_penalty presence_penalty logit_bias user""")
_LOGPROBS = _names("logprobs top_logprobs")
_CHAT = _names("""
    messages max_tokens max_completion_tokens n response_format tools tool_choice parallel_tool_calls reasoning_effort metadata service_tier functions
    function_call
    """)
_COMPLETIONS = _names("prompt max_tokens n echo suffix")
_VLLM = _names("""
    repetition_penalty length_penalty stop_token_ids include_stop_str_in_output ignore_eos min_tokens skip_special_tokens spaces_between_special_tokens
    truncate_prompt_tokens truncation_side prompt_logprobs allowed_token_ids bad_words add_special_tokens response_format structured_outputs priority session_id
    return_tokens_as_token_ids return_token_ids cache_salt repetition_detection thinking_token_budget stream_interval
    """)
_VLLM_CHAT = _names("""include_reasoning add_generation_prompt continue_final_message documents chat_template chat_template_kwargs return_prompt_text echo""")
_RESPONSES = _names("""
    input instructions max_output_tokens max_tool_calls metadata parallel_tool_calls reasoning text tool_choice tools truncation include store top_logprobs
    service_tier prompt_cache_key safety_identifier
    """)
_VLLM_RESPONSES = _names("""
    include_reasoning skip_special_tokens include_stop_str_in_output priority session_id cache_salt structured_outputs repetition_penalty stop_token_ids
    ignore_eos chat_template_kwargs
    """)
_LLAMA = _names("""
    n_predict n_keep n_indent n_discard n_cache_reuse t_max_predict_ms cache_prompt return_tokens timings_per_token return_progress sse_ping_interval
    repeat_last_n repeat_penalty dry_multiplier dry_base dry_allowed_length dry_penalty_last_n xtc_probability xtc_threshold typical_p top_n_sigma
    dynatemp_range dynatemp_exponent min_keep n_probs json_schema grammar ignore_eos lora max_completion_tokens reasoning_format
    """)
_LLAMA_CHAT = _names("""
    chat_template_kwargs add_generation_prompt continue_final_message reasoning_budget_tokens thinking_budget_tokens reasoning_budget_message
    """)
_SGLANG = _names("""
    repetition_penalty min_tokens stop_token_ids stop_regex ignore_eos skip_special_tokens no_stop_trim regex ebnf json_schema structural_tag response_format
    lora_path separate_reasoning stream_reasoning chat_template_kwargs continue_final_message
    """)

_FIELDS: dict[str, dict[str, frozenset[str]]] = {
    "openai": {"completions": _SAMPLING | _LOGPROBS | _COMPLETIONS, "chat": _SAMPLING | _LOGPROBS | _CHAT},
    "vllm": {
        "completions": _SAMPLING | _LOGPROBS | _COMPLETIONS | _VLLM,
        "chat": _SAMPLING | _LOGPROBS | _CHAT | _VLLM | _VLLM_CHAT,
        "responses": _SAMPLING | _RESPONSES | _VLLM_RESPONSES,
    },
    "llama": {
        "completions": _SAMPLING | _LOGPROBS | _COMPLETIONS | _LLAMA,
        "native": _SAMPLING | _LOGPROBS | _LLAMA | _names("prompt n n_cmpl max_tokens"),
        "infill": _SAMPLING | _LOGPROBS | _LLAMA | _names("input_prefix input_suffix input_extra prompt n_cmpl n max_tokens"),
        "chat": _SAMPLING | _LOGPROBS | _CHAT | _LLAMA | _LLAMA_CHAT,
        "responses": _SAMPLING | _RESPONSES | _LLAMA | _LLAMA_CHAT,
    },
    "sglang": {"completions": _SAMPLING | _LOGPROBS | _COMPLETIONS | _SGLANG, "chat": _SAMPLING | _LOGPROBS | _CHAT | _SGLANG},
}

# What would carry the account, or put another hand in the place of the hook. Taken out at any depth outside of texts and schemas, and never to be allowed by extra_fields.
FORBIDDEN = _names("""
    vllm_xargs extra_args extra_body extra_json watermarking watermark logits_processors logits_processor custom_logit_processor custom_params sampling_params
    samplers sampler_seq mirostat mirostat_tau mirostat_eta adaptive_target adaptive_decay backend_sampling dry_sequence_breakers use_beam_search best_of
    kv_transfer_params ec_transfer_params request_id rid response_fields verbose post_sampling_probs generation_settings background previous_response_id
    """)
# Members whose content is the client's own data: a schema may well have a property named best_of.
_OPAQUE = _names("""
    tools functions response_format structured_outputs json_schema text metadata chat_template_kwargs documents logit_bias structural_tag function_call
    tool_choice
    """)


def strip(body: JSON, server: Server, api: Api, extra: tuple[str, ...] = ()) -> list[str]:
    """Takes out of the body what is not handed on. Returns the names, sorted, each once."""
    allowed = (_FIELDS[server][api] | frozenset(extra)) - FORBIDDEN
    removed = {name for name in body if name not in allowed}
    for name in removed:
        del body[name]
    for name, value in body.items():
        if name not in _OPAQUE:
            _deep(value, removed)
    return sorted(removed)


def _deep(root: object, removed: set[str]) -> None:
    stack = [root]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            for name in [name for name in value if name in FORBIDDEN]:
                del value[name]
                removed.add(name)
            stack += [item for name, item in value.items() if name not in _OPAQUE and isinstance(item, (dict, list))]
        elif isinstance(value, list):
            stack += [item for item in value if isinstance(item, (dict, list))]
