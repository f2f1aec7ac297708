"""The V2 runner's tables, sampler and check of drafts, the real classes on the host, as far as they run without the kernels around them (which need Triton)."""
import types

import numpy as np
import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import build_logitsprocs
from vllm.v1.worker.gpu.sample.logits_processor import build_custom_logits_processors
from vllm.v1.worker.gpu.states import RequestState
from vllm_inside_support import ACCOUNTS, HOST, SERVING, VOCABULARY, Request, adapter, configuration, environment, mixed, plain, row

import countermark


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
