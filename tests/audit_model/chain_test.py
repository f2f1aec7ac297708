"""watermark-audit model as a user runs it, on the whole chain in seconds: a tiny teacher answers with the mark through countermark.hf, a student is trained on the answers of some accounts, and the
program says so; of a student of unmarked answers it does not. Keys and seeds are fixed."""
import fcntl
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")
pytest.importorskip("countermark")
SOURCE = pathlib.Path(os.environ["COUNTERMARK_SOURCE"])
sys.path[:0] = [str(SOURCE / "tests" / "cli"), str(SOURCE / "tests" / "audit_model")]

import tiny  # noqa: E402  (needs the path above)
from detect_support import BIN, mark_oracle, run  # noqa: E402

ACCOUNTS = [f"org-{i}" for i in range(6)]
USED = ACCOUNTS[:3]


class Chain:
    """Models, logs and keys in a folder."""

    def __init__(self, folder):
        torch.set_num_threads(1)
        self.folder = folder
        self.base = tiny.model(seed=2, sharp=0.3)
        tiny.write_gguf(self.base, folder / "base.gguf")
        self.epoch = tiny.Epoch(folder / "epoch", folder / "base.gguf", ACCOUNTS)
        teacher = tiny.model(seed=1)
        order = [ACCOUNTS[i % len(ACCOUNTS)] for i in range(48)]
        with self.epoch.hook() as hook:
            self.served = tiny.answers(teacher, hook, order)
        with self.epoch.hook(marking=False) as hook:
            self.unmarked = tiny.answers(teacher, hook, order)
        self.student = tiny.trained(self.base, [a for a in self.served if a.account in USED])
        tiny.write_gguf(self.student, folder / "student.gguf")
        tiny.write_gguf(tiny.trained(self.base, [a for a in self.unmarked if a.account in USED]), folder / "plain.gguf")
        self.write("log.jsonl", self.served)
        self.write("unmarked.jsonl", self.unmarked)
        (folder / "accounts").write_text("\n".join(ACCOUNTS) + "\n")

    def write(self, name, answers):
        (self.folder / name).write_text("".join(json.dumps(a.record(i)) + "\n" for i, a in enumerate(answers)))

    def command(self, suspect, *more, reference="base.gguf", probes="log.jsonl", mode="--served", directory=None):
        directory = directory or self.folder / f"run-{time.monotonic_ns()}"
        return ["model", "--suspect", self.folder / suspect, "--reference", self.folder / reference, "--probes", self.folder / probes, mode, "--run", directory, "--epoch-key",
                self.epoch.export, "--threads", "1", "--json", "--no-progress", *more]

    def audit(self, suspect, *more, **options):
        done = run(*self.command(suspect, *more, **options), program="watermark-audit")
        done.result = json.loads(done.out) if done.out else None
        return done

    def accounts(self):
        return ["--accounts", self.folder / "accounts"]


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return Chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture(scope="module")
def marked(chain):
    return chain.audit("student.gguf", "--search-ring", "--control", chain.folder / "plain.gguf", *chain.accounts())


def test_the_marked_student_is_found_and_the_right_accounts_come_first(chain, marked):
    assert marked.returncode == 1, marked.err
    r = marked.result
    assert r["verdict"] == "evidence" and r["reasons"] == []
    assert r["base"]["log10_p"] <= -10 and r["base"]["filter"]["log10_p"] <= -10 and r["base"]["top1"]["log10_p"] <= -10
    assert r["base"]["decoys"]["keys"] == 1000 and r["base"]["decoys"]["at_least_as_high"] == 0 and 0.8 < r["base"]["decoys"]["sd_z"] < 1.2
    assert r["base"]["decoys"]["p_at_most"]["0.01"] <= 30  # of 1000: a right bound is beyond it with odds below 1e-6
    ranked = r["accounts"]["ranked"]
    assert {a["label"] for a in ranked[:3]} == set(USED) and [a["named"] for a in ranked] == [True] * 3 + [False] * 3
    assert all(a["log10_p"] >= -3 for a in ranked[3:])
    assert set(r["rings"]["searched"]["members"]) == set(USED) and r["rings"]["searched"]["log10_p_corrected"] < ranked[0]["log10_p_corrected"]
    assert r["control"]["log10_p"] >= -3


