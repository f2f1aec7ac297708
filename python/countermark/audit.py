"""Is the mark in a data set, where, how much, and whose: `watermark-audit dataset` over files, Parquet, Arrow tables and Hugging Face datasets.

    keys = EpochKeys.from_bundle("2026-11.cmkb", passphrase_file="/run/secrets/bundle")
    result = audit_dataset(["crawl/", "leak.parquet"], run="audit-1", keys=keys, tokenizer=Tokenizer.open("tokenizer.json"), accounts=labels)
    result.verdict, result.report["how_much"]

    python -m countermark.audit dataset leak.parquet --run audit-1 --bundle 2026-11.cmkb --tokenizer tokenizer.json

What is tested, the run directory and the results: docs/audit-dataset.md. The result is that of the program over the same records as JSON lines: which row belongs to which document, and
every number. Only names, places and the run's digest differ. A run that was killed goes on when it is called again with the same arguments.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from countermark import _core
from countermark.errors import InvalidArgumentError
from countermark.tables import Fields, Inputs, OpenInputs, open_inputs

__all__ = ["AuditResult", "audit_dataset", "main"]

Progress = Callable[[str, str, int], None]


@dataclasses.dataclass(frozen=True, slots=True)
class AuditResult:
    directory: str
    """The run directory. documents.jsonl in it has a line a document."""
    json: str = dataclasses.field(repr=False)
    """result.json as it stands: canonical JSON."""
    complete: bool
    """No file broke off."""
    coverage: float
    """Share of the records that could be read."""
    evidence: bool
    """Some test is below alpha, after all corrections. A verdict also needs coverage."""
    errors: tuple[str, ...]
    """The first ones, each with its place: file, row group and row, or line and byte."""

    @property
    def report(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.json)
        return parsed

    @property
    def verdict(self) -> str:
        """'marked', 'no evidence' or 'inconclusive'."""
        return str(self.report["verdict"])


def _between(name: str, value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise InvalidArgumentError(f"{name} is {value}, and must be from {low:g} to {high:g}")
    return float(value)


def judge_options(*, alpha: float, fdr: float, confidence: float, min_coverage: float, top: int) -> dict[str, Any]:
    return {
        "alpha": _between("alpha", alpha, 1e-300, 0.5),
        "fdr": _between("fdr", fdr, 1e-12, 0.5),
        "confidence": _between("confidence", confidence, 0.5, 0.999999999),
        "min_coverage": _between("min_coverage", min_coverage, 0, 1),
        "top": top,
    }


def content_of(tokenizer: object, text_field: str | None, token_ids_field: str | None) -> tuple[str, bool]:
    """The column that is read, and whether it holds ids."""
    if text_field is not None and token_ids_field is not None:
        raise InvalidArgumentError("give one of text_field and token_ids_field")
    if text_field is not None and tokenizer is None:
        raise InvalidArgumentError("text_field needs a tokenizer")
    if token_ids_field is not None:
        return token_ids_field, True
    return (text_field or "text", False) if tokenizer is not None else ("token_ids", True)


def audit_dataset(
    inputs: Inputs,
    *,
    run: str | os.PathLike[str],
    keys: _core.EpochKeys,
    tokenizer: _core.Tokenizer | None = None,
    accounts: Sequence[str] = (),
    requests: Sequence[str] = (),
    requests_of: str | None = None,
    text_field: str | None = None,
    token_ids_field: str | None = None,
    id_field: str = "id",
    prompt_field: str | None = None,
    prompt_ids_field: str | None = None,
    limit: int = 0,
    part: tuple[int, int] = (1, 1),
    max_record_mib: int = 4,
    alpha: float = 1e-6,
    fdr: float = 0.01,
    confidence: float = 0.99,
    min_coverage: float = 0.95,
    top: int = 100,
    threads: int = 0,
    memory_mib: int = 1024,
    progress: Progress | None = None,
) -> AuditResult:
    """Runs, or goes on. Arguments as the options of `watermark-audit dataset`.

    inputs: see countermark.tables.Inputs. Their order is the order of the documents; it must not have been chosen with knowledge of the key. A row of a table is a
    record, called by its id_field (a string or an integer) or else NAME:ROW, from 1.
    accounts, requests: candidates. part: (I, N), the I-th of N parts by the pairs' hash, from 1.
    progress: called as (phase, unit, total) when a phase begins, as ("", "", done) on the way, and as (text, "", 0) with a note.

    InvalidArgumentError: a parameter, or no input has the columns asked for. NotFoundError. DeniedError: the run directory is in use, or belongs to other options, another
    key or input. CorruptError: a damaged run directory. OutOfMemoryError: the disk or memory is full; what is done is kept.
    """
    content, ids = content_of(tokenizer, text_field, token_ids_field)
    if prompt_field is not None and (tokenizer is None or prompt_ids_field is not None):
        raise InvalidArgumentError("prompt_field needs a tokenizer, and no prompt_ids_field beside it")
    if bool(requests) != (requests_of is not None):
        raise InvalidArgumentError("requests needs requests_of, the account whose requests they are")
    index, parts = part
    if not 1 <= index <= parts <= 65536:
        raise InvalidArgumentError(f"part is {part}, and must be (I, N), 1 ≤ I ≤ N ≤ 65536")
    opened = open_inputs(inputs, Fields(content, ids, id_field, prompt_field or "", prompt_ids_field or ""))
    options = {
        "text_field": "" if ids else content,
        "token_ids_field": content if ids else "",
        "id_field": id_field,
        "prompt_field": prompt_field or "",
        "prompt_ids_field": prompt_ids_field or "",
        "max_record_mib": int(_between("max_record_mib", max_record_mib, 1, 512)),
        "limit": limit,
        "part": index - 1,
        "parts": parts,
        "threads": int(_between("threads", threads, 0, 1024)),
        "memory_mib": int(_between("memory_mib", memory_mib, 256, 1 << 24)),
        **judge_options(alpha=alpha, fdr=fdr, confidence=confidence, min_coverage=min_coverage, top=top),
    }
    directory = os.fspath(run)
    text, complete, coverage, _, evidence, errors = _core.audit_dataset(
        keys, tokenizer, list(accounts), requests_of or "", list(requests), opened.paths, opened.batches(), directory, options, progress
    )
    return AuditResult(directory, text, complete, coverage, evidence, tuple(errors))


def _open(inputs: list[str], *, content: str, ids: bool, id_field: str, prompt_field: str, prompt_ids_field: str) -> tuple[list[str], Any]:
    opened: OpenInputs = open_inputs(inputs, Fields(content, ids, id_field, prompt_field, prompt_ids_field))
    return opened.paths, opened.batches()


def main(arguments: Sequence[str] | None = None) -> int:
    """watermark-audit, with Parquet, Arrow and Hugging Face's folders among its inputs. Gives the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the run ends at once, and goes on when it is called again
    return _core.audit_program(["countermark.audit", *(sys.argv[1:] if arguments is None else arguments)], _open)


if __name__ == "__main__":
    sys.exit(main())
