"""Account tickets against known answers that make_ticket.py made with hashlib alone, and the file of their key."""
import base64
import json
import os
import pickle
import random
import time
import traceback
from pathlib import Path

import pytest

from countermark.errors import AlreadyExistsError, DeniedError, InvalidArgumentError, NotFoundError
from countermark.serving.ticket import TicketError, TicketKey, child_label

VECTORS = json.loads((Path(os.environ["COUNTERMARK_SOURCE"]) / "tests/vectors/ticket-v1.json").read_text())
KEY = TicketKey(bytes.fromhex(VECTORS["key"]))


@pytest.mark.parametrize("case", VECTORS["valid"], ids=lambda case: case["account"][:12])
def test_known_answers(case):
    assert KEY.mint(case["account"], case["request"], case["expiry"]) == case["ticket"]
    ticket = KEY.verify(case["ticket"], now=case["expiry"] - 1)
    assert (ticket.account, ticket.request, ticket.expiry) == (case["account"], case["request"], case["expiry"])


@pytest.mark.parametrize("case", VECTORS["forged"], ids=lambda case: case["name"])
def test_forged(case):
    with pytest.raises(TicketError) as refused:
        KEY.verify(case["ticket"], now=VECTORS["now"])
    assert refused.value.outcome == "forged"


@pytest.mark.parametrize("case", VECTORS["stale"], ids=lambda case: case["name"])
def test_stale(case):
    with pytest.raises(TicketError) as refused:
        KEY.verify(case["ticket"], now=case["now"])
    assert refused.value.outcome == "stale"


def test_the_clock_is_the_wall_clock():
    now = int(time.time())
    assert KEY.verify(KEY.mint("a", "r", now + 60)).account == "a"
    with pytest.raises(TicketError, match="expired"):
        KEY.verify(KEY.mint("a", "r", now - 1))


def test_no_changed_character_is_believed():
    """Each of 2000 random changes of one character is refused."""
    ticket, draw = KEY.mint("org-1", "label", 2000000000), random.Random(1)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.="
    for _ in range(2000):
        at, to = draw.randrange(len(ticket)), draw.choice(alphabet)
        changed = ticket[:at] + to + ticket[at + 1 :]
        if changed != ticket:
            with pytest.raises(TicketError):
                KEY.verify(changed, now=1)


@pytest.mark.parametrize(("account", "label", "expiry"), [("", "r", 9), ("a", "", 9), ("é" * 128, "r", 9), ("a", "r" * 129, 9), ("a\0b", "r", 9), ("a", "r", 0), ("a", "r", 10**12)])
def test_what_cannot_be_minted(account, label, expiry):
    with pytest.raises(InvalidArgumentError):
        KEY.mint(account, label, expiry)


def test_a_nul_is_believed_from_nobody():
    """As in the twin, whose texts end there."""
    text = "cm1.b3JnLWEAeA.cg.99999999999"
    with pytest.raises(TicketError, match="malformed"):
        KEY.verify(f"{text}.{base64.urlsafe_b64encode(KEY._digest(text)).rstrip(b'=').decode()}")


def test_the_longest_ticket_is_read():
    ticket = KEY.mint("x" * 254, "y" * 128, 10**12 - 1)
    assert KEY.verify(ticket, now=1).request == "y" * 128


def test_children_have_labels_of_their_own():
    assert [child_label("r", i) for i in range(3)] == ["r/0", "r/1", "r/2"]


def test_key_files(tmp_path):
    path = tmp_path / "ticket.key"
    TicketKey.make_file(path)
    assert path.stat().st_mode & 0o777 == 0o600 and len(path.read_text()) == 65
    key = TicketKey.from_file(path)
    assert key.verify(key.mint("a", "r", 10), now=1).account == "a"
    with pytest.raises(TicketError):
        KEY.verify(key.mint("a", "r", 10), now=1)
    with pytest.raises(AlreadyExistsError):
        TicketKey.make_file(path)
    path.chmod(0o640)
    with pytest.raises(DeniedError, match="chmod 600"):
        TicketKey.from_file(path)
    with pytest.raises(NotFoundError):
        TicketKey.from_file(tmp_path / "other")
    with pytest.raises(DeniedError, match="directory"):
        TicketKey.from_file(tmp_path)


@pytest.mark.parametrize("content", ["", "00" * 31, "00" * 33, "0g" * 32, "00" * 32 + "\n\n", " " + "00" * 32])
def test_broken_key_files_are_refused_without_their_content(tmp_path, content):
    path = tmp_path / "ticket.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(InvalidArgumentError, match="64 hex digits") as refused:
        TicketKey.from_file(path)
    assert not content.strip() or content.strip() not in "".join(traceback.format_exception(refused.value))


def test_the_key_is_in_no_repr_and_no_pickle():
    assert VECTORS["key"][:8] not in repr(KEY) and repr(KEY) == "TicketKey(<secret>)"
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
