"""Hook over the C interface: the C++ hook's tokens, from whatever array, without a copy, and every refusal in words."""
import threading

import numpy as np
import pytest

import countermark
from fixture import ACCOUNTS, FixedEpoch, marked_ids, rows


@pytest.fixture(scope="module", params=["gumbel", "tournament", "partition"])
def epoch(request, tmp_path_factory):
    return FixedEpoch(tmp_path_factory.mktemp(request.param), scheme=request.param)


@pytest.fixture(scope="module")
def gumbel(tmp_path_factory):
    return FixedEpoch(tmp_path_factory.mktemp("gumbel"))


PARAMETERS = [dict(), dict(temperature=0.7, top_k=40, top_p=0.9, min_p=0.02), dict(temperature=0.0), dict(top_k=1, temperature=1.5)]


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_tokens_and_causes_are_the_cpp_hooks(epoch, tmp_path, parameters):
    z = rows(200)
    tokens, causes = epoch.reference_tokens(tmp_path, z, "org-b", 7, **parameters)
    with epoch.hook() as hook:
        assert hook.begin(5, account="org-b", seed=7, **parameters)
        steps = [hook.sample([5], z[i], causes=True, logprobs=True) for i in range(len(z))]
        assert [int(s.tokens[0]) for s in steps] == tokens
        assert [countermark.CAUSES[s.causes[0]] for s in steps] == causes
        assert hook.request_counters(5) == {c: causes.count(c) for c in countermark.CAUSES}
    assert causes.count("marked") > 100


def test_rows_of_a_batch_are_those_alone(epoch):
    z = rows(60)
    with epoch.hook(max_slots=4) as hook:
        for slot, account in enumerate(["org-a", "org-b", "org-c", "org-a"]):
            hook.begin(slot, account=account, seed=slot)
        together = np.array([hook.sample([3, 0, 1, 2], np.stack([z[i]] * 4)).tokens for i in range(60)])
        for place, (slot, account) in enumerate([(3, "org-a"), (0, "org-a"), (1, "org-b"), (2, "org-c")]):
            hook.begin(slot, account=account, seed=slot)
            assert [int(hook.sample([slot], row).tokens[0]) for row in z] == together[:, place].tolist()


def test_arrays_are_read_where_they_lie(gumbel):
    """A wide array of which the hook sees a part: other strides, padded columns, and values that change between calls."""
    with gumbel.hook(max_columns=700) as hook:
        hook.begin(0, account="org-a", temperature=0.0001, top_k=1, seed=1)
        wide = np.full((6, 1000), -5, np.float32)
        part = wide[::2, 100:700]
        wide[0, 100 + 7] = wide[2, 100 + 8] = wide[4, 100 + 9] = 60
        part[:, 550] = 90  # beyond the vocabulary: never chosen
        for slot in range(3):
            hook.begin(slot, account="org-a")
        assert hook.sample([0, 1, 2], part).tokens.tolist() == [7, 8, 9]
        part[1, 33] = 80
        assert hook.sample([0, 1, 2], part).tokens.tolist() == [7, 33, 9]
        readonly = part.copy()
        readonly.flags.writeable = False
        assert hook.sample([0, 1, 2], readonly).tokens.tolist() == [7, 33, 9]


def test_halves_are_taken_as_the_floats_they_are(epoch):
    z = rows(80).astype(np.float16)
    with epoch.hook() as hook:
        hook.begin(0, account="org-a", seed=1)
        halves = [int(hook.sample([0], row).tokens[0]) for row in z]
        hook.begin(0, account="org-a", seed=1)
        assert [int(hook.sample([0], row.astype(np.float32)).tokens[0]) for row in z] == halves


@pytest.mark.parametrize("logits", [np.zeros((1, 500)), np.zeros((1, 500), np.int32), np.zeros((1, 1, 500), np.float32), np.zeros((500, 1), np.float32).T[:, ::2],
                                    np.zeros((1, 499), np.float32), np.zeros((2, 500), np.float32), np.zeros((1, 1000), np.float32)[:, ::2]])
def test_logits_that_cannot_be(gumbel, logits):
    with gumbel.hook() as hook:
        hook.begin(0, account="org-a")
        with pytest.raises(countermark.InvalidArgumentError):
            hook.sample([0], logits)
        assert hook.metrics().tokens == 0


