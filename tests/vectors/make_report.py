#!/usr/bin/env python3
"""Makes report-v2.json and the seeds of report_fuzz: signed reports written by Python alone (cryptography for Ed25519, mpmath for the values), from docs/report-format.md.

    build/venv/bin/python tests/vectors/make_report.py
"""
import base64
import hashlib
import json
import math
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "oracle"))
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from verify_report import TYPE, canonical, holm, region_tries, values_of

SEED = bytes(range(32))
TOKENIZER = hashlib.sha256(b"tokenizer").hexdigest()
OTHER = hashlib.sha256(b"another tokenizer").hexdigest()
MODEL = hashlib.sha256(b"model").hexdigest()
MARKED = {"gumbel": 1.7, "partition": 0.45, "tournament": 0.58}  # of the null's unit: score, green, bit


def statistic(parameters, scored, strength):
    if parameters["scheme"] == "gumbel":
        return int(scored * strength * 2**40)
    return int(scored * strength * (parameters["layers"] if parameters["scheme"] == "tournament" else 1))


def null(parameters):
    return {"gumbel": 1.0, "partition": parameters["green"] / 256, "tournament": 0.5}[parameters["scheme"]]


def report_of(scheme, bare):
    parameters = {"scheme": scheme, "window": 2, "green": 64, "delta": 2, "layers": 30, "weights": [32768, 32768]}
    record = {
        "channels": [{"name": "base", "weight": 32768}, {"name": "account", "weight": 32768}],
        "delta": 2, "epoch": "2026-11", "first_use": "2026-11-01T00:00:00Z", "format": 1, "green": 64,
        "last_use": "2026-12-01T00:00:00Z", "layers": 30, "low_entropy": "floor", "scheme": scheme, "tenant": "acme",
        "tokenizer_sha256": TOKENIZER, "vocabulary": 49152, "window": 2,
    }
    record = "" if bare else canonical(record)
    # Two views by two tokenizers; with passages and weights, five questions: records, pool, both again with weights, and passages.
    ledger = {"records": 3, "keys": 1, "channels": 1, "candidates": 1000, "schemes": 1, "views": 2, "tokenizers": 2, "questions": 5, "regions": 1, "weighted": 1}
    ledger["total"] = str(((3 + 1) * 1001 * 2 + 3) * 4)
    strong = MARKED[scheme]
    rows = [(0, "", 0, "channel", "base", 611, strong), (0, "", 0, "account", "org-1", 589, strong), (0, "", 0, "account", "org-2", 589, null(parameters)),
            (0, "", 0, "account", "org \u00e9\u2028\u65e5\u672c \U0001f600", 589, null(parameters) * 1.05), (0, "", 3, "channel", "base", 640, null(parameters)),
            (0, "", 3, "account", "org-2", 640, null(parameters)), (1, "a\"\\\n\t\u0001", 0, "channel", "base", 201, strong),
            (2, "b", 0, "channel", "base", 198, null(parameters)), (3, "b", 1, "channel", "base", 0, 0)]
    tests = []
    for number, subject, reading, kind, name, scored, strength in rows:
        count = statistic(parameters, scored, strength)
        log10_p, log10_e = values_of(parameters, scored, count)
        tests.append({"record": number, "subject": subject, "reading": reading, "kind": kind, "name": name, "scored": scored, "statistic": str(count),
                      "log10_p": log10_p, "log10_e": log10_e, "log10_p_adjusted": 0})
    families = math.log10(5 * 2 * 2 * 2)  # questions, views, tokenizers; a channel and the accounts
    for of_reading in (0, 3):
        accounts = [t for t in tests if t["kind"] == "account" and t["reading"] == of_reading]
        for test, adjusted in zip(accounts, holm([t["log10_p"] for t in accounts], 1000)):
            test["log10_p_adjusted"] = min(0.0, adjusted + families)
    for test in tests:
        if test["kind"] == "channel":
            test["log10_p_adjusted"] = min(0.0, test["log10_p"] + families + (math.log10(3) if test["record"] else 0))
    regions = []
    for begin, end, scored in ((40, 400, 60), (420, 1400, 100)):
        count = statistic(parameters, scored, strong)
        log10_p, _ = values_of(parameters, scored, count)
        tries = region_tries(201, scored)
        regions.append({"record": 1, "subject": rows[6][1], "reading": 0, "name": "base", "begin": begin, "end": end, "scored": scored, "statistic": str(count),
                        "tries": str(tries), "log10_p": log10_p, "log10_p_adjusted": min(0.0, log10_p + families + math.log10(3) + math.log10(tries))})
    weighted = []
    for number, subject, log_mgf, total in ((0, "", 31.25, 1000 * 2**32), (2, "b", 8.5, 9 * 2**32)):
        bound = min(0.0, (log_mgf - 2.0**-33 * total) / math.log(10))
        weighted.append({"record": number, "subject": subject, "reading": 2, "kind": "channel", "name": "base", "scored": 190, "model_sha256": MODEL,
                         "rule": "entropy", "lambda": 2.0**-33, "sum": str(total), "log_mgf": log_mgf, "display_log10_p": bound * 1.01, "log10_p": bound,
                         "log10_p_adjusted": min(0.0, bound + families + (math.log10(3) if number else 0))})
    key, salt = bytes([7]) * 32, bytes([9]) * 32
    commitment = hashlib.sha256(b"countermark/v1/commit" + salt + key + hashlib.sha256(record.encode()).digest()).hexdigest()
    return {
        "schema_version": 2, "tool": "watermark-detect", "version": "0.1.0", "mark_format": 1, "created": "2026-11-24T08:00:00Z",
        "tenant": "" if bare else "acme", "epoch": "" if bare else "2026-11", "epoch_record": record, "parameters": parameters,
        "readings": [{"view": view, "tokenizer_sha256": tokenizer} for tokenizer in (TOKENIZER, OTHER) for view in ("raw", "cleaned")],
        "commitments": [] if bare else [{"name": "base", "commitment": commitment, "salt": salt.hex()}],
        "commitments_published": 0 if bare else 12,
        "inputs": [{"name": "suspect.jsonl", "sha256": hashlib.sha256(b"suspect").hexdigest(), "bytes": 7, "records": 3, "unreadable": 0}],
        "coverage_floor": 0.95, "tests": tests, "regions": regions, "weighted": weighted, "ledger": ledger, "alpha": 1e-6, "verdict": "evidence", "uncorrected": False,
        "limits": ["A mark names whose answers were used, not who used them."],
    }


