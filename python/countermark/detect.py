"""Does a text, or a set of texts, carry a mark, and whose.

    keys = EpochKeys.from_bundle("2026-11.cmkb", passphrase_file="/run/secrets/bundle")
    detector = Detector(keys, tokenizer=Tokenizer.open("model.gguf"))
    detection = detector.detect(["a text", "another"])
    detection.verdict, detection.pooled.log10_p, detection.pooled.accounts[0].log10_p_adjusted

H0 of every test: the text is statistically independent of the key. How a result is read: docs/how-to-read-a-p-value.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from countermark import _core
from countermark.columns import Records, column


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelTest:
    name: str
    scored: int
    """Distinct pairs that this channel's key was asked about."""
    statistic: int
    log10_p: float
    log10_e: float


@dataclasses.dataclass(frozen=True, slots=True)
class AccountTest:
    account: str
    scored: int
    statistic: int
    log10_p: float
    log10_p_adjusted: float
    """Holm over all candidates of this record (or of the pool)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """Of one record, or of the pool of all."""

    id: str
    verdict: str
    """'marked', 'no evidence', 'inconclusive' (nothing could be scored) or 'uncorrected' (the number of records is not known)."""
    scored: int
    channels: tuple[ChannelTest, ...]
    accounts: tuple[AccountTest, ...]
    error: str | None = None
    """Why the record could not be read."""

    @property
    def log10_p(self) -> float:
        """Of the base channel."""
        return self.channels[0].log10_p if self.channels else 0.0

    @property
    def best_account(self) -> AccountTest | None:
        """The candidate with the smallest p. It is a finding only where its adjusted p is small."""
        return min(self.accounts, key=lambda test: test.log10_p, default=None)


@dataclasses.dataclass(frozen=True, slots=True)
class Detection:
    records: tuple[Result, ...]
    pooled: Result
    """Pairs distinct over all records, one test."""
    verdict: str
    """Of the run as a whole: 'marked', 'no evidence' or 'inconclusive'."""
    tests_counted: int
    coverage: float
    """Share of the records that could be read."""
    run: DetectionRun = dataclasses.field(repr=False, compare=False)
    """What countermark.Report signs."""


def _result(name: str, verdict: str, outcome: tuple[Any, ...], error: str | None = None) -> Result:
    scored, channels, accounts = outcome
    return Result(name, verdict, scored, tuple(ChannelTest(*test) for test in channels), tuple(AccountTest(*test) for test in accounts), error)


class DetectionRun:
    """A detection that is given its records batch by batch. Made by `Detector.run`."""

    def __init__(self, core: _core.DetectRun, min_coverage: float) -> None:
        self._core = core
        self._min_coverage = min_coverage

    def add(self, records: Records, *, prompts: Records | None = None, ids: Sequence[str] | None = None, threads: int = 0) -> tuple[Result, ...]:
        """Results of these records, in order.

        prompts: texts or token ids, one a record, whose windows are not scored. ids: names of the records, by default their positions from 1. threads: 0 for one a core.
        InvalidArgumentError: more records than the run was told of.
        """
        before = self._core.records
        names = None if ids is None else [str(name) for name in ids]
        outcomes = self._core.add(column(records), None if prompts is None else column(prompts), names, threads)
        return tuple(
            _result(names[i] if names is not None else str(before + i + 1), verdict, outcome, error) for i, (error, verdict, outcome) in enumerate(outcomes)
        )

    def pooled(self) -> Result:
        """All records so far as one test: pairs distinct over all of them."""
        verdict, outcome = self._core.pooled()
        return _result("pooled", verdict, outcome)

    def verdict(self) -> str:
        """Of the run as a whole: 'inconclusive' where too few records could be read or nothing was scored."""
        pooled = self.pooled().verdict
        if self._core.coverage < self._min_coverage:
            return "inconclusive"
        if pooled == "marked" or self._core.marked > 0:
            return "marked"
        return "inconclusive" if pooled == "inconclusive" else "no evidence"

    @property
    def records(self) -> int:
        return self._core.records

    @property
    def unreadable(self) -> int:
        return self._core.unreadable

    @property
    def coverage(self) -> float:
        return self._core.coverage

    @property
    def tests_counted(self) -> int:
        return self._core.tests_counted


class Detector:
    """Tests of the base channel and of candidate accounts, with one epoch's keys."""

    def __init__(self, keys: _core.EpochKeys, *, accounts: Sequence[str] | None = None, tokenizer: _core.Tokenizer | None = None, alpha: float = 1e-6) -> None:
        """accounts: the candidates; None: all that are registered in the keys. tokenizer: needed for text; it must be the epoch's. alpha: the chance of one or more
        false claims in the whole of a run."""
        self._keys = keys
        if accounts is not None:
            self._accounts = list(accounts)
        else:
            self._accounts = list(keys.accounts) if "account" in keys.record.channels else []
        self._tokenizer = tokenizer
        self._alpha = alpha
        self.run(records=1)  # whatever is wrong with these is said now

    @property
    def record(self) -> _core.EpochRecord:
        return self._keys.record

    @property
    def accounts(self) -> tuple[str, ...]:
        return tuple(self._accounts)

    def run(self, *, records: int, min_coverage: float = 0.99, keep_results: bool = False) -> DetectionRun:
        """A run over `records` records, given batch by batch (0: their number is not known, and single records get no verdict). min_coverage: the least share of readable
        records for a verdict. keep_results: for a signed report."""
        core = _core.DetectRun(
            self._keys, self._accounts, self._tokenizer, records=records, alpha=self._alpha, min_coverage=min_coverage, keep_results=keep_results
        )
        return DetectionRun(core, min_coverage)

    def detect(
        self, records: Records, *, prompts: Records | None = None, ids: Sequence[str] | None = None, min_coverage: float = 0.99, threads: int = 0
    ) -> Detection:
        """All records at once: each on its own, and pooled. See DetectionRun.add."""
        if not hasattr(records, "__len__"):
            records = list(records)
        run = self.run(records=max(len(records), 1), min_coverage=min_coverage, keep_results=True)
        results = run.add(records, prompts=prompts, ids=ids, threads=threads)
        return Detection(results, run.pooled(), run.verdict(), run.tests_counted, run.coverage, run)

    def __repr__(self) -> str:
        return f"<countermark.Detector of {self.record.tenant}/{self.record.epoch}, {len(self._accounts)} candidate accounts>"
