"""A hostile client before AccountMiddleware: it asks for another account, for no mark, for log-probabilities, in every spelling that a server might read. What the server behind was sent is looked at, and what came back.

The server is a fake; the real ones stand in their own tests."""
import asyncio
import gzip
import json
import random
import re

import httpx
import pytest
from fake_server import IDS, WORDS
from gate_fixture import Site
from serving_fixture import API_KEYS, events

from countermark.errors import InvalidArgumentError
from countermark.serving.config import ServingConfig
from countermark.serving.metrics import Counters
from countermark.serving.middleware import AccountMiddleware
from countermark.serving.routes import FORBIDDEN

TEXT = "".join(WORDS)


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.close()


@pytest.fixture
def llama(tmp_path):
    site = Site(tmp_path / "llama", kind="llama")
    yield site
    site.close()


def counted(site, name, **labels):
    return site.gate.counters.get(f"countermark_api_{name}_total", **labels)


# Keys and accounts


def test_the_account_is_the_keys(site):
    for account in ("org-a", "org-b", "org-c"):
        assert site.post("/v1/completions", {"prompt": "p"}, account).status_code == 200
        assert site.ticket().account == account
    assert len({site.ticket(i).request for i in range(3)}) == 3


KEY = API_KEYS["org-a"]


@pytest.mark.parametrize("headers", [
    [], [("authorization", "Bearer")], [("authorization", "Bearer ")], [("authorization", f"Bearer {KEY}x")], [("authorization", f"Bearer {KEY[:-1]}")], [("authorization", f"Basic {KEY}")], [("authorization", KEY)],
    [("authorization", f"Bearer {KEY} extra")], [("authorization", f"Bearer {KEY}"), ("authorization", "Bearer other")], [("authorization", f"Bearer {KEY}, Bearer x")], [("x-api-key", KEY)], [("api-key", KEY)],
    [("authorization", "Bearer " + "x" * 10000)], [("authorization", "Bearer \xff\xfe")], [("authorization", "Bearer org-a")], [("cookie", f"authorization=Bearer {KEY}")],
], ids=range(16))
def test_without_a_valid_key(site, headers):
    head = [(name.encode(), value.encode("latin-1")) for name, value in [*headers, ("content-type", "application/json")]]
    start, body = asyncio.run(raw(site.middleware, {"type": "http", "method": "POST", "path": "/v1/completions", "query_string": b"", "headers": head}))
    assert start["status"] == 401 and (b"www-authenticate", b"Bearer") in start["headers"] and json.loads(body["body"])["error"]["code"] == "invalid_api_key"
    assert not site.fake.seen and counted(site, "refused", reason="key") == 1
    assert KEY.encode() not in body["body"]


def test_the_key_and_foreign_headers_stay_here(site):
    headers = {"X-Request-Id": "mine", "X-Conversation-Id": "c", "X-Data-Parallel-Rank": "3", "X-Session-Id": "s", "Cookie": "a=b", "X-Api-Key": "k", "Accept-Encoding": "gzip"}
    site.post("/v1/completions", {"prompt": "p"}, headers=headers)
    seen = dict(site.fake.seen[-1][3])
    assert set(seen) <= {"host", "user-agent", "content-type", "content-length", "accept", "x-request-id"}
    assert seen["x-request-id"] == site.ticket().request != "mine" and seen["content-length"] == str(len(site.fake.seen[-1][4]))
    assert site.log()[-1]["client_request_id"] == "mine" and site.log()[-1]["request"] == site.ticket().request


def test_names_of_removed_members_do_not_fill_the_log(site):
    """They are the client's own words: 32 of 64 characters at most."""
    assert site.post("/v1/completions", {"prompt": "p", **{f"{i:04}" + "word " * 100: 1 for i in range(2000)}}).status_code == 200
    removed = site.log()[-1]["removed"]
    assert len(removed) == 32 and all(len(name) == 64 for name in removed) and site.gate.counters.get("countermark_api_removed_fields_total") == 2000


