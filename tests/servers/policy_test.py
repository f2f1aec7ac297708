"""What may be asked of log-probabilities and of low entropy, and what of an answer is held back: each rule, each server's shapes, streams too."""
import json
import math

import pytest
from fake_server import CONTENT
from gate_fixture import Site
from serving_fixture import events

VLLM_ASKS = [("/v1/completions", {"logprobs": 0}), ("/v1/completions", {"logprobs": 5}), ("/v1/completions", {"logprobs": -1}), ("/v1/completions", {"logprobs": True}), ("/v1/completions", {"prompt_logprobs": 0}),
             ("/v1/completions", {"prompt_logprobs": 3}), ("/v1/completions", {"prompt_logprobs": -1}), ("/v1/completions", {"logprobs": 1, "logprob_token_ids": [1, 2]}), ("/v1/chat/completions", {"logprobs": True}),
             ("/v1/chat/completions", {"logprobs": True, "top_logprobs": 20}), ("/v1/chat/completions", {"top_logprobs": -1}), ("/v1/responses", {"include": ["message.output_text.logprobs"]}),
             ("/v1/responses", {"include": ["message.output_text.logprobs"], "top_logprobs": 20})]
LLAMA_ASKS = [("/completion", {"n_probs": 5}), ("/completion", {"n_probs": -1}), ("/completion", {"logprobs": 5}), ("/completion", {"logprobs": True}), ("/v1/completions", {"logprobs": 3}),
              ("/v1/chat/completions", {"logprobs": True}), ("/v1/chat/completions", {"n_probs": 2}), ("/infill", {"n_probs": 2})]
NOT_ASKED = [("/v1/completions", {"logprobs": None}), ("/v1/completions", {"logprobs": False}), ("/v1/chat/completions", {"logprobs": False, "top_logprobs": 0}), ("/v1/chat/completions", {"logprobs": None, "top_logprobs": None}),
             ("/v1/responses", {"include": ["reasoning.encrypted_content"]}), ("/v1/responses", {"top_logprobs": 0})]


def site_of(folder, rule="deny", kind="vllm", more="", log=""):
    return Site(folder, kind=kind, extra=f'[policy]\nlogprobs = "{rule}"\n{more}\n{log}')


def asked(site, path, members, stream=False):
    body = {"messages": []} if "chat" in path else {"input": "p"} if "responses" in path else {"prompt": "p"}
    return site.post(path, {**body, **members, **({"stream": True} if stream else {})})


def numbers(value):
    """Every log-probability or probability in an answer."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name in ("logprob", "prob"):
                yield item
            elif name == "token_logprobs":
                yield from (x for x in item if x is not None)
            elif name == "top_logprobs" and "token_logprobs" in value:
                for position in item:
                    yield from (position or {}).values()
            else:
                yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)


@pytest.mark.parametrize(("path", "members"), VLLM_ASKS, ids=str)
def test_deny(tmp_path, path, members):
    site = site_of(tmp_path)
    for stream in (False, True):
        response = asked(site, path, members, stream)
        assert response.status_code == 400 and response.json()["error"]["code"] == "logprobs_denied" and response.json()["error"]["param"] in members
    assert not site.fake.seen


@pytest.mark.parametrize(("path", "members"), LLAMA_ASKS, ids=str)
def test_deny_llama(tmp_path, path, members):
    site = site_of(tmp_path, kind="llama")
    assert asked(site, path, members).status_code == 400 and not site.fake.seen


@pytest.mark.parametrize(("path", "members"), NOT_ASKED, ids=str)
def test_not_asked_is_not_denied(tmp_path, path, members):
    site = site_of(tmp_path)
    assert asked(site, path, members).status_code == 200
    assert not set(site.fake.bodies[-1]) & {"logprobs", "top_logprobs", "n_probs", "prompt_logprobs"} and list(numbers(json.loads(site.post(path, {"prompt": "p"}).text))) == []


@pytest.mark.parametrize("value", ["1", "true", [1], {"a": 1}, 1.5])
def test_other_types_are_refused(tmp_path, value):
    site = site_of(tmp_path, "quantise")
    for path, name in (("/v1/completions", "logprobs"), ("/v1/completions", "prompt_logprobs"), ("/v1/chat/completions", "top_logprobs"), ("/v1/chat/completions", "logprobs")):
        assert asked(site, path, {name: value}).status_code == 400
    assert not site.fake.seen


def test_what_the_server_sends_unasked_is_held_back(tmp_path):
    """A server whose command line turns them on, or a new version's new way of asking."""
    site = site_of(tmp_path, log='[log]\ntoken_ids = "none"')
    shapes = [{"choices": [{"index": 0, "text": "x", "logprobs": {"token_logprobs": [-1.5], "tokens": ["x"], "top_logprobs": [{"x": -1.5}]}}]}, {"choices": [{"index": 0, "message": {"content": "x"}, "logprobs": {"content": CONTENT}}]},
              {"prompt_logprobs": [None, {"1": {"logprob": -1.5, "rank": 1}}], "choices": []}, {"content": "x", "completion_probabilities": [{"token": "x", "logprob": -1.5, "top_logprobs": []}]},
              {"completion_probabilities": [{"token": "x", "prob": 0.5, "top_probs": [{"token": "y", "prob": 0.2}]}]}, {"output": [{"content": [{"text": "x", "logprobs": CONTENT}]}]}, {"type": "response.output_text.delta", "delta": "x", "logprobs": CONTENT}]
    for shape in shapes:
        data = json.dumps(shape).encode()
        site.fake.answers = {"/v1/completions": (200, "application/json", data)}
        whole = site.post("/v1/completions", {"prompt": "p"}).json()
        site.fake.answers = {"/v1/completions": (200, "text/event-stream", b"event: a\ndata: " + data + b"\n\n: ping\n\ndata: [DONE]\n\n")}
        stream = site.post("/v1/completions", {"prompt": "p", "stream": True}).text
        assert list(numbers(whole)) == [] and "1.5" not in stream and "0.123" not in stream and stream.startswith("event: a\ndata: {") and stream.endswith("\n\n: ping\n\ndata: [DONE]\n\n")
        assert events(stream) == [whole]
    assert site.gate.counters.get("countermark_api_filtered_total") == 2 * len(shapes)


