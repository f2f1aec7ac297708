"""The same request gets the same tokens by every seat of the hook, on the same logits: the C++ hook, this package, and the shared library called as a C program calls it. All are held against
hook-v1.json, whose maker shares no code with the project. (What a server's own arithmetic makes of the logits is the server's.)"""
import ctypes
import json
import os

import numpy as np
import pytest

import countermark
from fixture import PASSPHRASE, FixedEpoch

with open(os.path.join(os.environ["COUNTERMARK_SOURCE"], "tests", "vectors", "hook-v1.json")) as file:
    VECTORS = json.load(file)
VOCABULARY = VECTORS["vocabulary"]
CASES = VECTORS["cases"]
NAMES = [f"{c['scheme']}-{c['account'] or 'nobody'}-{c['seed']}" for c in CASES]


def logits(positions):
    x = (100000 * np.arange(positions, dtype=np.uint64)[:, None] + np.arange(VOCABULARY, dtype=np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return (((x >> np.uint64(40)).astype(np.int64) - 2**23) / 2**21).astype(np.float32)


@pytest.fixture(scope="module")
def epochs(tmp_path_factory):
    return {scheme: FixedEpoch(tmp_path_factory.mktemp(scheme), vocabulary=VOCABULARY, scheme=scheme) for scheme in ("partition", "tournament", "gumbel")}


def parameters_of(case):
    return {name: case[name] for name in ("temperature", "top_k", "top_p", "min_p")}


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_this_package(epochs, case):
    z = logits(len(case["tokens"]))
    with epochs[case["scheme"]].hook(max_slots=2) as hook:
        assert hook.begin(1, account=case["account"], seed=case["seed"], prompt=case["prompt"], **parameters_of(case))
        steps = [hook.sample([1], row, causes=True) for row in z]
        assert [int(s.tokens[0]) for s in steps] == case["tokens"]
        assert [countermark.CAUSES[s.causes[0]] for s in steps] == case["causes"]


@pytest.mark.parametrize("case", [c for c in CASES if c["seed"] is not None], ids=[n for n in NAMES if not n.endswith("None")])
def test_the_cpp_hook(epochs, tmp_path, case):
    tokens, causes = epochs[case["scheme"]].reference_tokens(tmp_path, logits(len(case["tokens"])), case["account"], case["seed"], **parameters_of(case))
    assert tokens == case["tokens"] and causes == case["causes"]


class Passphrase(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("fd", ctypes.c_int), ("callback", ctypes.c_void_p), ("user", ctypes.c_void_p)]


class Options(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), *((name, ctypes.c_int32) for name in (
        "device", "max_slots", "max_rows", "max_length", "vocabulary", "max_columns", "scheme", "tournament_candidates", "account_cache", "marking"))]


class Request(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("account", ctypes.c_char_p), ("request", ctypes.c_char_p), ("temperature", ctypes.c_float), ("top_k", ctypes.c_int32),
                ("top_p", ctypes.c_float), ("min_p", ctypes.c_float), ("seeded", ctypes.c_int32), ("seed", ctypes.c_uint64), ("prompt", ctypes.POINTER(ctypes.c_uint32)),
                ("prompt_size", ctypes.c_size_t)]


class Batch(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("rows", ctypes.c_int32), ("slots", ctypes.c_void_p), ("depths", ctypes.c_void_p), ("drafts", ctypes.c_void_p),
                ("logits", ctypes.c_void_p), ("dtype", ctypes.c_int), ("columns", ctypes.c_int32), ("row_stride", ctypes.c_int64), ("out_tokens", ctypes.c_void_p),
                ("out_logprobs", ctypes.c_void_p), ("out_causes", ctypes.c_void_p), ("out_accepted", ctypes.c_void_p), ("commit", ctypes.c_int32), ("stream", ctypes.c_void_p)]


@pytest.fixture(scope="module")
def library():
    library = ctypes.CDLL(os.environ["COUNTERMARK_LIBRARY"])
    library.countermark_keys_new.restype = ctypes.c_void_p
    library.countermark_keys_message.restype = library.countermark_hook_message.restype = ctypes.c_char_p
    library.countermark_hook_default_options.restype = Options
    library.countermark_default_request.restype = Request
    library.countermark_default_batch.restype = Batch
    return library


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_c_interface(epochs, library, case):
    keys = ctypes.c_void_p(library.countermark_keys_new(None))
    read, write = os.pipe()
    os.write(write, PASSPHRASE.encode() + b"\n")
    os.close(write)
    source = Passphrase(ctypes.sizeof(Passphrase), read, None, None)
    assert library.countermark_keys_open_bundle(keys, os.fsencode(epochs[case["scheme"]].bundle), ctypes.byref(source)) == 0, library.countermark_keys_message(keys)
    os.close(read)
    options, hook = library.countermark_hook_default_options(), ctypes.c_void_p()
    assert options.struct_size == ctypes.sizeof(Options)
    options.max_slots = 4
    assert library.countermark_hook_create(keys, ctypes.byref(options), ctypes.byref(hook)) == 0, library.countermark_keys_message(keys)
    request = library.countermark_default_request()
    assert request.struct_size == ctypes.sizeof(Request)
    request.account = case["account"].encode()
    for name, value in parameters_of(case).items():
        setattr(request, name, value)
    request.seeded, request.seed = case["seed"] is not None, case["seed"] or 0
    request.prompt, request.prompt_size = (ctypes.c_uint32 * len(case["prompt"]))(*case["prompt"]), len(case["prompt"])
    assert library.countermark_begin(hook, 3, ctypes.byref(request), None) == 0, library.countermark_hook_message(hook)
    slots, tokens, causes = np.array([3], np.int32), np.zeros(1, np.int32), np.zeros(1, np.uint8)
    batch = library.countermark_default_batch()
    assert batch.struct_size == ctypes.sizeof(Batch)
    batch.rows, batch.columns, batch.row_stride, batch.commit = 1, VOCABULARY, VOCABULARY, 1
    batch.slots, batch.out_tokens, batch.out_causes = slots.ctypes.data, tokens.ctypes.data, causes.ctypes.data
    taken = []
    for row in logits(len(case["tokens"])):
        batch.logits = row.ctypes.data
        assert library.countermark_sample(hook, ctypes.byref(batch)) == 0, library.countermark_hook_message(hook)
        taken.append((int(tokens[0]), countermark.CAUSES[causes[0]]))
    assert taken == list(zip(case["tokens"], case["causes"], strict=True))
    library.countermark_hook_free(hook)
    library.countermark_keys_free(keys)
