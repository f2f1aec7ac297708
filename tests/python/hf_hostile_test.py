"""countermark.hf under hostile or unlucky clients: parameters of every kind, generations that break off, 200 at once. Never unmarked without being counted, never another's account, never a slot
that stays taken. The small model of hf_test.py."""
import threading

import pytest

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

import countermark
from fixture import ACCOUNTS
from hf_test import PROMPTS, SAMPLED, VOCABULARY, Force, epoch, generate, hook, model  # noqa: F401  (fixtures)


class Break(StoppingCriteria):
    """Raises at a length."""

    def __init__(self, length, error):
        self.length, self.error = length, error

    def __call__(self, input_ids, scores, **_):
        if input_ids.shape[1] >= self.length:
            raise self.error
        return torch.zeros(input_ids.shape[0], dtype=torch.bool)


@pytest.mark.parametrize("error", [RuntimeError("the client is gone"), KeyboardInterrupt(), MemoryError(), SystemExit(3), GeneratorExit()])
def test_a_generation_that_breaks_off_gives_its_slots_back(model, hook, error):
    before = generate(model, hook, PROMPTS, accounts=ACCOUNTS)
    for length in (10, 15, 30):
        for _ in range(4):  # more rows in all than there are slots
            with pytest.raises(type(error)):
                generate(model, hook, PROMPTS, accounts=ACCOUNTS, stopping_criteria=StoppingCriteriaList([Break(length, error)]))
            assert hook.metrics().slots_in_use == 0
    free = hook.take_slots(32)
    hook.give_slots(free)
    assert sorted(free) == list(range(32))
    assert [a.token_ids for a in generate(model, hook, PROMPTS, accounts=ACCOUNTS)] == [a.token_ids for a in before]  # nothing of them is left


def test_a_processor_that_raises_and_a_model_that_raises(model, hook, monkeypatch):
    def bad(scores):
        raise ValueError("a penalty of somebody's")

    with pytest.raises(ValueError, match="somebody"):
        generate(model, hook, PROMPTS, logits_processor=[Force(bad)])
    assert hook.metrics().slots_in_use == 0
    steps = iter(range(5))
    forward = type(model).forward

    def breaks(self, *args, **kwargs):
        if next(steps, None) is None:
            raise RuntimeError("out of memory")
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(model), "forward", breaks)
    with pytest.raises(RuntimeError, match="out of memory"):
        generate(model, hook, PROMPTS)
    assert hook.metrics().slots_in_use == 0


class Two(StoppingCriteria):
    """Ends the first row after a few tokens, the others go on."""

    def __call__(self, input_ids, scores, **_):
        return torch.tensor([row == 0 and input_ids.shape[1] > 14 for row in range(input_ids.shape[0])])


def test_a_row_that_a_criterion_ends_is_over(model, hook):
    plain = generate(model, hook, PROMPTS, accounts=ACCOUNTS)
    ended = generate(model, hook, PROMPTS, accounts=ACCOUNTS, stopping_criteria=StoppingCriteriaList([Two()]), eos_token_id=499, pad_token_id=499)
    assert [a.token_ids for a in ended[1:]] == [a.token_ids for a in plain[1:]]
    assert ended[0].token_ids[:3] == plain[0].token_ids[:3] and len(ended[0].token_ids) < len(plain[0].token_ids)


