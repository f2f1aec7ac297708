"""vLLM's V1 batch and sampler, the real classes, and the processor in them: rows come, go, move, are preempted and come back, and every token is that of the CPU hook."""
import os

import numpy as np
import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import build_logitsprocs
from vllm.v1.sample.sampler import Sampler
from vllm.v1.worker.gpu_input_batch import CachedRequestState, InputBatch
from vllm_inside_support import ACCOUNTS, FOLDER, HOST, SERVING, VOCABULARY, FixedServing, Request, adapter, cut_by_min_p, environment, mixed, plain, row

import countermark
from countermark.serving.config import ServingConfig
from countermark.serving.engine import Admission, Engine


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
        engine = Engine(ServingConfig.load(), server="vllm", vocabularies=(VOCABULARY,), slots=2, leads=False, shared_seed=shared)
        out = []
        for slot in (0, 1):
            engine.begin(slot, Admission(ACCOUNTS[0], "r", "signed"), prompt=[1, 2])
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
    engine = Engine(ServingConfig.load(serving.config), server="vllm", vocabularies=(VOCABULARY,), slots=4, leads=False)
    new = Admission("org-new", None, "port")
    assert engine.begin(0, Admission("org-a", None, "port")) and not engine.begin(1, new)
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
