"""What is checked inside vLLM's own environment, against the classes of the installed package: its V1 batch and sampler, the V2 runner's sampler and check of drafts (their host code: the
kernels around them need a GPU), its configuration. Run by vllm_test.py, once: vllm_inside.py FOLDER RESULTS.json; each check_… is a test there.
"""
import contextlib
import copy
import dataclasses
import functools
import importlib.util
import io
import json
import os
import shutil
import sys
import traceback
import types
from pathlib import Path

import numpy as np
import torch
import vllm
import vllm.v1.worker.cpu.shm  # noqa: F401  vLLM's own layer for its V2 runner on a processor
from serving_fixture import ACCOUNTS, SMALL_MODEL, FixedServing
from vllm import SamplingParams
from vllm.engine.arg_utils import EngineArgs
from vllm.v1.sample.logits_processor import build_logitsprocs
from vllm.v1.sample.sampler import Sampler
from vllm.v1.worker.gpu.sample.logits_processor import build_custom_logits_processors
from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsProcRequestState
from vllm.v1.worker.gpu.states import RequestState
from vllm.v1.worker.gpu_input_batch import CachedRequestState, InputBatch

import countermark
import countermark.vllm as adapter
from countermark.serving.ticket import child_label

HOST = torch.device("cpu")
VOCABULARY = 49152
FOLDER = Path(sys.argv[1])
SERVING = FixedServing(FOLDER / "served", server="vllm")


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


class Batch:
    """vLLM's V1 batch and sampler, and what its runner does between two steps. late: as asynchronous scheduling does, a step's tokens are seen by the host after the next has begun."""

    def __init__(self, late=False, repaired=False):
        self.late = late
        processors = build_logitsprocs(plain(), HOST, False, False, ())
        self.processor = next(p for p in processors.all if isinstance(p, adapter.MarkProcessor))
        self.engine = self.processor._seat._engine
        self.batch = InputBatch(
            max_num_reqs=8, max_model_len=256, max_num_batched_tokens=1024, device=HOST, vocab_size=VOCABULARY, block_sizes=[16], max_num_blocks_per_req=[16],
            logitsprocs=processors, logitsprocs_need_output_token_ids=repaired,
        )
        self.sampler, self.states, self.requests = Sampler(), {}, {}

    def add(self, request):
        name = str(request.number) + f"/{request.child}"
        self.requests[name] = request
        self.states[name] = CachedRequestState(
            req_id=name, prompt_token_ids=request.prompt, mm_features=[], sampling_params=request.params, generator=None, block_ids=([0],), num_computed_tokens=0, output_token_ids=[]
        )
        self.batch.add_request(self.states[name])
        return name

    def out(self, name):
        self.batch.remove_request(name)

    def back(self, name):
        if self.late:  # the scheduler hands the tokens over anew
            self.states[name].output_token_ids = list(self.requests[name].tokens)
        self.batch.add_request(self.states[name])

    def step(self):
        self.batch.condense()
        self.batch.refresh_metadata()
        names = list(self.batch.req_ids)
        if not names:
            return
        logits = torch.stack([row(self.requests[name].number, len(self.requests[name].tokens)) for name in names])
        sampled = self.sampler(logits, self.batch.sampling_metadata).sampled_token_ids[:, 0].tolist()
        for name, token in zip(names, sampled, strict=True):
            request = self.requests[name]
            if request.unread:
                request.unread -= 1
                continue
            request.tokens.append(token)
            self.states[name].output_token_ids.append(-1 if self.late else token)

    def finish(self):
        for name in list(self.batch.req_id_to_index):
            self.out(name)
        self.step()
        return self.engine.counters()


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