def test_the_unmarked_student_and_a_stranger_are_not(chain):
    tiny.write_gguf(tiny.model(seed=5, sharp=0.3), chain.folder / "stranger.gguf")
    for suspect in ("plain.gguf", "stranger.gguf"):
        done = chain.audit(suspect, "--search-ring", *chain.accounts())
        assert done.returncode == 0, done.err
        r = done.result
        assert r["verdict"] == "no evidence"
        assert min([r["base"]["log10_p"], r["rings"]["searched"]["log10_p_searched"]] + [a["log10_p"] for a in r["accounts"]["ranked"]]) >= -3


def test_every_number_is_the_oracles(chain, marked):
    """First occurrences, routes, weights, argmax, statistics: from torch and the Python oracle of the mark."""
    key = bytes.fromhex(chain.epoch.export.read_text())
    oracle = mark_oracle.Epoch(key)
    labels = {"base": (0, oracle.base)} | {a: (1, oracle.account(a)) for a in ("org-2", "org-5")}
    sums = {label: dict(windows=0, sum=0.0, squares=0.0, top1=0) for label in labels}
    seen, seen_of, in_context = set(), set(), 0
    for answer in chain.served:
        whole = answer.prompt + answer.ids
        with torch.no_grad():
            q, q0 = (torch.softmax(m(torch.tensor([whole])).logits[0], -1) for m in (chain.student, chain.base))
        here = set()
        for i in range(2, len(whole)):
            window = tuple(whole[i - 2:i])
            repeated = window in here
            here.add(window)
            if i < len(answer.prompt) + 2:
                continue
            first, first_of = window not in seen, (answer.account, window) not in seen_of
            seen.add(window)
            seen_of.add((answer.account, window))
            in_context += repeated
            if repeated:
                continue
            channel = mark_oracle.channel_of(oracle.route, 3, window, [32768, 32768])
            for label, (of, mark_key) in labels.items():
                if of != channel or not (first if label == "base" else first_of and answer.account == label):
                    continue
                s = sums[label]
                s["windows"] += 1
                seed = mark_oracle.seed_of(mark_key, 3, window)
                difference = q[i - 1] - q0[i - 1]
                s["top1"] += mark_oracle.token_score(seed, int(q[i - 1].argmax()), 3, 64, 30)
                for token in difference.abs().topk(40).indices.tolist():
                    w = float(difference[token])
                    if w:
                        s["sum"] += w * (mark_oracle.token_score(seed, token, 3, 64, 30) / 2**40 - 1)
                        s["squares"] += w * w
    r = marked.result
    assert r["probes"]["in_context"] == in_context
    ranked = {a["label"]: a for a in r["accounts"]["ranked"]} | {"base": r["base"]}
    for label, s in sums.items():
        got = ranked[label]
        assert got["windows"] == s["windows"]
        assert int(got["top1"]["statistic"]) == s["top1"] and got["top1"]["scored"] == s["windows"]
        assert got["filter"]["z"] == pytest.approx(s["sum"] / math.sqrt(s["squares"]), rel=2e-3, abs=2e-3)


def test_text_that_hangs_on_no_key(chain):
    """Answers without a mark as probes: the student is found by them too, its unmarked twin is not; as text as by ids."""
    found = chain.audit("student.gguf", probes="unmarked.jsonl", mode="--public")
    assert found.returncode == 1 and found.result["base"]["filter"]["log10_p"] <= -6, found.err
    assert "log10_e" not in found.result["base"]["filter"]
    assert chain.audit("plain.gguf", probes="unmarked.jsonl", mode="--public").returncode == 0
    texts = [{"prompt": tiny.text(a.prompt), "answer": tiny.text(a.ids)} for a in chain.unmarked]
    (chain.folder / "texts.jsonl").write_text("".join(json.dumps(t) + "\n" for t in texts))
    as_text = chain.audit("student.gguf", "--tokenizer", chain.folder / "base.gguf", probes="texts.jsonl", mode="--public").result
    for member in ("base", "probes"):
        assert as_text[member] == found.result[member] or member == "base" and as_text["base"]["windows"] == found.result["base"]["windows"]
    assert as_text["base"]["filter"]["z"] == found.result["base"]["filter"]["z"]
    no_tokenizer = chain.audit("student.gguf", probes="texts.jsonl", mode="--public")
    assert no_tokenizer.returncode == 2 and "texts.jsonl:1: the prompt is text; give --tokenizer" in no_tokenizer.err


