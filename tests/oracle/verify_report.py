#!/usr/bin/env python3
"""A second verifier of signed reports, written from docs/report-format.md alone.

    verify_report.py PUBLIC_KEY.pem REPORT...

Prints one JSON object a report: {"file", "outcome": "verified" | "refused" | "inconsistent", "why"}. It shares no code with the C++ one: Ed25519 is
`cryptography`'s, and the tails are plain sums in 60 decimal digits.
"""
import base64
import json
import math
import re
import sys

import mpmath
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization

mpmath.mp.dps = 60
TYPE = "application/vnd.countermark.report+json"
TOLERANCE = 1e-9


class Refused(Exception):
    pass


class Inconsistent(Exception):
    pass


def once(pairs):
    """An object's members, each name once."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise Refused("a member stands twice")
    return dict(pairs)


# ---- The envelope ------------------------------------------------------------------------------------------------------


def unbase64(text):
    if re.search("[-_]", text) and re.search("[+/]", text):
        raise Refused("two base64 alphabets")
    text = text.replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Refused("base64") from error
    if base64.b64encode(raw).decode() != text:
        raise Refused("base64 not minimal")
    return raw


def open_envelope(envelope_bytes, public_key):
    try:
        envelope = json.loads(envelope_bytes.decode("utf-8"), object_pairs_hook=once)
        kind, payload, signatures = envelope["payloadType"], unbase64(envelope["payload"]), envelope["signatures"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused("not an envelope") from error
    raw = public_key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(raw)
    key_id = digest.finalize().hex()
    pae = b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)
    for signature in signatures:
        if signature.get("keyid") != key_id:
            continue
        try:
            public_key.verify(unbase64(signature["sig"]), pae)
        except InvalidSignature:
            continue
        if kind != TYPE:
            raise Refused("payload type")
        return payload
    raise Refused("signature")


# ---- Canonical JSON (RFC 8785) -------------------------------------------------------------------------------------------


def number(x):
    if isinstance(x, int):
        return str(x)
    if x == 0:
        return "0"
    sign = "-" if x < 0 else ""
    mantissa, exponent = (repr(abs(x)) if "e" in repr(abs(x)) else repr(abs(x)) + "e0").split("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    n = len(whole) + int(exponent)
    n -= len(digits) - len(digits.lstrip("0"))
    digits = digits.strip("0")
    k = len(digits)
    if k <= n <= 21:
        return sign + digits + "0" * (n - k)
    if 0 < n <= 21:
        return sign + digits[:n] + "." + digits[n:]
    if -6 < n <= 0:
        return sign + "0." + "0" * -n + digits
    return sign + digits[0] + ("." + digits[1:] if k > 1 else "") + "e" + ("+" if n > 0 else "-") + str(abs(n - 1))


def canonical(value):
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return "{" + ",".join(canonical(key) + ":" + canonical(value[key]) for key in sorted(value)) + "}"


# ---- The values ----------------------------------------------------------------------------------------------------------


def log10_binomial_tail(n, k, p):
    if k == 0:
        return 0.0
    p = mpmath.mpf(p)
    term = mpmath.binomial(n, k) * p**k * (1 - p) ** (n - k)
    total = mpmath.mpf(0)
    for i in range(k, n + 1):
        total += term
        term *= (n - i) * p / ((i + 1) * (1 - p))
        if i > n * p + 1 and term < total * mpmath.mpf(10) ** -50:
            break
    return float(mpmath.log10(min(total, 1)))


def log10_gamma_tail(n, s):
    if n == 0 or s == 0:
        return 0.0
    term = mpmath.exp(-s + (n - 1) * mpmath.log(s) - mpmath.loggamma(n))
    total = mpmath.mpf(0)
    for k in range(n - 1, -1, -1):
        total += term
        term *= k / s
        if k < s and term < total * mpmath.mpf(10) ** -50:
            break
    return float(mpmath.log10(min(total, 1)))


BETS = [c * mpmath.mpf(2) ** -j for j in range(1, 13) for c in (1, mpmath.mpf(3) / 2)]


def log10_mean_bernoulli(n, k, p):
    p = mpmath.mpf(p)
    products = [mpmath.exp(k * mpmath.log(1 + b * (1 / p - 1)) + (n - k) * mpmath.log(1 - b)) for b in BETS]
    return float(mpmath.log10(mpmath.fsum(products) / len(BETS)))


def values_of(parameters, scored, statistic):
    """log10 p and log10 E of a count."""
    if parameters["scheme"] == "gumbel":
        if statistic > scored * 24387948313145:
            raise Refused("impossible count")
        s = mpmath.mpf(statistic) / 2**40
        products = [mpmath.exp(scored * mpmath.log(1 - b) + b * s) for b in BETS]
        return log10_gamma_tail(scored, s), float(mpmath.log10(mpmath.fsum(products) / len(BETS)))
    if parameters["scheme"] == "partition":
        n, p = scored, mpmath.mpf(parameters["green"]) / 256
    else:
        n, p = scored * parameters["layers"], mpmath.mpf(1) / 2
    if statistic > n:
        raise Refused("impossible count")
    return log10_binomial_tail(n, statistic, p), log10_mean_bernoulli(n, statistic, p)


def holm(values, family):
    order = sorted(range(len(values)), key=lambda i: values[i])
    out, highest = [0.0] * len(values), -math.inf
    for rank, i in enumerate(order):
        highest = max(highest, min(0.0, values[i] + math.log10(family - rank)))
        out[i] = highest
    return out


def region_tries(pairs, scored):
    """How many intervals one of `scored` out of `pairs` answers for."""
    if not 1 <= scored <= pairs < 2**32:
        return 0
    step = 2 ** max(0, scored.bit_length() - 1 - 4)
    scales = pairs.bit_length()

    def coarse(length):
        return (pairs - length) // step + 1

    lengths = range(2 ** (scored.bit_length() - 1), min(pairs, 2 ** scored.bit_length() - 1) + 1)
    on_step = [length for length in range(lengths[0], lengths[-1] + 1, step)]
    if scored % step == 0:
        intervals = sum(coarse(length) for length in on_step)
    else:
        every = len(lengths) * (pairs + 1) - sum((lengths[0], lengths[-1])) * len(lengths) // 2
        intervals = every - sum(pairs - length + 1 for length in on_step)
    return scales * (1 if step == 1 else 2) * intervals


def agree(stated, derived, what, terms=0.0):
    if abs(stated - derived) > TOLERANCE * max(1.0, abs(derived), terms):
        raise Inconsistent(f"{what}: {stated} stated, {derived} derived")


def log10_families(ledger, record):
    factors = [ledger[f] for f in ("questions", "keys", "schemes", "views", "tokenizers")]
    factors.append(ledger["channels"] + (1 if ledger["candidates"] else 0))
    factors.append(max(1, ledger["records"]) if record else 1)
    return sum(map(math.log10, factors))


def check_adjusted(ledger, tests, family_of, log10_more, what):
    """tests: (test, derived log10 p, terms)."""
    families = {}
    for i, (test, log10_p, terms) in enumerate(tests):
        if test["kind"] == "account":
            families.setdefault(family_of(test), []).append((test, log10_p, terms))
        else:
            agree(test["log10_p_adjusted"], min(0.0, log10_p + log10_families(ledger, test["record"]) + log10_more), f"{what}[{i}].log10_p_adjusted", terms)
    for family in families.values():
        for (test, _, terms), adjusted in zip(family, holm([p for _, p, _ in family], ledger["candidates"])):
            derived = min(0.0, adjusted + log10_families(ledger, test["record"]) + log10_more)
            agree(test["log10_p_adjusted"], derived, f"{test['name']}.log10_p_adjusted", terms)


def check_values(report):
    ledger, tests = report["ledger"], report["tests"]
    derived = []
    for i, test in enumerate(tests):
        log10_p, log10_e = values_of(report["parameters"], test["scored"], int(test["statistic"]))
        agree(test["log10_p"], log10_p, f"tests[{i}].log10_p")
        agree(test["log10_e"], log10_e, f"tests[{i}].log10_e")
        derived.append((test, log10_p, 0.0))
    check_adjusted(ledger, derived, lambda t: (t["record"], t["reading"]), 0.0, "tests")

    searched = {(t["record"], t["reading"], t["name"]): t for t in tests if t["kind"] == "channel"}
    for i, region in enumerate(report["regions"]):
        log10_p, _ = values_of(report["parameters"], region["scored"], int(region["statistic"]))
        whole = searched.get((region["record"], region["reading"], region["name"]))
        tries = region_tries(whole["scored"], region["scored"]) if whole else 0
        if tries == 0 or int(region["statistic"]) > int(whole["statistic"]):
            raise Refused("a region that is no part of a listed test")
        if region["tries"] != str(tries):
            raise Inconsistent(f"regions[{i}].tries: {tries} derived")
        agree(region["log10_p"], log10_p, f"regions[{i}].log10_p")
        families = log10_families(ledger, region["record"]) + math.log10(ledger["regions"]) + math.log10(tries)
        agree(region["log10_p_adjusted"], min(0.0, log10_p + families), f"regions[{i}].log10_p_adjusted")

    derived = []
    for i, test in enumerate(report["weighted"]):
        log10_p = float(min(0, (mpmath.mpf(test["log_mgf"]) - mpmath.mpf(test["lambda"]) * int(test["sum"])) / mpmath.log(10)))
        agree(test["log10_p"], log10_p, f"weighted[{i}].log10_p", abs(test["log_mgf"]))
        derived.append((test, log10_p, abs(test["log_mgf"])))
    more = math.log10(max(1, ledger["weighted"]))
    check_adjusted(ledger, derived, lambda t: (t["record"], t["reading"], t["model_sha256"], t["rule"]), more, "weighted")

    claims = tests + report["regions"] + report["weighted"]
    decisive = [t for t in claims if t["record"] == 0] if report["uncorrected"] else claims
    records = sum(i["records"] for i in report["inputs"])
    unreadable = sum(i["unreadable"] for i in report["inputs"])
    coverage = (records - unreadable) / records if records else 1
    if coverage < report["coverage_floor"] or not any(t["scored"] for t in decisive):
        verdict = "inconclusive"
    elif any(t["log10_p_adjusted"] <= math.log10(report["alpha"]) for t in decisive):
        verdict = "evidence"
    else:
        verdict = "no evidence"
    if verdict != report["verdict"]:
        raise Inconsistent(f"verdict: {report['verdict']} stated, {verdict} derived")


# ---- The report ----------------------------------------------------------------------------------------------------------

MEMBERS = (
    "schema_version tool version mark_format created tenant epoch epoch_record parameters readings commitments "
    "commitments_published inputs coverage_floor tests regions weighted ledger alpha verdict uncorrected limits"
).split()
LIST_MEMBERS = {
    "readings": "view tokenizer_sha256".split(),
    "tests": "record subject reading kind name scored statistic log10_p log10_e log10_p_adjusted".split(),
    "regions": "record subject reading name begin end scored statistic tries log10_p log10_p_adjusted".split(),
    "weighted": "record subject reading kind name scored model_sha256 rule lambda sum log_mgf display_log10_p log10_p log10_p_adjusted".split(),
}
COUNT = {"tests": ("scored", "statistic"), "weighted": ("scored", "lambda", "sum", "log_mgf")}


def check_readings(report):
    readings, ledger = report["readings"], report["ledger"]
    if len(readings) != ledger["views"] * ledger["tokenizers"] or len({(r["view"], r["tokenizer_sha256"]) for r in readings}) != len(readings):
        raise Refused("readings")
    for reading in readings:
        if reading["view"] not in ("raw", "cleaned"):
            raise Refused("view")
        if reading["tokenizer_sha256"] == "" and (len(readings) > 1 or reading["view"] != "raw"):
            raise Refused("token ids have one reading")
    if any(not 0 <= t["reading"] < len(readings) for name in ("tests", "regions", "weighted") for t in report[name]):
        raise Refused("reading")


def check_ledger(report):
    ledger = report["ledger"]
    questions = (1 if ledger["records"] == 1 else 2) * (2 if ledger["weighted"] else 1) + (1 if ledger["regions"] else 0)
    if ledger["questions"] != questions:
        raise Refused("questions")
    subjects = max(1, ledger["records"] + (1 if ledger["records"] != 1 else 0))
    total = subjects * (ledger["channels"] + ledger["candidates"]) * (1 + ledger["weighted"])
    total += max(1, ledger["records"]) * ledger["channels"] * ledger["regions"]
    for factor in ("keys", "schemes", "views", "tokenizers"):
        total *= ledger[factor]
    if ledger["total"] != str(min(total, 2**64 - 1)) or report["uncorrected"] != (ledger["records"] == 0):
        raise Refused("ledger")
    if ledger["records"] and sum(i["records"] for i in report["inputs"]) > ledger["records"]:
        raise Refused("more records than the ledger counts")
    if (report["regions"] and not ledger["regions"]) or (report["weighted"] and not ledger["weighted"]):
        raise Refused("tests that the ledger does not count")
    check_listed(report)


def check_listed(report):
    """Nothing twice, and nothing of a subject that the ledger does not count; a single record and its pool are one subject."""
    ledger = report["ledger"]
    most = {"channel": ledger["channels"], "account": ledger["candidates"]}
    for name in ("tests", "weighted"):
        unique, names, ways = set(), {}, {}
        for test in report[name]:
            subject = (0 if ledger["records"] == 1 else test["record"], test["reading"])
            way = (test.get("model_sha256"), test.get("rule"))
            unique.add((test["record"], test["reading"], way, test["kind"], test["name"]))
            names.setdefault((subject, way, test["kind"]), set()).add(test["name"])
            ways.setdefault(subject, set()).add(way)
        if len(unique) != len(report[name]):
            raise Refused("the same test twice")
        if any(len(of) > most[kind] for (_, _, kind), of in names.items()):
            raise Refused("more tests of a subject than the ledger counts")
        if name == "weighted" and any(len(of) > ledger["weighted"] for of in ways.values()):
            raise Refused("more weights than the ledger counts")
    records = {test["record"] for name in ("tests", "weighted") for test in report[name]} - {0}
    if ledger["records"] and len(records) > ledger["records"]:
        raise Refused("more records than the ledger counts")


def check_form(report, payload):
    if not isinstance(report, dict) or report.get("schema_version") != 2:
        raise Refused("schema_version")
    if sorted(report) != sorted(MEMBERS):
        raise Refused("members")
    if any(sorted(entry) != sorted(members) for name, members in LIST_MEMBERS.items() for entry in report[name]):
        raise Refused("members of a list")
    if canonical(report).encode("utf-8") != payload:
        raise Refused("not canonical")
    check_readings(report)
    check_ledger(report)
    if report["commitments"] and not report["epoch_record"]:
        raise Refused("commitments without an epoch record")
    if any(not (r["record"] >= 1 and r["begin"] < r["end"] and r["scored"] >= 1) for r in report["regions"]):
        raise Refused("a region of nothing")
    if report["ledger"]["records"] == 1:
        for name, count in COUNT.items():
            key = [m for m in LIST_MEMBERS[name] if m in ("reading", "kind", "name", "model_sha256", "rule")]
            pool = {tuple(t[m] for m in key): [t[m] for m in count] for t in report[name] if t["record"] == 0}
            for test in report[name]:
                own = [test[m] for m in count]
                if pool.get(tuple(test[m] for m in key), own) != own:
                    raise Refused("a single record's count is not its pool's")


def check_record(report):
    if not report["epoch_record"]:
        return
    record, parameters = json.loads(report["epoch_record"]), report["parameters"]
    same = all(record[m] == parameters[m] for m in ("scheme", "window", "green", "delta", "layers"))
    same = same and [c["weight"] for c in record["channels"]] == parameters["weights"]
    same = same and record["tenant"] == report["tenant"] and record["epoch"] == report["epoch"]
    same = same and any(r["tokenizer_sha256"] in ("", record["tokenizer_sha256"]) for r in report["readings"])
    if not same:
        raise Inconsistent("not what the epoch record says")


def verify(path, public_key):
    with open(path, "rb") as file:
        payload = open_envelope(file.read(), public_key)
    try:
        report = json.loads(payload.decode("utf-8"), object_pairs_hook=once)
    except ValueError as error:
        raise Refused("payload") from error
    check_form(report, payload)
    check_record(report)
    check_values(report)


def main(argv):
    with open(argv[1], "rb") as file:
        public_key = serialization.load_pem_public_key(file.read())
    for path in argv[2:]:
        outcome, why = "verified", ""
        try:
            verify(path, public_key)
        except Refused as error:
            outcome, why = "refused", str(error)
        except Inconsistent as error:
            outcome, why = "inconsistent", str(error)
        print(json.dumps({"file": path, "outcome": outcome, "why": why}))


if __name__ == "__main__":
    main(sys.argv)