def v1(late, front=False):
    hook = SERVING.epoch.hook(max_slots=8, vocabulary=VOCABULARY)
    run, requests = Batch(late), mixed(front)
    names = [run.add(r) for r in requests[:3]]
    for step in range(40):
        if step == 4:
            names.append(run.add(requests[3]))
        if step == 6:
            run.out(names[0])  # preempted, and the rows behind it move up
        if step == 7:
            names.append(run.add(requests[4]))
        if step == 9:
            run.out(names[2])
            run.back(names[0])  # in the place of another
        if step == 12:
            run.back(names[2])
        if step == 15:  # out and back within a step, at another place
            run.out(names[1])
            run.out(names[3])
            run.back(names[3])
            run.back(names[1])
        if step == 20:
            run.batch.swap_states(0, 2)
        run.step()
    counted = run.finish()
    totals = dict.fromkeys(countermark.CAUSES, 0)
    for request in requests:
        assert len(request.tokens) > 25
        before = cut_by_min_p if request.params.min_p else (lambda logits, p: logits / p.temperature)
        assert not front or (request.params.top_k, request.params.top_p, request.params.min_p) == (0, 1.0, 0.0)
        tokens, causes = request.reference(len(request.tokens), hook, before)
        assert request.tokens == tokens, request.number
        for cause, n in causes.items():
            totals[cause] += n
    assert {cause: counted[f"tokens_{cause}"] for cause in countermark.CAUSES} == totals
    assert totals["marked"] > 100 and counted["requests_signed"] == 5
    # And the C++ hook's own program.
    logits = np.stack([row(1, i).numpy() for i in range(len(requests[0].tokens))])
    assert SERVING.epoch.reference_tokens(FOLDER, logits, ACCOUNTS[0], 11)[0] == requests[0].tokens


def check_v1_rows_come_go_and_move():
    v1(late=False)


def check_v1_behind_the_front():
    """vLLM is left nothing to truncate: the hook does all of it."""
    v1(late=True, front=True)


def check_v1_with_placeholders():
    """Asynchronous scheduling, the processor brought by the entry point: vLLM never fills in the -1."""
    v1(late=True)


def check_v1_a_forced_token_is_seen():
    """Another hand takes another token than the one that was chosen: counted as forced, and what follows marks by it."""
    run, request = Batch(), Request(1, ACCOUNTS[0], {"temperature": 1.0, "seed": 11})
    name = run.add(request)
    for step in range(30):
        run.step()
        if step == 9:
            request.tokens[-1] = run.states[name].output_token_ids[-1] = (request.tokens[-1] + 1) % VOCABULARY
    hook = SERVING.epoch.hook(max_slots=1)
    hook.begin(0, account=ACCOUNTS[0], request="r-1/0", seed=11)
    for i, token in enumerate(request.tokens):
        assert (int(hook.sample([0], row(1, i), commit=False).tokens[0]) == token) == (i != 9)
        hook.commit(0, [token])
    assert run.finish()["tokens_forced"] == 1


def check_v1_children_have_labels_of_their_own():
    """n = 2: one ticket, like parameters; a child keeps its number through a preemption, even where its slot was lost."""
    hook, run, ticket = SERVING.epoch.hook(max_slots=2), Batch(), SERVING.ticket(ACCOUNTS[0], "r-1")
    children = [Request(1, ACCOUNTS[0], {"temperature": 1.0, "seed": 11}, child=child, ticket=ticket) for child in (0, 1)]
    children[1].params = children[0].params  # as vLLM does without a seed
    children[1].prompt = children[0].prompt
    names = [run.add(child) for child in children]
    for step in range(30):
        if step == 10:
            run.out(names[0])
            run.out(names[1])
        if step == 11:
            seat = run.processor._seat
            for row_ in [r for rows in seat._left.values() for r in rows]:
                seat._give_slot(row_)
            run.back(names[1])
            run.back(names[0])
        run.step()
    for child in children:
        assert child.tokens == child.reference(29, hook)[0]
    counted = run.finish()
    assert counted["tokens_forced"] == 0 and sum(counted[f"tokens_{cause}"] for cause in countermark.CAUSES) == 58 and counted["requests_signed"] == 2