def test_words_that_look_like_members_pass(tmp_path):
    site = site_of(tmp_path, log='[log]\ntoken_ids = "none"')
    data = json.dumps({"choices": [{"index": 0, "text": '{"logprobs": [1], "generation_settings": {"dry_sequence_breakers": ["a"]}, "__verbose": 1}'}]}, indent=3).encode()
    site.fake.answers = {"/v1/completions": (200, "application/json", data)}
    assert site.post("/v1/completions", {"prompt": "p"}).content == data


def test_top1(tmp_path):
    site = site_of(tmp_path, "top1")
    for stream in (False, True):
        response = asked(site, "/v1/completions", {"logprobs": 5}, stream)
        assert response.status_code == 200 and site.fake.bodies[-1]["logprobs"] == 0
        for answer in events(response.text) if stream else [response.json()]:
            logprobs = answer["choices"][0]["logprobs"]
            # The served token's, as it is, and nothing of another's.
            assert logprobs["token_logprobs"][0] == -0.123 and logprobs["top_logprobs"] == [{t: n} for t, n in zip(logprobs["tokens"], logprobs["token_logprobs"])] and "Twice" not in json.dumps(answer)
        response = asked(site, "/v1/chat/completions", {"logprobs": True, "top_logprobs": 20}, stream)
        assert "top_logprobs" not in site.fake.bodies[-1]
        for answer in events(response.text) if stream else [response.json()]:
            assert all(e["top_logprobs"] == [] and e["logprob"] == -0.123 for e in answer["choices"][0]["logprobs"]["content"])
    assert asked(site, "/v1/completions", {"prompt_logprobs": 1}).status_code == 400
    assert asked(site, "/v1/completions", {"logprobs": 1, "echo": True}).status_code == 400
    assert asked(site, "/v1/completions", {"echo": True}).status_code == 200
    response = asked(site, "/v1/responses", {"include": ["message.output_text.logprobs"], "top_logprobs": 20})
    assert site.fake.bodies[-1]["top_logprobs"] == 0 and [e["top_logprobs"] for e in response.json()["output"][0]["content"][0]["logprobs"]] == [[], [], []]


def test_top1_llama(tmp_path):
    site = site_of(tmp_path, "top1", kind="llama")
    answer = asked(site, "/completion", {"n_probs": 40}).json()
    assert site.fake.bodies[-1]["n_probs"] == 1 and answer["completion_probabilities"] == [{"id": 1, "token": "x", "bytes": [1], "logprob": -0.37, "top_logprobs": []}]
    asked(site, "/v1/chat/completions", {"logprobs": True})
    assert site.fake.bodies[-1]["top_logprobs"] == 1  # without it the server would take 20