def test_the_same_student_in_another_vocabulary(chain, marked):
    tiny.write_gguf(chain.student, chain.folder / "turned.gguf", turn=7)
    refused = chain.audit("turned.gguf")
    assert refused.returncode == 2 and "has other tokens than the reference (61 ids differ); --map-vocabulary (with --tokenizer) compares through text" in refused.err
    assert "needs --tokenizer" in chain.audit("turned.gguf", "--map-vocabulary").err
    mapped = chain.audit("turned.gguf", "--map-vocabulary", "--tokenizer", chain.folder / "base.gguf")
    assert mapped.returncode == 1, mapped.err
    assert mapped.result["probes"]["unaligned"] == 0
    assert mapped.result["base"]["windows"] == marked.result["base"]["windows"]
    assert mapped.result["base"]["filter"]["z"] == pytest.approx(marked.result["base"]["filter"]["z"], rel=1e-3)
    assert mapped.result["base"]["top1"] == marked.result["base"]["top1"]


def test_rings_and_controls(chain):
    (chain.folder / "used").write_text("\n".join(USED) + "\n")
    (chain.folder / "others").write_text("\n".join(ACCOUNTS[3:]) + "\n")
    directory = chain.folder / "rings"
    first = chain.audit("student.gguf", "--ring", chain.folder / "used", "--ring", chain.folder / "others", *chain.accounts(), directory=directory).result
    used, others = first["rings"]["named"]
    assert used["log10_p"] < min(a["log10_p"] for a in first["accounts"]["ranked"]) and others["log10_p"] >= -3
    assert used["log10_p_corrected"] == pytest.approx(used["log10_p"] + math.log10(4)) and first["ledger"]["parts_of_alpha"] == 4
    # Other questions of the same run: the models are not asked again.
    before = (directory / "weights-000.log").stat()
    again = chain.audit("student.gguf", "--alpha", "1e-3", directory=directory)
    after = (directory / "weights-000.log").stat()
    assert again.returncode == 1 and (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
    assert again.result["base"]["filter"] == first["base"]["filter"]
    exposed = chain.audit("plain.gguf", "--control", chain.folder / "student.gguf")
    assert exposed.returncode == 3 and "the control model shows the same" in exposed.result["reasons"][0]
    (chain.folder / "twice").write_text("org-1\norg-1\n")
    assert "stands twice in a ring" in chain.audit("student.gguf", "--ring", chain.folder / "twice", *chain.accounts()).err
    assert "a ring is a set of candidate accounts" in chain.audit("student.gguf", "--search-ring").err


def test_what_allows_no_verdict(chain):
    def lines(change):
        records = [a.record(i) for i, a in enumerate(chain.served)]
        change(records)
        (chain.folder / "changed.jsonl").write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
        return chain.audit("student.gguf", probes="changed.jsonl")

    def reason(change):
        done = lines(change)
        assert done.returncode == 3 and done.result["verdict"] == "inconclusive", done.err
        return done.result["reasons"][0]

    assert reason(lambda r: r.clear()) == "no probe in the input"
    assert "could not be read" in reason(lambda r: r.insert(3, "{broken"))
    assert "cut short" in reason(lambda r: r[3:3] == r.__setitem__(slice(3, 3), ['{"v":1,"acc', '{"v":1,"event":"recovered"}']))
    assert "have no token ids" in reason(lambda r: r.append({"v": 1, "start": "2026-11-03T10:00:00Z", "choices": [{"token_ids_sha256": "00"}]}))
    logged = [{"v": 1, "time": f"2026-11-03T10:00:{40 - i:02}Z", "choices": [{"token_ids": a.ids}]} for i, a in enumerate(chain.served[:20])]
    assert "the clock went back" in reason(lambda r: r.__setitem__(slice(None), logged))

    def into_prompts(records):
        for r in records:
            r["prompt_token_ids"] = r["token_ids"]

    assert "stands in the prompts" in reason(into_prompts)
    assert "at least" not in reason(lambda r: [x["token_ids"].append(5000) for x in r[:1]])
    same = chain.audit("base.gguf")
    assert same.returncode == 3 and same.result["reasons"] == ["the suspect is the reference: the same file"]
    (chain.folder / "copy.gguf").write_bytes((chain.folder / "base.gguf").read_bytes() + b"\0" * 8)
    copy = chain.audit("copy.gguf")
    assert copy.returncode == 3 and "the same probabilities everywhere" in copy.result["reasons"][0]


def test_broken_models_and_directories_are_errors(chain):
    good = (chain.folder / "student.gguf").read_bytes()
    for name, content in {"cut": good[: len(good) // 2], "garbage": b"GGUF" + bytes(range(256)) * 40, "empty": b"", "text": b"no model\n"}.items():
        (chain.folder / f"{name}.gguf").write_bytes(content)
        done = chain.audit(f"{name}.gguf")
        assert done.returncode == 2 and f"{name}.gguf" in done.err and done.out == "", (name, done.err)
    assert chain.audit("missing.gguf").returncode == 2
    directory = chain.folder / "locked"
    assert chain.audit("student.gguf", directory=directory).returncode == 1
    with open(directory / "lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        locked = chain.audit("student.gguf", directory=directory)
    assert locked.returncode == 2 and "another process is at work" in locked.err
    other = chain.audit("plain.gguf", directory=directory)
    assert other.returncode == 2 and "made with other options: suspect_sha256" in other.err
    log = bytearray((directory / "weights-000.log").read_bytes())
    log[200] ^= 1
    (directory / "weights-000.log").write_bytes(log)
    damaged = chain.audit("student.gguf", directory=directory)
    assert damaged.returncode == 2 and "weights-000.log" in damaged.err
    assert "--served" in run("model", "--suspect", "a", "--reference", "b", "--probes", "c", "--run", "d", "--epoch-key", chain.epoch.export, program="watermark-audit").err


def test_kills_change_no_byte(chain):
    whole = chain.audit("student.gguf", *chain.accounts())
    expected = json.loads(whole.out)
    kills = 0
    for size in (64, 20000, 60000, 100000, 160000):
        directory = chain.folder / f"killed-{size}"
        command = [str(part) for part in chain.command("student.gguf", *chain.accounts(), directory=directory)]
        with subprocess.Popen([BIN / "watermark-audit", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None:
                log = directory / "weights-000.log"
                if log.exists() and log.stat().st_size >= size:
                    process.kill()
            kills += process.returncode == -9
        assert not (directory / "result.json").exists() or process.returncode != -9
        done = run(*command, program="watermark-audit")
        assert json.loads(done.out) == expected, done.err
    assert kills >= 3  # the others had ended before


def test_a_part_of_the_log_may_be_evaluated(chain):
    done = chain.audit("student.gguf", "--evaluate", "29", *chain.accounts()).result
    assert 600 < done["probes"]["evaluated"] < 1200 and done["base"]["log10_p"] < -6


def test_the_real_small_model(tmp_path):
    """SmolLM2 against a copy whose last norm is a little off: another model, and nothing of the mark in it."""
    gguf = pytest.importorskip("gguf")
    model = pathlib.Path(os.environ["COUNTERMARK_CACHE"]) / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    if not model.exists():
        pytest.skip("the small model is not there: tools/setup fetches it")
    copy = tmp_path / "altered.gguf"
    shutil.copyfile(model, copy)
    reader = gguf.GGUFReader(copy, "r+")
    norm = next(tensor for tensor in reader.tensors if tensor.name == "output_norm.weight")
    norm.data[::3] *= 1.25
    reader.data.flush()
    key = tmp_path / "key"
    key.write_text(bytes(range(32)).hex() + "\n")
    key.chmod(0o600)
    probes = tmp_path / "probes.jsonl"
    probes.write_text(json.dumps({"prompt": "Write a line on rivers.", "answer": "A river is a stream of water that flows through the land and carries what it meets down to the sea, slowly, all year."}) + "\n")
    done = run("model", "--suspect", copy, "--reference", model, "--probes", probes, "--public", "--tokenizer", model, "--run", tmp_path / "run", "--epoch-key", key, "--threads", "1", "--json",
               program="watermark-audit")
    assert done.returncode == 0, done.err
    r = json.loads(done.out)
    assert r["verdict"] == "no evidence" and 5 <= r["base"]["windows"] <= 20 and r["base"]["log10_p"] >= -3 and r["base"]["filter"]["z"] != 0