@pytest.mark.parametrize("text", ["x" * 129, "a\tb", "é"])
def test_a_request_id_that_is_no_text_is_not_logged(site, text):
    site.request("POST", "/v1/completions", headers={"x-request-id": text.encode("latin-1"), "content-type": "application/json"}, content=b'{"prompt":"p"}')
    assert "client_request_id" not in site.log()[-1]


def test_one_account_a_port(tmp_path):
    site = Site(tmp_path, port_account="org-b")
    assert site.post("/v1/completions", {"prompt": "p", "vllm_xargs": {"countermark": "x"}}, account=None).status_code == 200
    assert "vllm_xargs" not in site.fake.bodies[-1] and site.log()[-1]["account"] == "org-b" and counted(site, "requests", outcome="port") == 1


# What is taken out


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_no_forbidden_member_gets_through(site, name):
    value = {"countermark": "cm1.x", "a": 1}
    if name in ("use_beam_search", "best_of", "background", "previous_response_id"):
        value = False if name in ("use_beam_search", "background") else None
    inner = {"role": "user", "content": [{"type": "text", "text": "hi", name: value}], name: value}
    response = site.post("/v1/chat/completions", {"messages": [inner], name: value, "extra": {name: value}})
    assert response.status_code == 200, response.text
    sent = site.fake.bodies[-1]
    assert sent.pop("vllm_xargs") == {"countermark": sent_ticket(site)} and name not in json.dumps(sent) and sent["messages"][0]["content"][0]["text"] == "hi"
    assert name in site.log()[-1]["removed"]


def sent_ticket(site):
    return site.fake.bodies[-1]["vllm_xargs"]["countermark"]


@pytest.mark.parametrize("text", [
    '{"prompt":"p","vllm_xargs":{"countermark":"cm1.a.b.1.c"}}',
    '{"vllm_xargs":{"countermark":"x"},"prompt":"p","vllm_xargs":{"countermark":"y"}}',
    r'{"prompt":"p","vllm\u005fxargs":{"countermark":"x"}}',
    r'{"prompt":"p","\u0076llm_xargs":{"counter\u006dark":"x"},"vllm_xargs":null}',
    '{"prompt":"p","vllm_xargs ":{"countermark":"x"},"VLLM_XARGS":{"countermark":"x"},"vllm_xargs\\u0000":1}',
    '{"prompt":"p","extra_body":{"vllm_xargs":{"countermark":"x"}},"sampling_params":{"extra_args":{"countermark":"x"}}}',
    '{"prompt":"p","vllm_xargs":[["countermark","x"]]}', '{"prompt":"p","vllm_xargs":"countermark"}',
    '{"prompt":"p","kv_transfer_params":{"countermark":"x"},"watermarking":false}',
])
def test_spellings_of_another_ticket(site, text):
    assert site.post("/v1/completions", text).status_code == 200
    raw = site.fake.seen[-1][4].decode()
    assert set(site.fake.bodies[-1]) == {"prompt", "return_token_ids", "vllm_xargs"} and raw.count("countermark") == 1
    assert site.ticket().account == "org-a"


def test_a_schema_of_the_clients_own_is_left_alone(site):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"best_of": {"type": "integer"}, "watermarking": {"type": "boolean"}}}}}]
    body = {"messages": [], "tools": tools, "structured_outputs": {"json": {"properties": {"samplers": {}}}}, "logit_bias": {"5": -100}, "min_tokens": 3, "response_format": {"type": "json_object"}}
    assert site.post("/v1/chat/completions", body).status_code == 200
    assert {name: site.fake.bodies[-1][name] for name in body} == body


@pytest.mark.parametrize(("member", "value"), [("use_beam_search", True), ("use_beam_search", "true"), ("use_beam_search", 1), ("best_of", 4), ("background", True), ("previous_response_id", "resp_1"), ("n", 0),
                                               ("n", 129), ("n", "2"), ("n", 1.5), ("n", True)])
def test_other_ways_of_decoding_are_refused(site, member, value):
    response = site.post("/v1/completions", {"prompt": "p", member: value})
    assert response.status_code == 400 and response.json()["error"]["param"] == member and not site.fake.seen


