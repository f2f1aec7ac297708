"""SmolLM2-135M-Instruct through transformers: 24 answers for three accounts in one batch, every one detected and every account right, an unmarked control clean; and the same from a
process that takes the place of a killed one.

The epoch's key is a constant (reference.cc) and the seeds are: on one kind of processor every run has the same outcome. torch's logits may differ in their last bits
between instruction sets; then other texts come out, and the checks of what is *not* marked have a chance of failing, once for such a machine, not at each run: the
control's verdict 10⁻⁶ (the detector's alpha), no wrong account below a corrected 10⁻⁵ in 24 records 5·10⁻⁴."""
import json
import os
import signal
import subprocess
import sys

import pytest

import torch

import countermark
from countermark import hf
from fixture import ACCOUNTS, FixedEpoch
from hf_model_serve import CHATS, OPTIONS, OWNERS
from small_model import GGUF_PATH, small_model


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    torch.set_num_threads(1)
    model, tokenizer = small_model()
    epoch = FixedEpoch(tmp_path_factory.mktemp("epoch"), tokenizer=GGUF_PATH)
    with epoch.hook(max_slots=24, vocabulary=model.config.vocab_size) as hook:
        marked = hf.generate_marked(model, tokenizer, CHATS, hook, accounts=OWNERS, seed=11, **OPTIONS)
        metrics = hook.metrics()
    with epoch.hook(max_slots=8, marking=False) as hook:
        plain = hf.generate_marked(model, tokenizer, CHATS[::3], hook, accounts=OWNERS[::3], seed=11, **OPTIONS)
    return epoch, marked, metrics, plain


def check(epoch, texts):
    """Of 24 texts as they were served: each is told to be ours, and each account by its own."""
    detector = countermark.Detector(epoch.epoch_keys(), tokenizer=countermark.Tokenizer.open(GGUF_PATH))
    detection = detector.detect(texts)
    assert detection.verdict == "marked"
    for owner, result in zip(OWNERS, detection.records, strict=True):
        assert result.best_account.account == owner, result
        assert min(result.log10_p, result.best_account.log10_p_adjusted) < -4, result
        assert sorted(a.log10_p_adjusted for a in result.accounts)[1] > -5, result
    for account in ACCOUNTS:
        own = detector.detect([text for text, owner in zip(texts, OWNERS, strict=True) if owner == account]).pooled
        assert own.best_account.account == account and own.best_account.log10_p_adjusted < -20


def test_every_answer_and_every_account(served):
    epoch, marked, metrics, _ = served
    check(epoch, [a.text for a in marked])
    assert metrics.tokens == sum(len(a.token_ids) for a in marked) and metrics.fault == 0 and metrics.marked > 0.5 * metrics.tokens


def test_from_the_ids_as_served(served):
    epoch, marked, _, _ = served
    detection = countermark.Detector(epoch.epoch_keys()).detect([a.token_ids for a in marked])
    assert sum(r.log10_p < -4 for r in detection.records) >= 22
    assert [r.best_account.account for r in detection.records] == OWNERS


def test_the_control_is_clean(served):
    epoch, _, _, plain = served
    detector = countermark.Detector(epoch.epoch_keys(), tokenizer=countermark.Tokenizer.open(GGUF_PATH))
    for records in ([a.text for a in plain], CHATS[0][0]["content"].split(". ")):
        detection = detector.detect(records)
        assert detection.verdict in ("no evidence", "inconclusive")
        assert all(r.verdict != "marked" for r in detection.records)
    assert detector.detect([a.text for a in plain]).pooled.log10_p > -6
    assert sum(a.counters["marked"] for a in plain) == 0


def test_after_a_server_was_killed(served, tmp_path):
    """One process is killed in the middle of its answers, another takes its place: keys from the bundle, nothing from the dead one."""
    epoch = served[0]
    command = [sys.executable, "-P", os.path.join(os.path.dirname(__file__), "hf_model_serve.py"), epoch.bundle, epoch.secret, "12"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *filter(None, [os.environ.get("PYTHONPATH")])])}
    with subprocess.Popen([*command, tmp_path / "killed.json"], stdout=subprocess.PIPE, env=environment, text=True) as first:
        for _ in range(20):
            assert first.stdout.readline() == "step\n"
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed.json").exists()
    subprocess.run([*command, tmp_path / "answers.json"], stdout=subprocess.DEVNULL, env=environment, check=True)
    done = json.loads((tmp_path / "answers.json").read_text())
    assert [a["account"] for a in done["answers"]] == OWNERS and done["faults"] == 0
    check(epoch, [a["text"] for a in done["answers"]])
