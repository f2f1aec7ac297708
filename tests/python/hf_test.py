"""countermark.hf through transformers' own generate, on a small Llama in double precision, so that rows of a batch and rows alone have the same logits to the last bit
of a float but for one in some 10⁸: the hook rounds them to single precision."""
import threading

import numpy as np
import pytest

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, LogitsProcessor, LogitsProcessorList

import countermark
from countermark import hf
from fixture import ACCOUNTS, FixedEpoch, rows

VOCABULARY = 500
SAMPLED = dict(do_sample=True, temperature=0.9, top_k=0, top_p=0.95, max_new_tokens=40)


class Words:
    """A tokenizer for tests: a prompt is numbers between blanks."""

    def __call__(self, text, **_):
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, ids, **_):
        return " ".join(map(str, ids))


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    torch.manual_seed(1)
    config = LlamaConfig(vocab_size=VOCABULARY, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                         bos_token_id=1, eos_token_id=None, pad_token_id=0, max_position_embeddings=512)
    model = LlamaForCausalLM(config).double().eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(40)
    return model


@pytest.fixture(scope="module")
def epoch(tmp_path_factory):
    return FixedEpoch(tmp_path_factory.mktemp("epoch"))


@pytest.fixture
def hook(epoch):
    with epoch.hook(max_slots=32, max_length=64) as hook:
        yield hook
        assert hook.metrics().slots_in_use == 0  # whatever happened, the slots were given back


def generate(model, hook, prompts, **options):
    options = {**SAMPLED, "seed": 5, **options}
    if "account" not in options and "accounts" not in options:
        options["account"] = "org-a"
    return hf.generate_marked(model, Words(), prompts, hook, **options)


class Keep(LogitsProcessor):
    """Stands before the mark and keeps what it is given."""

    def __init__(self):
        self.rows = []

    def __call__(self, input_ids, scores):
        self.rows.append(scores.to(torch.float32).numpy().copy())
        return scores


@pytest.mark.parametrize("scheme", ["gumbel", "tournament", "partition"])
@pytest.mark.parametrize("parameters", [SAMPLED, dict(do_sample=True, temperature=0.7, top_k=30, min_p=0.05), dict(do_sample=False)])
def test_tokens_are_the_cpp_hooks(model, tmp_path, scheme, parameters):
    epoch = FixedEpoch(tmp_path, scheme=scheme)
    keep = Keep()
    with epoch.hook(max_slots=1) as hook:
        [answer] = generate(model, hook, ["7 8 9"], **{**parameters, "max_new_tokens": 60}, account="org-b", logits_processor=[keep], repetition_penalty=1.2)
    if parameters["do_sample"]:
        asked = dict(temperature=parameters["temperature"], top_k=parameters["top_k"], top_p=parameters.get("top_p", 1.0), min_p=parameters.get("min_p", 0.0))
        tokens, causes = epoch.reference_tokens(tmp_path, np.concatenate(keep.rows), "org-b", 5, **asked)
        assert list(answer.token_ids) == tokens
        assert answer.counters == {c: causes.count(c) for c in countermark.CAUSES}
    assert answer.counters["marked"] > 30  # the floor policy has raised the greedy request, too


def test_what_nobody_says_is_transformers_default(model, epoch, tmp_path):
    keep = Keep()
    with epoch.hook(max_slots=1) as hook:
        [answer] = hf.generate_marked(model, Words(), ["7 8 9"], hook, account="org-a", seed=5, do_sample=True, max_new_tokens=40, logits_processor=[keep])
    default = GenerationConfig._get_default_generation_params()
    assert hf.parameters_of(GenerationConfig(do_sample=True)) == hf.SamplingParameters(default["temperature"], default["top_k"], default["top_p"], 0.0)
    tokens, _ = epoch.reference_tokens(tmp_path, np.concatenate(keep.rows), "org-a", 5, top_k=default["top_k"])
    assert list(answer.token_ids) == tokens