def test_answers_are_not_stored(site):
    site.post("/v1/responses", {"input": "p", "store": True})
    site.post("/v1/responses", {"input": "p"})
    assert [body["store"] for body in site.fake.bodies] == [False, False]


def test_operators_may_let_more_through(tmp_path):
    site = Site(tmp_path, extra='[policy]\nextra_fields = ["my_field"]\nextra_xargs = ["plugin"]')
    site.post("/v1/completions", {"prompt": "p", "my_field": 1, "other": 2, "vllm_xargs": {"plugin": "a", "countermark": "x", "countermark_asked": "y", "more": 1}})
    body = site.fake.bodies[-1]
    assert body["my_field"] == 1 and "other" not in body and body["vllm_xargs"] == {"plugin": "a", "countermark": sent_ticket(site)} and site.ticket().account == "org-a"


@pytest.mark.parametrize("extra", ['extra_fields = ["watermarking"]', 'extra_fields = ["vllm_xargs"]', 'extra_xargs = ["countermark"]', 'extra_xargs = ["countermark_asked"]'])
def test_but_not_everything(tmp_path, extra):
    with pytest.raises(ValueError, match="may not let through"):
        Site(tmp_path, extra=f"[policy]\n{extra}")


def test_llama_server(llama):
    body = {"prompt": "p", "dry_sequence_breakers": ["x"], "samplers": ["top_k"], "mirostat": 2, "mirostat_tau": 0.1, "verbose": True, "response_fields": ["generation_settings/dry_sequence_breakers"], "id_slot": 3,
            "adaptive_target": 0.5, "backend_sampling": True, "grammar_type": "x", "dry_multiplier": 0.8, "grammar": "root ::= [a-z]"}
    for path in ("/completion", "/completions", "/v1/completions", "/infill"):
        response = llama.post(path, body)
        assert response.status_code == 200 and llama.ticket().account == "org-a"
        sent = llama.fake.bodies[-1]
        assert set(sent) <= {"prompt", "dry_sequence_breakers", "dry_multiplier", "grammar", "return_tokens"} and len(sent["dry_sequence_breakers"]) == 1
        # What the server echoes of it.
        assert "cm1." not in response.text and "dry_sequence_breakers" not in response.text and "__verbose" not in response.text
    settings = llama.post("/completion", {"prompt": "p"}).json()["generation_settings"]
    assert "dry_sequence_breakers" not in settings and "temperature" in settings
    assert llama.post("/completion", {"prompt": "p"}).json()["tokens"] == [] and llama.post("/completion", {"prompt": "p", "return_tokens": True}).json()["tokens"] == IDS
    assert llama.log()[-1]["choices"][0]["token_ids"] == IDS


def test_sglang(tmp_path):
    site = Site(tmp_path, kind="sglang")
    site.post("/v1/completions", {"prompt": "p", "custom_params": {"countermark": "x"}, "custom_logit_processor": "code"})
    assert site.ticket().account == "org-a" and set(site.fake.bodies[-1]) == {"prompt", "custom_params"}


# Bodies


@pytest.mark.parametrize(("headers", "status"), [
    ({"content-encoding": "gzip"}, 415), ({"content-encoding": "br"}, 415), ({"content-encoding": "identity, gzip"}, 415), ({"content-type": "application/json; charset=utf-16"}, 415),
    ({"content-type": "application/x-www-form-urlencoded"}, 415), ({"content-type": "multipart/form-data; boundary=x"}, 415), ({"content-type": ""}, 415), ({"content-type": "application/json+x"}, 415),
    ({"content-type": "application/json; charset=UTF-8"}, 200), ({"content-type": 'Application/JSON;charset="utf-8"'}, 200), ({"content-encoding": "identity"}, 200),
])
def test_encodings(site, headers, status):
    body = gzip.compress(b'{"prompt":"p"}') if "gzip" in headers.get("content-encoding", "") else b'{"prompt":"p"}'
    assert site.post("/v1/completions", body, headers=headers).status_code == status and len(site.fake.seen) == (status == 200)


