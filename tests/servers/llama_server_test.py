"""The real llama-server, unmodified, with libcountermark_llama_preload.so: one server that is killed and started again, one with a draft model, and one without the library.

The epoch's key is a constant. The seeds are not where a test does not say so: an answer's tokens differ from run to run, and so does its evidence. Odds of failing that hang on chance are
stated where they are not below 1e-9.
"""
import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from llama_support import FREE, LlamaServer, prompt
from serving_fixture import ACCOUNTS, BIN, GGUF, Call, FixedServing, Server, drive, events, free_port

from countermark.serving.metrics import collect

STORY = "Once upon a time, in a mill by the river,"
TOKENS = 90  # an answer; 24 of them, twice


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    serving = FixedServing(tmp_path_factory.mktemp("serving"), server="llama", extra=f'[gateway]\nupstream = "http://127.0.0.1:{(port := free_port())}"')
    serving.port = port
    return serving


@pytest.fixture(scope="module")
def server(serving):
    with LlamaServer(serving, "--context-shift", context=256, port=serving.port) as running:
        yield running


class Counted:
    """What the server counted in between, by short names: marked, start, …, signed, unsigned, …; zeros are left out."""

    def __init__(self, serving):
        self.serving, self.before = serving, collect(serving.state_dir)

    def __call__(self):
        after = collect(self.serving.state_dir)
        short = {name: name.partition('="')[2].partition('"')[0] or name.removeprefix("countermark_").removesuffix("_total") for name in after}
        return {short[name]: value - self.before.get(name, 0) for name, value in after.items() if value != self.before.get(name, 0)}


def tokens_of(counted):
    return sum(counted.get(cause, 0) for cause in ("marked", "start", "greedy", "repeated_window", "forced", "tail", "fault", "off"))


def check_24(serving, texts, counted):
    """Texts for three accounts in turn: the mark is in each, and each is its account's; and everything was counted."""
    for i, record in enumerate(serving.detect(texts)["records"]):
        # Untruncated text of this model has some 3 nats a token. About 40 windows are each channel's: log10 p around −12.
        assert record["verdict"] == "marked", record
        named = min(record["accounts"], key=lambda a: a["log10_p"])
        assert named["account"] == ACCOUNTS[i % 3] and named["log10_p"] < -4, record
        # The others' are chance: 48 of them, at odds of 5e-6 in all.
        assert all(a["log10_p"] > -7 for a in record["accounts"] if a["account"] != named["account"]), record
    result = counted()
    assert result["signed"] == 24 and tokens_of(result) == 24 * TOKENS and result["start"] == 48 and result["marked"] > 0.8 * 24 * TOKENS, result
    assert not {"unsigned", "stale", "forged", "unknown_accounts", "greedy", "fault", "off"} & set(result), result


def test_24_answers_for_three_accounts_at_once(serving, server):
    """On four slots, with their seeds."""
    counted = Counted(serving)
    answers = server.complete([{"prompt": prompt(i), "n_predict": TOKENS, "ignore_eos": True, "seed": i, "dry_sequence_breakers": [serving.ticket(ACCOUNTS[i % 3], f"r-{i}")]} for i in range(24)])
    check_24(serving, [answer["content"] for answer in answers], counted)


def test_an_unmarked_control_is_clean(serving):
    """Six answers of the same server without the library, the same at every run."""
    with LlamaServer(serving, marked=False) as plain:
        answers = plain.complete([{"prompt": prompt(i), "n_predict": TOKENS, "ignore_eos": True, "seed": i} for i in range(6)])
    found = serving.detect([answer["content"] for answer in answers])
    for record in [*found["records"], found["pooled"]]:
        assert record["verdict"] == "no evidence" and record["log10_p"] > -4 and all(a["log10_p"] > -4 for a in record["accounts"]), record


def test_the_same_request_and_seed_give_the_cpu_hooks_tokens(serving, server):
    """At temperature 1 without truncation llama.cpp's samplers leave the row as it is, and the seat is the hook's: watermark-generate, over the same libllama, gives the same tokens."""
    prompts = serving.folder / "prompts.jsonl"
    prompts.write_text(json.dumps({"id": "0", "prompt": STORY, "account": "org-b"}) + "\n")
    options = ["--no-chat", "--temperature", 1, "--top-p", 1, "--seed", 5, "--max-tokens", 60, "--parallel", 1, "--threads", 1, "--no-progress"]
    done = subprocess.run([Path(BIN, "watermark-generate"), "--model", GGUF, "--bundle", serving.epoch.bundle, "--passphrase-file", serving.epoch.secret, "--prompts", prompts, *map(str, options)],
                          capture_output=True, text=True, check=True)
    expected = json.loads(done.stdout)["token_ids"]
    body = {"prompt": STORY, "n_predict": 60, "seed": 5, "dry_sequence_breakers": [serving.ticket("org-b")]}
    for _ in range(2):
        assert server.complete([body])[0]["tokens"][: len(expected)] == expected
    other = server.complete([{**body, "dry_sequence_breakers": [serving.ticket("org-a")]}])[0]["tokens"]
    assert other != expected


