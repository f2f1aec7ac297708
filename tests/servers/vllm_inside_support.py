"""What the checks inside vLLM's own Python share: a serving host's files, requests, rows of logits, and what the CPU hook makes of them."""
import contextlib
import copy
import dataclasses
import functools
import os
import sys
from pathlib import Path

import numpy as np
import torch
import vllm.v1.worker.cpu.shm  # noqa: F401  vLLM's own layer for its V2 runner on a processor
from serving_fixture import ACCOUNTS, SMALL_MODEL, FixedServing
from vllm import SamplingParams
from vllm.engine.arg_utils import EngineArgs

import countermark.vllm as adapter
from countermark.serving.ticket import child_label

HOST = torch.device("cpu")
VOCABULARY = 49152
FOLDER = Path(sys.argv[1])
SERVING = FixedServing(FOLDER / "served", server="vllm")
os.environ["COUNTERMARK_CONFIG"] = str(SERVING.config)


def configuration(**arguments):
    return EngineArgs(**{"model": str(SMALL_MODEL), "dtype": "bfloat16", "enforce_eager": True, "max_model_len": 256, "max_num_seqs": 8, **arguments}).create_engine_config()


@functools.lru_cache(maxsize=1)
def _plain():
    return configuration()


def plain():
    """A configuration of its own to each engine; vLLM takes a second to make one."""
    return copy.copy(_plain())


def row(request, position):
    """Logits that hang on the request and its position alone."""
    return torch.from_numpy(np.random.default_rng((request, position)).normal(0, 2.5, VOCABULARY).astype(np.float32))


@dataclasses.dataclass
class Request:
    number: int
    account: str
    parameters: dict
    unread: int = 0  # steps whose token vLLM throws away, since the prompt is not wholly read
    child: int = 0
    ticket: str = ""
    front: bool = False  # through validate_params, as vLLM's API does

    def __post_init__(self):
        self.ticket = self.ticket or SERVING.ticket(self.account, f"r-{self.number}")
        self.prompt = [1, 2, self.number]
        self.params, self.asked = (SamplingParams(max_tokens=200, extra_args={"countermark": self.ticket}, **self.parameters) for _ in range(2))
        if self.front:
            adapter.MarkProcessor.validate_params(self.params)
        self.tokens = []  # what a client would have

    def reference(self, n, hook, before=lambda logits, p: logits / p.temperature):
        """The CPU hook's own n tokens from equal logits, and their causes."""
        slot = hook.take_slots(1)[0]
        p = self.asked
        label = self.ticket and child_label(f"r-{self.number}", self.child)
        hook.begin(slot, account=self.account, request=label, top_k=max(p.top_k, 0), top_p=p.top_p, min_p=p.min_p if self.front else 0, seed=p.seed % 2**64, prompt=self.prompt)
        tokens = [int(hook.sample([slot], before(row(self.number, i), p)).tokens[0]) for i in range(n)]
        causes = hook.request_counters(slot)
        hook.give_slots([slot])
        return tokens, causes


def cut_by_min_p(logits, p):
    """Temperature and min-p as vLLM's own processor does them before ours."""
    logits = logits / p.temperature
    probabilities = torch.softmax(logits, dim=-1)
    return logits.masked_fill(probabilities < probabilities.max() * p.min_p, -torch.inf)


def mixed(front=False):
    requests = _mixed()
    return [dataclasses.replace(r, front=True, ticket="") for r in requests] if front else requests


def _mixed():
    return [
        Request(1, ACCOUNTS[0], {"temperature": 1.0, "seed": 11}),
        Request(2, ACCOUNTS[1], {"temperature": 0.7, "top_p": 0.9, "seed": -12}, unread=2),
        Request(3, ACCOUNTS[2], {"temperature": 1.3, "top_k": 40, "seed": 13}),
        Request(4, ACCOUNTS[0], {"temperature": 0.9, "top_k": 100, "top_p": 0.8, "seed": 14}, unread=1),
        Request(5, ACCOUNTS[1], {"temperature": 0.8, "min_p": 0.05, "seed": 15}),
    ]


@contextlib.contextmanager
def environment(**values):
    before = {name: os.environ.get(name) for name in values}
    try:
        for name, value in values.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        adapter._front.cache_clear()
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        adapter._front.cache_clear()
