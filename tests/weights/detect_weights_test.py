"""watermark-detect --weights-model with the real small model: code that it writes under the mark, tested with and without weights; the report and its verifier; what goes wrong.

The marked answers are the same at every run of one kind of processor (a fixed key, fixed seeds). Unmarked text: a bound at or below 10⁻⁴ under the fixed key has odds of 10⁻⁴ over
the key's draw, once for a machine.
"""
import json
import math
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(os.environ["COUNTERMARK_SOURCE"]) / "tests" / "cli"))
from detect_support import jsonl, run  # noqa: E402  (needs the path above)

MODEL = pathlib.Path(os.environ["COUNTERMARK_CACHE"]) / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPTS = ["Write a Python function that merges two sorted lists. Give the code first, then explain it.",
           "Write a C function that computes the greatest common divisor. Give the code first, then explain it."]
PLAIN = "The harbour town waits for its boats. Nobody in it knows whether they will come before the storm, and nobody says so.\nfor i in range(10):\n    print(i)\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    secret = folder / "passphrase"
    secret.write_text("of a bundle that guards nothing")
    secret.chmod(0o600)
    subprocess.run([os.environ["COUNTERMARK_FIXED_EPOCH"], folder, MODEL, secret], check=True)
    jsonl(folder / "prompts.jsonl", [{"id": str(i), "prompt": p, "account": "org-a"} for i, p in enumerate(PROMPTS)])
    made = run("--model", MODEL, "--prompts", folder / "prompts.jsonl", "--bundle", folder / "epoch.bundle", "--passphrase-file", secret, "--seed", 11, "--temperature", 1.0,
               "--top-p", 0.95, "--no-progress", "--max-tokens", 120, "--parallel", 2, "--threads", 1, "--jsonl", folder / "marked.jsonl", program="watermark-generate")
    assert made.returncode == 0, made.err
    store = ["--store", folder / "signer.cmks", "--passphrase-file", secret]
    assert run("init", *store, "--tenant", "signer", program="watermark-keys").returncode == 0
    assert run("signing-key", *store, "--public-out", folder / "signer.pem", program="watermark-keys").returncode == 0
    return folder


def detect(served, name, *more):
    return run(served / name, "--epoch-key", served / "epoch.key", "--tokenizer", MODEL, "--threads", 1, "--no-progress", *more)


WEIGHTED = ["--text-field", "text", "--weights-model", MODEL]


def check(tests, unweighted, accounts):
    assert [(t["kind"], t["name"]) for t in tests] == [("channel", "base")] + [("account", a) for a in accounts]
    assert [t["scored"] for t in tests] == [t["scored"] for t in unweighted["channels"] + unweighted["accounts"]]
    for test in tests:
        bound = min(0, (test["log_mgf"] - test["lambda"] * int(test["sum"])) / math.log(10))
        assert test["log10_p"] == pytest.approx(bound, abs=1e-9 * max(1, test["log_mgf"])) and test["display_log10_p"] <= test["log10_p"] <= 0
        assert test["rule"] == "entropy-1" and len(test["model_sha256"]) == 64 and test["reading"] == 0


def test_marked_answers_and_their_report(served, tmp_path):
    """Records and their pool, in JSON and in a signed report that the verifier derives again."""
    report = tmp_path / "report.json"
    done = detect(served, "marked.jsonl", *WEIGHTED, "--account", "org-a", "--account", "org-b", "--json", "--report", report, "--signing-keystore", served / "signer.cmks",
                  "--passphrase-file", served / "passphrase")
    assert done.returncode == 1, done.err
    result = json.loads(done.out)
    assert result["ledger"]["weighted"] == 1 and result["ledger"]["questions"] == 4
    for record in result["records"] + [result["pooled"]]:
        check(record["weighted"], record, ["org-a", "org-b"])
    pool = {(t["kind"], t["name"]): t for t in result["pooled"]["weighted"]}
    assert pool["channel", "base"]["log10_p"] < -6
    assert pool["account", "org-a"]["log10_p"] < pool["account", "org-b"]["log10_p"]
    assert sum(r["weighted"][0]["scored"] for r in result["records"]) >= pool["channel", "base"]["scored"]

    verified = run(report, "--public-key", served / "signer.pem", "--json", program="watermark-verify")
    assert verified.returncode == 0, verified.err
    assert "bounds of weighted tests" in verified.out and "corrections of weighted tests" in verified.out


def test_a_single_record_is_its_own_pool(served, tmp_path):
    plain = tmp_path / "plain.txt"
    plain.write_text(PLAIN)
    result = json.loads(run(plain, "--epoch-key", served / "epoch.key", "--tokenizer", MODEL, "--threads", 1, "--weights-model", MODEL, "--views", "raw,cleaned", "--json").out)
    assert result["ledger"]["questions"] == 2 and result["ledger"]["views"] == 2
    record, pooled = result["records"][0]["weighted"], result["pooled"]["weighted"]
    assert record == pooled and [t["reading"] for t in record] == [0, 1]
    assert record[0] == record[1] | {"reading": 0}  # nothing to clean: the same text
    assert record[0]["log10_p"] > -4 and result["verdict"] == "no evidence"


def test_the_table_has_a_row_with_weights(served):
    done = detect(served, "marked.jsonl", *WEIGHTED, "--limit", 1)
    assert "\n  weighted " in done.out and "each without weights and with" in done.out, done.out


@pytest.mark.parametrize("more, message", [
    (["--token-ids-field", "token_ids", "--weights-model", MODEL], "--weights-model is for texts"),
    (["--text-field", "text", "--weights-model", "/nowhere.gguf"], "/nowhere.gguf"),
    (["--text-field", "text", "--weights-model", __file__], "weights_test.py"),
])
def test_errors_name_what_is_wrong(served, more, message):
    done = detect(served, "marked.jsonl", *more)
    assert done.returncode == 2 and done.out == "" and message in done.err, done.err