def check_v1_greedy_rows_are_counted():
    """Rows that vLLM itself decides, beside marked ones."""
    run = Batch()
    greedy, other = Request(1, ACCOUNTS[0], {"temperature": 0.0}), Request(2, ACCOUNTS[1], {"temperature": 1.0, "seed": 12})
    run.add(greedy)
    run.add(other)
    for _ in range(12):
        run.step()
    assert greedy.tokens == [int(row(1, i).argmax()) for i in range(12)]
    assert other.tokens == other.reference(12, SERVING.epoch.hook(max_slots=1))[0]
    counted = run.finish()
    assert counted["tokens_greedy"] == 12 and sum(counted[f"tokens_{cause}"] for cause in countermark.CAUSES) == 24


def check_v1_bad_rows_and_masks():
    """-inf never comes back; NaN and rows without anything finite do not stop the step."""
    run = Batch()
    run.add(Request(1, ACCOUNTS[0], {"temperature": 1.0, "seed": 1}))
    run.batch.refresh_metadata()
    for fill, allowed in ((float("nan"), {7}), (-torch.inf, {7, 9}), (-torch.inf, set())):
        logits = torch.full((1, VOCABULARY), fill)
        for token in allowed:
            logits[0, token] = 1.0
        token = int(run.sampler(logits, run.batch.sampling_metadata).sampled_token_ids[0, 0])
        assert token in (allowed or {0})
        run.states["1/0"].output_token_ids.append(token)
    counted = run.finish()
    assert counted["bad_rows"] == 2 and counted["tokens_marked"] <= 1


def check_tickets():
    run = Batch()
    stale, other = SERVING.ticket(ACCOUNTS[0], lifetime=-5), SERVING.ticket(ACCOUNTS[0])
    for i, ticket in enumerate((None, stale, other[:-1] + ("A" if other[-1] != "A" else "B"), 7, ["x"])):
        request = Request(i + 1, ACCOUNTS[0], {"temperature": 1.0, "seed": 5}, ticket="-")
        request.params.extra_args = None if ticket is None else {"countermark": ticket}
        run.add(request)
    for _ in range(20):
        run.step()
    counted = run.finish()
    assert (counted["requests_unsigned"], counted["requests_stale"], counted["requests_forged"]) == (1, 1, 3)
    assert counted["tokens_off"] > 20 and counted["tokens_marked"] > 20  # the base channel alone
    request = run.requests["1/0"]
    hook = SERVING.epoch.hook(max_slots=1)
    hook.begin(0, account=countermark.BASE_ONLY, seed=5)
    assert request.tokens == [int(hook.sample([0], row(1, i)).tokens[0]) for i in range(20)]


def check_ranks_draw_alike():
    """Without seeds, ranks that share a seed give equal tokens; and two servers do not."""
    def tokens(shared):
        engine = adapter.Engine(adapter.ServingConfig.load(), server="vllm", vocabularies=(VOCABULARY,), slots=2, leads=False, shared_seed=shared)
        out = []
        for slot in (0, 1):
            engine.begin(slot, adapter.Admission(ACCOUNTS[0], "r", "signed"), prompt=[1, 2])
            out.append([int(engine.hook.sample([slot], row(1, i)).tokens[0]) for i in range(4)])
        engine.close()
        return out

    assert tokens("a") == tokens("a") != tokens("b")
    assert tokens("a")[0] != tokens("a")[1]


