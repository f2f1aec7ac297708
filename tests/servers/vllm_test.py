"""vLLM 0.32.0 over HTTP on the processor, as its users see it, and its classes in their own process (vllm_inside.py).

Seeds are fixed and so is the epoch's key, but sums of single precision hang on how requests fall into batches: each run has other texts. Odds of a false failure: an answer of 140 tokens
that is not found, below 10⁻⁶ each (its 10-th percentile of log10 p is −15); the control's verdict 10⁻⁶ (the detector's alpha); no wrong account below a corrected 10⁻⁵, 10⁻³ for all records.
"""
import ast
import json
import re
import sys
import time
from pathlib import Path

import httpx
import pytest
from serving_fixture import ACCOUNTS, API_KEYS, Call, FixedServing, Server, drive, events

import vllm_support
from fixture import PASSPHRASE

why = vllm_support.cannot_be_had()
if why:
    print(f"SKIPPED: {why}; countermark.vllm is NOT tested", file=sys.__stderr__)
    pytest.exit(why, returncode=77)

SUBJECTS = ["a ship's cook who can predict storms", "a walk through an old forest", "two brothers who inherit a mill", "the day the electricity went out", "an evening in a mountain hut",
            "a clockmaker who wanted to stop time", "a train that never arrives", "a street musician in winter"]
# Long and shared, so that the prefix cache has something to find.
SYSTEM = "You write stories for a magazine of travel and weather. Keep to plain words and name the places, the people and the time of the day; never say that you are a program. "
SAMPLING = {"model": "m", "temperature": 1.0, "max_tokens": 140, "min_tokens": 140, "return_token_ids": True}
# A cache of 48 blocks of 32 tokens: 24 answers of 200 tokens do not fit, and requests are put off.
SMALL_CACHE = ("--max-num-seqs", "32", "--block-size", "32", "--num-gpu-blocks-override", "48", "--enable-prefix-caching")


# ---- over HTTP ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    return FixedServing(tmp_path_factory.mktemp("serving"), server="vllm")


@pytest.fixture(scope="module")
def first(serving, tmp_path_factory):
    """Brought by the entry point alone; asynchronous scheduling, whose tokens the host sees late."""
    with vllm_support.Vllm(tmp_path_factory.mktemp("first"), "--middleware", "countermark.vllm.AccountMiddleware", "--async-scheduling", *SMALL_CACHE, config=serving.config) as server:
        yield server.up()


