"""docs/examples/serve.c, compiled as C99 against the shared library and run on the real small model: watermark-detect names each account by its answers.

Six answers of up to 220 tokens, two for each of three accounts; two channels of half the windows each. The two answers of an account, pooled, are named
first among 300 candidates with log10 p <= -20 on the account channel, and no other candidate of them has an adjusted log10 p below -5.

The epoch's key is a constant (tests/llama/fixed_epoch.cc) and the draws are seeded: on one kind of processor every run has the same outcome. libllama's logits may differ in their last bits between
instruction sets; then other texts come out, and the last of these checks has odds of 3 x 10^-5 of failing, once for such a machine, not at each run.
"""
import json
import os
import re
import subprocess

import pytest

ENV = os.environ
BIN = ENV["COUNTERMARK_BIN"]
MODEL = os.path.join(ENV["COUNTERMARK_CACHE"], "models", "SmolLM2-135M-Instruct.Q4_1.gguf")
ACCOUNTS = ["org-a", "org-b", "org-c"]


def run(*command, expect=(0,), **more):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **more)
    assert done.returncode in expect, done.stderr
    return done


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    built = tmp_path_factory.mktemp("serve") / "serve"
    libraries = [ENV["COUNTERMARK_LIBRARY"], ENV["LLAMA_LIBRARY"]]
    run(ENV["CC"], "-std=c99", "-Wall", "-Wextra", "-Werror", os.path.join(ENV["COUNTERMARK_SOURCE"], "docs", "examples", "serve.c"), "-o", built,
        "-I" + os.path.join(ENV["COUNTERMARK_SOURCE"], "include"), "-isystem", ENV["LLAMA_INCLUDE"],
        *libraries, *("-Wl,-rpath," + os.path.dirname(library) for library in libraries), *ENV.get("SANITIZE", "").split())
    return built


@pytest.fixture(scope="module")
def served(tmp_path_factory, program):
    folder = tmp_path_factory.mktemp("served")
    (folder / "hosts").write_text("of a bundle that guards nothing\n")
    (folder / "hosts").chmod(0o600)
    run(ENV["COUNTERMARK_FIXED_EPOCH"], folder, MODEL, folder / "hosts")
    done = run("bash", "-c", 'exec "$0" "$1" "$2" 3< "$3"', program, MODEL, folder / "epoch.bundle", folder / "hosts")
    answers = folder / "answers.jsonl"
    answers.write_text(done.stdout)
    (folder / "accounts.txt").write_text("".join(f"{a}\n" for a in [f"other-{i:03d}" for i in range(297)] + ACCOUNTS))
    return folder, done.stderr


def test_most_tokens_are_marked(served):
    folder, said = served
    marked, repeated, faults = map(int, re.search(r"(\d+) tokens marked, (\d+) not for repeated windows, (\d+) faults", said).groups())
    records = [json.loads(line) for line in open(folder / "answers.jsonl")]
    assert len(records) == 6 and faults == 0
    assert sum(len(r["token_ids"]) for r in records) > 600
    assert marked > 400 and marked > repeated


@pytest.mark.parametrize("account", ACCOUNTS)
def test_each_account_is_named(served, account):
    folder, _ = served
    mine = folder / f"{account}.jsonl"
    mine.write_text("".join(line for line in open(folder / "answers.jsonl") if json.loads(line)["account"] == account))
    result = json.loads(run(os.path.join(BIN, "watermark-detect"), mine, "--bundle", folder / "epoch.bundle", "--passphrase-file", folder / "hosts",
                            "--token-ids-field", "token_ids", "--accounts", folder / "accounts.txt", "--json", "--no-progress",
                            expect=(0, 1)).stdout)
    by_p = sorted(result["pooled"]["accounts"], key=lambda a: a["log10_p"])
    assert by_p[0]["account"] == account
    assert by_p[0]["log10_p"] <= -20
    assert by_p[1]["log10_p_adjusted"] > -5


def test_without_a_bundle_nothing_is_served(tmp_path, program):
    (tmp_path / "wrong").write_text("no passphrase of it")
    done = run("bash", "-c", 'exec "$0" "$1" "$2" 3< "$3"', program, MODEL, tmp_path / "none.cmkb", tmp_path / "wrong", expect=(2,))
    assert "none.cmkb" in done.stderr and done.stdout == ""
