"""The audit of a data set as a Spark job: Parquet of any size in, the result that countermark.audit has for the same records on one machine, to the last digit.

    from countermark.spark import KeyFiles, audit_dataset

    keys = KeyFiles(bundle="/run/secrets/2026-11.cmkb", passphrase_file="/run/secrets/passphrase")
    result = audit_dataset(spark, "s3a://crawl/2026/", run="audit-1", keys=keys, tokenizer="/opt/models/tokenizer.json", text_field="text", accounts=labels)

The job holds the names of the keys' files and never what is in them: each machine opens the bundle that is mounted there. The package, the tokenizer and both files must be at the same
paths on all machines, the driver among them. What a run takes, and where it bends: docs/spark.md.

Three steps, two shuffles. Rows are tokenised and scored, and their pairs sent to the bucket of their keyed hash; there each pair finds the first document that holds it, and documents get
the sums of theirs; the documents of a stripe are put together in order, and the driver has them in a run directory. Tasks that run twice change nothing.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from countermark import _core
from countermark.audit import AuditResult, Progress, content_of, judge_options
from countermark.errors import InvalidArgumentError
from countermark.tables import Fields, content_column

__all__ = ["KeyFiles", "audit_dataset"]

_SCHEMA = "`group` int, `key` bigint, `kind` int, `data` binary"
_STRIPES, _BUCKETS, _CANDIDATES = range(3)
_SEGMENT = 8192
_MOST_STRIPE = 1 << 20
_MOST_BUCKETS = 1 << 18
_BATCH_BYTES = 64 << 20
_BATCH_ROWS = 2048


@dataclasses.dataclass(frozen=True, slots=True)
class KeyFiles:
    """Where every machine finds the epoch's keys: a bundle and the file of its passphrase, or an exported key with its record beside it. Paths, never what is in them."""

    bundle: str | None = None
    passphrase_file: str | None = None
    export: str | None = None

    def open(self) -> _core.EpochKeys:
        if (self.bundle is None) == (self.export is None) or (self.bundle is None) != (self.passphrase_file is None):
            raise InvalidArgumentError("give a bundle with its passphrase_file, or an export")
        if self.export is not None:
            return _core.EpochKeys.from_export(self.export)
        assert self.bundle is not None
        return _core.EpochKeys.from_bundle(self.bundle, passphrase_file=self.passphrase_file)


_opened: dict[str, tuple[_core.AuditKeys, _core.Tokenizer | None]] = {}
"""Of the job at work, in a worker's process: opened once, by the first task."""


