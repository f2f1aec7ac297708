"""Power on a real model: SmolLM2-135M-Instruct, 200 tokens of prose an answer, two channels, the default scheme.

Twelve answers, four for each of three accounts. At least 11 of the 12 have log10 p ≤ −4 on the base channel; each account's four answers pooled have
log10 p ≤ −20 on the account channel and are named first among 1,000 candidates.

The epoch's key is a constant (fixed_epoch.cc), the seeds are, and the number of threads changes no token: on one kind of processor every run has the same
outcome. libllama's logits may differ in their last bits between instruction sets; then other texts come out, and the checks of what is *not* marked have a
chance of failing, once for such a machine, not at each run:
- no unmarked answer has log10 p ≤ −6, and at most one ≤ −3: at most 12·10⁻⁶ + 66·10⁻⁶ < 1e-4 (all above −3, as they are where this was written, would fail
  on 1.2 % of machines);
- no account that was not served has a corrected log10 p ≤ −5 in another's answers: at most 3·10⁻⁵.
"""
import json
import os
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


def generate(served, name, *more, marked=True, prompts="prompts.jsonl"):
    """Answers as records. The same options give the same answers."""
    folder, secret = served
    keys = ["--bundle", folder / "epoch.bundle", "--passphrase-file", secret] if marked else ["--no-mark"]
    run("watermark-generate", "--model", MODEL, "--prompts", folder / prompts, *keys, "--seed", 11, "--temperature", 1.0, "--top-p", 0.95,
        "--no-progress", *more, "--jsonl", folder / name)
    return [json.loads(line) for line in open(folder / name)]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("power")
    secret = folder / "passphrase"
    secret.write_text("of a bundle that guards nothing")
    secret.chmod(0o600)
    subprocess.run([os.environ["COUNTERMARK_FIXED_EPOCH"], folder, MODEL, secret], check=True)
    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"id": str(i), "prompt": p, "account": ACCOUNTS[i % 3]}) + "\n" for i, p in enumerate(PROMPTS)))
    result = folder, secret
    generate(result, "marked.jsonl", "--parallel", 12, "--max-tokens", 200)
    generate(result, "plain.jsonl", "--parallel", 12, "--max-tokens", 200, marked=False)
    candidates = folder / "accounts.txt"
    candidates.write_text("".join(f"{a}\n" for a in [f"other-{i:04d}" for i in range(997)][:500] + ACCOUNTS + [f"other-{i:04d}" for i in range(500, 997)]))
    return result


def detect(served, name, *more, keys="bundle"):
    """What watermark-detect prints, with the keys of the bundle or, as an expert elsewhere has them, of the export and its record."""
    folder, secret = served
    given = ["--bundle", folder / "epoch.bundle", "--passphrase-file", secret] if keys == "bundle" else ["--epoch-key", folder / "epoch.key"]
    return run("watermark-detect", folder / name, *given, *more, "--no-progress", expect=(0, 1))


TEXT = ["--tokenizer", MODEL, "--text-field", "text"]


def test_base_channel(served):
    lines = [json.loads(line) for line in detect(served, "marked.jsonl", *TEXT, "--jsonl").splitlines()]
    assert len(lines) == 12
    assert sum(line["log10_p"] <= -4 for line in lines) >= 11, [line["log10_p"] for line in lines]


def test_unmarked_is_clean(served):
    values = sorted(json.loads(line)["log10_p"] for line in detect(served, "plain.jsonl", *TEXT, "--jsonl").splitlines())
    assert len(values) == 12
    assert values[0] > -6 and values[1] > -3, values


@pytest.mark.parametrize("account", ACCOUNTS)
def test_each_account_is_first_of_a_thousand(served, account):
    folder, _ = served
    records = [json.loads(line) for line in open(folder / "marked.jsonl")]
    mine = folder / f"{account}.jsonl"
    mine.write_text("".join(json.dumps(r) + "\n" for r in records if r["account"] == account))
    result = json.loads(detect(served, mine.name, *TEXT, "--accounts", folder / "accounts.txt", "--json"))
    accounts = result["pooled"]["accounts"]
    assert len(accounts) == 1000
    by_p = sorted(accounts, key=lambda a: a["log10_p"])
    assert by_p[0]["account"] == account
    assert by_p[0]["log10_p"] <= -20
    assert by_p[1]["log10_p_adjusted"] > -5


def test_ids_and_text_agree(served):
    """From token ids as served, at least as strong as from the text tokenised again."""
    ids = [json.loads(line) for line in detect(served, "marked.jsonl", "--token-ids-field", "token_ids", "--jsonl", keys="export").splitlines()]
    assert sum(line["log10_p"] <= -4 for line in ids) >= 11
    records = [json.loads(line) for line in open(served[0] / "marked.jsonl")]
    for line, record in zip(ids, records):
        assert line["scored"] <= max(0, len(record["token_ids"]) - 2)


@pytest.mark.parametrize("marked", [True, False])
def test_threads_change_no_token(served, marked):
    """Else the outcome of the tests above would hang on the machine's number of cores."""
    folder, _ = served
    (folder / "few.jsonl").write_text("".join(open(folder / "prompts.jsonl").readlines()[:3]))
    options = ["--parallel", 3, "--max-tokens", 24]
    answers = [generate(served, f"threads-{marked}-{i}.jsonl", *options, "--threads", n, marked=marked, prompts="few.jsonl") for i, n in enumerate((1, 1, 2))]
    assert answers[0] == answers[1] == answers[2]
    assert all(len(r["token_ids"]) > 8 for r in answers[0])