def figure(server, name):
    """A sum over a metric's labels."""
    time.sleep(1.1)  # counters are published twice a second
    text = httpx.get(server.url + "/metrics").text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{re.escape(name)}[ {{]", line))


def causes(server):
    time.sleep(1.1)
    text = httpx.get(server.url + "/metrics").text
    return {cause: int(n) for cause, n in re.findall(r'^countermark_tokens_total\{cause="(\w+)"\} (\d+)$', text, re.M)}


def ask_24(server, serving):
    """24 answers at once for three accounts, of both routes, as streams and whole, four of them two by two: (account, text, ids)."""
    def chat(i):
        return {**SAMPLING, "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"Write about {SUBJECTS[i % 8]}, part {i}."}]}

    def completion(i):
        return {**SAMPLING, "prompt": f"{SYSTEM}\n\nA story about {SUBJECTS[i % 8]}, part {i}.\n\n"}

    bodies = [completion(i) if i % 2 else chat(i) for i in range(22)]
    for i, body in enumerate(bodies):
        body["stream"] = i % 4 > 1
    bodies[0]["n"] = bodies[1]["n"] = 2
    owners = [ACCOUNTS[i % 3] for i in range(22)]
    answers = drive(server.url, [Call("/v1/chat/completions" if "messages" in body else "/v1/completions", body, serving.headers(owner)) for body, owner in zip(bodies, owners, strict=True)])
    out = []
    for owner, body, answer in zip(owners, bodies, answers, strict=True):
        assert answer.status_code == 200, answer.text
        if body["stream"]:
            choices = [c for event in events(answer.text) for c in event["choices"]]
            parts = [(c.get("text") or c.get("delta", {}).get("content") or "", c.get("token_ids") or []) for c in choices]
            out.append((owner, "".join(text for text, _ in parts), [token for _, ids in parts for token in ids]))
        else:
            out += [(owner, c.get("text") or c["message"]["content"], c["token_ids"]) for c in answer.json()["choices"]]
    assert len(out) == 24 and all(len(ids) >= 139 for _, _, ids in out), [len(ids) for _, _, ids in out]
    return out


def all_found(serving, answers):
    for records in ([text for _, text, _ in answers], [ids for _, _, ids in answers]):
        found = serving.detect(records)
        for (owner, _, _), record in zip(answers, found["records"], strict=True):
            assert record["verdict"] == "marked"
            for test in record["accounts"]:
                assert (test["log10_p_adjusted"] < -5) == (test["account"] == owner), (owner, record)


def test_24_answers(first, serving):
    before = sum(causes(first).values())
    answers = ask_24(first, serving)
    all_found(serving, answers)
    counted = causes(first)
    assert sum(counted.values()) - before == sum(len(ids) for _, _, ids in answers)
    assert counted["marked"] > 0.6 * sum(counted.values())
    assert counted["start"] == 48 and not counted["greedy"] and not counted["fault"] and not counted["off"]
    # Children of one request differ, and so do their labels.
    assert answers[0][2] != answers[1][2]
    assert figure(first, "vllm:num_preemptions_total") > 0
    assert figure(first, "vllm:prefix_cache_hits_total") > 0
    assert figure(first, "countermark_requests_total") == 24


def test_a_hostile_client(first, serving):
    """Whatever is asked: the account is that of the key, nothing is unmarked without being counted, nobody else's is disturbed."""
    owner, other = ACCOUNTS[0], ACCOUNTS[1]
    mine = serving.headers(owner)
    prompt = {"prompt": f"{SYSTEM}\n\nA story about a lighthouse.\n\n"}
    base = {**SAMPLING, **prompt}
    tickets = [serving.ticket(other), serving.ticket(owner, lifetime=-5), "cm1.AA.AA.9.AA", 7, ["x"]]
    marked = [{**base, "vllm_xargs": {"countermark": t, "countermark_asked": [0, 1, 1, 1]}} for t in tickets]
    marked += [
        {**base, "extra_args": {"countermark": tickets[0]}, "watermarking": False, "account": other},
        {**base, "temperature": 0},
        {**base, "temperature": 0.0001, "top_k": 1, "top_p": 0.01, "min_p": 1.0},
        {**base, "seed": 5, "logit_bias": {"28": 3.0, "30": -100}, "presence_penalty": 0.5, "bad_words": [" the lighthouse"]},
        {**base, "priority": 1, "ignore_eos": True, "stop": ["zqzqzq"], "detokenize": False, "allowed_token_ids": list(range(100, 30000))},
    ]
    refused = {
        "/v1/completions": [{**base, "use_beam_search": True}, {**base, "logprobs": 5}, {**base, "prompt_logprobs": 1}, {**base, "n": 1000}, {**base, "max_tokens": -1}, {**base, "temperature": "0"}, b"{"],
        "/inference/v1/generate": [{"prompt": "x", "sampling_params": {"temperature": 0}}], "/invocations": [base], "/v1/messages": [base], "/v1/chat/completions/batch": [base],
        "/generative_scoring": [base],
    }
    bad = [Call(path, body, mine | {"Content-Type": "application/json"}) for path, bodies in refused.items() for body in bodies]
    nobody = [Call("/v1/completions", base, headers) for headers in ({}, {"Authorization": "Bearer sk-org-a-"}, {"Authorization": f"bearer {API_KEYS[owner]}x"})]
    answers = drive(first.url, [Call("/v1/completions", body, mine) for body in marked] + bad + nobody)
    for answer in answers[len(marked) : -3]:
        assert answer.status_code in (400, 404, 422), (answer.request.url, answer.text)
    assert [a.status_code for a in answers[-3:]] == [401] * 3
    ids = []
    for body, answer in zip(marked, answers, strict=False):
        assert answer.status_code == 200, (body, answer.text)
        ids.append(answer.json()["choices"][0]["token_ids"])
    for i, record in enumerate(serving.detect(ids)["records"]):
        # Temperatures at the floor leave little to chance: found where it can be, and never as another's.
        low = i in (6, 7)
        for test in record["accounts"]:
            assert test["account"] == owner or test["log10_p_adjusted"] > -5, (i, record)
            assert low or test["account"] != owner or test["log10_p_adjusted"] < -5, (i, record)
    # A greedy request gets the same answer again, as far as the model's own sums are the same.
    assert causes(first)["greedy"] == 0

    # A schema leaves few tokens free; those it forces are counted.
    forced = causes(first)["forced"]
    grammar = {**base, "min_tokens": 0, "structured_outputs": {"regex": "(north|south), [0-9]{6} miles"}}
    answer = drive(first.url, [Call("/v1/completions", grammar, mine)])[0].json()["choices"][0]
    assert re.fullmatch("(north|south), [0-9]{6} miles", answer["text"]), answer
    assert causes(first)["forced"] > forced

    # Clients that go away, and many small ones.
    for _ in range(4):
        with httpx.stream("POST", first.url + "/v1/completions", json={**base, "stream": True, "max_tokens": 800, "min_tokens": 800}, headers=mine, timeout=60) as stream:
            next(stream.iter_lines())
    small = drive(first.url, [Call("/v1/completions", {"model": "m", "prompt": f"Number {i}:", "max_tokens": 6, "ignore_eos": True, "temperature": 0.9}, serving.headers(ACCOUNTS[i % 3])) for i in range(200)])
    assert [a.status_code for a in small] == [200] * 200
    assert all(a.json()["usage"]["completion_tokens"] == 6 for a in small)


def test_every_token_is_counted(first):
    """vLLM's own count of what it generated, and ours by cause; what was sampled for a client that had gone, or after an end that the host saw late, is in ours alone."""
    generated, counted, requests = figure(first, "vllm:generation_tokens_total"), sum(causes(first).values()), figure(first, "countermark_requests_total")
    assert generated <= counted <= generated + 2 * requests
    assert figure(first, 'countermark_requests_total{outcome="signed"}') == requests > 200
    assert causes(first)["off"] == causes(first)["greedy"] == causes(first)["fault"] == 0


def test_secrets_are_nowhere(first, serving):
    """Not in arguments, environments, logs, counters; and no core dump is written of any process."""
    secrets = [PASSPHRASE.encode(), serving.ticket_key_file.read_bytes().strip(), bytes(range(32)), bytes(range(32)).hex().encode(), *(key.encode() for key in API_KEYS.values())]
    processes = first.processes()
    assert len(processes) >= 2
    shown = {}
    for pid in processes:
        for name in ("environ", "cmdline", "limits"):
            shown[pid, name] = Path(f"/proc/{pid}/{name}").read_bytes()
    for pid in processes:
        if b"vllm" in shown[pid, "cmdline"].lower() and b"resource_tracker" not in shown[pid, "cmdline"]:
            assert re.search(rb"Max core file size +1 +1 ", shown[pid, "limits"]), shown[pid, "cmdline"]
    files = [first.log, *(path for folder in (serving.state_dir, serving.log_dir) for path in folder.rglob("*") if path.is_file())]
    assert len(files) > 2
    for content in (*shown.values(), *(path.read_bytes() for path in files)):
        for secret in secrets:
            assert secret not in content


@pytest.fixture(scope="module")
def second(first, serving, tmp_path_factory):
    """After kill -9: named by --logits-processors as well, without asynchronous scheduling."""
    before = figure(first, "countermark_requests_total")
    first.kill()
    with vllm_support.Vllm(tmp_path_factory.mktemp("second"), "--middleware", "countermark.vllm.AccountMiddleware", "--logits-processors", "countermark.vllm:MarkProcessor",
                           "--no-async-scheduling", *SMALL_CACHE, config=serving.config) as server:
        server.up()
        assert figure(server, "countermark_requests_total") >= before  # what the dead had counted
        yield server


def test_24_answers_after_a_kill(second, serving):
    before = sum(causes(second).values())
    answers = ask_24(second, serving)
    all_found(serving, answers)
    assert sum(causes(second).values()) - before == sum(len(ids) for _, _, ids in answers)
    assert figure(second, "vllm:num_preemptions_total") > 0


def test_installed_and_not_configured(second, serving, tmp_path):
    """Without a configuration nothing is marked, and the log says so: the control."""
    second.stop()
    with vllm_support.Vllm(tmp_path, "--max-num-seqs", "32") as server:
        server.up()
        answers = drive(server.url, [Call("/v1/completions", {**SAMPLING, "prompt": f"{SYSTEM}\n\nA story about {SUBJECTS[i]}.\n\n", "temperature": 1.0}) for i in range(8)])
        ids = [a.json()["choices"][0]["token_ids"] for a in answers]
        assert "NOTHING IS MARKED" in server.output()
    found = serving.detect(ids)
    assert all(record["verdict"] != "marked" for record in found["records"])
    assert all(test["log10_p_adjusted"] > -5 for record in found["records"] for test in record["accounts"])


def test_a_bad_set_up_does_not_start(serving, tmp_path):
    """The command itself: it ends by itself, before the model is loaded, and one line says why. The other bad set-ups are check_bad_set_ups."""
    broken = serving.folder / "broken.toml"
    broken.write_text(serving.config.read_text().replace('"epoch/*.bundle"', '"none/*.bundle"'))
    server = vllm_support.Vllm(tmp_path, config=broken)
    assert server.ended(120) not in (0, None)
    lines = [line for line in server.output().splitlines() if "countermark:" in line]
    assert len(lines) == 1 and "no bundle matches" in lines[0], server.output()[-3000:]
    assert "Traceback" not in server.output()


# ---- inside its process ------------------------------------------------------------------------------------------------

INSIDE = Path(__file__).with_name("vllm_inside.py")
CHECKS = [node.name for part in ("v1", "v2", "setup") for node in ast.parse(INSIDE.with_name(f"vllm_inside_{part}.py").read_text()).body
          if isinstance(node, ast.FunctionDef) and node.name.startswith("check_")]


@pytest.fixture(scope="module", autouse=True)
def begun(tmp_path_factory):
    """Runs beside the first server, which takes its time to start."""
    folder = tmp_path_factory.mktemp("inside")
    with Server([vllm_support.python(), INSIDE, folder / "files", folder / "results.json"], log=folder / "log", cwd=folder,
                env=vllm_support.environment(folder, path=vllm_support.paths(), OMP_NUM_THREADS=1)) as process:
        yield process, folder


@pytest.fixture(scope="module")
def inside(begun):
    process, folder = begun
    assert process.ended(600) == 0, process.output()[-4000:]
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("check", CHECKS)
def test_inside(inside, check):
    assert inside[check] == "", inside[check]
