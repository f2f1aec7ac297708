"""countermark.sglang in SGLang's own classes: its plugin loader, Req, ScheduleBatch, SamplingBatchInfo, ForwardBatch.init_new, ModelRunner.sample and beam coordinator are those of the
real package, on the CPU. Logits are numpy's, and the model, the KV cache and the scheduler's loop are not there: SGLang as a whole needs a GPU."""
import inspect
import multiprocessing
import os
import sys
import types
from array import array
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

SGLANG = Path(os.environ["COUNTERMARK_CACHE"], "sglang-0.5.23")
if not (SGLANG / ".done").exists():
    why = "SKIPPED: SGLang's package could not be had here (tools/setup sglang); countermark.sglang is NOT tested"
    print(why, file=sys.__stderr__)
    pytest.exit(why, returncode=77)
sys.path[:0] = [os.path.dirname(__file__)]
sys.path.append(str(SGLANG))
import sglang_stand_ins  # noqa: E402, F401
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from serving_fixture import ACCOUNTS, FixedServing  # noqa: E402

VOCABULARY = 500
SLOTS = 12
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    serving = FixedServing(tmp_path_factory.mktemp("serving"), server="sglang", tokenizer="-", vocabulary=VOCABULARY)
    os.environ["COUNTERMARK_CONFIG"] = str(serving.config)
    return serving


@pytest.fixture(scope="module")
def plugin(serving):
    """The plugin as SGLang's loader brings it, from the installed package's entry point."""
    from sglang.srt import plugins
    from sglang.srt.runtime_context import get_context

    get_context().override_server_args(device="cpu", sampling_backend="countermark").install()
    plugins.load_plugins()
    import countermark.sglang

    return countermark.sglang


def in_groups(group):
    """What MarkSampler finds of the ranks."""
    from sglang.srt.runtime_context import get_parallel

    return get_parallel().override(tp_group=types.SimpleNamespace(device_group=group))


def make_engine(serving, slots=SLOTS):
    from countermark.serving.config import ServingConfig
    from countermark.serving.engine import Engine

    return Engine(ServingConfig.load(serving.config), server="sglang", vocabularies=(VOCABULARY,), slots=slots, columns=512, max_length=4096)


class Host:
    """A ModelRunner's part of a step: from a ScheduleBatch to tokens."""

    def __init__(self, plugin, engine, group, slots=SLOTS):
        from sglang.srt.layers.sampler import create_sampler
        from sglang.srt.model_executor.model_runner import ModelRunner

        with in_groups(group):
            self.sampler = create_sampler()
        assert isinstance(self.sampler, plugin.MarkSampler)
        if engine is not None:
            self.sampler.attach(engine, slots)
        self.runner = mock.Mock(spec=["__dict__"])
        for name, value in dict(sampler=self.sampler, is_draft_worker=False, device="cpu", lora_manager=None, watermark_state=None, sampling_observer=None, kv_index_translator=mock.Mock(),
                                prefill_attention_backend_str="torch_native", ngram_embedding_manager=mock.Mock(enabled=False),
                                model_config=mock.Mock(model_is_mrope=False, vocab_size=VOCABULARY)).items():
            setattr(self.runner, name, value)
        self.runner._preprocess_logits = types.MethodType(ModelRunner._preprocess_logits, self.runner)
        self.sample = types.MethodType(ModelRunner.sample, self.runner)

    def request(self, name, prompt=(1, 2, 3), ticket=None, **sampling):
        from sglang.srt.managers.schedule_batch import Req
        from sglang.srt.sampling.sampling_params import SamplingParams

        params = SamplingParams(custom_params=None if ticket is None else {"countermark": ticket}, **{"max_new_tokens": 100, **sampling})
        params.is_normalized = True
        request = Req(name, "", array("q", prompt), params, vocab_size=VOCABULARY)
        request.refresh_fill_ids()
        request.extend_end = len(request.full_untruncated_fill_ids)
        return request

    def step(self, requests, logits, extend=False, decoding=(), logprobs=False, overlap=False):
        """One forward; the host takes the tokens in unless it overlaps, when it does so later."""
        from sglang.srt.layers.logits_processor import LogitsProcessorOutput
        from sglang.srt.managers.schedule_batch import ScheduleBatch
        from sglang.srt.model_executor.forward_batch_info import ForwardBatch, ForwardMode
        from sglang.srt.sampling.sampling_batch_info import SamplingBatchInfo

        n = len(requests)
        lengths = torch.tensor([len(r.origin_input_ids) + len(r.output_ids) for r in requests])
        batch = ScheduleBatch(reqs=list(requests), device="cpu", forward_mode=ForwardMode.MIXED if decoding else ForwardMode.EXTEND if extend else ForwardMode.DECODE, seq_lens=lengths,
                              seq_lens_cpu=lengths, input_ids=torch.zeros(n, dtype=torch.int64), req_pool_indices=torch.arange(n), out_cache_loc=torch.arange(n), decoding_reqs=list(decoding),
                              return_logprob=logprobs, top_logprobs_nums=[2] * n, token_ids_logprobs=[None] * n, spec_algorithm=mock.Mock(is_none=lambda: True))
        if extend:
            batch.extend_lens, batch.prefix_lens, batch.extend_logprob_start_lens, batch.extend_num_tokens = [1] * n, [0] * n, [0] * n, n
        batch.sampling_info = SamplingBatchInfo.from_schedule_batch(batch, VOCABULARY).copy_for_forward()
        forward = ForwardBatch.init_new(batch, self.runner, return_hidden_states_before_norm=False, kv_loc_plan=mock.Mock(), capture_hidden_mode=None)
        output = LogitsProcessorOutput(next_token_logits=torch.from_numpy(np.array(logits)))
        tokens = self.sample(output, forward).tolist()
        if not overlap:
            self.take(requests, tokens)
        return (tokens, output) if logprobs else tokens

    @staticmethod
    def take(requests, tokens):
        for request, token in zip(requests, tokens, strict=True):
            request.output_ids.append(token)