@dataclasses.dataclass(frozen=True)
class _Work:
    """What tasks are told. It travels with them: no secret."""

    job: str
    keys: KeyFiles
    tokenizer: str | None
    labels: Any
    """Broadcast of (accounts, the requests' account, requests)."""
    files: Any
    """Broadcast of (names in order, {Spark's name: (place in that order, number of its first document)})."""
    content: Fields
    max_record_mib: int
    stripe: int
    buckets: int

    def open(self) -> tuple[_core.AuditKeys, _core.Tokenizer | None]:
        if self.job not in _opened:
            accounts, requests_of, requests = self.labels.value
            tokenizer = None if self.tokenizer is None else _core.Tokenizer.open(self.tokenizer)
            _opened.clear()
            _opened[self.job] = _core.AuditKeys.create(self.keys.open(), accounts, requests_of, requests, 1), tokenizer
        return _opened[self.job]

    def map(self, batches: Iterable[Any]) -> Iterator[Any]:
        """(file, row, content, prompt, name) to documents and pairs."""
        keys, tokenizer = self.open()
        names, places = self.files.value
        mapper = _core.ClusterMap(keys, tokenizer, names, self.max_record_mib, self.stripe, self.buckets)
        for batch in batches:
            if batch.num_rows == 0:
                continue
            file = batch.column("file").dictionary_encode()
            known = np.array([places[name] for name in file.dictionary.to_pylist()], np.int64)
            known = known[file.indices.to_numpy(zero_copy_only=False)]
            rows = batch.column("row").to_numpy(zero_copy_only=False).astype(np.int64)
            numbers = known[:, 1] + rows
            order = np.argsort(numbers, kind="stable")
            if not np.array_equal(order, np.arange(len(order))):
                batch, numbers, known, rows = batch.take(order), numbers[order], known[order], rows[order]
            contents = content_column(self.content.content, batch.column("content"), self.content.ids, f"'{self.content.content}' is null")
            prompt = self.content.prompt_field or self.content.prompt_ids_field
            prompts = content_column(prompt, batch.column("prompt"), bool(self.content.prompt_ids_field), "") if prompt else None
            called = batch.column("name").to_pylist() if self.content.id_field else None
            mapper.add(numbers, np.ascontiguousarray(known[:, 0]), rows + 1, contents, prompts, called)
            yield from _batches(mapper.take(False))
        yield from _batches(mapper.take(True))

    def reduce(self, batches: Iterable[Any]) -> Iterator[Any]:
        """A partition's pairs, bucket after bucket, to sums of documents and candidates. Documents go through."""
        reducer: _core.ClusterReduce | None = None
        bucket = None
        for group, key, kind, data in _pieces(batches):
            if group != _BUCKETS:
                yield from _batches([(group, key, kind, data)])
                continue
            if reducer is None:
                reducer = _core.ClusterReduce(self.open()[0], self.stripe, self.buckets)
            if bucket is not None and key != bucket:
                yield from _batches(reducer.finish_bucket())
            bucket = key
            reducer.add(key, data)
        if reducer is not None:
            yield from _batches(reducer.finish_bucket())
            yield from _batches(reducer.finish_candidates())

    def gather(self, batches: Iterable[Any]) -> Iterator[Any]:
        """A partition's stripes, one after the other, to segments; candidates' sums to one each."""
        gatherer: _core.ClusterGather | None = None
        stripe = None
        for group, key, kind, data in _pieces(batches):
            if gatherer is None:
                gatherer = _core.ClusterGather(self.open()[0], self.stripe, self.buckets)
            if group == _CANDIDATES:
                gatherer.add_candidates(key, data)
                continue
            if stripe is not None and key != stripe:
                yield from _batches(gatherer.finish_stripe())
            stripe = key
            gatherer.add(key, kind, data)
        if gatherer is not None:
            yield from _batches(gatherer.finish_stripe())
            yield from _batches(gatherer.finish_candidates())


def _pieces(batches: Iterable[Any]) -> Iterator[tuple[int, int, int, bytes]]:
    for batch in batches:
        columns = [batch.column(name) for name in ("group", "key", "kind", "data")]
        for group, key, kind, data in zip(*columns, strict=True):
            yield group.as_py(), key.as_py(), kind.as_py(), data.as_py()


def _batches(pieces: Sequence[tuple[int, int, int, bytes]]) -> Iterator[Any]:
    pa: Any = importlib.import_module("pyarrow")
    types = (pa.int32(), pa.int64(), pa.int32(), pa.binary())
    at = 0
    while at < len(pieces):
        end, size = at, 0
        while end < len(pieces) and (end == at or size < _BATCH_BYTES):
            size += len(pieces[end][3])
            end += 1
        columns = zip(*pieces[at:end], strict=True)
        yield pa.RecordBatch.from_arrays([pa.array(column, kind) for column, kind in zip(columns, types, strict=True)], names=["group", "key", "kind", "data"])
        at = end


def _name(uri: str) -> str:
    """As people and programs call a file: without Spark's scheme where it is this machine's."""
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme == "file" else uri


def _order(inputs: Sequence[str], name: str) -> tuple[int, list[str]]:
    """Files in the order of the inputs that hold them; in a folder by name, as watermark-audit reads it."""
    for i, given in enumerate(inputs):
        root = given if urlsplit(given).scheme not in ("", "file") else os.path.abspath(_name(given) if given.startswith("file:") else given)
        if name == root or name.startswith(root.rstrip("/") + "/"):
            return i, name.split("/")
    return len(inputs), name.split("/")