def check_new_bundles_while_serving():
    """New accounts and the next epoch come in; a broken file is counted and harms nothing; what runs keeps its epoch."""
    folder = FOLDER / "rotation"
    serving = FixedServing(folder, server="vllm")
    master = folder / "master"
    master.write_text("a master's\n")
    master.chmod(0o600)
    store = countermark.KeyStore.create(folder / "keys.cmks", tenant="t", passphrase_file=master)
    store.add_accounts(["org-a"])
    store.add_epoch("old", tokenizer_sha256="a" * 64, vocabulary=VOCABULARY, first_use="2020-01-01", last_use="2999-01-01")
    for old in (folder / "epoch").glob("*.bundle"):
        old.unlink()

    def bundle(epoch, name):
        store.bundle(epoch, folder / "fresh", passphrase_file=serving.epoch.secret)
        os.replace(folder / "fresh", folder / "epoch" / name)

    bundle("old", "1.bundle")
    engine = adapter.Engine(adapter.ServingConfig.load(serving.config), server="vllm", vocabularies=(VOCABULARY,), slots=4, leads=False)
    new = adapter.Admission("org-new", None, "port")
    assert engine.begin(0, adapter.Admission("org-a", None, "port")) and not engine.begin(1, new)
    assert engine.counters()["unknown_accounts"] == 1
    store.add_accounts(["org-new"])
    bundle("old", "1.bundle")
    (folder / "epoch" / "2.bundle").write_bytes(b"no bundle")
    (folder / "epoch" / "2.bundle").chmod(0o600)
    wrong = engine._bundles.refresh() + engine._bundles.refresh()
    assert len(wrong) == 1 and "2.bundle" in wrong[0] and engine.counters()["bundle_failures"] == 1
    assert engine.begin(1, new) and engine._bundles.keys.epoch == "t/old"
    store.add_epoch("new", tokenizer_sha256="a" * 64, vocabulary=VOCABULARY, first_use="2021-01-01", last_use="2999-01-01")
    bundle("new", "2.bundle")
    assert engine._bundles.refresh() == [] and engine._bundles.keys.epoch == "t/new" and engine.low_entropy == "floor"
    assert engine.begin(2, new)
    engine.close()


def check_floor_at_the_front():
    """Below the floor: raised where requests come in, by whatever route; and the same prompt then gets the same draws."""
    for low, raised in (({"temperature": 0.0}, (0.3, 0, 1.0, 0.0)), ({"top_k": 1, "top_p": 0.1, "min_p": 1.0}, (1.0, 8, 0.5, 0.5)), ({"temperature": 0.5, "top_k": -1, "top_p": 0.9}, (0.5, 0, 0.9, 0.0))):
        params = SamplingParams(**low)
        for _ in range(2):  # the same parameters may come again
            adapter.MarkProcessor.validate_params(params)
            assert (params.temperature, params.top_k, params.top_p, params.min_p, params.sampling_type.name) == (raised[0], 0, 1.0, 0.0, "RANDOM")
            asked = adapter.carried(params)
            assert asked == adapter.Sampling(low.get("temperature", 1.0), max(low.get("top_k", 0), 0), low.get("top_p", 1.0), low.get("min_p", 0.0)) and asked.floored() == adapter.Sampling(*raised)
    # What a client puts there does not open a way below.
    for forged in ([0.0, 1, 0.01, 1.0], [0.3, 0, 1.0, 0.0], [5, 5], "x", [float("nan"), 0, 1, 0], [1, 2**40, 1, 0]):
        greedy = SamplingParams(temperature=0.0, extra_args={"countermark_asked": forged})
        adapter.MarkProcessor.validate_params(greedy)
        assert greedy.temperature == 0.3 and adapter.carried(greedy) == adapter.Sampling(temperature=0.0)
    with environment(COUNTERMARK_CONFIG=None):
        idle = SamplingParams(temperature=0.0, extra_args={"countermark_asked": [1, 0, 1, 0], "other": 1})
        adapter.MarkProcessor.validate_params(idle)
        assert idle.temperature == 0 and idle.extra_args == {"other": 1}
    runs = []
    for _ in range(2):
        run, request = Batch(), Request(1, ACCOUNTS[0], {"temperature": 0.0})
        adapter.MarkProcessor.validate_params(request.params)
        run.add(request)
        for _ in range(12):
            run.step()
        runs.append(request.tokens)
        assert run.finish()["tokens_greedy"] == 0
    assert runs[0] == runs[1]


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