PROMPTS = ["3 4 5 6 7 8 9 10 11", "20", "30 31 32 33"]


def test_padding_and_batches_change_nothing(model, hook):
    together = generate(model, hook, PROMPTS, accounts=ACCOUNTS)
    for i, answer in enumerate(together):
        [alone] = generate(model, hook, [PROMPTS[i]], account=ACCOUNTS[i], seed=5 + i)
        assert alone.token_ids == answer.token_ids and alone.counters == answer.counters
        assert answer.prompt == i and answer.account == ACCOUNTS[i] and answer.marked


def test_num_return_sequences(model, hook):
    many = generate(model, hook, PROMPTS[:2], accounts=ACCOUNTS[:2], num_return_sequences=3)
    assert [a.prompt for a in many] == [0, 0, 0, 1, 1, 1]
    for i, answer in enumerate(many):
        [alone] = generate(model, hook, [PROMPTS[i // 3]], account=ACCOUNTS[i // 3], seed=5 + i)
        assert alone.token_ids == answer.token_ids
    assert len({a.token_ids for a in many}) == 6  # the first tokens are plain draws, each answer's own


def test_static_cache_and_none(model, hook):
    dynamic = generate(model, hook, PROMPTS)
    for options in (dict(cache_implementation="static"), dict(use_cache=False)):
        assert [a.token_ids for a in generate(model, hook, PROMPTS, **options)] == [a.token_ids for a in dynamic]


def test_requests_have_draws_of_their_own(model, hook):
    answers = {generate(model, hook, ["5"], seed=None, max_new_tokens=2)[0].token_ids for _ in range(40)}
    assert len(answers) > 1  # the likeliest of this model's answers has a probability below 0.45: all alike by chance 10⁻¹³


def test_an_answer_ends_where_it_ends(model, hook):
    plain = generate(model, hook, PROMPTS)
    eos = plain[0].token_ids[9]
    ended = generate(model, hook, PROMPTS, eos_token_id=[eos, 499], pad_token_id=0)
    for before, answer in zip(plain, ended, strict=True):
        expect = before.token_ids
        if eos in expect:
            expect = expect[: expect.index(eos) + 1]
        assert answer.token_ids == expect and sum(answer.counters.values()) == len(expect)
    assert len(ended[0].token_ids) <= 10 < len(plain[0].token_ids)


def test_masks_and_penalties_come_first(model, hook):
    banned = list(range(100, 500))
    [answer] = generate(model, hook, ["5 6"], suppress_tokens=banned, no_repeat_ngram_size=2)
    assert max(answer.token_ids) < 100 and answer.counters["marked"] > 20
    pairs = list(zip((5, 6, *answer.token_ids), (6, *answer.token_ids)))
    assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("options, words", [
    (dict(num_beams=4), "num_beams"), (dict(num_beams=2, do_sample=True), "num_beams"), (dict(penalty_alpha=0.6, top_k=4, do_sample=False), "contrastive"),
    (dict(prompt_lookup_num_tokens=3), "assisted"), (dict(assistant_model=object()), "assisted"), (dict(typical_p=0.9), "typical_p"), (dict(top_h=0.4), "top_h"),
    (dict(epsilon_cutoff=0.1), "epsilon_cutoff"), (dict(custom_generate="somebody/elses"), "custom_generate"),
    (dict(generation_config=GenerationConfig(num_beams=3)), "num_beams")])
def test_what_cannot_be_marked_is_refused_in_words(model, hook, options, words):
    with pytest.raises(countermark.InvalidArgumentError, match=words):
        generate(model, hook, ["5"], **options)
    assert hook.metrics().requests == 0


def test_what_is_spelt_out_and_off_is_let_through(model, hook):
    assert len(generate(model, hook, ["5"], num_beams=1, typical_p=1.0, num_beam_groups=1, penalty_alpha=None, max_new_tokens=4)[0].token_ids) == 4


@pytest.mark.parametrize("options", [dict(temperature=0.0001), dict(top_k=1), dict(top_p=1e-6), dict(min_p=1.0), dict(do_sample=False), dict(temperature=0.0)])
def test_the_mark_cannot_be_switched_off(model, hook, options):
    """By no parameter: the floor policy raises each to where a mark lives, and what stays unmarked is counted."""
    [answer] = generate(model, hook, ["5"], **options)
    c = answer.counters
    assert c["marked"] > 0 and c["greedy"] == c["fault"] == c["off"] == 0 and sum(c.values()) == 40  # this model is sure of itself: few tokens have a rival
    assert generate(model, hook, ["5"], **options)[0].token_ids == answer.token_ids  # and the same request gets the same answer


@pytest.mark.parametrize("options", [dict(temperature=float("nan")), dict(temperature=-1.0), dict(top_p=-0.1), dict(top_p=float("nan")), dict(min_p=2.0)])
def test_parameters_that_cannot_be(model, hook, options):
    with pytest.raises(ValueError):
        generate(model, hook, ["5"], **options)


def test_policies(model, tmp_path):
    with FixedEpoch(tmp_path / "deny", policy="deny").hook(max_slots=1) as hook:
        with pytest.raises(countermark.PolicyError):
            generate(model, hook, ["5"], do_sample=False)
        assert hook.metrics().slots_in_use == 0
    with FixedEpoch(tmp_path / "allow", policy="allow").hook(max_slots=1) as hook:
        [answer] = generate(model, hook, ["5"], do_sample=False)
        assert answer.counters["greedy"] == 40 == hook.metrics().greedy
        plain = model.generate(torch.tensor([[5]]), do_sample=False, max_new_tokens=40)
        assert list(answer.token_ids) == plain[0, 1:].tolist()


def test_accounts_come_from_the_server(model, hook):
    for wrong in (dict(account="org-a", accounts=["org-a"]), dict(accounts=["org-a", "org-b"]), dict(accounts=[])):
        with pytest.raises(countermark.InvalidArgumentError):
            hf.generate_marked(model, Words(), ["5"], hook, **wrong, **SAMPLED)
    with pytest.raises(countermark.UnknownAccountError, match="org-z"):
        generate(model, hook, ["5", "6"], accounts=["org-a", "org-z"])
    good, stranger = generate(model, hook, ["5", "6"], accounts=["org-a", "org-z"], strict=False)
    assert good.marked and good.counters["marked"] > 20
    assert not stranger.marked and stranger.counters["fault"] == 40 and hook.metrics().unknown_accounts == 2


class Force(LogitsProcessor):
    def __init__(self, change):
        self.change = change

    def __call__(self, input_ids, scores):
        scores = scores.clone()
        self.change(scores)
        return scores


def test_bad_and_forced_rows_are_counted(model, hook):
    [forced] = generate(model, hook, ["5"], sequence_bias=[[[77], 1e4]])
    assert set(forced.token_ids) == {77} and forced.counters["marked"] == 0 and forced.counters["repeated_window"] + forced.counters["forced"] == 38
    [nan] = generate(model, hook, ["5"], logits_processor=[Force(lambda scores: scores[:, 9].fill_(float("nan")))])
    assert 9 not in nan.token_ids and sum(nan.counters.values()) == 40 and hook.metrics().bad_rows == 40


def test_beyond_the_longest_is_counted(model, hook):
    [answer] = generate(model, hook, ["5"], max_new_tokens=100)
    assert len(answer.token_ids) == 100 and answer.counters["fault"] == 36 == hook.metrics().too_long


def test_arguments_that_cannot_be(model, hook):
    for prompts in ("one text", [""]):
        with pytest.raises(countermark.InvalidArgumentError):
            generate(model, hook, prompts)
    with pytest.raises(countermark.InvalidArgumentError, match="input_ids"):
        generate(model, hook, ["5"], input_ids=torch.tensor([[5]]))
    with pytest.raises(countermark.InvalidArgumentError, match="max_slots"):
        generate(model, hook, ["5"] * 33)
    assert generate(model, hook, []) == []


def test_a_bare_processor(model, hook):
    config = GenerationConfig(**SAMPLED, pad_token_id=0)
    ids = torch.tensor([[0, 0, 5, 6], [7, 8, 9, 10]])
    mask = (ids != 0).long()
    with hf.MarkLogitsProcessor(hook, ["org-a", "org-b"], parameters=hf.parameters_of(config), seeds=[5, 6], pad_token_id=0) as mark:
        out = model.generate(ids, attention_mask=mask, generation_config=config, logits_processor=LogitsProcessorList([mark]))
        assert mark.marked == [True, True] and mark.counters(0)["marked"] > 20
    same = generate(model, hook, ["5 6", "7 8 9 10"], accounts=["org-a", "org-b"])
    assert [tuple(row) for row in out[:, 4:].tolist()] == [a.token_ids for a in same]
    with pytest.raises(countermark.InvalidArgumentError, match="closed"):
        mark(ids, torch.zeros(2, VOCABULARY))


def test_a_bare_processor_sees_beams(model, hook):
    with hf.MarkLogitsProcessor(hook, ["org-a"]) as mark, pytest.raises(countermark.InvalidArgumentError, match="beams"):
        model.generate(torch.tensor([[5, 6]]), num_beams=3, max_new_tokens=8, logits_processor=LogitsProcessorList([mark]))
    with hf.MarkLogitsProcessor(hook, ["org-a", "org-b"]) as mark:
        ids = torch.tensor([[5, 6], [7, 8]])
        mark(ids, torch.from_numpy(rows(2)))
        longer = torch.cat([ids, torch.tensor([[1], [2]])], 1)
        mark(longer, torch.from_numpy(rows(2)))
        assert mark.counters(0)["forced"] == 1 and sum(mark.counters(0).values()) == 2  # 1 is not what the mark chose: some other hand did
        swapped = torch.cat([longer.flip(0), torch.tensor([[1], [2]])], 1)
        with pytest.raises(countermark.InvalidArgumentError, match="beam search"):
            mark(swapped, torch.from_numpy(rows(2)))


def test_one_finite_logit_is_left(epoch, hook):
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        with hf.MarkLogitsProcessor(hook, ["org-a"], seeds=[1]) as mark:
            scores = torch.from_numpy(rows(1)).to(dtype)
            before = scores.clone()
            out = mark(torch.tensor([[5]]), scores)
            assert out.dtype == dtype and torch.isfinite(out).sum() == 1 and torch.equal(scores, before)


def test_torch_tensors_are_read_where_they_lie(epoch):
    z = torch.from_numpy(rows(50))
    with epoch.hook(max_slots=1) as hook:
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            typed = z.to(dtype)
            hook.begin(0, account="org-a", seed=1)
            theirs = [int(hook.sample([0], row).tokens[0]) for row in typed]
            hook.begin(0, account="org-a", seed=1)
            assert theirs == [int(hook.sample([0], row.float().numpy()).tokens[0]) for row in typed]
        typed[0, 3] = 60000
        assert hook.sample([0], typed[0]).tokens[0] == 3
        step = hook.bias([0], typed[0])
        assert torch.isfinite(typed[0]).sum() == 1 and step.tokens[0] == 3


def test_threads_share_a_hook(model, hook):
    alone = [generate(model, hook, [p], seed=i)[0].token_ids for i, p in enumerate(PROMPTS)]
    together = {}
    threads = [threading.Thread(target=lambda i=i, p=p: together.update({i: generate(model, hook, [p], seed=i)[0].token_ids})) for i, p in enumerate(PROMPTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[i] for i in range(3)] == alone