def test_quantise(tmp_path):
    site = site_of(tmp_path, "quantise", more="logprob_step = 0.5")
    for path, members in VLLM_ASKS:
        if "logprob_token_ids" in members:
            continue
        for stream in (False, True):
            if "prompt_logprobs" in members and stream:
                continue
            response = asked(site, path, members, stream)
            assert response.status_code == 200, (members, response.text)
            sent = site.fake.bodies[-1]
            assert all(0 <= sent.get(name, 0) <= 5 for name in ("logprobs", "top_logprobs") if not isinstance(sent.get(name), bool)) and sent.get("prompt_logprobs", 0) in (0, 1)
            found = [n for answer in (events(response.text) if stream else [response.json()]) for n in numbers(answer)]
            assert all(math.isclose(n / 0.5, round(n / 0.5)) for n in found), found
            if ("chat" in path and "logprobs" in members) or "responses" in path and not stream:
                assert found and "1.377" not in response.text
    content = asked(site, "/v1/chat/completions", {"logprobs": True, "top_logprobs": 20}).json()["choices"][0]["logprobs"]["content"]
    assert [len(e["top_logprobs"]) for e in content] == [5, 5, 5] and content[0]["logprob"] == 0.0 and content[0]["top_logprobs"][0]["logprob"] == -2.0
    asked(site, "/v1/completions", {"echo": True, "logprobs": 5, "max_tokens": 1})  # vLLM takes logprobs for the echoed prompt's number too
    assert site.fake.bodies[-1]["logprobs"] == 1
    prompt = asked(site, "/v1/completions", {"prompt_logprobs": 9}).json()["choices"][0]["prompt_logprobs"]
    assert prompt == [None, {"5": {"logprob": -1.0, "rank": None, "decoded_token": "x"}}]


# Low entropy

BELOW = [({"temperature": 0}, {"temperature": 0.3}), ({"temperature": 0.0}, {"temperature": 0.3}), ({"temperature": -1}, {"temperature": 0.3}), ({"temperature": 0.29999}, {"temperature": 0.3}), ({"top_k": 1}, {"top_k": 8}),
         ({"top_k": 7.0}, {"top_k": 8}), ({"top_p": 0}, {"top_p": 0.5}), ({"top_p": 0.1, "temperature": 2}, {"top_p": 0.5, "temperature": 2}), ({"min_p": 1.0}, {"min_p": 0.5}),
         ({"temperature": 1e-320}, {"temperature": 0.3}), ({"temperature": 0, "top_k": 1, "top_p": 0.01, "min_p": 0.9}, {"temperature": 0.3, "top_k": 8, "top_p": 0.5, "min_p": 0.5}),
         ({"repetition_penalty": 0.01}, {"repetition_penalty": 0.9}), ({"repetition_penalty": 1e30}, {"repetition_penalty": 2.0}), ({"repetition_penalty": -1}, {"repetition_penalty": 0.9})]
ABOVE = [{}, {"repetition_penalty": 1.3}, {"repetition_penalty": 0.9}, {"repetition_penalty": None}, {"temperature": 0.3}, {"temperature": 1.7, "top_k": 0, "top_p": 1}, {"top_k": -1}, {"top_k": 8, "top_p": 0.5, "min_p": 0.5}, {"temperature": None, "top_k": None}]


@pytest.mark.parametrize(("members", "raised"), BELOW, ids=str)
def test_floor(tmp_path, members, raised):
    site = site_of(tmp_path)
    for path in ("/v1/completions", "/v1/chat/completions", "/v1/responses"):
        assert asked(site, path, members).status_code == 200
        sent = site.fake.bodies[-1]
        assert {name: sent[name] for name in raised} == raised and 0 <= sent["seed"] < 2**31 and site.log()[-1]["low_entropy"] == "floored"
    assert site.gate.counters.get("countermark_api_floored_total") == 3


@pytest.mark.parametrize("members", ABOVE, ids=str)
def test_above_the_floor_nothing_changes(tmp_path, members):
    site = site_of(tmp_path)
    asked(site, "/v1/completions", {**members, "seed": 7})
    sent = site.fake.bodies[-1]
    assert {name: sent[name] for name in sent if name not in ("vllm_xargs", "return_token_ids", "prompt")} == {**{n: v for n, v in members.items() if v is not None}, "seed": 7}