def test_arguments_that_cannot_be(gumbel):
    with gumbel.hook(max_slots=2) as hook:
        with pytest.raises(TypeError):
            hook.sample([0], "logits")
        with pytest.raises(countermark.InvalidArgumentError):
            hook.sample(np.zeros(1, np.int64), rows(1))
        for parameters in [dict(temperature=float("nan")), dict(temperature=-1.0), dict(top_p=0.0), dict(top_p=2.0), dict(min_p=-1.0)]:
            with pytest.raises(countermark.InvalidArgumentError):
                hook.begin(0, account="org-a", **parameters)
        with pytest.raises(countermark.InvalidArgumentError, match="slot"):
            hook.begin(2, account="org-a")
        with pytest.raises(countermark.InvalidArgumentError):
            hook.commit(0, [-1])
        with pytest.raises(countermark.InvalidArgumentError):
            hook.begin(0, account="org-a\0org-b")
        with pytest.raises(TypeError):
            hook.begin(0, account=None)
    with pytest.raises(countermark.InvalidArgumentError, match="closed"):
        hook.begin(0, account="org-a")
    with pytest.raises(countermark.WrongEpochError):
        gumbel.hook(vocabulary=499)
    with pytest.raises(countermark.WrongEpochError):
        countermark.Hook(countermark.Keys())
    if not countermark.has_cuda():
        with pytest.raises(countermark.DeviceError, match="CUDA"):
            gumbel.hook(device=0)


def test_an_unknown_account_is_refused_or_counted(gumbel):
    with gumbel.hook(max_slots=1) as hook:
        with pytest.raises(countermark.UnknownAccountError, match="org-z"):
            hook.begin(0, account="org-z")
        assert hook.metrics().slots_in_use == 0
        assert hook.begin(0, account="org-z", strict=False) is False
        for row in rows(10):
            hook.sample([0], row)
        metrics = hook.metrics()
        assert metrics.marked == 0 and metrics.fault == 10 and metrics.unknown_accounts == 2


def test_no_account_is_the_base_channel_alone(epoch, tmp_path):
    assert countermark.BASE_ONLY == ""
    z = rows(200)
    tokens, causes = epoch.reference_tokens(tmp_path, z, countermark.BASE_ONLY, 7)
    assert causes.count("off") > 50 and causes.count("marked") > 50
    with epoch.hook() as hook:
        assert hook.begin(0, account=countermark.BASE_ONLY, seed=7)
        assert [int(hook.sample([0], row).tokens[0]) for row in z] == tokens
        assert hook.request_counters(0) == {c: causes.count(c) for c in countermark.CAUSES}
        ids = [i for seed in range(8) for i in marked_ids(hook, countermark.BASE_ONLY, 150, seed=seed)]
    result = countermark.Detector(epoch.epoch_keys(), accounts=[*ACCOUNTS, *(f"candidate-{i}" for i in range(200))]).detect([ids])
    assert result.pooled.log10_p < -12 and result.pooled.best_account.log10_p_adjusted > -6


def test_policies(tmp_path):
    with FixedEpoch(tmp_path / "deny", policy="deny").hook() as hook:
        with pytest.raises(countermark.PolicyError):
            hook.begin(0, account="org-a", temperature=0)
    with FixedEpoch(tmp_path / "allow", policy="allow").hook() as hook:
        hook.begin(0, account="org-a", temperature=0)
        z = rows(20)
        assert [int(hook.sample([0], row).tokens[0]) for row in z] == z.argmax(1).tolist()
        assert hook.metrics().greedy == 20


def test_bad_rows_are_counted(gumbel):
    with gumbel.hook() as hook:
        hook.begin(0, account="org-a")
        z = rows(3)
        z[0, 3] = np.nan
        z[1, :] = -np.inf
        z[2, 9] = np.inf
        step = [int(hook.sample([0], row).tokens[0]) for row in z]
        assert step[0] != 3 and step[1] == countermark.NO_TOKEN and step[2] == 9
        assert hook.metrics().bad_rows == 3


