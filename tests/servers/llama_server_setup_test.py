"""A llama-server that cannot be marked does not start: one line says why, and its exit status is not 0. And what stands around a server is left alone."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from llama_support import PRELOAD, PROGRAM, LlamaServer
from serving_fixture import GGUF, FixedServing

STAND_INS = Path(os.environ["COUNTERMARK_LIB"]).parent / "tests" / "preload"
MODEL = ["-m", str(GGUF), "--host", "127.0.0.1", "--port", "0", "-t", "1", "-np", "1", "-c", "256", "--no-ui", "--no-warmup"]


@pytest.fixture
def serving(tmp_path):
    return FixedServing(tmp_path / "serving", server="llama")


def refusal(command, environment, preload=PRELOAD):
    """The one line."""
    done = subprocess.run([str(word) for word in command], env={**environment, "LD_PRELOAD": str(preload)}, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    lines = [line for line in done.stderr.splitlines() if line.startswith("countermark: not serving: ")]
    assert done.returncode == 1 and len(lines) == 1 and "serving" not in done.stdout, (done.returncode, done.stderr, done.stdout)
    return lines[0]


# Before anything is loaded: `--version` is enough to see it.
BROKEN = {
    "no configuration": (lambda s: None, "COUNTERMARK_CONFIG is not set"),
    "no such configuration": (lambda s: s.config.unlink(), "config.toml"),
    "no TOML": (lambda s: s.config.write_text("bundles = ["), "line 1"),
    "unknown member": (lambda s: s.config.write_text(s.config.read_text().replace("state_dir", "state_folder")), "unknown member 'state_folder'"),
    "member of another type": (lambda s: s.config.write_text(s.config.read_text().replace('state_dir = "state"', "state_dir = 5")), "state_dir is a text"),
    "no bundle": (lambda s: s.epoch.bundle.unlink(), "no bundle matches"),
    "broken bundle": (lambda s: s.epoch.bundle.write_bytes(s.epoch.bundle.read_bytes()[:-1]), "epoch.bundle"),
    "no passphrase": (lambda s: s.epoch.secret.unlink(), "passphrase"),
    "wrong passphrase": (lambda s: s.epoch.secret.write_text("another"), "passphrase"),
    "passphrase that others may read": (lambda s: s.epoch.secret.chmod(0o644), "passphrase"),
    "no ticket key": (lambda s: s.ticket_key_file.unlink(), "ticket.key"),
    "ticket key that others may read": (lambda s: s.ticket_key_file.chmod(0o644), "ticket.key"),
    "no ticket key and no account": (lambda s: s.config.write_text(s.config.read_text().replace("ticket_key_file", "#")), "ticket_key_file"),
    "account of another epoch": (lambda s: s.config.write_text('account = "org-z"\n' + s.config.read_text()), "account 'org-z' is not registered"),
    "no folder for counters": (lambda s: s.state_dir.rmdir(), "state"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_setup(serving, name):
    spoil, said = BROKEN[name]
    environment = serving.environment()
    if name == "no configuration":
        del environment["COUNTERMARK_CONFIG"]
    else:
        spoil(serving)
    line = refusal([PROGRAM, "--version"], environment)
    assert said in line and "of a bundle that guards nothing" not in line, line


# What only a model or the server's own settings show.
@pytest.mark.parametrize(("options", "said"), [(["--mirostat", "2"], "mirostat_v2"), (["--samplers", "dry;adaptive_p"], "adaptive_p"), (["--samplers", "top_k;temperature"], "leave out dry")])
def test_settings_that_would_leave_everything_unmarked(serving, options, said):
    assert said in refusal([PROGRAM, *MODEL, *options], serving.environment())


def test_another_vocabulary(tmp_path):
    serving = FixedServing(tmp_path, server="llama", tokenizer="-", vocabulary=32000)
    assert "a vocabulary of 32000 tokens, and the model has 49152" in refusal([PROGRAM, *MODEL], serving.environment())


def test_one_account_for_the_port_needs_no_dry(tmp_path):
    serving = FixedServing(tmp_path, server="llama", port_account="org-b")
    with LlamaServer(serving, "--samplers", "top_k;temperature", slots=2, context=256) as server:
        tokens = server.complete([{"prompt": "Once", "n_predict": 100, "ignore_eos": True, "seed": 3}])[0]["tokens"]
    record = serving.detect([tokens])["records"][0]
    assert record["verdict"] == "marked" and min(record["accounts"], key=lambda a: a["log10_p"])["account"] == "org-b", record


def test_nothing_else_is_interposed():
    """The functions of the map, and no symbol of Abseil, OpenSSL or ours."""
    shown = subprocess.run(["nm", "-D", "--defined-only", PRELOAD], capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1].partition("@")[0] for line in shown.splitlines() if " A " not in line}
    wanted = Path(os.environ["COUNTERMARK_SOURCE"], "src", "llama", "libcountermark_llama_preload.map").read_text()
    assert names == set(re.findall(r"\bllama_\w+(?=;)", wanted)) and len(names) >= 14


def test_a_static_build(serving):
    assert "static build" in refusal([STAND_INS / "preload_static_server"], serving.environment())


def test_a_version_that_is_not_supported(serving):
    assert "llama.cpp 0.4.9 is not supported" in refusal([STAND_INS / "preload_server"], serving.environment())


def test_two_libraries_at_once(serving):
    second = STAND_INS / "libpreload_second.so"
    for order in (f"{PRELOAD}:{second}", f"{second}:{PRELOAD}"):
        assert "preloaded library" in refusal([PROGRAM, "--version"], serving.environment(), order)


def test_other_programs_are_left_alone(serving):
    """The variable reaches whatever the server's script starts."""
    environment = {**os.environ, "LD_PRELOAD": str(PRELOAD), "COUNTERMARK_CONFIG": "/nowhere"}
    for command in (["/bin/sh", "-c", "/bin/true && /bin/ls / > /dev/null"], [sys.executable, "-c", "import json, ssl"]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), done


def test_the_children_of_a_router(serving, tmp_path):
    """A router starts a server a model; they inherit the library."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "small.gguf").symlink_to(GGUF)
    with LlamaServer(serving, "--models-dir", models, slots=1, context=256, model=False) as router:
        body = {"model": "small", "dry_sequence_breakers": [serving.ticket("org-c")], "prompt": "Once", "n_predict": 100, "ignore_eos": True, "seed": 4}
        tokens = router.complete([body])[0]["tokens"]
    record = serving.detect([tokens])["records"][0]
    assert record["verdict"] == "marked" and min(record["accounts"], key=lambda a: a["log10_p"])["account"] == "org-c", record
