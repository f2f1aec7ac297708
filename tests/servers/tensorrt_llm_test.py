"""countermark.tensorrt_llm against the interface that TensorRT-LLM declares (tensorrt_llm/sampling_params.py, and how the PyTorch backend's runner calls a processor). The package itself is not
here: its wheel needs CUDA. What stands below for its classes is no more than their members' names and defaults."""
import dataclasses
import inspect
import os
import pickle
import sys
import types
from typing import Any

import numpy as np
import pytest

sys.path[:0] = [os.path.dirname(__file__), os.path.join(os.environ["COUNTERMARK_SOURCE"], "tests", "python")]
from small_model import transformers_cannot_be_had  # noqa: E402

if transformers_cannot_be_had():
    why = "SKIPPED: torch could not be installed here (tools/setup transformers); countermark.tensorrt_llm is NOT tested"
    print(why, file=sys.__stderr__)
    pytest.exit(why, returncode=77)
import torch  # noqa: E402
from serving_fixture import ACCOUNTS, FixedServing  # noqa: E402

from countermark import tensorrt_llm as adapter  # noqa: E402
from countermark.errors import InvalidArgumentError  # noqa: E402
from countermark.serving.engine import SetupError  # noqa: E402

VOCABULARY, COLUMNS = 500, 512  # the executor pads its rows
torch.set_num_threads(1)


@dataclasses.dataclass(slots=True, kw_only=True)
class SamplingParams:
    end_id: Any = None
    max_tokens: int = 32
    bad: Any = None
    bad_token_ids: Any = None
    embedding_bias: Any = None
    logits_processor: Any = None
    apply_batched_logits_processor: bool = False
    n: int = 1
    best_of: Any = None
    use_beam_search: bool = False
    top_k: Any = None
    top_p: Any = None
    top_p_min: Any = None
    top_p_reset_ids: Any = None
    top_p_decay: Any = None
    seed: Any = None
    temperature: Any = None
    min_tokens: Any = None
    beam_search_diversity_rate: Any = None
    repetition_penalty: Any = None
    presence_penalty: Any = None
    frequency_penalty: Any = None
    no_repeat_ngram_size: Any = None
    min_p: Any = None
    beam_width_array: Any = None
    logprobs: Any = None
    return_generation_logits: bool = False
    lookahead_config: Any = None
    guided_decoding: Any = None


class LLM:
    def __init__(self, **args):
        self.args = types.SimpleNamespace(**{"backend": "pytorch", "speculative_config": None, "enable_chunked_prefill": False, "max_batch_size": 8, "enable_attention_dp": False, **args})


def row(*seed):
    padded = np.full(COLUMNS, 50, np.float32)  # what stands in the padding must not be chosen
    padded[:VOCABULARY] = np.random.default_rng(seed).normal(0, 2, VOCABULARY)
    return padded


class Executor:
    """A rank of the PyTorch backend: calls each request's processors on its row, as DecoderRunner does, and samples from what they leave. late: the overlap scheduler."""

    def __init__(self, late=False):
        self.late, self.requests, self.pending = late, {}, []
        adapter._tables.clear()

    def enqueue(self, req_id, params, prompt):
        processors = pickle.loads(pickle.dumps(params.logits_processor))  # to another process
        self.requests[req_id] = (processors, list(prompt))

    def step(self, req_ids, rows):
        logits = torch.from_numpy(np.array(rows))
        for place, req_id in enumerate(req_ids):
            processors, ids = self.requests[req_id]
            for processor in processors:
                assert 4 <= len(inspect.signature(processor).parameters) <= 5
                processor(req_id, logits[place : place + 1].view(1, 1, -1), [list(ids)], None, None)
        assert torch.isfinite(logits).sum(-1).tolist() == [1] * len(req_ids)
        chosen = list(zip(req_ids, logits.argmax(-1).tolist(), strict=True))
        for req_id, token in self.pending if self.late else chosen:
            self.requests[req_id][1].append(token)
        self.pending = chosen if self.late else []
        return [token for _, token in chosen]


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    serving = FixedServing(tmp_path_factory.mktemp("serving"), tokenizer="-", vocabulary=VOCABULARY, max_slots=8)
    os.environ["COUNTERMARK_CONFIG"] = str(serving.config)
    return serving


@pytest.fixture
def marking(serving):
    yield adapter.Marking(LLM(), vocabulary=VOCABULARY)
    for table in adapter._tables.values():
        table._engine.close()
    adapter._tables.clear()


def engine():
    (table,) = adapter._tables.values()
    return table._engine


def alone(serving, account, label, rows, seed, prompt=(1, 2), **sampling):
    """The same request through the package's hook."""
    with serving.epoch.hook() as hook:
        hook.begin(0, account=account, request=label, seed=seed, prompt=prompt, **sampling)
        return [int(hook.sample([0], np.ascontiguousarray(r[:VOCABULARY])).tokens[0]) for r in rows]