@pytest.mark.parametrize("body", [
    b"", b"[]", b'"x"', b"null", b"{", b'{"prompt":"p"}{}', b'{"prompt":NaN}', b'{"temperature":Infinity}', b'{"temperature":-Infinity}', b'{"temperature":1e999}', b'{"prompt":"\xff"}', b'\xef\xbb\xbf{"prompt":"p"}',
    '{"prompt":"p"}'.encode("utf-16"), '{"prompt":"p"}'.encode("utf-32"), b'{"a":' * 5000 + b"1" + b"}" * 5000, b'{"prompt":' + b"[" * 100000 + b"]" * 100000 + b"}", b'{"prompt":' + b"9" * 5000 + b"}", b"{'prompt':'p'}",
], ids=range(18))
def test_what_is_no_json_object(site, body):
    response = site.post("/v1/completions", body)
    assert response.status_code == 400 and response.json()["error"]["type"] == "invalid_request_error" and not site.fake.seen


def test_lone_surrogates_and_other_text_come_through(site):
    for text in ("日本語 \U0001f600", "\ud800 alone", "\\u005f", "\x00\x1f"):
        assert site.post("/v1/completions", json.dumps({"prompt": text})).status_code == 200 and site.fake.bodies[-1]["prompt"] == text


def test_long_bodies(tmp_path):
    site = Site(tmp_path, extra="[policy]\nmax_body_bytes = 2000")
    assert site.post("/v1/completions", {"prompt": "p" * 1900}).status_code == 200
    assert site.post("/v1/completions", {"prompt": "p" * 2000}).status_code == 413

    async def parts():
        for _ in range(30):
            yield b" " * 100

    # Chunked, and a length that is not the body's.
    assert site.request("POST", "/v1/completions", content=parts(), headers={"content-type": "application/json"}).status_code == 413
    assert site.post("/v1/completions", b"{}" + b" " * 3000, headers={"content-length": "2"}).status_code == 413
    assert site.post("/v1/completions", b"{}", headers={"content-length": "1e3"}).status_code == 413
    assert len(site.fake.seen) == 1


def test_a_body_in_parts(site):
    async def parts():
        for part in (b'{"pro', b'mpt":', b'"p"', b"}"):
            yield part

    assert site.request("POST", "/v1/completions", content=parts(), headers={"content-type": "application/json"}).status_code == 200
    assert site.fake.bodies[-1]["prompt"] == "p"


def test_a_hook_may_be_required(tmp_path):
    """A server whose preload library was not found serves all the same: nothing goes to it."""
    site = Site(tmp_path, kind="llama", extra="[gateway]\nrequire_hook = true")
    refused = site.post("/completion", {"prompt": "p"})
    assert refused.status_code == 503 and refused.json()["error"]["code"] == "not_marking" and not site.fake.seen
    hook = Counters.open(site.serving.state_dir, "llama")
    assert site.post("/completion", {"prompt": "p"}).status_code == 200
    hook.close()
    del hook  # the mapping holds the lock too
    site.gate._marking = float("-inf")
    assert site.post("/completion", {"prompt": "p"}).status_code == 503
    with pytest.raises(InvalidArgumentError, match="require_hook needs state_dir"):
        Site(tmp_path / "other", kind="openai", extra="[gateway]\nrequire_hook = true")


def test_many_prompts_and_n(site):
    assert site.post("/v1/completions", {"prompt": ["a", "b", [1, 2, 3]], "n": 3}).status_code == 200
    assert site.fake.bodies[-1]["prompt"] == ["a", "b", [1, 2, 3]] and site.fake.bodies[-1]["n"] == 3 and site.log()[-1]["n"] == 3