def test_json_by_a_grammar_is_marked_where_it_is_free(serving, server):
    counted = Counted(serving)
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "story": {"type": "string", "minLength": 80}}, "required": ["name", "story"]}
    answers = server.complete([{"prompt": prompt(i), "n_predict": 100, "json_schema": schema, "temperature": 0.7, "dry_sequence_breakers": [serving.ticket("org-c", f"j-{i}")]} for i in range(3)])
    result = counted()
    for answer in answers:
        text = answer["content"]
        assert text.startswith("{") and (answer["stop_type"] == "limit" or json.loads(text)["story"]), text
    assert tokens_of(result) == sum(answer["tokens_predicted"] for answer in answers) and result["marked"] > 100 and "fault" not in result, result
    found = serving.detect([answer["tokens"] for answer in answers])["pooled"]
    assert found["log10_p"] < -4 and min(found["accounts"], key=lambda a: a["log10_p"])["account"] == "org-c", found


# A client that reaches the port itself, past the gateway. Whoever has a valid ticket is that account, whatever else it sends …
TRICKS = {
    "temperature 0": {"temperature": 0}, "temperature below the floor": {"temperature": 0.01}, "top-k 1": {"top_k": 1}, "tiny top-p": {"top_p": 1e-6}, "min-p 1": {"min_p": 1.0},
    "tiny typical-p": {"typical_p": 1e-6}, "tiny sigma": {"top_n_sigma": 1e-3}, "dynamic temperature": {"temperature": 1.0, "dynatemp_range": 1.0}, "xtc": {"xtc_probability": 1.0, "xtc_threshold": 0.01},
    "probabilities": {"n_probs": 5}, "probabilities after sampling": {"n_probs": 5, "post_sampling_probs": True}, "two answers": {"n": 2}, "bias": {"logit_bias": [[28, 8.0], [30, False]]},
    "sampling by the backend": {"backend_sampling": True, "top_k": 40}, "xtc at its extreme": {"xtc_probability": 1.0, "xtc_threshold": 0.0, "min_p": 0.3, "top_k": 8}, "penalty near 0": {"repeat_penalty": 0.05, "repeat_last_n": 1000},
    "penalties": {"repeat_penalty": 1.3, "frequency_penalty": 1.0, "dry_multiplier": 0.8}, "min_keep": {"min_keep": 1000},
    "one that was turned away would come back": {"ignore_eos": True, "seed": 4294967294},
}
FLOORED = {"temperature 0", "temperature below the floor", "top-k 1", "tiny top-p", "min-p 1", "tiny typical-p", "tiny sigma", "dynamic temperature", "xtc", "xtc at its extreme", "penalty near 0"}
# … and who has none is marked in the base channel, under whatever sampler it asked for.
WITHOUT = {
    "nothing": {}, "no dry": {"samplers": ["top_k", "temperature"]}, "no samplers": {"samplers": []}, "mirostat": {"mirostat": 1}, "mirostat 2": {"mirostat": 2},
    "adaptive-p": {"samplers": ["dry", "adaptive_p"], "adaptive_target": 0.5}, "greedy": {"temperature": 0, "samplers": ["temperature"]}, "account in words": {"account": "org-a", "user": "org-a"},
}


def flattened(answers):
    return [one for answer in answers for one in (answer if isinstance(answer, list) else [answer])]


def test_a_hostile_client_with_a_ticket_stays_marked_and_counted(serving, server):
    counted = Counted(serving)
    answers = flattened(server.complete([{"prompt": prompt(i), "n_predict": 28, "dry_sequence_breakers": [serving.ticket("org-a", name)], **trick} for i, (name, trick) in enumerate(TRICKS.items())]))
    result = counted()
    assert len(answers) == len(TRICKS) + 1 == result["signed"], result
    assert tokens_of(result) == sum(answer["tokens_predicted"] for answer in answers), result
    assert result["floored_requests"] == len(FLOORED) and not {"greedy", "fault", "off", "unsigned"} & set(result), result
    found = serving.detect([answer["tokens"] for answer in answers])["pooled"]
    assert found["log10_p"] < -6 and {a["account"] for a in found["accounts"] if a["log10_p_adjusted"] < -6} == {"org-a"}, found