@pytest.mark.parametrize("late", [False, True])
def test_three_accounts(serving, marking, late):
    """With and without the overlap scheduler a text is what its request gets alone, and the detector names its account. Keys, seeds and logits are constant."""
    executor = Executor(late)
    for i, account in enumerate(ACCOUNTS):
        executor.enqueue(i + 1, marking.params(SamplingParams(temperature=0.9, top_p=0.95, seed=7 + i), ticket=serving.ticket(account, f"r-{account}")), [5, i])
    rows = [[row(i, step) for step in range(200)] for i in range(3)]
    texts = {i: [] for i in range(3)}
    for step in range(200):
        order = [(step + i) % 3 for i in range(3)]
        for i, token in zip(order, executor.step([i + 1 for i in order], [rows[i][step] for i in order]), strict=True):
            texts[i].append(token)
    for i, account in enumerate(ACCOUNTS):
        assert texts[i] == alone(serving, account, f"r-{account}/0", rows[i], 7 + i, [5, i], temperature=0.9, top_p=0.95)
        found = sorted((a["log10_p"], a["account"]) for a in serving.detect([texts[i]], accounts=ACCOUNTS)["pooled"]["accounts"])
        assert found[0][1] == account and found[0][0] < -6 and found[1][0] > -3
    counters = engine().counters()
    assert counters["requests_signed"] == 3 and counters["tokens_forced"] == counters["tokens_fault"] == counters["bad_slots"] == 0
    assert sum(n for name, n in counters.items() if name.startswith("tokens_")) == 600


def test_children_draw_apart_and_ranks_alike(serving, marking):
    """n > 1 shares ticket and processor; without a seed every rank of a request draws the same, and another request something else."""
    params = marking.params(SamplingParams(temperature=1.0, n=3), ticket=serving.ticket("org-b", "r-9"))
    again = marking.params(SamplingParams(temperature=1.0), ticket=serving.ticket("org-b", "r-8"))
    ranks = []
    for _ in range(2):
        executor = Executor()
        for child in range(3):
            executor.enqueue(10 + child, params, [1, 2])
        executor.enqueue(20, again, [1, 2])
        ranks.append([executor.step([10, 11, 12, 20], [row(6, step)] * 4) for step in range(30)])
    assert ranks[0] == ranks[1]
    assert len({tuple(step[i] for step in ranks[0]) for i in range(4)}) == 4  # two alike: odds below 10⁻⁵⁰, all of 30 tokens


def test_a_slot_lost_to_others(serving, marking):
    """More requests than slots, which a paused one is part of: it comes back as who it was, after its ticket has expired and without being counted again."""
    executor = Executor()
    executor.enqueue(1, marking.params(SamplingParams(temperature=1.0, seed=3), ticket=serving.ticket("org-a", "r-1")), [1, 2])
    rows = [row(2, step) for step in range(40)]
    text = [executor.step([1], [r])[0] for r in rows[:20]]
    key = adapter.Engine.admit
    others = range(2, 10)
    for other in others:
        executor.enqueue(other, marking.params(SamplingParams(temperature=1.0)), [1, 2])
        executor.step([other], [row(3)])
    try:
        adapter.Engine.admit = None  # nobody is asked a second time
        text += [executor.step([1], [r])[0] for r in rows[20:]]
    finally:
        adapter.Engine.admit = key
    assert text == alone(serving, "org-a", "r-1/0", rows, 3)
    counters = engine().counters()
    assert (counters["requests_signed"], counters["requests_unsigned"], counters["tokens_forced"]) == (1, 8, 0)


def test_tokens_of_anothers_choosing(serving, marking):
    """Put in or taken back by the host: windows are those of the text as it is."""
    executor = Executor()
    executor.enqueue(1, marking.params(SamplingParams(temperature=1.0, seed=3), ticket=serving.ticket("org-a", "r-1")), [1, 2])
    rows = [row(2, step) for step in range(12)]
    text = [executor.step([1], [r])[0] for r in rows[:6]]
    ids = executor.requests[1][1]
    ids += [9, 8, 7]
    with serving.epoch.hook() as hook:
        hook.begin(0, account="org-a", request="r-1/0", seed=3, prompt=[1, 2])
        hook.rebuild(0, [*text, 9, 8, 7])
        expected = [int(hook.sample([0], np.ascontiguousarray(r[:VOCABULARY])).tokens[0]) for r in rows[6:]]
        assert [executor.step([1], [r])[0] for r in rows[6:]] == expected
        del ids[-4:]
        hook.rollback(0, 4)
        assert executor.step([1], [rows[0]])[0] == int(hook.sample([0], np.ascontiguousarray(rows[0][:VOCABULARY])).tokens[0])


def test_who_has_no_ticket(serving, marking):
    executor = Executor()
    tickets = [None, serving.ticket("org-a", lifetime=-1), serving.ticket("org-a")[:-2] + "AA"]
    for i, ticket in enumerate(tickets):
        executor.enqueue(i, marking.params(SamplingParams(temperature=1.0, seed=1), ticket=ticket), [1, 2])
    rows = [row(8, step) for step in range(60)]
    texts = list(zip(*[executor.step([0, 1, 2], [r] * 3) for r in rows], strict=True))
    assert [list(text) for text in texts] == [alone(serving, "", None, rows, 1)] * 3
    counters = engine().counters()
    assert [counters[f"requests_{outcome}"] for outcome in ("signed", "unsigned", "stale", "forged")] == [0, 1, 1, 1]