def test_random_bodies(site):
    """3000 random texts with members twice, at every depth and in every spelling: either refused, or what is sent on has no member twice, none that is forbidden, and one ticket, the account's."""
    draw = random.Random(7)
    names = [*sorted(FORBIDDEN), "prompt", "messages", "temperature", "stop", "tools", "n", "user", "x", "countermark"]

    def spelled(name):
        return "".join(c if draw.random() < 0.8 else f"\\u{ord(c):04x}" for c in name)

    def value(depth):
        kind = draw.randrange(8 if depth < 4 else 5)
        if kind == 5:
            return "[" + ",".join(value(depth + 1) for _ in range(draw.randrange(3))) + "]"
        if kind > 5:
            return obj(depth + 1)
        return draw.choice(['"cm1.a.b.9.c"', "1", "0.2", "true", "null", '"p"', "-1", "1e3"])

    def obj(depth):
        return "{" + ",".join(f'"{spelled(draw.choice(names))}":{value(depth)}' for _ in range(draw.randrange(5))) + "}"

    twice = []

    def pairs(items):
        twice.extend(name for i, (name, _) in enumerate(items) if name in [other for other, _ in items[:i]])
        return dict(items)

    def nested(found, under=()):
        if isinstance(found, dict):
            for name, item in found.items():
                yield name, under
                yield from nested(item, (*under, name))
        elif isinstance(found, list):
            for item in found:
                yield from nested(item, under)

    passed = 0
    for _ in range(3000):
        site.fake.seen.clear()
        response = site.post(draw.choice(["/v1/completions", "/v1/chat/completions", "/v1/responses"]), obj(0))
        assert response.status_code in (200, 400), response.text
        if not site.fake.seen:
            assert response.status_code == 400
            continue
        passed += 1
        sent = json.loads(site.fake.seen[-1][4], object_pairs_hook=pairs)
        assert not twice and sent.pop("vllm_xargs") == {"countermark": sent_ticket(site)} and site.ticket().account == "org-a"
        bad = [name for name, under in nested(sent) if name in FORBIDDEN and not set(under) & {"tools"}]
        assert not bad, (bad, sent)
    assert passed > 500


# Routes


@pytest.mark.parametrize("path", [
    "/invocations", "/inference/v1/generate", "/inference/v1/abort_requests", "/abort_requests", "/v1/messages", "/v1/messages/count_tokens", "/v2/chat", "/cohere/v2/chat", "/v1/chat/completions/batch",
    "/v1/chat/completions/render", "/v1/completions/render", "/v1/completions/derender", "/v1/audio/transcriptions", "/v1/audio/translations", "/generative_scoring", "/v1/load_lora_adapter", "/sleep", "/collective_rpc",
    "/start_profile", "/pause", "/v1/responses/resp_1/cancel", "/v1/completions/", "//v1/completions", "/v1//completions", "/V1/completions", "/v1/completions;x", "/v1/./completions", "/x/../v1/completions",
    "/v1/completions%2f", "/v1/completions%00", "/v1%5ccompletions", "/generate", "/", "/openapi.json", "/docs", "/slots", "/completion", "/infill",
])
def test_routes_off_the_list(site, path):
    for method in ("POST", "GET"):
        head = [(b"authorization", f"Bearer {KEY}".encode()), (b"content-type", b"application/json")]
        sent = asyncio.run(raw(site.middleware, {"type": "http", "method": method, "path": path, "query_string": b"", "headers": head}))
        assert sent[0]["status"] == 404 and json.loads(sent[1]["body"])["error"]["code"] == "not_found"
    assert not site.fake.seen


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/completions"), ("PUT", "/v1/completions"), ("PATCH", "/v1/chat/completions"), ("DELETE", "/v1/models"), ("post", "/v1/completions"), ("GET", "/v1/responses/resp_1"),
                                              ("POST", "/metrics"), ("CONNECT", "/v1/completions"), ("TRACE", "/health")])
def test_methods_off_the_list(site, method, path):
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [(b"authorization", f"Bearer {KEY}".encode())]}
    sent = asyncio.run(raw(site.middleware, scope))
    assert sent[0]["status"] == 404 and not site.fake.seen


async def raw(app, scope, messages=({"type": "http.request", "body": b'{"prompt":"p"}', "more_body": False},)):
    """The messages that an ASGI application sends."""
    sent, given = [], iter(messages)

    async def receive():
        return next(given, {"type": "http.disconnect"})

    async def send(message):
        sent.append(message)

    await app({"root_path": "", "http_version": "1.1", "scheme": "http", "client": ("1.2.3.4", 5), **scope}, receive, send)
    return sent