def row(*seed):
    return np.random.default_rng(seed).normal(0, 2, VOCABULARY).astype(np.float32)


def alone(serving, account, label, rows, seed=None, prompt=(1, 2, 3), **sampling):
    """The same request through the package's hook, without SGLang."""
    with serving.epoch.hook() as hook:
        hook.begin(0, account=account, request=label, seed=seed, prompt=prompt, **sampling)
        return [int(hook.sample([0], r).tokens[0]) for r in rows]


# First of all: it forks, before this process has threads of its own.
def _rank(rank, folder, serving, plugin, answers):
    dist.init_process_group("gloo", store=dist.FileStore(str(folder / "store"), 2), rank=rank, world_size=2)
    host = Host(plugin, make_engine(serving) if rank == 0 else None, dist.group.WORLD)
    requests = [host.request(str(i), ticket=serving.ticket(account)) for i, account in enumerate(ACCOUNTS)]
    taken = [host.step(requests, [row(i, step) for i in range(3)], extend=step == 0) for step in range(12)]
    answers.put((rank, taken, host.sampler._engine is None))


def test_ranks_agree(serving, plugin, tmp_path):
    """Of two ranks the first has keys and hook; the second takes its tokens, plain draws from fresh randomness among them."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    ranks = [context.Process(target=_rank, args=(rank, tmp_path, serving, plugin, answers)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
        assert process.exitcode == 0
    first, second = sorted(answers.get() for _ in ranks)
    assert first[1] == second[1] and len(first[1]) == 12
    assert (first[2], second[2]) == (False, True)


@pytest.fixture(scope="module")
def group(plugin):
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    return dist.group.WORLD


@pytest.fixture
def engine(serving):
    engine = make_engine(serving)
    yield engine
    engine.close()


@pytest.fixture
def host(plugin, engine, group):
    return Host(plugin, engine, group)


def test_the_seats_are_where_they_were(plugin):
    from sglang.srt.layers.sampler import Sampler
    from sglang.srt.model_executor.forward_batch_info import ForwardBatch
    from sglang.srt.plugins.hook_registry import HookRegistry
    from sglang.srt.server_args import SAMPLING_BACKEND_CHOICES

    assert "countermark" in SAMPLING_BACKEND_CHOICES
    assert {*plugin._SEATS, plugin._BEAMS} <= HookRegistry._patched
    theirs, ours = inspect.signature(Sampler.forward).parameters, inspect.signature(plugin.MarkSampler.forward).parameters
    assert [(p.name, p.kind, p.default) for p in theirs.values()] == [(p.name, p.kind, p.default) for p in ours.values()]
    assert list(inspect.signature(ForwardBatch.init_new).parameters)[:2] == ["batch", "model_runner"]
    from sglang.srt.model_executor.model_runner import ModelRunner

    for method in (ModelRunner.initialize, ModelRunner.alloc_memory_pool):
        assert next(iter(inspect.signature(method.__wrapped__).parameters)) == "self"


def sure(serving, ids):
    """The registered accounts by log10 p, the surest first, and their values."""
    found = serving.detect([ids], accounts=ACCOUNTS)["pooled"]["accounts"]
    return sorted((account["log10_p"], account["account"]) for account in found)


def test_three_accounts(host, engine, serving):
    """Mixed accounts in one batch, requests that come and go, a prompt in two chunks: each text is what its request would get alone, and the detector names its account. Keys, seeds and
    logits are constant."""
    requests = [host.request(a, prompt=[5, i], ticket=serving.ticket(a, f"r-{a}"), temperature=0.9, top_p=0.95, sampling_seed=7 + i) for i, a in enumerate(ACCOUNTS)]
    late = requests[2]

    def draw(request, step):
        return row(sum(map(ord, request.rid)), step)

    late.extend_end = 1  # its prompt is not whole yet
    host.step(requests[:2], [draw(r, 0) for r in requests[:2]], extend=True)
    assert host.step([late], [row(99)], extend=True, overlap=True) == [0]  # nobody's token
    assert engine.counters()["tokens_start"] == 2
    late.extend_end = 2
    order = [late, *requests[:2]]
    host.step(order, [draw(late, 0), *[draw(r, 1) for r in requests[:2]]], extend=True, decoding=requests[:2])
    for step in range(2, 200):
        order = order[1:] + order[:1]  # rows change places
        host.step(order, [draw(r, step if r is not late else step - 1) for r in order])
    for i, (request, account) in enumerate(zip(requests, ACCOUNTS, strict=True)):
        ids = list(request.output_ids)
        rows = [draw(request, step) for step in range(len(ids))]
        assert ids == alone(serving, account, f"r-{account}/0", rows, 7 + i, [5, i], temperature=0.9, top_p=0.95)
        first, second = sure(serving, ids)[:2]
        assert first[1] == account and first[0] < -6 and second[0] > -3
    counters = engine.counters()
    assert counters["requests_signed"] == 3 and counters["tokens_fault"] == counters["bad_slots"] == 0
    assert sum(counters[name] for name in counters if name.startswith("tokens_")) == 200 + 200 + 199


def test_overlap_and_retraction(host, engine, serving):
    """The host sees tokens a step late; a request is retracted while a token of its is under way, which is thrown away, and begins again from the tokens it has."""
    request = host.request("a", ticket=serving.ticket("org-a"), sampling_seed=1)
    rows = [row(3, step) for step in range(60)]
    late = host.step([request], [rows[0]], extend=True, overlap=True)
    other = host.request("b", sampling_seed=1)
    for step, r in enumerate(rows[1:30]):
        if step == 9:  # another's prefill in the same batch
            now = host.step([other, request], [row(1), r], extend=True, decoding=[request], overlap=True)[1:]
        else:
            now = host.step([request], [r], overlap=True)
        host.take([request], late)
        late = now
    assert len(request.output_ids) == 29  # and the thirtieth is lost
    request.refresh_fill_ids()
    request.extend_end, request.is_retracted = len(request.full_untruncated_fill_ids), True
    request.is_retracted = False
    host.step([request], [rows[29]], extend=True)
    for r in rows[30:]:
        host.step([request], [r])
    assert list(request.output_ids) == alone(serving, "org-a", "r-1/0", rows, 1)
    counters = engine.counters()
    assert counters["requests_signed"] == 1
    assert sum(counters[name] for name in counters if name.startswith("tokens_")) == 60 + 1  # the lost one is taken off again
    assert counters["tokens_forced"] == 0


def test_a_slot_lost_to_others(plugin, serving, group):
    """A retracted request gives its slot to others where slots are short, and is the same request when it comes back: same account, same label, not counted again."""
    engine = make_engine(serving, slots=2)
    host = Host(plugin, engine, group, slots=2)
    first, second, third = (host.request(name, ticket=serving.ticket(f"org-{name}", f"r-{name}"), sampling_seed=1) for name in "abc")
    rows = [row(4, step) for step in range(40)]
    for step, r in enumerate(rows[:10]):
        host.step([first, second], [r, r], extend=step == 0)
    first.is_retracted = True
    for step, r in enumerate(rows[:5]):
        host.step([second, third], [r, r], extend=step == 0, decoding=[second] if step == 0 else ())
    first.is_retracted = False
    third.finished_reason = object()
    first.refresh_fill_ids()
    first.extend_end = len(first.full_untruncated_fill_ids)
    for step, r in enumerate(rows[10:]):
        host.step([first], [r], extend=step == 0)
    assert list(first.output_ids) == alone(serving, "org-a", "r-a/0", rows, 1)
    fourth = host.request("d", ticket=serving.ticket("org-c"))
    fifth = host.request("e", ticket=serving.ticket("org-c"))
    host.step([first, second, fourth, fifth], [row(1)] * 4, extend=True, decoding=[first, second])
    counters = engine.counters()
    assert counters["requests_signed"] == 5 and counters["requests_without_slot"] == 2 and counters["tokens_off"] >= 2
    assert counters["tokens_forced"] == counters["bad_slots"] == 0
    engine.close()


def test_a_running_request_keeps_its_slot(plugin, serving, group):
    """One that is in another batch just now, as with pipelines: the host may know its tokens a step late, so that it could not begin again."""
    engine = make_engine(serving, slots=1)
    host = Host(plugin, engine, group, slots=1)
    first, second = host.request("a", ticket=serving.ticket("org-a"), sampling_seed=1), host.request("b", ticket=serving.ticket("org-b"))
    rows = [row(5, step) for step in range(20)]
    for step, r in enumerate(rows):
        host.step([first], [r], extend=step == 0)
        host.step([second], [r], extend=step == 0)
    assert list(first.output_ids) == alone(serving, "org-a", "r-1/0", rows, 1)
    assert engine.counters()["requests_without_slot"] == 1 and engine.counters()["tokens_off"] >= 20
    engine.close()


def test_children_and_seeds(host, engine, serving):
    """n > 1: one ticket, one label a child and the seed one further, so that answers differ and each is its own request's."""
    ticket = serving.ticket("org-b", "r-9")
    children = [host.request(f"child{i}", ticket=ticket, sampling_seed=3) for i in range(3)]
    rows = [row(6, step) for step in range(30)]
    for step, r in enumerate(rows):
        host.step(children, [r] * 3, extend=step == 0)
    texts = [list(child.output_ids) for child in children]
    assert texts == [alone(serving, "org-b", f"r-9/{i}", rows, 3 + i) for i in range(3)]
    assert len(set(map(tuple, texts))) == 3