@pytest.mark.parametrize("given, words", [
    ({"use_beam_search": True}, "beam search"), ({"guided_decoding": object()}, "take back"), ({"min_tokens": 5}, "end token"), ({"bad": "word"}, "forbidden words"),
    ({"bad_token_ids": [3]}, "forbidden words"), ({"no_repeat_ngram_size": 3}, "repeats"), ({"embedding_bias": torch.zeros(2)}, "bias"), ({"repetition_penalty": 1.1}, "penalty"),
    ({"presence_penalty": 0.5}, "penalty"), ({"frequency_penalty": 0.5}, "penalty"), ({"top_p_decay": 0.9}, "truncation"), ({"logprobs": 5}, "probability 1"),
    ({"return_generation_logits": True}, "probability 1"), ({"best_of": 4}, "best_of"), ({"lookahead_config": object()}, "drafts"), ({"apply_batched_logits_processor": True}, "batched"),
])
def test_what_cannot_be_marked(marking, given, words):
    with pytest.raises(InvalidArgumentError, match=words):
        marking.params(SamplingParams(temperature=1.0, **given))


def test_what_is_off_is_not_refused(marking):
    off = dict(min_tokens=1, repetition_penalty=1.0, presence_penalty=0.0, frequency_penalty=0, top_p_decay=1.0, logprobs=0, best_of=2, n=2, bad_token_ids=[])
    first = lambda *_: None  # noqa: E731
    params = SamplingParams(temperature=1.0, logits_processor=first, **off)
    marked = marking.params(params)
    assert marked.logits_processor[0] is first and len(marked.logits_processor) == 2 and params.logits_processor is first


@pytest.mark.parametrize("given, expected", [
    ({}, (0.0, 0, 1.0, 0.0)), ({"temperature": 0.7}, (0.7, 0, 1.0, 0.0)), ({"top_k": 1, "temperature": 0.7}, (0.0, 0, 1.0, 0.0)), ({"top_p": 0.0}, (0.0, 0, 1.0, 0.0)),
    ({"top_k": 20, "top_p": 0.9, "min_p": 0.1}, (1.0, 20, 0.9, 0.1)), ({"temperature": 0}, (0.0, 0, 1.0, 0.0)),
])
def test_parameters(given, expected):
    assert dataclasses.astuple(adapter.sampling_of(SamplingParams(**given))) == expected


def test_greedy_is_raised_to_the_floor(serving, marking):
    executor = Executor()
    executor.enqueue(1, marking.params(SamplingParams(), ticket=serving.ticket("org-a")), [1, 2])
    for step in range(50):
        executor.step([1], [row(4, step)])
    counters = engine().counters()
    assert counters["tokens_greedy"] == 0 and counters["tokens_marked"] > 40


@pytest.mark.parametrize("args, words", [({"backend": "tensorrt"}, "PyTorch backend"), ({"speculative_config": object()}, "drafts"), ({"enable_chunked_prefill": True}, "part of a prompt"),
                                         ({"max_batch_size": 64}, "max_slots is 8")])
def test_an_llm_that_must_not_serve(serving, args, words):
    with pytest.raises(SetupError, match=words):
        adapter.Marking(LLM(**args), vocabulary=VOCABULARY)


def test_a_bad_set_up(serving, marking, monkeypatch):
    with pytest.raises(SetupError, match="500 tokens, and the model has 501"):
        adapter.Marking(LLM(), vocabulary=VOCABULARY + 1)
    # In the executor's process the request fails, and no text goes out.
    executor = Executor()
    executor.enqueue(1, marking.params(SamplingParams(temperature=1.0)), [1, 2])
    mode = serving.epoch.secret.stat().st_mode
    serving.epoch.secret.chmod(0o644)
    try:
        with pytest.raises(SetupError):
            executor.step([1], [row(1)])
    finally:
        serving.epoch.secret.chmod(mode)
    monkeypatch.delenv("COUNTERMARK_CONFIG")
    with pytest.raises(SetupError, match="COUNTERMARK_CONFIG"):
        adapter.Marking(LLM(), vocabulary=VOCABULARY)


def test_nothing_secret_travels(serving, marking):
    """A processor is pickled to the executor's processes: neither it nor what it shows of itself has a key or a passphrase."""
    processor = marking.params(SamplingParams(temperature=1.0), ticket=serving.ticket("org-a")).logits_processor[0]
    data = pickle.dumps(processor)
    assert serving.ticket_key_file.read_bytes().strip() not in data and bytes(range(100, 132)) not in data and serving.epoch.secret.read_bytes().strip() not in data
    assert repr(processor) == "<countermark.tensorrt_llm.MarkProcessor>"