def test_a_greedy_request_gets_the_same_marked_answer_again(serving, server):
    bodies = [{"prompt": prompt(7), "n_predict": 60, "ignore_eos": True, "temperature": 0, "dry_sequence_breakers": [serving.ticket("org-b", f"g-{i}")]} for i in range(2)]
    counted = Counted(serving)
    first, second = (server.complete([body])[0]["tokens"] for body in bodies)
    assert first == second
    result = counted()
    assert result["floored_requests"] == 2 and result["marked"] > 40 and "greedy" not in result, result


def test_a_hostile_client_without_a_ticket_is_marked_in_the_base_channel_and_counted(serving, server):
    account, label, expiry, mac = serving.ticket("org-a").split(".")[1:]
    other = serving.ticket("org-b").split(".")[1]
    tickets = {"stale": [serving.ticket("org-a", lifetime=-1)], "another's account": [f"cm1.{other}.{label}.{expiry}.{mac}"], "later": [f"cm1.{account}.{label}.{int(expiry) + 60}.{mac}"],
               "two": [serving.ticket("org-a"), serving.ticket("org-b")], "no ticket at all": ["cm1."], "not UTF-8 and long": ["cm1." + "A" * 5000]}
    bodies = [{"dry_sequence_breakers": ticket} for ticket in tickets.values()]
    bodies += [{**body, "dry_sequence_breakers": [serving.ticket("org-c")]} if body.get("samplers") is not None and "dry" not in body["samplers"] or "mirostat" in body else body for body in WITHOUT.values()]
    counted = Counted(serving)
    answers = server.complete([{"prompt": prompt(i), "n_predict": 40, **body} for i, body in enumerate(bodies)])
    result = counted()
    assert (result["unsigned"], result["stale"], result["forged"]) == (len(WITHOUT), 1, len(tickets) - 1) and "signed" not in result, result
    assert (result["mirostat"], result["mirostat_v2"], result["adaptive_p"]) == (1, 1, 1), result
    assert tokens_of(result) == sum(answer["tokens_predicted"] for answer in answers) and result["off"] > 0 and result["marked"] > 0 and "greedy" not in result, result
    found = serving.detect([answer["tokens"] for answer in answers])["pooled"]
    assert found["log10_p"] < -6 and all(a["log10_p"] > -5 for a in found["accounts"]), found  # three accounts by chance: 3e-5


def test_an_answer_longer_than_the_context(serving, server):
    counted = Counted(serving)
    answer = server.complete([{"prompt": prompt(0), "n_predict": 320, "ignore_eos": True, "dry_sequence_breakers": [serving.ticket("org-b")]}])[0]
    assert answer["truncated"] and len(answer["tokens"]) == 320 and tokens_of(counted()) == 320
    record = serving.detect([answer["tokens"][220:]])["records"][0]  # beyond the shift: windows still follow each other
    assert record["log10_p"] < -4 and min(record["accounts"], key=lambda a: a["log10_p"])["account"] == "org-b", record


def test_a_client_that_goes_away(serving, server):
    counted = Counted(serving)
    seen = 0
    for _ in range(4):
        body = {"prompt": prompt(1), "n_predict": 400, "stream": True, **FREE, "ignore_eos": True, "dry_sequence_breakers": [serving.ticket("org-a")]}
        with httpx.stream("POST", server.url + "/completion", json=body, timeout=60) as answer:
            for line in answer.iter_lines():
                seen += line.startswith("data: ")
                if seen % 5 == 4:
                    break
    httpx.post(server.url + "/completion", json={"prompt": "Once", "n_predict": 1}, timeout=60)
    result = counted()
    assert result["signed"] == 4 and seen <= tokens_of(result) < 4 * 400, result


def test_200_small_requests_at_once(serving, server):
    counted = Counted(serving)
    bodies = [{"prompt": "Once", "n_predict": 3, "ignore_eos": True, **({"dry_sequence_breakers": [serving.ticket(ACCOUNTS[i % 3], f"s-{i}")]} if i % 2 else {})} for i in range(200)]
    assert all(len(answer["tokens"]) == 3 for answer in server.complete(bodies))
    result = counted()
    assert result["signed"] == result["unsigned"] == 100 and tokens_of(result) == 600, result


