"""Inputs of an audit, in the order in which they are read: files as `watermark-audit` takes them, Parquet, Arrow files and tables, Hugging Face datasets.

    inputs = open_inputs(["crawl/", "answers.parquet"], Fields("text", ids=False))
    inputs.paths         # names, one a file
    inputs.batches()     # what countermark._core.TableSource takes, a stretch of rows at a time

Rows are read in stretches of a few MiB: memory does not grow with a file, a row group or a table.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from countermark import _core
from countermark.columns import arrow_column
from countermark.errors import InvalidArgumentError, NotFoundError

Inputs: TypeAlias = Any
"""A path; a pyarrow Table, RecordBatch, RecordBatchReader or pyarrow.dataset.Dataset; a datasets.Dataset; an iterator of record batches; a mapping of names to
those (a datasets.DatasetDict is one); or a sequence of those. A path is a file, a folder, or what Dataset.save_to_disk or DatasetDict.save_to_disk wrote."""

Batch: TypeAlias = tuple[Any, ...]

_STRETCH_BYTES = 4 << 20
_STRETCH_ROWS = 4096


class ColumnError(Exception):
    """A column that is not there, or holds something else. What follows in its file is lost."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fields:
    """Which columns are read of a table."""

    content: str
    ids: bool
    """Whether the content is token ids, or text."""
    id_field: str = "id"
    prompt_field: str = ""
    prompt_ids_field: str = ""

    @property
    def needed(self) -> tuple[str, ...]:
        return tuple(name for name in (self.content, self.prompt_field or self.prompt_ids_field) if name)

    def of(self, names: Iterable[str]) -> list[str]:
        """Those that are there, of a table's column names. ColumnError where one is missing or named twice."""
        there = list(names)
        for name in self.needed:
            if there.count(name) != 1:
                raise ColumnError(f"two columns are called '{name}'" if name in there else f"no column '{name}'; there are: {', '.join(there) or 'none'}")
        return [*self.needed, *([self.id_field] if there.count(self.id_field) == 1 and self.id_field not in self.needed else [])]


def content_column(name: str, array: Any, ids: bool, null: str) -> _core.Column:
    try:
        column = arrow_column(array, null=null)
    except InvalidArgumentError as error:
        raise ColumnError(f"'{name}': {error}") from None
    if column.is_text == ids:
        wanted = "token ids are read from it" if ids else "text is read from it; name a column of token ids by token_ids_field"
        raise ColumnError(f"'{name}' is a column of {array.type}, and {wanted}")
    return column


def columns_of(batch: Any, fields: Fields) -> tuple[_core.Column, _core.Column | None, list[str | None] | None]:
    """Contents, prompts and names of a record batch or table."""
    pa: Any = importlib.import_module("pyarrow")
    names = fields.of(batch.schema.names)
    contents = content_column(fields.content, batch.column(fields.content), fields.ids, f"'{fields.content}' is null")
    prompt = fields.prompt_field or fields.prompt_ids_field
    prompts = content_column(prompt, batch.column(prompt), bool(fields.prompt_ids_field), "") if prompt else None
    called: list[str | None] | None = None
    if fields.id_field in names and fields.id_field not in fields.needed:
        array = batch.column(fields.id_field)
        kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
            raise ColumnError(f"'{fields.id_field}' is a column of {kind}; an id is a string or an integer")
        called = [None if value is None else str(value) for value in array.to_pylist()]
    return contents, prompts, called