def test_a_greedy_request_has_one_seed(tmp_path):
    """So it gets one answer, whatever its own seed and however it is delivered; another prompt or account has another."""
    site = site_of(tmp_path)

    def seed(account="org-a", **members):
        site.post("/v1/completions", {"prompt": "p", "temperature": 0, **members}, account)
        return site.fake.bodies[-1]["seed"]

    assert seed() == seed() == seed(seed=5) == seed(stream=True, user="x") == seed(watermarking=False)
    assert len({seed(), seed("org-b"), seed(prompt="q"), seed(max_tokens=5), seed(top_p=0.9)}) == 5


@pytest.mark.parametrize("value", ["0", "0.0", True, False, [], {}, "NaN"])
@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k", "min_p", "repetition_penalty"])
def test_numbers_in_other_clothes_are_refused(tmp_path, name, value):
    """A server may take "0", false or a text for a number."""
    site = site_of(tmp_path)
    response = asked(site, "/v1/completions", {name: value})
    assert response.status_code == 400 and response.json()["error"]["param"] == name and not site.fake.seen


@pytest.mark.parametrize("kind", ["vllm", "llama"])
def test_a_top_k_that_is_1_in_32_bits_is_refused(tmp_path, kind):
    site = site_of(tmp_path, kind=kind)
    for value in (2**31, 2**32 + 1, 2.0**32):
        assert asked(site, "/v1/completions", {"top_k": value}).status_code == 400
    assert not site.fake.seen and asked(site, "/v1/completions", {"top_k": 2**31 - 1}).status_code == 200


def test_deny_low_entropy(tmp_path):
    site = site_of(tmp_path, more='low_entropy = "deny"')
    for members, _ in BELOW:
        response = asked(site, "/v1/completions", members)
        assert response.status_code == 400 and response.json()["error"]["code"] == "low_entropy" and response.json()["error"]["param"] in members
    assert not site.fake.seen
    assert all(asked(site, "/v1/completions", members).status_code == 200 for members in ABOVE)


def test_allow_counts(tmp_path):
    site = site_of(tmp_path, more='low_entropy = "allow"')
    for members, _ in BELOW:
        asked(site, "/v1/completions", members)
        assert {n: site.fake.bodies[-1][n] for n in members} == members and "seed" not in site.fake.bodies[-1] and site.log()[-1]["low_entropy"] == "allowed"
    assert site.gate.counters.get("countermark_api_low_entropy_total") == len(BELOW)


def test_the_servers_defaults_count_where_the_request_is_silent(tmp_path):
    site = site_of(tmp_path, kind="llama", more="[defaults]\ntemperature = 0.1\ntop_k = 2\ntop_p = 0.2")
    asked(site, "/completion", {})
    assert {n: site.fake.bodies[-1][n] for n in ("temperature", "top_k", "top_p")} == {"temperature": 0.3, "top_k": 8, "top_p": 0.5}
    asked(site, "/completion", {"temperature": 1, "top_k": 40, "top_p": 0.9})
    assert site.fake.bodies[-1]["temperature"] == 1 and "low_entropy" not in site.log()[-1]


def test_llamas_own_ways_to_one_token(tmp_path):
    site = site_of(tmp_path, kind="llama")
    for members in ({"typical_p": 0.001}, {"top_n_sigma": 0.01}, {"dynatemp_range": 0.8, "temperature": 0.8}):
        asked(site, "/completion", members)
        assert not set(site.fake.bodies[-1]) & (set(members) - {"temperature"}) and site.log()[-1]["low_entropy"] == "floored"
    for members, raised in (({"xtc_probability": 1.0, "xtc_threshold": 0.0, "min_p": 0.5}, {"xtc_probability": 0.5, "xtc_threshold": 0.1}), ({"xtc_threshold": 0}, {"xtc_threshold": 0.1}),
                            ({"repeat_penalty": 0.05, "repeat_last_n": 900}, {"repeat_penalty": 0.9})):
        asked(site, "/completion", members)
        assert {name: site.fake.bodies[-1][name] for name in raised} == raised and site.log()[-1]["low_entropy"] == "floored"
    asked(site, "/completion", {"xtc_probability": 0.5, "xtc_threshold": 0.1, "repeat_penalty": 1.1})
    assert "low_entropy" not in site.log()[-1]
    asked(site, "/completion", {"typical_p": 1.0, "top_n_sigma": -1, "dynatemp_range": 0, "xtc_probability": 0.1})
    assert "low_entropy" not in site.log()[-1] and site.fake.bodies[-1]["typical_p"] == 1.0