def test_no_secret_leaves_the_process(serving, server):
    """Environment, command line, log, counters, and no core dump. Who may attach a debugger reads the memory: there keys are, and nothing hides them."""
    texts = [Path(f"/proc/{server.pid}/{name}").read_bytes() for name in ("environ", "cmdline")] + [server.log.read_bytes(), *(file.read_bytes() for file in serving.state_dir.iterdir())]
    epoch_key, ticket_key = serving.epoch.export.read_text().strip(), serving.ticket_key_file.read_text().strip()
    assert len(epoch_key) == len(ticket_key) == 64
    secrets = [serving.epoch.secret.read_text().strip().encode()] + [form for key in (epoch_key, ticket_key) for form in (key[:32].encode(), key[:32].upper().encode(), bytes.fromhex(key)[:16])]
    assert not [secret for secret in secrets for text in texts if secret in text]
    core = next(line for line in Path(f"/proc/{server.pid}/limits").read_text().splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["1", "1"], core


def test_killed_and_started_again(serving, server):
    """Last of this server's tests: it is killed. What it counted is kept. The second one stands behind the gateway."""
    before = collect(serving.state_dir)
    server.kill()
    free = ["--temp", "1.0", "--top-k", "0", "--top-p", "1.0", "--min-p", "0"]
    with LlamaServer(serving, *free, context=256, port=serving.port), gateway(serving) as front:
        counted = Counted(serving)
        bodies = [{"max_tokens": TOKENS, "ignore_eos": True, "seed": i, "stream": i % 4 < 2} for i in range(24)]
        calls = [Call("/v1/chat/completions", {"messages": [{"role": "user", "content": prompt(i)[17:-34]}], **body}, serving.headers(ACCOUNTS[i % 3])) if i % 2 else
                 Call("/v1/completions", {"prompt": prompt(i), "dry_sequence_breakers": [serving.ticket("org-a")], "mirostat": 2, "samplers": ["top_k"], **body}, serving.headers(ACCOUNTS[i % 3]))
                 for i, body in enumerate(bodies)]
        answers = drive(front.url, calls)
        assert [answer.status_code for answer in answers] == [200] * 24, answers[0].text
        assert not [answer for answer in answers if "cm1." in answer.text]
        choices = [[event["choices"][0] for event in (events(answer.text) if body["stream"] else [answer.json()]) if event.get("choices")] for answer, body in zip(answers, bodies)]
        texts = ["".join((c.get("delta") or c.get("message") or {}).get("content") or c.get("text") or "" for c in chunks) for chunks in choices]
        check_24(serving, texts, counted)
        assert httpx.post(front.url + "/v1/completions", json={"prompt": "x"}, headers={"Authorization": "Bearer sk-of-nobody"}).status_code == 401
        assert {name: value for name, value in collect(serving.state_dir).items() if value < before.get(name, 0)} == {}


def gateway(serving):
    port = free_port()
    front = Server([sys.executable, "-P", "-m", "countermark.gateway", "--port", port], log=serving.folder / "gateway.log", env=serving.environment())
    front.url = f"http://127.0.0.1:{port}"
    return front.wait(front.url + "/health")


def test_speculative_decoding_with_a_draft_model(serving):
    """The model drafts for itself by its likeliest tokens. Outputs carry the mark; drafts are counted apart."""
    counted = Counted(serving)
    with LlamaServer(serving, "-md", GGUF, "--spec-type", "draft-simple", "--spec-draft-n-max", 3, "-td", 1, slots=2) as server:
        answers = server.complete([{"prompt": prompt(i), "n_predict": 70, "ignore_eos": True, "seed": i, "dry_sequence_breakers": [serving.ticket(ACCOUNTS[i % 3], f"d-{i}")]} for i in range(2)])
    result = counted()
    drafted, accepted = (sum(answer["timings"][name] for answer in answers) for name in ("draft_n", "draft_n_accepted"))
    assert drafted > 60 and 0 < accepted < drafted and result["draft_tokens"] >= drafted
    # What is accepted beyond n_predict is counted and not sent.
    assert result["signed"] == 2 and "unsigned" not in result and 140 <= tokens_of(result) <= 140 + 2 * 3, result
    for i, record in enumerate(serving.detect([answer["content"] for answer in answers])["records"]):
        assert record["verdict"] == "marked" and min(record["accounts"], key=lambda a: a["log10_p"])["account"] == ACCOUNTS[i], record
