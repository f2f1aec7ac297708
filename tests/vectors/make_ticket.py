#!/usr/bin/env python3
"""Writes ticket-v1.json: account tickets by hashlib and base64 alone, apart from the package's own code, and tickets that must be refused.

    tests/vectors/make_ticket.py [> tests/vectors/ticket-v1.json]
"""
import base64
import hashlib
import hmac
import json

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))


def b64(data):
    return base64.b64encode(data).decode().replace("+", "-").replace("/", "_").rstrip("=")


def mac(text, key=KEY):
    return b64(hmac.digest(key, b"countermark/ticket/v1\0" + text.encode(), "sha256"))


def signed(account, label, expiry, key=KEY):
    text = f"cm1.{b64(account)}.{b64(label)}.{expiry}"
    return text + "." + mac(text, key)


def resigned(text):
    return text + "." + mac(text)


def flip_last_bits(encoded):
    """Another spelling of the same bytes: the last digit's unused bits set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return encoded[:-1] + alphabet[alphabet.index(encoded[-1]) + 1]


VALID = [(b"org-1", b"r-1", 1700000600), (b"a", b"b", 1), ("Zoë/日本".encode(), b"0f3c9d2e-7b1a/3", 4102444800), (b"x" * 254, b"y" * 128, 999999999999),
         (b"\xc3\xbf\xc3\xbe?>", b"a.b", 1700000600)]
good = signed(b"org-1", b"r-1", 1700000600)
head, account, label, expiry, end = good.split(".")
valid = [{"account": a.decode(), "request": r.decode(), "expiry": e, "ticket": signed(a, r, e)} for a, r, e in VALID]
refused = [
    ("empty", ""), ("one dot", "."), ("other version", good.replace("cm1.", "cm2.")), ("other version, signed", resigned(f"cm2.{account}.{label}.{expiry}")),
    ("no MAC", good.rsplit(".", 1)[0]), ("empty MAC", good.rsplit(".", 1)[0] + "."), ("MAC cut", good[:-1]), ("MAC longer", good + "A"),
    ("MAC of another key", signed(b"org-1", b"r-1", 1700000600, OTHER)), ("first digit of the MAC", ".".join([head, account, label, expiry, ("A" if end[0] != "A" else "B") + end[1:]])),
    ("MAC not canonical", ".".join([head, account, label, expiry, flip_last_bits(end)])), ("MAC padded", good + "="),
    ("other account", good.replace(account, b64(b"org-2"))), ("other label", good.replace(label, b64(b"r-2"))), ("later expiry", good.replace(expiry, "1700000601")),
    ("account and label joined otherwise", ".".join([head, account + label[0], label[1:], expiry, end])),
    ("account empty, signed", resigned(f"cm1..{label}.{expiry}")), ("label empty, signed", resigned(f"cm1.{account}..{expiry}")),
    ("account too long, signed", signed(b"x" * 255, b"r-1", 1700000600)), ("label too long, signed", signed(b"org-1", b"y" * 129, 1700000600)),
    ("account not canonical, signed", resigned(f"cm1.{flip_last_bits(b64(b'orgs'))}.{label}.{expiry}")), ("account padded, signed", resigned(f"cm1.{b64(b'orgs')}==.{label}.{expiry}")),
    ("account of an impossible length, signed", resigned(f"cm1.AAAAA.{label}.{expiry}")), ("account not UTF-8, signed", signed(b"\xff\xfe", b"r-1", 1700000600)),
    ("plain base64, signed", resigned(f"cm1.{base64.b64encode('ÿþ?>'.encode()).decode()}.{label}.{expiry}")),
    ("expiry with a leading zero, signed", resigned(f"cm1.{account}.{label}.01700000600")), ("expiry zero, signed", resigned(f"cm1.{account}.{label}.0")),
    ("expiry negative, signed", resigned(f"cm1.{account}.{label}.-1")), ("expiry with a plus, signed", resigned(f"cm1.{account}.{label}.+1700000600")),
    ("expiry too long, signed", resigned(f"cm1.{account}.{label}.1000000000000")), ("expiry with a blank, signed", resigned(f"cm1.{account}.{label}. 1700000600")),
    ("expiry in other digits, signed", resigned(f"cm1.{account}.{label}.١٧")), ("newline after", good + "\n"), ("blank before", " " + good), ("a fifth part", good + ".A"),
    ("very long", "cm1." + "A" * 5000 + ".A.1." + end),
]
stale = [{"name": name, "ticket": good, "now": now} for name, now in (("at its expiry", 1700000600), ("after", 1700000601))]
print(json.dumps({"about": "Account tickets, version 1: python/countermark/serving/ticket.py and src/server/ticket.h. Made by make_ticket.py.", "key": KEY.hex(), "now": 0,
                  "valid": valid, "stale": stale, "forged": [{"name": n, "ticket": t} for n, t in refused]}, indent=1, ensure_ascii=True))