def seal(payload, private):
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    pae = b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE.encode(), len(payload), payload)
    return canonical({"payload": base64.b64encode(payload).decode(), "payloadType": TYPE,
                      "signatures": [{"keyid": hashlib.sha256(raw).hexdigest(), "sig": base64.b64encode(private.sign(pae)).decode()}]})


def main():
    private = Ed25519PrivateKey.from_private_bytes(SEED)
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    reports = []
    for scheme in ("gumbel", "partition", "tournament"):
        for bare in (False, True):
            report = report_of(scheme, bare)
            reports.append({"name": scheme + (" bare" if bare else ""), "envelope": seal(canonical(report).encode(), private)})
    out = {"comment": "made by make_report.py", "seed": SEED.hex(), "public_key_pem": pem.decode(), "revealed_key": (bytes([7]) * 32).hex(), "reports": reports}
    with open(os.path.join(HERE, "report-v2.json"), "w", encoding="utf-8") as file:
        json.dump(out, file, indent=1)
        file.write("\n")
    seeds = os.path.join(HERE, "..", "fuzz", "seeds", "report")
    os.makedirs(seeds, exist_ok=True)
    for entry in reports:
        name = entry["name"].replace(" ", "-")
        payload = base64.b64decode(json.loads(entry["envelope"])["payload"])
        with open(os.path.join(seeds, name + ".payload"), "wb") as file:
            file.write(payload)
    with open(os.path.join(seeds, "envelope"), "w", encoding="utf-8") as file:
        file.write(reports[0]["envelope"])
    with open(os.path.join(seeds, "key.pem"), "wb") as file:
        file.write(pem)


if __name__ == "__main__":
    main()