def test_harmless_routes(site):
    for path in ("/health", "/version", "/ping"):
        assert site.request("GET", path, account=None).status_code == 200
    assert site.request("GET", "/v1/models", account=None).status_code == 401 and site.request("GET", "/v1/models").status_code == 200
    assert site.post("/tokenize", b"any bytes").status_code == 200 and site.fake.seen[-1][4] == b"any bytes"
    assert site.request("OPTIONS", "/v1/completions", account=None).status_code == 200 and site.request("OPTIONS", "/invocations", account=None).status_code == 404
    assert site.request("HEAD", "/health", account=None).status_code == 200


def test_the_query_is_not_handed_on(site):
    site.request("POST", "/v1/completions?vllm_xargs=1&path=/invocations", content=b'{"prompt":"p"}', headers={"content-type": "application/json"})
    assert site.fake.seen[-1][1:3] == ("/v1/completions", "")


def test_paths_below_a_root(site):
    head = [(b"authorization", f"Bearer {KEY}".encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "query_string": b"", "headers": head}
    assert asyncio.run(raw(site.middleware, {**scope, "root_path": "/api", "path": "/api/v1/completions"}))[0]["status"] == 200
    assert asyncio.run(raw(site.middleware, {**scope, "root_path": "/api", "path": "/api/invocations"}))[0]["status"] == 404
    assert asyncio.run(raw(site.middleware, {**scope, "root_path": "/api", "path": "/apiv1/completions"}))[0]["status"] == 404


def test_websockets_are_closed(site):
    sent = asyncio.run(raw(site.middleware, {"type": "websocket", "path": "/v1/realtime", "headers": [], "query_string": b""}, [{"type": "websocket.connect"}]))
    assert [m["type"] for m in sent] == ["websocket.close"] and not site.fake.seen


def test_metrics_have_ours_after_theirs(site):
    site.post("/v1/completions", {"prompt": "p", "temperature": 0})
    text = site.request("GET", "/metrics", account=None, headers={"accept": "application/openmetrics-text"}).text
    assert text.startswith("theirs 1\n# HELP") and "countermark_api_floored_total 1\n" in text and dict(site.fake.seen[-1][3])["accept"] == "text/plain"
    site.fake.answers["/metrics"] = (501, "application/json", b"{}")
    assert site.request("GET", "/metrics", account=None).text.startswith("# HELP")


# Answers


def test_streams_pass_byte_for_byte(tmp_path):
    """Without a log of ids nothing of these answers has to change."""
    site = Site(tmp_path, extra='[log]\ndirectory = "log"\ntoken_ids = "none"')
    for body in ({"prompt": "p"}, {"messages": []}):
        path = "/v1/chat/completions" if "messages" in body else "/v1/completions"
        from fake_server import vllm, vllm_events

        assert site.post(path, {**body, "stream": True}).content == b"".join(vllm_events(path, body))
        assert site.post(path, body).content == json.dumps(vllm(path, body)).encode()
        assert "return_token_ids" not in site.fake.bodies[-1] and "choices" not in site.log()[-1]


def test_ids_that_the_log_asks_for_are_not_shown(site):
    for stream in (False, True):
        for path, body in (("/v1/completions", {"prompt": "p"}), ("/v1/chat/completions", {"messages": []})):
            hidden = site.post(path, {**body, "stream": stream}).text
            shown = site.post(path, {**body, "stream": stream, "return_token_ids": True}).text
            assert site.fake.bodies[-2]["return_token_ids"] is True and not re.search(r'token_ids": ?\[', hidden) and re.search(r'token_ids": ?\[', shown)
            assert [r["choices"][0]["token_ids"] for r in site.log()[-2:]] == [IDS, IDS]
            if stream:
                assert len(events(hidden)) == 3 and hidden.endswith("data: [DONE]\n\n")


def test_the_ticket_is_in_no_answer(site):
    ticket = {}

    class Echo:
        async def __call__(self, scope, receive, send):
            body = (await receive())["body"]
            ticket["text"] = json.loads(body)["vllm_xargs"]["countermark"]
            await send({"type": "http.response.start", "status": ticket["status"], "headers": [(b"content-type", ticket["type"])]})
            await send({"type": "http.response.body", "body": ticket["wrap"](body)})

    site.middleware.app = Echo()
    for status, kind, wrap in ((200, b"application/json", lambda b: b), (400, b"application/json", lambda b: b), (422, b"text/plain", lambda b: b), (200, b"text/event-stream", lambda b: b"data: " + b + b"\n\n"),
                               (200, b"text/event-stream", lambda b: b"event: x\r\ndata: no json " + b + b"\r\n\r\n"), (200, b"text/event-stream", lambda b: b"error: " + b)):
        ticket.update(status=status, type=kind, wrap=wrap)
        response = site.post("/v1/completions", {"prompt": "p"})
        assert response.status_code == status and ticket["text"] not in response.text and "cm1." not in response.text and "(removed)" in response.text


@pytest.mark.parametrize(("kind", "body", "headers"), [("text/html", b"<p>", []), ("application/json", b"not json", []), ("application/json", b'{"choices":[]}', [(b"content-encoding", b"gzip")]),
                                                       ("application/json", b'{"choices":[{"index":0,"logprobs":{"content":[NaN]}}]}' + b" ", [])])
def test_an_answer_that_cannot_be_looked_into_is_held_back(site, kind, body, headers):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind.encode()), *headers]})
        await send({"type": "http.response.body", "body": body})

    site.middleware.app = app
    response = site.post("/v1/completions", {"prompt": "p"})
    if b"NaN" in body:
        assert response.status_code == 200 and "NaN" not in response.text
    else:
        assert response.status_code == 502 and body not in response.content and site.log()[-1]["ended"] is False


