"""Set-ups that must not start, by vLLM's own configuration: one line each."""
import contextlib
import importlib.util
import io
import sys
import types

import vllm
from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsProcRequestState
from vllm.v1.worker.gpu.states import RequestState
from vllm_inside_support import ACCOUNTS, FOLDER, HOST, SERVING, VOCABULARY, FixedServing, Request, adapter, configuration, environment, plain


def refused(why, expect, config=None, **arguments):
    said = io.StringIO()
    with environment(COUNTERMARK_CONFIG=config), contextlib.redirect_stderr(said):
        try:
            configuration(**arguments)
        except SystemExit as end:
            assert end.code
        else:
            raise AssertionError(f"{why}: started")
    lines = [line for line in said.getvalue().splitlines() if line.startswith("countermark:")]
    assert len(lines) == 1 and expect in lines[0], (why, said.getvalue()[-2000:])
    assert "of a bundle that guards nothing" not in said.getvalue()


def altered(name, change):
    folder = FOLDER / "bad" / name
    serving = FixedServing(folder, server="vllm")
    change(serving)
    return str(serving.config)


def edited(old, new):
    def change(serving):
        text = serving.config.read_text()
        assert old in text
        serving.config.write_text(text.replace(old, new))

    return change


def check_bad_set_ups():
    good = str(SERVING.config)
    with environment(COUNTERMARK_CONFIG=good):
        configuration()
    refused("no configuration there", "no such configuration file", str(FOLDER / "nowhere.toml"))
    refused("named, and no configuration", "COUNTERMARK_CONFIG is not set", None, logits_processors=["countermark.vllm:MarkProcessor"])
    refused("no bundle", "no bundle matches", altered("bundle", lambda s: s.epoch.bundle.unlink()))
    refused("wrong passphrase", "epoch.bundle", altered("passphrase", lambda s: s.epoch.secret.write_text("another\n")))
    refused("bundle for others", "epoch.bundle", altered("mode", lambda s: s.epoch.bundle.chmod(0o644)))
    refused("cut short", "epoch.bundle", altered("cut", lambda s: s.epoch.bundle.write_bytes(s.epoch.bundle.read_bytes()[:100])))
    refused("no ticket key", "no ticket key there", altered("ticket", lambda s: s.ticket_key_file.unlink()))
    refused("ticket key for others", "chmod 600", altered("ticket-mode", lambda s: s.ticket_key_file.chmod(0o644)))
    refused("unknown member", "unknown member", altered("member", edited("state_dir", "statedir")))
    refused("no state_dir", "state_dir is missing", altered("state", edited('state_dir = "state"', "")))
    refused("another policy", "was made with floor", altered("policy", edited('low_entropy = "floor"', 'low_entropy = "deny"')))
    other = FixedServing(FOLDER / "bad" / "vocabulary", server="vllm", tokenizer="-", vocabulary=500)
    refused("wrong vocabulary", "vocabulary of 500 tokens, and the model has 49152", str(other.config))
    refused("ours twice", "2 times", good, logits_processors=["countermark.vllm:MarkProcessor"] * 2)
    refused("speculative, V1", "speculative decoding on the V1 runner", good, speculative_config={"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_max": 2})
    allowed = FixedServing(FOLDER / "bad" / "allow", server="vllm", policy="allow")
    refused("greedy by default", "default temperature is 0", str(allowed.config), override_generation_config={"temperature": 0.0})
    version = vllm.__version__
    try:
        vllm.__version__ = "0.33.1+cpu"
        refused("another version", "vLLM 0.33.1", good)
    finally:
        vllm.__version__ = version


def check_a_vllm_whose_classes_have_moved():
    """Where the module cannot be had at all: said likewise, if marks are wanted."""
    name, said = "vllm.v1.sample.logits_processor.interface", io.StringIO()
    kept = sys.modules[name]
    try:
        sys.modules[name] = None
        for config, expected in ((str(SERVING.config), SystemExit), (None, ImportError)):
            spec = importlib.util.spec_from_file_location("countermark.of_another_version", adapter.__file__)
            with environment(COUNTERMARK_CONFIG=config), contextlib.redirect_stderr(said):
                try:
                    spec.loader.exec_module(importlib.util.module_from_spec(spec))
                except expected:
                    continue
                raise AssertionError(expected)
    finally:
        sys.modules[name] = kept
    assert said.getvalue().count("\n") == 1 and "is not a version that this build knows" in said.getvalue()


def check_bad_set_ups_of_the_v2_runner():
    config = plain()
    for change, expect in (
        (lambda c: setattr(c, "watermark_config", object()), "own watermark"),
        (lambda c: setattr(c.model_config, "enable_trace_replay", True), "enable-trace-replay"),
        (lambda c: setattr(c.model_config, "return_sampling_mask", True), "return-sampling-mask"),
    ):
        changed = types.SimpleNamespace(
            model_config=types.SimpleNamespace(
                logits_processors=None, is_diffusion=False, enable_trace_replay=False, return_sampling_mask=False, get_diff_sampling_param=config.model_config.get_diff_sampling_param
            ),
            use_v2_model_runner=True, speculative_config=None, watermark_config=None, parallel_config=config.parallel_config,
        )
        adapter.check_server(changed)
        change(changed)
        try:
            adapter.check_server(changed)
        except adapter.SetupError as error:
            assert expect in str(error)
        else:
            raise AssertionError(expect)
    # vLLM's own loader takes the class for either runner.
    with environment(COUNTERMARK_CONFIG=None):
        state = LogitsProcRequestState.from_request_state(RequestState(2, 64, 64, 0, VOCABULARY, HOST))
        silent = adapter.MarkProcessor(plain(), state)
        assert silent._seat is None  # installed and not configured: it says so, and stays out of the way
    # Unless the API's process is configured, and has left the truncation to it.
    request = Request(1, ACCOUNTS[0], {"temperature": 1.0}, front=True)
    try:
        silent.add_request(0, request.params)
    except RuntimeError as error:
        assert "give COUNTERMARK_CONFIG to both" in str(error)
    else:
        raise AssertionError("not seen")