def test_commit_rollback_rebuild(gumbel):
    z = rows(40)
    with gumbel.hook() as hook:
        hook.begin(0, account="org-a", seed=1)
        plain = [int(hook.sample([0], row).tokens[0]) for row in z]
        hook.begin(1, account="org-a", seed=1)
        hook.begin(2, account="org-a", seed=1)
        for i, row in enumerate(z):
            hook.commit(1, [9, 9])
            hook.rollback(1, 2)
            token = hook.sample([1], row, commit=False).tokens[0]
            assert token == plain[i] == hook.sample([1], row, commit=False).tokens[0]
            if i % 2:
                hook.commit(1, [token])
            else:
                hook.commit_rows([1], [token])
            hook.rebuild(2, np.array(plain[: i + 1]))
        assert hook.request_counters(1)["marked"] == hook.request_counters(0)["marked"]
        assert sum(hook.request_counters(2).values()) == 40


def test_bias_leaves_one_finite(gumbel):
    z = rows(30)
    with gumbel.hook() as hook:
        hook.begin(0, account="org-a", seed=1)
        plain = [int(hook.sample([0], row).tokens[0]) for row in z]
        hook.begin(0, account="org-a", seed=1)
        for i in range(30):
            step = hook.bias([0], z[i])
            assert step.tokens[0] == plain[i] and np.flatnonzero(np.isfinite(z[i])).tolist() == [plain[i]]
            hook.commit(0, step.tokens)
        readonly = rows(1)
        readonly.flags.writeable = False
        with pytest.raises(TypeError):
            hook.bias([0], readonly)


def test_drafts(gumbel):
    """Drafts that are right all hold; a wrong one ends what holds. The tokens are those of plain sampling."""
    z = rows(12)
    with gumbel.hook() as hook:
        hook.begin(0, account="org-a", seed=1)
        plain = [int(hook.sample([0], row).tokens[0]) for row in z]
        for wrong in (None, 2):
            hook.begin(0, account="org-a", seed=1)
            taken = []
            while len(taken) < 12:
                drafts = [*plain[len(taken) : len(taken) + 3], 0]
                k = len(drafts) - 1
                if wrong is not None and k > wrong:
                    drafts[wrong] = (drafts[wrong] + 1) % 500
                step = hook.sample([0] * (k + 1), np.stack([z[min(len(taken) + d, 11)] for d in range(k + 1)]), depths=range(k + 1), drafts=drafts)
                holds = int(step.accepted[0])
                assert holds == (k + 1 if wrong is None or k <= wrong else wrong + 1)
                taken += step.tokens[:holds].tolist()
            assert taken[:12] == plain


def test_slots_are_taken_and_given(gumbel):
    with gumbel.hook(max_slots=3) as hook:
        first = hook.take_slots(2)
        hook.begin(first[0], account="org-a")
        with pytest.raises(countermark.InvalidArgumentError, match="max_slots"):
            hook.take_slots(2)
        hook.give_slots(first)
        assert hook.metrics().slots_in_use == 0
        assert sorted(hook.take_slots(3)) == [0, 1, 2]


def test_threads_share_a_hook(gumbel):
    alone = {}
    with gumbel.hook(max_slots=4) as hook:
        for slot in range(4):
            alone[slot] = marked_ids(hook, "org-a", 60, seed=slot, slot=slot)
        together = {}
        threads = [threading.Thread(target=lambda s=s: together.update({s: marked_ids(hook, "org-a", 60, seed=s, slot=s)})) for s in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert together == alone


def test_the_gil_is_released(tmp_path):
    """While one thread samples large rows, another of Python's runs."""
    with FixedEpoch(tmp_path, vocabulary=2_000_000).hook(max_slots=1) as hook:
        z = rows(1, 2_000_000)
        hook.begin(0, account="org-a")
        done = threading.Event()
        ticks = 0

        def count():
            nonlocal ticks
            while not done.is_set():
                ticks += 1

        counter = threading.Thread(target=count)
        counter.start()
        before = ticks
        for _ in range(20):
            hook.sample([0], z)
        inside = ticks - before
        done.set()
        counter.join()
        # Calls that kept it would leave the counter no turn but at their ends, where this thread waits for none.
        assert inside > 20 * 100