HOSTILE = [
    dict(temperature=float("inf")), dict(temperature=1e-30), dict(temperature=1e30), dict(top_k=-1), dict(top_k=2**40), dict(top_k=10**9), dict(top_p=1e-300), dict(top_p=1.5), dict(min_p=-1.0),
    dict(min_p=float("nan")), dict(temperature=0.0, top_k=1, top_p=1e-9, min_p=1.0), dict(seed=-1), dict(seed=2**64 - 1), dict(seed=2**70), dict(repetition_penalty=1e9),
    dict(repetition_penalty=float("nan")), dict(min_new_tokens=39, eos_token_id=list(range(0, 500, 2))), dict(bad_words_ids=[[i] for i in range(499)]), dict(suppress_tokens=list(range(VOCABULARY))),
    dict(sequence_bias=[[[9], float("inf")]]), dict(sequence_bias=[[[i], -1e30] for i in range(1, 500)]), dict(forced_eos_token_id=7, max_new_tokens=30), dict(forced_bos_token_id=7),
    dict(max_new_tokens=300), dict(renormalize_logits=True), dict(remove_invalid_values=True), dict(guidance_scale=1.5), dict(output_scores=True, return_dict_in_generate=True),
    dict(exponential_decay_length_penalty=(2, 5.0), eos_token_id=9), dict(encoder_repetition_penalty=1.5), dict(do_sample=False, num_return_sequences=2), dict(num_return_sequences=4),
    dict(max_time=1e-9), dict(stop_strings=["3"]), dict(account="org-b\norg-a"), dict(account="org-a" * 100000), dict(account="org-a\0"), dict(account=None), dict(account=7), dict(accounts=[None]),
    dict(requests=["\0"]), dict(requests=["x" * 100000]), dict(requests=[""]), dict(logits_processor=[Force(lambda s: s.fill_(float("nan")))]),
    dict(logits_processor=[Force(lambda s: s.fill_(-float("inf")))]), dict(logits_processor=[Force(lambda s: s.fill_(float("inf")))]), dict(logits_processor=[Force(lambda s: s.mul_(1e38))]),
]


@pytest.mark.parametrize("options", HOSTILE, ids=[str(o)[:40] for o in HOSTILE])
def test_hostile_parameters(model, hook, options):
    """Refused in words, or served with every token counted; marked unless what was asked for leaves nothing to mark."""
    try:
        answers = generate(model, hook, ["5 6 7"], **options)
    except (ValueError, TypeError, OverflowError, RuntimeError, countermark.Error) as error:
        assert str(error)
        assert hook.metrics().slots_in_use == 0
        return
    for answer in answers:
        assert answer.account == options.get("account", "org-a") and answer.marked
        assert sum(answer.counters.values()) >= len(answer.token_ids) - 1, "tokens that nobody counted"
        assert answer.counters["off"] == 0 and answer.counters["greedy"] == 0
        assert all(0 <= token < VOCABULARY for token in answer.token_ids)


def test_no_account(model, hook):
    [answer] = generate(model, hook, ["5 6 7"], account=countermark.BASE_ONLY)
    assert answer.account == "" and answer.marked and answer.counters["marked"] > 8 and answer.counters["off"] > 8


def test_two_hundred_at_once(model, epoch):
    """Each thread its own call of generate, all on one hook: everybody gets the tokens that he would get alone."""
    short = {**SAMPLED, "max_new_tokens": 12}

    def serve(hook, i):
        [answer] = generate(model, hook, [PROMPTS[i % 3]], account=ACCOUNTS[i % 3], **{**short, "seed": i % 12})
        return answer

    with epoch.hook(max_slots=200, max_length=64) as hook:
        alone = {i: serve(hook, i) for i in range(12)}
        answers, failures = {}, []

        def run(i, gate):
            gate.wait()
            try:
                answers[i] = serve(hook, i)
            except BaseException as error:  # noqa: BLE001  (any of them fails the test)
                failures.append(error)

        gate = threading.Barrier(200)
        threads = [threading.Thread(target=run, args=(i, gate)) for i in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures and len(answers) == 200
        for i, answer in answers.items():
            assert answer.token_ids == alone[i % 12].token_ids and answer.account == ACCOUNTS[i % 3] and answer.counters == alone[i % 12].counters
        metrics = hook.metrics()
        assert metrics.slots_in_use == 0 and metrics.requests == 212 and metrics.tokens == 212 * 12 and metrics.bad_slots == 0


def test_more_at_once_than_slots(model, epoch):
    with epoch.hook(max_slots=4, max_length=64) as hook:
        outcomes = []

        def run(i):
            try:
                [answer] = generate(model, hook, ["5 6"], account=ACCOUNTS[i % 3], max_new_tokens=8)
                outcomes.append(answer.counters["fault"] == 0)
            except countermark.InvalidArgumentError as error:
                outcomes.append("max_slots" in str(error))

        threads = [threading.Thread(target=run, args=(i,)) for i in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes == [True] * 40 and hook.metrics().slots_in_use == 0
        hook.give_slots(hook.take_slots(4))
