"""The engine process's part without a server: parameters that no server should choke on, accounts that an epoch does not know, and set-ups that must not start."""
import numpy as np
import pytest
from serving_fixture import FixedServing

from countermark.serving.config import ServingConfig
from countermark.serving.engine import Admission, Engine, SetupError

VOCABULARY = 2048


def engine_of(folder, **members):
    serving = FixedServing(folder, server="vllm", tokenizer="-", vocabulary=VOCABULARY, **members)
    return Engine(ServingConfig.load(serving.config), server="vllm", vocabularies=(VOCABULARY,), slots=4)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = engine_of(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.close()


def counted(engine, act):
    before = engine.counters()
    act()
    return {name: n - before.get(name, 0) for name, n in engine.counters().items() if n != before.get(name, 0)}


def tokens(engine, slot=0, n=400):
    rows = np.random.default_rng(5).normal(0, 1, (n, VOCABULARY)).astype(np.float32)
    return [int(engine.hook.sample([slot], row[None]).tokens[0]) for row in rows]


@pytest.mark.parametrize("members", [{"top_k": 2**31}, {"top_k": 2**40}, {"top_k": 2**63}, {"temperature": 1e39}, {"top_p": 1.5}, {"min_p": -1.0}, {"seed": -(2**63)}, {"seed": 2**64}], ids=str)
def test_numbers_of_any_size_neither_end_the_engine_nor_cost_the_accounts_mark(engine, members):
    """Servers hand top_k on as it came: 2**31 is no int32."""
    assert engine.begin(0, Admission("org-a", "r", "signed"), **members)
    result = counted(engine, lambda: tokens(engine, n=50))
    assert "tokens_off" not in result and "tokens_fault" not in result and result["tokens_marked"] > 40, result


def test_an_account_without_a_key_is_marked_in_the_base_channel(engine):
    result = counted(engine, lambda: (engine.begin(0, Admission("org-new", "r", "signed")), tokens(engine)))
    # Half of the windows are the account's, and drawn plainly.
    assert result["unknown_accounts"] == 1 and "tokens_fault" not in result and result["tokens_marked"] > 120 < result["tokens_off"], result
    base = counted(engine, lambda: (engine.begin(1, Admission("", None, "unsigned")), tokens(engine, 1)))
    assert "unknown_accounts" not in base


def test_a_port_whose_account_the_epoch_does_not_know_does_not_start(tmp_path):
    with pytest.raises(SetupError, match="account 'org-typo' is not registered in epoch"):
        engine_of(tmp_path, port_account="org-typo")
