"""Power on a real model: SmolLM2-135M-Instruct, 200 tokens of prose an answer, two channels, the default scheme.

Twelve answers, four for each of three accounts. At least 11 of the 12 have log10 p ≤ −4 on the base channel; each account's four answers pooled have
log10 p ≤ −20 on the account channel and are named first among 1,000 candidates; every unmarked answer is above −3 (odds under the null: 12 answers at
10⁻³, 1.2 %, with seeds fixed, so that the outcome is the same at every run on the same arithmetic).
"""
import json
import os
import secrets
import subprocess

import pytest

BIN = os.environ["COUNTERMARK_BIN"]
MODEL = os.path.join(os.environ["COUNTERMARK_CACHE"], "models", "SmolLM2-135M-Instruct.Q4_1.gguf")
ACCOUNTS = ["org-a", "org-b", "org-c"]
PROMPTS = [
    "Write a story about a ship's cook who can predict storms.",
    "Describe a walk through an old forest in autumn.",
    "Tell the story of two brothers who inherit a mill.",
    "Write about the day the electricity went out in a big city.",
    "Describe an evening in a mountain hut with strangers.",
    "Tell a tale of a clockmaker who wanted to stop time.",
    "Write a story about a train that never arrives.",
    "Describe the life of a street musician in winter.",
    "Tell the story of a girl who draws maps of places she has never seen.",
    "Write about a farmer who finds an ancient coin.",
    "Describe a harbour town waiting for its fishing boats.",
    "Tell the story of a librarian and a book that nobody borrowed.",
]


def run(name, *args, expect=(0,)):
    done = subprocess.run([os.path.join(BIN, name), *map(str, args)], capture_output=True, text=True)
    assert done.returncode in expect, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("power")
    secret = folder / "passphrase"
    secret.write_text(secrets.token_hex(16))
    secret.chmod(0o600)
    store = ["--store", folder / "keys.cmks", "--passphrase-file", secret]
    run("watermark-keys", "init", *store, "--tenant", "test")
    run("watermark-keys", "epoch", *store, "--name", "e", "--tokenizer", MODEL)
    run("watermark-keys", "account", "add", *store, *ACCOUNTS)
    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"id": str(i), "prompt": p, "account": ACCOUNTS[i % 3]}) + "\n" for i, p in enumerate(PROMPTS)))
    common = ["--model", MODEL, "--prompts", prompts, "--parallel", 12, "--max-tokens", 200, "--seed", 11, "--temperature", 1.0, "--top-p", 0.95]
    run("watermark-generate", *common, "--keystore", folder / "keys.cmks", "--passphrase-file", secret, "--epoch", "e", "--jsonl", folder / "marked.jsonl")
    run("watermark-generate", *common, "--no-mark", "--jsonl", folder / "plain.jsonl")
    candidates = folder / "accounts.txt"
    candidates.write_text("".join(f"{a}\n" for a in [f"other-{i:04d}" for i in range(997)][:500] + ACCOUNTS + [f"other-{i:04d}" for i in range(500, 997)]))
    return folder, secret


def detect(served, name, *more):
    folder, secret = served
    out = run("watermark-detect", folder / name, "--keystore", folder / "keys.cmks", "--passphrase-file", secret, "--epoch", "e", "--tokenizer", MODEL,
              "--text-field", "text", *more, "--no-progress", expect=(0, 1))
    return out


def test_base_channel(served):
    lines = [json.loads(line) for line in detect(served, "marked.jsonl", "--jsonl").splitlines()]
    assert len(lines) == 12
    assert sum(line["log10_p"] <= -4 for line in lines) >= 11, [line["log10_p"] for line in lines]


def test_unmarked_is_clean(served):
    lines = [json.loads(line) for line in detect(served, "plain.jsonl", "--jsonl").splitlines()]
    assert all(line["log10_p"] > -3 for line in lines), [line["log10_p"] for line in lines]


@pytest.mark.parametrize("account", ACCOUNTS)
def test_each_account_is_first_of_a_thousand(served, account):
    folder, _ = served
    records = [json.loads(line) for line in open(folder / "marked.jsonl")]
    mine = folder / f"{account}.jsonl"
    mine.write_text("".join(json.dumps(r) + "\n" for r in records if r["account"] == account))
    result = json.loads(detect(served, mine.name, "--accounts", folder / "accounts.txt", "--json"))
    accounts = result["pooled"]["accounts"]
    assert len(accounts) == 1000
    by_p = sorted(accounts, key=lambda a: a["log10_p"])
    assert by_p[0]["account"] == account
    assert by_p[0]["log10_p"] <= -20
    assert by_p[1]["log10_p_adjusted"] > -3


def test_ids_and_text_agree(served):
    """From token ids as served, at least as strong as from the text tokenised again."""
    ids = [json.loads(line) for line in run("watermark-detect", served[0] / "marked.jsonl", "--keystore", served[0] / "keys.cmks", "--passphrase-file", served[1],
                                            "--epoch", "e", "--token-ids-field", "token_ids", "--jsonl", "--no-progress", expect=(0, 1)).splitlines()]
    assert sum(line["log10_p"] <= -4 for line in ids) >= 11
    records = [json.loads(line) for line in open(served[0] / "marked.jsonl")]
    for line, record in zip(ids, records):
        assert line["scored"] <= max(0, len(record["token_ids"]) - 2)
