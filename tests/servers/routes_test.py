"""The lists of routes and members against the real servers' own: an upgrade that brings a new way to generate, or a new member, fails here until somebody has looked at it."""
import ast
import os
import re
from pathlib import Path

import pytest

from countermark.serving import routes
from countermark.serving.config import LogConfig

CACHE = Path(os.environ["COUNTERMARK_CACHE"])
VLLM = CACHE / "vllm-0.32.0/lib/python3.11/site-packages/vllm/entrypoints"
LLAMA = next(iter(sorted(CACHE.glob("llama-*/lib/libllama-server-impl.so"))), None)
needs_vllm = pytest.mark.skipif(not VLLM.exists(), reason="SKIPPED: no vLLM here (tools/setup vllm); its routes and members are NOT compared")
needs_llama = pytest.mark.skipif(LLAMA is None, reason="SKIPPED: no llama-server here (tools/setup llama-server); its routes are NOT compared")

# Read and left out. What each is, where it could generate or give away answers: serving/routes.py.
VLLM_REFUSED = {
    "POST": """/invocations /inference/v1/generate /inference/v1/abort_requests /abort_requests /v1/messages /v1/messages/count_tokens /v2/chat /v1/chat/completions/batch /v1/chat/completions/render
        /v1/completions/render /v1/chat/completions/derender /v1/completions/derender /v1/responses/{response_id}/cancel /v1/responses/render /v1/messages/render /cohere/v2/chat /v1/systemone /generative_scoring /v1/load_lora_adapter /v1/unload_lora_adapter
        /v1/audio/transcriptions /v1/audio/translations""",
    "GET": "/v1/responses/{response_id}",
}
VLLM_MEMBERS_LEFT_OUT = set("""background previous_response_id previous_input_messages prompt watermarking vllm_xargs kv_transfer_params ec_transfer_params use_beam_search request_id prompt_embeds logprob_token_ids
    routed_experts_prompt_start return_token_offsets mm_payload return_mm_kwargs media_io_kwargs mm_processor_kwargs enable_response_messages""".split())


@needs_vllm
def test_vllms_routes_are_known():
    found = set()
    for file in VLLM.rglob("*.py"):
        for method, path in re.findall(r"@router\.(get|post)\(\s*\"(/[^\"]*)\"", file.read_text()):
            found.add((method.upper(), path))
    for method, path in routes._ROUTES["vllm"]:
        assert (method, path) in found or path == "/metrics", (method, path)
    generating = {(m, p) for m, p in found if re.search(r"/v1/|/v2/|invocations|generat|completion|chat|respons|message|infer|abort", p) and routes.find("vllm", m, p) is None}
    reviewed = {(m, p) for m, text in VLLM_REFUSED.items() for p in text.split()}
    embeddings = {(m, p) for m, p in generating if re.search(r"embed|rerank|score|classify|pooling|realtime", p)}
    assert generating - embeddings <= reviewed, "a route that has not been looked at"


def members(file, name):
    tree = ast.parse((VLLM / file).read_text())
    (cls,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    return {node.target.id for node in cls.body if isinstance(node, ast.AnnAssign) and not node.target.id.startswith("_") and node.target.id != "field_names"}


@needs_vllm
@pytest.mark.parametrize(("api", "file", "name"), [("completions", "openai/completion/protocol.py", "CompletionRequest"), ("chat", "openai/chat_completion/protocol.py", "ChatCompletionRequest"),
                                                   ("responses", "openai/responses/protocol.py", "ResponsesRequest")])
def test_vllms_members_are_known(api, file, name):
    theirs, ours = members(file, name), routes._FIELDS["vllm"][api]
    assert len(theirs) > 40 and theirs - ours - VLLM_MEMBERS_LEFT_OUT == set(), "a member that has not been looked at"
    assert not ours & routes.FORBIDDEN


@needs_llama
def test_llama_servers_routes_are_there():
    binary = LLAMA.read_bytes()
    for _, path in routes._ROUTES["llama"]:
        assert path.encode() + b"\0" in binary, path


def test_nothing_forbidden_is_allowed_anywhere():
    for server, apis in routes._FIELDS.items():
        for api, allowed in apis.items():
            assert not allowed & routes.FORBIDDEN, (server, api)
    for server, table in routes._ROUTES.items():
        assert {route.api for route in table.values() if route.kind == "generate"} == set(routes._FIELDS[server])
        assert all(method in ("GET", "POST") for method, _ in table) and all(method == "POST" for (method, _), route in table.items() if route.kind == "generate")


def test_find():
    assert routes.find("vllm", "HEAD", "/health").kind == "open" and routes.find("vllm", "HEAD", "/v1/completions") is None
    assert routes.find("vllm", "OPTIONS", "/v1/completions").kind == "open" and routes.find("vllm", "OPTIONS", "/x") is None
    assert routes.find("openai", "POST", "/v1/responses") is None and routes.find("llama", "POST", "/infill").api == "infill" and routes.find("vllm", "POST", "/infill") is None
    assert "/v1/completions" in routes.paths("sglang") and LogConfig().directory is None


def test_strip():
    body = {"prompt": {"deep": [{"samplers": 1, "keep": {"rid": 2, "n": 1}}]}, "tools": [{"best_of": 1}], "unknown": 1, "mirostat": 2}
    assert routes.strip(body, "vllm", "completions", extra=("tools",)) == ["mirostat", "rid", "samplers", "unknown"]
    assert body == {"prompt": {"deep": [{"keep": {"n": 1}}]}, "tools": [{"best_of": 1}]}