def _check(schema: Any, fields: Fields) -> str:
    """The id's column, or nothing. InvalidArgumentError: columns that are not there, or of other types."""
    there = schema.names
    for name in fields.needed:
        if there.count(name) != 1:
            raise InvalidArgumentError(f"no column '{name}'; there are: {', '.join(there)}" if name not in there else f"two columns are called '{name}'")
    integers = ("tinyint", "smallint", "int", "bigint")
    wanted = {fields.content: fields.ids, (fields.prompt_field or fields.prompt_ids_field): bool(fields.prompt_ids_field)}
    for name, ids in wanted.items():
        if not name:
            continue
        kind = schema[name].dataType.simpleString()
        right = kind in {f"array<{integer}>" for integer in integers} if ids else kind == "string"
        if not right:
            raise InvalidArgumentError(f"'{name}' is a column of {kind}, and {'token ids are' if ids else 'text is'} read from it")
    if fields.id_field not in there or fields.id_field in fields.needed:
        return ""
    kind = schema[fields.id_field].dataType.simpleString()
    if kind not in ("string", *integers):
        raise InvalidArgumentError(f"'{fields.id_field}' is a column of {kind}; an id is a string or an integer")
    return fields.id_field


def audit_dataset(
    spark: Any,
    inputs: Any,
    *,
    run: str | os.PathLike[str],
    keys: KeyFiles,
    tokenizer: str | None = None,
    accounts: Sequence[str] = (),
    requests: Sequence[str] = (),
    requests_of: str | None = None,
    text_field: str | None = None,
    token_ids_field: str | None = None,
    id_field: str = "id",
    prompt_field: str | None = None,
    prompt_ids_field: str | None = None,
    order_by: str | None = None,
    staging: str | None = None,
    max_record_mib: int = 4,
    buckets: int | None = None,
    partitions: int | None = None,
    alpha: float = 1e-6,
    fdr: float = 0.01,
    confidence: float = 0.99,
    min_coverage: float = 0.95,
    top: int = 100,
    threads: int = 0,
    memory_mib: int = 1024,
    progress: Progress | None = None,
) -> AuditResult:
    """inputs: paths of Parquet files or folders, whose order is the order of the documents, as countermark.audit reads them: inputs one after the other, a folder by its files' names, a
    file by its rows. Or a DataFrame with order_by, a column that orders its rows, and staging, a path that all machines can write, where it is put in that order (rows of equal order
    stand by name and content). The order must not have been chosen with knowledge of the key.
    run: the run directory, on the driver. It holds documents and sums; a run that is finished is judged anew without a job.
    tokenizer: a path. accounts, requests: broadcast. buckets, partitions: how the work is cut (docs/spark.md); the result does not hang on it.
    threads, memory_mib: of the driver, for the tests at the end.

    A Parquet file that is broken ends the job, with Spark's own error that names it. InvalidArgumentError: no such columns, no order.
    """
    functions: Any = importlib.import_module("pyspark.sql.functions")
    content, ids = content_of(tokenizer, text_field, token_ids_field)
    fields = Fields(content, ids, id_field, prompt_field or "", prompt_ids_field or "")
    if bool(requests) != (requests_of is not None):
        raise InvalidArgumentError("requests needs requests_of, the account whose requests they are")
    given: list[str]
    if isinstance(inputs, (str, os.PathLike)):
        given = [os.fspath(inputs)]
    elif isinstance(inputs, (list, tuple)):
        given = [os.fspath(path) for path in inputs]
    else:
        if order_by is None or staging is None:
            raise InvalidArgumentError("a DataFrame has no order of its own: give order_by, a column, and staging, where it is written in that order")
        _check(inputs.schema, fields)
        kept = [*fields.needed, *([id_field] if id_field in inputs.columns and id_field not in fields.needed else [])]
        sort = [order_by, *(name for name in (*kept[len(fields.needed) :], *fields.needed) if name != order_by)]
        ordered = inputs.select(*(functions.col(f"`{name}`") for name in {*kept, order_by})).sort(*(functions.col(f"`{name}`") for name in sort))
        ordered.select(*(functions.col(f"`{name}`") for name in kept)).write.parquet(staging)
        given = [staging]
    given = [path if urlsplit(path).scheme else os.path.abspath(path) for path in given]

    options = {
        "text_field": "" if ids else content, "token_ids_field": content if ids else "", "id_field": id_field, "prompt_field": prompt_field or "",
        "prompt_ids_field": prompt_ids_field or "", "max_record_mib": max_record_mib, "limit": 0, "part": 0, "parts": 1, "threads": threads, "memory_mib": memory_mib,
        **judge_options(alpha=alpha, fdr=fdr, confidence=confidence, min_coverage=min_coverage, top=top),
    }  # fmt: skip
    settings = {"spark.sql.execution.arrow.maxRecordsPerBatch": str(_BATCH_ROWS), "spark.sql.execution.arrow.maxBytesPerBatch": str(_BATCH_BYTES)}
    before = {name: spark.conf.get(name, None) for name in settings}
    for name, value in settings.items():
        spark.conf.set(name, value)
    try:
        return _audit(spark, functions, given, run, keys, tokenizer, (list(accounts), requests_of or "", list(requests)), fields, options, buckets, partitions, progress)
    finally:
        for name, old in before.items():
            spark.conf.unset(name) if old is None else spark.conf.set(name, old)