def test_a_server_that_fails(site):
    async def app(scope, receive, send):
        await receive()
        raise RuntimeError("from the server")

    site.middleware.app = app
    with pytest.raises(RuntimeError):
        site.post("/v1/completions", {"prompt": "p"})
    assert site.log()[-1]["ended"] is False and counted(site, "aborted") == 1


def test_a_client_that_goes_away(site):
    head = [(b"authorization", f"Bearer {KEY}".encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "query_string": b"", "headers": head}
    # In the midst of its body: the server never hears of it.
    asyncio.run(raw(site.middleware, scope, [{"type": "http.request", "body": b'{"prompt":', "more_body": True}, {"type": "http.disconnect"}]))
    assert not site.fake.seen

    # What comes after the body reaches nobody.
    async def app(scope, receive, send):
        assert (await receive())["more_body"] is False and (await receive())["type"] == "http.disconnect"

    site.middleware.app = app
    asyncio.run(raw(site.middleware, scope, [{"type": "http.request", "body": b'{"prompt":"p"}', "more_body": False}, {"type": "http.request", "body": b"more", "more_body": False}, {"type": "http.disconnect"}]))

    # In the midst of the answer: the server sees the disconnect, and what was sent is logged.
    class Waits:
        async def __call__(self, scope, receive, send):
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
            await send({"type": "http.response.body", "body": b'data: {"choices":[{"index":0,"text":"On","token_ids":[5]}]}\n\n', "more_body": True})
            assert (await receive())["type"] == "http.disconnect"

    site.middleware.app = Waits()
    sent = asyncio.run(raw(site.middleware, scope))
    assert b"On" in sent[1]["body"] and site.log()[-1]["ended"] is False and site.log()[-1]["choices"][0]["token_ids"] == [5]


def test_a_cancelled_request_is_logged(site):
    async def app(scope, receive, send):
        await receive()
        await asyncio.sleep(60)

    async def run():
        head = [(b"authorization", f"Bearer {KEY}".encode()), (b"content-type", b"application/json")]
        site.middleware.app = app
        task = asyncio.ensure_future(raw(site.middleware, {"type": "http", "method": "POST", "path": "/v1/completions", "query_string": b"", "headers": head}))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert site.log()[-1]["ended"] is False


def test_200_at_once_do_not_mix(site):
    """Each of 200 concurrent answers is its own request's, and each ticket its own key's."""
    accounts = ["org-a", "org-b", "org-c"]

    async def run():
        transport = httpx.ASGITransport(app=site.middleware)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:

            async def one(i):
                body = {"prompt": f"p{i}", "stream": i % 2 == 0, "user": str(i)}
                return await client.post("/v1/completions", json=body, headers=site.serving.headers(accounts[i % 3]))

            return await asyncio.gather(*(one(i) for i in range(200)))

    assert all(r.status_code == 200 and "Once" in r.text for r in asyncio.run(run()))
    for i, body in enumerate(site.fake.bodies):
        assert site.ticket(i).account == accounts[int(body["user"]) % 3]
    assert len({site.ticket(i).request for i in range(200)}) == 200
    log = site.log()
    assert len(log) == 200 and {r["request"]: r["account"] for r in log} == {site.ticket(i).request: site.ticket(i).account for i in range(200)}


# Set-up


def test_secrets_are_in_no_log_no_repr_and_no_traceback(site, capfd):
    site.post("/v1/completions", {"prompt": "a secret prompt", "vllm_xargs": {"countermark": "x"}})
    site.post("/v1/completions", {"prompt": "p"}, account=None, headers={"authorization": f"Bearer {KEY}x"})
    site.gate.refused(ValueError) if False else None
    text = json.dumps(site.log()) + repr(site.gate) + repr(site.middleware.gate._accounts) + repr(site.gate._ticket_key) + "".join(capfd.readouterr())
    ticket = sent_ticket(site)
    for secret in (KEY, bytes(range(100, 132)).hex(), ticket, ticket.rsplit(".", 1)[1], "a secret prompt", TEXT):
        assert secret not in text


def test_server_kinds_must_agree(tmp_path, monkeypatch):
    site = Site(tmp_path, kind="llama")

    class ForVllm(AccountMiddleware):
        server = "vllm"

    with pytest.raises(ValueError, match="middleware"):
        ForVllm(site.fake, config=ServingConfig.load(site.serving.config))
    monkeypatch.setenv("COUNTERMARK_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(LookupError, match="no such configuration"):
        ForVllm.prepare()
    text = site.serving.config.read_text()
    site.serving.config.write_text(text.replace('server = "llama"', ""))
    monkeypatch.setenv("COUNTERMARK_CONFIG", str(site.serving.config))
    with pytest.raises(ValueError, match="server is missing"):
        AccountMiddleware.prepare()
    ForVllm.prepare()
    prepared = ForVllm._prepared[ForVllm]
    assert ForVllm(site.fake).gate is prepared and prepared.server == "vllm"


@pytest.mark.parametrize(("name", "why"), [("ticket.key", "no ticket key"), ("accounts.toml", "no such accounts file")])
def test_missing_files_are_named(tmp_path, name, why):
    site = Site(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(LookupError, match=why):
        AccountMiddleware(site.fake, config=ServingConfig.load(site.serving.config))


def test_the_servers_own_defaults_are_floored(site):
    """A model's generation_config may say temperature 0: what the client leaves out is looked up there."""

    class State:
        openai_serving_completion = type("S", (), {"default_sampling_params": {"temperature": 0.0, "top_k": 1, "repetition_penalty": 1.1}})()

    app = type("A", (), {"state": State})()
    head = [(b"authorization", f"Bearer {KEY}".encode()), (b"content-type", b"application/json")]
    asyncio.run(raw(site.middleware, {"type": "http", "method": "POST", "path": "/v1/completions", "query_string": b"", "headers": head, "app": app}))
    body = site.fake.bodies[-1]
    assert (body["temperature"], body["top_k"]) == (0.3, 8) and "top_p" not in body
    site.post("/v1/completions", {"prompt": "p", "temperature": 0.9, "top_k": 40})
    assert (site.fake.bodies[-1]["temperature"], site.fake.bodies[-1]["top_k"]) == (0.9, 40)
