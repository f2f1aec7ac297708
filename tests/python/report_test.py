"""Report: what the package signs, watermark-verify verifies, and the other way round."""
import json
import os
import subprocess

import numpy as np
import pytest

import countermark
from fixture import ACCOUNTS, BIN, FixedEpoch, marked_ids


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    secret = folder / "passphrase"
    secret.write_text("guards nothing")
    secret.chmod(0o600)
    store = countermark.KeyStore.create(folder / "keys.cmks", tenant="acme", passphrase_file=secret)
    store.add_accounts(ACCOUNTS)
    store.add_epoch("2026-11", tokenizer_sha256="a" * 64, vocabulary=500, first_use="2020-01-01", last_use="2999-12-31")
    pem = store.create_signing_key()
    assert store.signing_public_key == pem
    (folder / "signing.pem").write_text(pem)
    store.bundle("2026-11", folder / "b", passphrase_file=secret)
    keys = countermark.Keys()
    keys.open_bundle(folder / "b", passphrase_file=secret)
    with countermark.Hook(keys) as hook:
        records = [marked_ids(hook, account, 250, seed=i) for i, account in enumerate(ACCOUNTS)]
    records.append(np.random.default_rng(5).integers(0, 500, 250).tolist())
    records.append([777])  # beyond the vocabulary
    path = folder / "suspect.jsonl"
    path.write_text("".join(json.dumps({"token_ids": ids}) + "\n" for ids in records))
    detection = countermark.Detector(store.epoch_keys("2026-11")).detect(records, min_coverage=0.5)
    countermark.Report.write(folder / "report.json", detection, store, inputs=[path])
    return folder, store, detection, records


def test_verifies_here_and_there(signed):
    folder, store, detection, _ = signed
    v = countermark.Report.verify(folder / "report.json", public_key=folder / "signing.pem", inputs=[folder / "suspect.jsonl"])
    assert v.verified and v.failed == () and v.report["verdict"] == "evidence"
    assert v.weight and v.not_checked
    by_test = {(t["record"], t["name"]): t for t in v.report["tests"]}
    base = detection.pooled.channels[0]
    assert by_test[0, "base"]["scored"] == base.scored and by_test[0, "base"]["log10_p"] == pytest.approx(base.log10_p, rel=1e-9)
    assert v.report["inputs"][0]["records"] == 5 and v.report["inputs"][0]["unreadable"] == 1
    assert len(v.report["commitments"]) == 5
    done = subprocess.run([os.path.join(BIN, "watermark-verify"), folder / "report.json", "--public-key", folder / "signing.pem", "--input", folder / "suspect.jsonl"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    again = countermark.Report.verify((folder / "report.json").read_bytes(), public_key=store.signing_public_key)
    assert again.verified


def test_what_is_not_verified(signed, tmp_path):
    folder, _, _, _ = signed
    envelope = (folder / "report.json").read_bytes()
    tampered = countermark.Report.verify(envelope.replace(b"A", b"B", 1), public_key=folder / "signing.pem")
    assert tampered.outcome == "refused" and tampered.report is None and tampered.failed
    (tmp_path / "suspect.jsonl").write_text("another file")
    other = countermark.Report.verify(envelope, public_key=folder / "signing.pem", inputs=[tmp_path / "suspect.jsonl"])
    assert other.outcome == "inconsistent" and not other.verified
    with pytest.raises(countermark.InvalidArgumentError):
        countermark.Report.verify(envelope, public_key="-----BEGIN nothing")


def test_reports_that_cannot_be(signed, tmp_path):
    folder, store, detection, records = signed
    with pytest.raises(countermark.AlreadyExistsError, match="report.json"):
        countermark.Report.write(folder / "report.json", detection, store, inputs=[folder / "suspect.jsonl"])
    with pytest.raises(countermark.InvalidArgumentError, match="records"):
        countermark.Report.sign(detection, store, inputs=[folder / "suspect.jsonl"], records=[4])
    with pytest.raises(countermark.InvalidArgumentError, match="records"):
        countermark.Report.sign(detection, store, inputs=[])
    run = countermark.Detector(store.epoch_keys("2026-11")).run(records=5)
    run.add(records)
    with pytest.raises(countermark.InvalidArgumentError, match="keep_results"):
        countermark.Report.sign(run, store, inputs=[folder / "suspect.jsonl"])
    unsigned = countermark.KeyStore.create(tmp_path / "k", tenant="t", passphrase_callback=lambda: "x")
    with pytest.raises(countermark.NotFoundError):
        countermark.Report.write(tmp_path / "r", detection, unsigned, inputs=[folder / "suspect.jsonl"])
    assert not (tmp_path / "r").exists()