def _stretches(table: Any, fields: Fields) -> Iterator[Any]:
    """A batch or table in pieces that are not too long."""
    if table.num_rows == 0:
        return
    kept = table.select(fields.of(table.schema.names)) if set(fields.needed) <= set(table.schema.names) else table
    rows = max(1, min(_STRETCH_ROWS, _STRETCH_BYTES * table.num_rows // max(kept.nbytes, 1)))
    for at in range(0, table.num_rows, rows):
        yield kept.slice(at, rows)


def _parquet(path: str, fields: Fields) -> Iterator[tuple[int, Any]]:
    pq: Any = importlib.import_module("pyarrow.parquet")
    with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
        names = fields.of(file.schema_arrow.names)
        leaves = [i for i in range(len(file.schema.names)) if any(f"{file.schema.column(i).path}.".startswith(f"{name}.") for name in names)]
        for group in range(file.num_row_groups):
            about = file.metadata.row_group(group)
            size = sum(about.column(i).total_uncompressed_size for i in leaves)
            rows = max(1, min(_STRETCH_ROWS, _STRETCH_BYTES * about.num_rows // max(size, 1)))
            for batch in file.iter_batches(batch_size=rows, row_groups=[group], columns=names, use_threads=False):
                yield group, batch


def _arrow(path: str, _: Fields) -> Iterator[tuple[int, Any]]:
    """The file format, or the stream that Hugging Face writes."""
    pa: Any = importlib.import_module("pyarrow")
    with pa.memory_map(path) as file:
        if file.read(6) == b"ARROW1":
            reader = pa.ipc.open_file(file)
            yield from ((group, reader.get_batch(group)) for group in range(reader.num_record_batches))
        else:
            file.seek(0)
            yield from enumerate(pa.ipc.open_stream(file))


@dataclasses.dataclass(frozen=True, slots=True)
class _File:
    """One name of the run, and how its rows are read: (row group or −1, batch). None: by the library itself."""

    path: str
    read: Callable[[Fields], Iterator[tuple[int, Any]]] | None


def _kind(path: str) -> Callable[[str, Fields], Iterator[tuple[int, Any]]] | None:
    if path.endswith((".arrow", ".feather")):
        return _arrow
    if path != "-" and os.path.isfile(path):
        with open(path, "rb") as file:
            first = file.read(6)
        if first[:4] == b"PAR1" or first == b"ARROW1":
            return _parquet if first[:4] == b"PAR1" else _arrow
    return _parquet if path.endswith(".parquet") else None


def _file(path: str) -> _File:
    kind = _kind(path)
    return _File(path, None if kind is None else lambda fields: kind(path, fields))


def _saved(folder: Path) -> list[str]:
    """The Arrow files of a folder that Hugging Face saved, in its order; none of another folder."""
    splits = folder / "dataset_dict.json"
    if splits.is_file():
        return [path for split in json.loads(splits.read_text())["splits"] for path in _saved(folder / split)]
    state = folder / "state.json"
    if not (state.is_file() and (folder / "dataset_info.json").is_file()):
        return []
    parsed = json.loads(state.read_text())
    if parsed.get("_indices_files") or parsed.get("_indices_data_files"):
        raise InvalidArgumentError(f"'{folder}': this dataset was saved with an order of its own beside its rows; save it again with a current release of datasets")
    return [str(folder / file["filename"]) for file in parsed["_data_files"]]


def _path(path: str) -> list[_File]:
    folder = Path(path)
    if path != "-" and folder.is_dir():
        try:
            saved = _saved(folder)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidArgumentError(f"'{path}': what Hugging Face's save_to_disk left beside the rows cannot be read: {error!r}") from None
        if saved:
            for file in saved:
                if not os.path.isfile(file):
                    raise NotFoundError(f"'{file}': a file of the dataset saved in '{path}' is missing")
            return [_file(file) for file in saved]
    files = _core.list_inputs([path])
    if any(file.endswith(".parquet") for file in files):  # what a cluster writes beside its rows (_SUCCESS, _metadata) is none
        files = [file for file in files if not any(part.startswith("_") for part in Path(file).relative_to(path).parts)] or files
    return [_file(file) for file in files]


def _batches(found: Any) -> Callable[[Fields], Iterator[tuple[int, Any]]]:
    """How the rows of something that is no path are read."""
    pa: Any = importlib.import_module("pyarrow")
    if isinstance(found, (pa.Table, pa.RecordBatch)):
        return lambda fields: iter([(-1, found)])
    if hasattr(found, "with_format") and hasattr(found, "features"):  # datasets.Dataset, IterableDataset: their own order of rows is kept
        return lambda fields: ((-1, table) for table in found.with_format("arrow").iter(batch_size=1000))
    if hasattr(found, "to_batches") and hasattr(found, "scanner"):  # pyarrow.dataset.Dataset
        return lambda fields: ((-1, batch) for batch in found.to_batches(columns=fields.of(found.schema.names), batch_size=_STRETCH_ROWS, batch_readahead=1, fragment_readahead=1))
    if isinstance(found, Iterable) and not isinstance(found, (str, bytes, Mapping)):
        return lambda fields: ((-1, batch) for batch in found)
    raise InvalidArgumentError(f"an input of type {type(found).__name__} is no path, Arrow table or dataset")


def _files(inputs: Inputs, name: str) -> list[_File]:
    if isinstance(inputs, (str, os.PathLike)):
        return _path(os.fspath(inputs))
    if isinstance(inputs, Mapping):
        return [file for key, value in inputs.items() for file in _files(value, str(key))]
    if isinstance(inputs, (list, tuple)):
        return [file for i, value in enumerate(inputs) for file in _files(value, f"{name}-{i + 1}" if len(inputs) > 1 else name)]
    return [_File(name, _batches(inputs))]


@dataclasses.dataclass(frozen=True, slots=True)
class OpenInputs:
    files: tuple[_File, ...]
    fields: Fields

    @property
    def paths(self) -> list[str]:
        return [file.path for file in self.files]

    def batches(self) -> Iterator[Batch]:
        """The items of TableSource (python/src/table_source.h). A file that cannot be read is lost from the row on where it breaks, and said; the others go on.

        InvalidArgumentError: no file at all has the columns that are asked for."""
        misfits = 0
        for number, file in enumerate(self.files):
            if file.read is None:
                yield (number,)
                continue
            row = group = 0
            try:
                for group, batch in file.read(self.fields):
                    for stretch in _stretches(batch, self.fields):
                        yield (number, row, group, *columns_of(stretch, self.fields))
                        row += stretch.num_rows
            except ColumnError as error:
                misfits += row == 0
                if misfits == len(self.files):
                    raise InvalidArgumentError(f"'{file.path}': {error}") from None
                yield (number, row, str(error))
            except (OSError, ValueError) as error:  # pyarrow's own are of these two, or of both
                yield (number, row, f"cannot be read{f' from row group {group} on' if row else ''}: {error}")


def open_inputs(inputs: Inputs, fields: Fields) -> OpenInputs:
    """InvalidArgumentError: nothing is named, or an input twice. NotFoundError: no such file."""
    files = _files(inputs, "table")
    if not files:
        raise InvalidArgumentError("no input: name files, folders, tables or datasets")
    seen: set[str] = set()
    for file in files:
        if file.path in seen:
            raise InvalidArgumentError(f"'{file.path}' is given twice")
        seen.add(file.path)
    return OpenInputs(tuple(files), fields)