def test_who_has_no_ticket(host, engine, serving):
    """Nobody's word but the gateway's: a request without a ticket, with a stale or a forged one, or one of the wrong kind, is marked in the base channel alone, and counted."""
    tickets = [None, "", serving.ticket("org-a", lifetime=-1), serving.ticket("org-a")[:-2] + "AA", 7, "org-a"]
    requests = [host.request(str(i), ticket=ticket, sampling_seed=1) for i, ticket in enumerate(tickets)]
    rows = [row(8, step) for step in range(100)]
    for step, r in enumerate(rows):
        host.step(requests, [r] * len(requests), extend=step == 0)
    counters = engine.counters()
    assert [counters[f"requests_{outcome}"] for outcome in ("signed", "port", "unsigned", "stale", "forged")] == [0, 0, 2, 1, 3]
    assert counters["tokens_off"] > 0
    plain = alone(serving, "", None, rows, 1)
    assert all(list(request.output_ids) == plain for request in requests)
    assert sure(serving, plain)[0][0] > -3  # constant keys


def test_parameters_of_low_entropy(host, engine, serving):
    """temperature 0, top_k 1 and their like are raised to the epoch's floor: text that is marked all the same."""
    requests = [host.request(str(i), ticket=serving.ticket("org-a"), **p) for i, p in enumerate([{"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.01}, {"temperature": 1e-3}])]
    for step in range(50):
        host.step(requests, [row(9, i, step) for i in range(4)], extend=step == 0)
    counters = engine.counters()
    assert counters["tokens_greedy"] == 0 and counters["tokens_marked"] > 0.8 * 4 * 48
    assert counters.get("refused_parameters", 0) == 0


def test_log_probabilities(host, serving):
    """Those of SGLang's own sampler: of the distribution at the request's temperature, before truncation, whatever was chosen."""
    requests = [host.request(str(i), ticket=serving.ticket("org-a"), temperature=0.5 + i) for i in range(2)]
    logits = np.array([row(10), row(11)])
    tokens, output = host.step(requests, logits, extend=True, logprobs=True)
    expected = torch.log_softmax(torch.from_numpy(logits.astype(np.float64)) / torch.tensor([[0.5], [1.5]]), -1)
    assert torch.allclose(output.next_token_logprobs.double(), expected[range(2), tokens], atol=1e-5)
    assert torch.allclose(torch.as_tensor(np.array([v.tolist() for v in output.next_token_top_logprobs_val])), expected.topk(2).values, atol=1e-5)


def test_penalties_biases_and_bad_rows(host, engine, serving):
    """What SGLang applies before the sampler reaches the hook; a row without a finite logit, or with a NaN, ends nothing."""
    only = {str(token): -1e9 for token in range(VOCABULARY) if token not in (17, 44)}
    request, nothing, nan = (host.request(name, ticket=serving.ticket("org-a"), **p) for name, p in (("a", {"logit_bias": only}), ("b", {}), ("c", {})))
    bad = np.array([row(1), np.full(VOCABULARY, -np.inf, np.float32), np.where(np.arange(VOCABULARY) == 3, np.nan, row(1)).astype(np.float32)])
    for step in range(12):
        tokens = host.step([request, nothing, nan], bad, extend=step == 0)
        assert tokens[0] in (17, 44) and tokens[1] == 0 and 0 <= tokens[2] < VOCABULARY and tokens[2] != 3
    assert engine.counters()["bad_rows"] > 0


def test_a_batch_that_nobody_named_is_not_sampled(host):
    """Rather than unmarked text: SGLang's warm-up request finds it at start-up."""
    from sglang.srt.layers.logits_processor import LogitsProcessorOutput

    info = mock.Mock(spec=["has_custom_logit_processor"], has_custom_logit_processor=False)
    with pytest.raises(RuntimeError, match="nobody is known"):
        host.sampler.forward(LogitsProcessorOutput(next_token_logits=torch.zeros(1, VOCABULARY)), info, False, [0], [None], torch.zeros(1))


def test_beams_are_refused_in_words(plugin, host):
    from sglang.srt.beam_search.coordinator import BeamCoordinator

    assert "Beam search is not offered" in BeamCoordinator.validate_and_init(mock.Mock(), host.request("a"), mock.Mock())


@pytest.mark.parametrize("bag, member, value, words", [
    ("exec.kernel", "sampling_backend", "flashinfer", "the sampling backend is flashinfer: everything would be unmarked"),
    ("exec.features", "enable_custom_logit_processor", True, "clients' own code"),
    ("spec", "speculative_algorithm", "EAGLE", "speculative decoding"),
    ("disagg", "disaggregation_mode", "decode", "another host"),
    ("exec.dllm", "dllm_algorithm", "LowConfidence", "diffusion"),
    ("exec.features", "enable_watermark", True, "one text takes one mark"),
])
def test_a_server_that_must_not_start(plugin, bag, member, value, words):
    from sglang.srt import runtime_context
    from countermark.serving.engine import SetupError

    first, _, second = bag.partition(".")
    group = getattr(runtime_context, f"get_{first}")()
    group = getattr(group, second) if second else group
    plugin.check_server()
    with group.override(**{member: value}), pytest.raises(SetupError, match=words):
        plugin.check_server()


def test_start_up(plugin, serving, group, monkeypatch, capfd):
    """initialize ends the process with one line, before a model is loaded; another version is not taken for this one; without a configuration the backend says what is missing."""
    runner = mock.Mock(is_draft_worker=False, is_generation=True, model_config=mock.Mock(vocab_size=VOCABULARY))
    plugin._before_initialize(runner)
    wrong = mock.Mock(is_draft_worker=False, is_generation=True, model_config=mock.Mock(vocab_size=VOCABULARY + 1))
    with pytest.raises(SystemExit):
        plugin._before_initialize(wrong)
    monkeypatch.setattr(plugin.sglang, "__version__", "0.6.0")
    with pytest.raises(SystemExit):
        plugin._before_initialize(runner)
    monkeypatch.undo()
    monkeypatch.delenv("COUNTERMARK_CONFIG")
    with pytest.raises(SystemExit):
        plugin.MarkSampler()
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 3 and all(line.startswith("countermark: not serving: ") for line in said)
    assert "500 tokens, and the model has 501" in said[0] and "SGLang 0.6.0" in said[1] and "COUNTERMARK_CONFIG is not set" in said[2]


def test_the_engine_opens_when_the_pools_are_there(plugin, serving, group):
    with in_groups(group):
        sampler = plugin.MarkSampler()
    runner = mock.Mock(sampler=sampler, is_draft_worker=False, device="cpu", max_running_requests=4, pp_group=mock.Mock(is_last_rank=True), model_config=mock.Mock(vocab_size=VOCABULARY, context_len=256))
    plugin._after_pools(None, runner)
    assert len(sampler._free) == 20 and sampler.counters()["tokens_marked"] == 0
    sampler._engine.close()
    runner.pp_group.is_last_rank = False
    with in_groups(group):
        runner.sampler = plugin.MarkSampler()
    plugin._after_pools(None, runner)
    assert runner.sampler._engine is None