def check_deny_at_the_front():
    denied = FixedServing(FOLDER / "deny", server="vllm", policy="deny")
    with environment(COUNTERMARK_CONFIG=str(denied.config)):
        adapter.MarkProcessor.validate_params(SamplingParams(temperature=0.5))
        for low in ({"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.2}, {"min_p": 0.9}):
            try:
                adapter.MarkProcessor.validate_params(SamplingParams(**low))
            except ValueError as error:
                assert "entropy floor" in str(error)
            else:
                raise AssertionError(low)


# ---- V2 ----------------------------------------------------------------------------------------------------------------


class Runner:
    """The V2 runner's tables and samplers, made as it makes them."""

    def __init__(self, drafts=0):
        from vllm.v1.worker.gpu import model_runner

        self.states = RequestState(8, 256, 1024, drafts, VOCABULARY, HOST)
        config = plain()
        with environment(VLLM_USE_V2_MODEL_RUNNER="1"):  # not while it is made: vLLM would ask for Triton
            assert config.use_v2_model_runner
            if drafts:  # as far as the samplers read it: a draft model is not needed
                config.speculative_config = types.SimpleNamespace(num_speculative_tokens=drafts, enable_adaptive_verification=False, rejection_sample_method="standard", method="eagle")
            processors = build_custom_logits_processors(config, self.states, False, ())
        assert isinstance(processors[0], adapter.MarkProcessor)
        # The names by which the runner makes them next.
        self.sampler = model_runner.Sampler(
            vllm_config=config, max_num_reqs=8, vocab_size=VOCABULARY, device=HOST, req_states=self.states, num_speculative_tokens=drafts + 1, custom_logits_processors=processors
        )
        assert type(self.sampler).__name__ == "MarkedSampler" and not processors[0].add_request(0, SamplingParams())
        self.engine = self.sampler.seat._engine
        if drafts:
            self.rejection = model_runner.RejectionSampler(self.sampler, config.speculative_config, HOST)

    def enter(self, request):
        self.states.add_request(str(request.number), len(request.prompt), [*request.prompt, *request.tokens], 0, 200)
        index = self.states.req_id_to_index[str(request.number)]
        self.sampler.add_request(index, request.params)
        request.index = index

    def leave(self, request):
        self.states.remove_request(str(request.number))

    def step(self, requests):
        slots = np.array([r.index for r in requests])
        # Half a prompt, where it is not wholly read.
        lengths = np.array([len(r.prompt) - 1 if r.unread else len(r.prompt) + len(r.tokens) for r in requests], dtype=np.int32)
        indices = torch.tensor(slots, dtype=torch.int32)
        logits = torch.stack([row(r.number, len(r.tokens)) for r in requests])
        tokens, _ = self.sampler.sample(logits, indices, indices, slots, torch.zeros_like(indices), indices, torch.zeros_like(indices), lengths)
        for request, token in zip(requests, tokens.tolist(), strict=True):
            if request.unread:
                request.unread -= 1
            else:
                request.tokens.append(token)


def v2_reference(request, hook):
    """By the request's own temperature: this seat sees logits before it."""
    p = request.asked
    hook.begin(0, account=request.account, request=f"r-{request.number}/0", temperature=p.temperature, top_k=max(p.top_k, 0), top_p=p.top_p, min_p=p.min_p, seed=None if p.seed is None else p.seed % 2**64, prompt=request.prompt)
    return [int(hook.sample([0], row(request.number, i)).tokens[0]) for i in range(len(request.tokens))]


def check_v2_sampler():
    runner, requests, hook = Runner(), mixed(), SERVING.epoch.hook(max_slots=1)
    requests[2:5] = mixed(front=True)[2:5]
    requests.append(Request(6, ACCOUNTS[2], {"temperature": 0.0}))  # raised to the floor by the hook itself
    trial = runner.sampler.sample(torch.randn(4, VOCABULARY), *[torch.arange(4, dtype=torch.int32)] * 2, np.arange(4), *[torch.arange(4)] * 3, np.ones(4, dtype=np.int32))
    assert trial[0].shape == (4,)  # the runner's trial run
    for request in requests:
        runner.enter(request)
    for step in range(30):
        if step == 8:
            runner.leave(requests[0])
            runner.leave(requests[1])
        if step == 12:  # back after a preemption, each in the other's place or a new one
            runner.enter(requests[0])
            runner.enter(requests[1])
        runner.step([r for r in requests if not (8 <= step < 12 and r.number in (1, 2))])
    for request in requests:
        assert len(request.tokens) >= 24 and request.tokens == v2_reference(request, hook), request.number
    counted = runner.engine.counters()
    assert sum(counted[f"tokens_{cause}"] for cause in countermark.CAUSES) == sum(len(r.tokens) for r in requests)
    assert counted["tokens_forced"] == 0 and counted["tokens_fault"] == 0 and counted["bad_slots"] == 0 and counted["requests_signed"] == 6


def check_v2_drafts():
    """Speculative decoding: whatever is drafted, the output is that of marked sampling without drafts; what agrees is accepted."""
    runner, hook = Runner(drafts=3), SERVING.epoch.hook(max_slots=1)
    requests = mixed()[:3]
    for request in requests:
        request.unread = 0
        runner.enter(request)
        request.plain = []  # what it will say, for the drafts
        request.tokens, kept = [0] * 60, request.tokens
        request.plain, request.tokens = v2_reference(request, hook), kept
    rng, accepted, offered = np.random.default_rng(3), 0, 0
    while min(len(r.tokens) for r in requests) < 40:
        rows, depths, slots, drafts, bounds = [], [], [], [], [0]
        for request in requests:
            at, k = len(request.tokens), int(rng.integers(0, 4))
            proposed = [request.plain[at + d] if rng.random() < 0.7 else int(rng.integers(0, VOCABULARY)) for d in range(k)]
            if k == 3 and rng.random() < 0.2:
                proposed[1] = -1  # vLLM: must not hold
            request.proposed = proposed
            rows += [row(request.number, at + d) for d in range(k + 1)]
            depths += range(k + 1)
            slots += [request.index] * (k + 1)
            drafts += [request.tokens[-1] if at else request.prompt[-1], *proposed]  # each row's own input
            bounds.append(len(rows))
        batch = types.SimpleNamespace(
            num_reqs=3, cu_num_logits_np=np.array(bounds, dtype=np.int32), cu_num_logits=torch.tensor(bounds, dtype=torch.int32),
            idx_mapping_np=np.array([r.index for r in requests]), idx_mapping=torch.tensor([r.index for r in requests], dtype=torch.int32),
            expanded_idx_mapping=torch.tensor(slots, dtype=torch.int32), expanded_local_pos=torch.tensor(depths, dtype=torch.int32),
            seq_lens_cpu_upper_bound=torch.tensor([len(r.prompt) + len(r.tokens) + 4 for r in requests], dtype=torch.int32),
        )
        # In one chunk or request by request, as memory allows.
        limit = len(rows) if rng.random() < 0.5 else 4
        sampled, num_sampled, _, _ = runner.rejection._verify_in_chunks(torch.stack(rows), batch, None, torch.tensor(drafts), torch.zeros(len(rows)), limit, -1)
        for i, request in enumerate(requests):
            n = int(num_sampled[i])
            new = sampled[i, :n].tolist()
            holds = next((d for d, token in enumerate(request.proposed) if token != request.plain[len(request.tokens) + d]), len(request.proposed))
            assert n == holds + 1, (n, request.proposed)
            accepted, offered = accepted + n - 1, offered + len(request.proposed)
            request.tokens += new
    for request in requests:
        assert request.tokens == request.plain[: len(request.tokens)]
    assert 0.3 < accepted / offered < 0.9
    counted = runner.engine.counters()
    assert sum(counted[f"tokens_{cause}"] for cause in countermark.CAUSES) == sum(len(r.tokens) for r in requests) and counted["tokens_forced"] == 0


def check_v2_acceptance():
    """Drafts that are their model's likeliest tokens (vLLM's default): vLLM accepts one with the probability p that the model gives it, and so do we, over the mark's noise. Everything here is
    fixed, and so is the outcome: of 1600 drafts as many are accepted as that expects, to 3 % (its standard deviation is 2.6 %)."""
    rng = np.random.default_rng(5)
    base, accepted, expected, offered = rng.normal(0, 6, VOCABULARY).astype(np.float32), 0, 0.0, 0
    whole = np.exp(base.astype(np.float64)).sum()
    for turn in range(2):
        runner = Runner(drafts=1)
        requests = [Request(8 * turn + i, ACCOUNTS[i % 3], {"temperature": 1.0, "seed": i}) for i in range(8)]
        for request in requests:
            runner.enter(request)
        slots = np.array([r.index for r in requests])
        for _ in range(100):
            rows, drafts = [], []
            for _ in requests:
                one, two = (np.roll(base, int(shift)) for shift in rng.integers(0, VOCABULARY, 2))
                top = np.argpartition(one, -20)[-20:]
                draft = int(top[np.argmax(one[top] + rng.normal(0, 1, 20))])
                expected += float(np.exp(one[draft].astype(np.float64)) / whole)
                rows += [torch.from_numpy(one), torch.from_numpy(two)]
                drafts += [0, draft]
            bounds = np.arange(0, 17, 2, dtype=np.int32)
            batch = types.SimpleNamespace(
                num_reqs=8, cu_num_logits_np=bounds, cu_num_logits=torch.from_numpy(bounds), idx_mapping_np=slots, idx_mapping=torch.from_numpy(slots).int(),
                expanded_idx_mapping=torch.from_numpy(np.repeat(slots, 2)).int(), expanded_local_pos=torch.tensor([0, 1] * 8, dtype=torch.int32),
                seq_lens_cpu_upper_bound=torch.full((8,), 250, dtype=torch.int32),
            )
            num_sampled = runner.rejection._verify_in_chunks(torch.stack(rows), batch, None, torch.tensor(drafts), torch.zeros(16), 16, -1)[1]
            accepted, offered = accepted + int(num_sampled.sum()) - 8, offered + 8
        assert runner.engine.counters()["tokens_marked"] > 500
    print(f"acceptance: {accepted} of {offered}, {expected:.1f} expected without a mark")
    assert offered == 1600 and accepted >= 0.97 * expected, (accepted, expected)


def check_one_seat_an_engine():
    """The entry point and --logits-processors both bring the class: one of them marks."""
    processors = build_logitsprocs(configuration(logits_processors=["countermark.vllm:MarkProcessor"]), HOST, False, False, ("countermark.vllm:MarkProcessor",))
    ours = [p for p in processors.argmax_invariant if isinstance(p, adapter.MarkProcessor)]
    assert [p._seat is not None for p in ours] == [True, False]


# ---- set-ups that must not start -----------------------------------------------------------------------------------------


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


def main():
    os.environ["COUNTERMARK_CONFIG"] = str(SERVING.config)
    only, results = set(sys.argv[3:]), {}
    for name, check in list(globals().items()):
        if name.startswith("check_") and (not only or name in only):
            try:
                check()
                results[name] = ""
            except BaseException:  # noqa: BLE001
                results[name] = traceback.format_exc()
    Path(sys.argv[2]).write_text(json.dumps(results))
    shutil.rmtree(FOLDER, ignore_errors=True)


if __name__ == "__main__":
    main()