def _audit(
    spark: Any, functions: Any, given: list[str], run: str | os.PathLike[str], keys: KeyFiles, tokenizer: str | None, labels: tuple[list[str], str, list[str]], fields: Fields,
    options: dict[str, Any], buckets: int | None, partitions: int | None, progress: Progress | None,
) -> AuditResult:  # fmt: skip
    frame = spark.read.option("recursiveFileLookup", "true").parquet(*given)
    id_field = _check(frame.schema, fields)
    file = functions.col("_metadata.file_path")
    counted = frame.groupBy(file.alias("file")).agg(functions.count(functions.lit(1)).alias("rows"), functions.max("_metadata.file_size").alias("bytes")).collect()
    counted.sort(key=lambda row: _order(given, _name(row["file"])))
    places: dict[str, tuple[int, int]] = {}
    documents = 0
    for i, row in enumerate(counted):
        places[row["file"]] = (i, documents)
        documents += row["rows"]
    names = [_name(row["file"]) for row in counted]
    size = sum(row["bytes"] for row in counted)
    cores = spark.sparkContext.defaultParallelism
    parts = partitions or max(2 * cores, size >> 27, 1)
    shape = buckets or min(max(size >> 24, 2 * parts), _MOST_BUCKETS)
    stripe = min(max(documents // (2 * parts) // _SEGMENT, 1) * _SEGMENT, _MOST_STRIPE)

    directory = os.fspath(run)
    made = _core.AuditKeys.create(keys.open(), *labels, int(options["threads"]))
    collected = _core.ClusterRun(made, None if tokenizer is None else _core.Tokenizer.open(tokenizer), names, directory, options, documents)
    if not collected.whole:
        context = spark.sparkContext
        fields = dataclasses.replace(fields, id_field=id_field)
        work = _Work(uuid.uuid4().hex, keys, tokenizer, context.broadcast(labels), context.broadcast((names, places)), fields, int(options["max_record_mib"]), stripe, shape)
        nothing = functions.lit(None)
        prompt = fields.prompt_field or fields.prompt_ids_field
        rows = frame.select(
            file.alias("file"),
            functions.col("_metadata.row_index").alias("row"),
            functions.col(f"`{fields.content}`").alias("content"),
            (functions.col(f"`{prompt}`") if prompt else nothing.cast("string")).alias("prompt"),
            (functions.col(f"`{id_field}`").cast("string") if id_field else nothing.cast("string")).alias("name"),
        )
        mapped = rows.mapInArrow(lambda batches: work.map(batches), _SCHEMA)
        reduced = mapped.repartition(parts, "group", "key").sortWithinPartitions("group", "key").mapInArrow(lambda batches: work.reduce(batches), _SCHEMA)
        gathered = reduced.repartition(parts, "group", "key").sortWithinPartitions("group", "key").mapInArrow(lambda batches: work.gather(batches), _SCHEMA)
        storage: Any = importlib.import_module("pyspark").StorageLevel
        gathered = gathered.persist(storage.DISK_ONLY)
        try:
            gathered.count()  # all partitions at once; the driver then takes one after the other
            for piece in gathered.toLocalIterator():
                collected.add(piece["group"], piece["key"], piece["kind"], bytes(piece["data"]))
        finally:
            gathered.unpersist()
            work.labels.unpersist()
            work.files.unpersist()
    text, complete, coverage, _, evidence, errors = collected.finish(progress)
    return AuditResult(directory, text, complete, coverage, evidence, tuple(errors))
