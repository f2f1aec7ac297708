"""The signed report: a detection that others can check without us.

    Report.write("report.json", detection, store, inputs=["suspect.jsonl"])
    verification = Report.verify("report.json", public_key="signing.pem", inputs=["suspect.jsonl"])
    verification.outcome, verification.report["verdict"]

The file's form: docs/report-format.md.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from countermark import _core
from countermark.detect import Detection, DetectionRun
from countermark.errors import AlreadyExistsError, InvalidArgumentError


@dataclasses.dataclass(frozen=True, slots=True)
class Verification:
    outcome: str
    """'verified': authentic, and every value follows from the counts. 'refused': not signed by that key, altered, or no report. 'inconsistent': authentic, but it
    contradicts itself or the files and keys given."""
    report: dict[str, Any] | None
    """The payload; None where refused."""
    checked: tuple[str, ...]
    failed: tuple[str, ...]
    not_checked: tuple[str, ...]
    weight: tuple[str, ...]
    """What stands between these numbers and evidence against anyone."""
    log10_p_after_grinding: float | None

    @property
    def verified(self) -> bool:
        return self.outcome == "verified"


def _hash(path: Path) -> tuple[str, int]:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size


class Report:
    """Writes and verifies reports. There is nothing to make an instance of."""

    @staticmethod
    def sign(
        detection: Detection | DetectionRun,
        store: _core.KeyStore,
        *,
        inputs: Sequence[str | os.PathLike[str]],
        records: Sequence[int] | None = None,
        commitments_published: int = 0,
    ) -> bytes:
        """An envelope, one line of JSON with a line end.

        inputs: the files that the records came from, in order; they are hashed as they lie on the disk. records: how many came from each; may be left out where there
        is one. store: whose signing key signs; where it holds the epoch, the keys' commitments are listed. commitments_published: by this provider in all, 0
        where that is not known. A detection given batch by batch needs keep_results.
        """
        run = detection.run if isinstance(detection, Detection) else detection
        paths = [Path(path) for path in inputs]
        if records is None:
            if len(paths) != 1:
                raise InvalidArgumentError("`records` is needed where there is not exactly one input: how many came from each")
            records = [run.records]
        if len(records) != len(paths) or sum(records) != run.records:
            raise InvalidArgumentError(f"`records` must say for each of {len(paths)} inputs how many of the {run.records} records came from it")
        bad = run._core.unreadable_positions
        if len(bad) != run.unreadable:
            raise InvalidArgumentError("the run has not kept its results: make it with keep_results=True")
        rows = []
        first = 1
        for path, count in zip(paths, records, strict=True):
            digest, size = _hash(path)
            rows.append((path.name, digest, size, count, sum(first <= position < first + count for position in bad)))
            first += count
        return _core.sign_report(run._core, store, rows, commitments_published).encode() + b"\n"

    @staticmethod
    def write(
        path: str | os.PathLike[str],
        detection: Detection | DetectionRun,
        store: _core.KeyStore,
        *,
        inputs: Sequence[str | os.PathLike[str]],
        records: Sequence[int] | None = None,
        commitments_published: int = 0,
    ) -> None:
        """`sign` into a new file, whole or not at all. AlreadyExistsError if the path is taken."""
        envelope = Report.sign(detection, store, inputs=inputs, records=records, commitments_published=commitments_published)
        try:
            file = open(path, "xb")
        except FileExistsError:
            raise AlreadyExistsError(f"'{os.fspath(path)}' is there already") from None
        try:
            with file:
                file.write(envelope)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            os.unlink(path)
            raise

    @staticmethod
    def verify(
        report: str | os.PathLike[str] | bytes,
        *,
        public_key: str | os.PathLike[str],
        inputs: Sequence[str | os.PathLike[str]] = (),
        tokenizer: str | os.PathLike[str] | None = None,
        revealed_keys: str | os.PathLike[str] | None = None,
    ) -> Verification:
        """Checks a report as a third party would; nothing secret is needed.

        report: a file's name, or the envelope itself as bytes. public_key: the signer's, as PEM text or a file's name; had from the signer by another way than the report.
        inputs, tokenizer: the files themselves. revealed_keys: JSON lines with name, key, salt.
        """
        envelope = report if isinstance(report, bytes) else Path(report).read_bytes()
        text = os.fspath(public_key)
        pem = text if text.startswith("-----BEGIN") else Path(text).read_text()
        outcome, payload, checked, failed, not_checked, weight, grinding = _core.verify_report(envelope, pem, list(inputs), tokenizer, revealed_keys)
        return Verification(
            outcome, None if payload is None else json.loads(payload), tuple(checked), tuple(failed), tuple(not_checked), tuple(weight), grinding
        )
