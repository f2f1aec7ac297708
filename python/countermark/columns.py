"""Records end to end, as the compiled module takes them: from lists, arrays and pyarrow columns.

    column(["a text", None])            arrow_column(pa.array([[1, 2], [3]]))

A record that cannot be put into the column is an error of that record, said by its position.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from countermark import _core
from countermark.errors import InvalidArgumentError

Records: TypeAlias = Any
"""Texts (a sequence of str), or token ids (a sequence of sequences of integers, or of integer arrays), or a pyarrow column of strings or of lists of
integers. None among them is a record that could not be read."""


def _ends(sizes: Iterable[int], n: int) -> npt.NDArray[np.int64]:
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(np.fromiter(sizes, np.int64, n), out=offsets[1:])
    return offsets


def _text_column(texts: Sequence[str | None]) -> _core.Column:
    errors: dict[int, str] = {}
    parts: list[bytes] = []
    for i, text in enumerate(texts):
        part = b""
        if text is None:
            errors[i] = "the record is null"
        elif not isinstance(text, str):
            errors[i] = f"the record is {type(text).__name__}, and the others are text"
        else:
            try:
                part = text.encode()
            except UnicodeEncodeError as error:
                errors[i] = f"the text cannot be UTF-8: character {error.start} is half of a surrogate pair"
        parts.append(part)
    data = np.frombuffer(b"".join(parts), np.uint8)
    return _core.Column(data, _ends(map(len, parts), len(parts)), errors, text=True)


def _id_column(sequences: Sequence[Any]) -> _core.Column:
    errors: dict[int, str] = {}
    parts: list[npt.NDArray[np.int64]] = []
    nothing = np.empty(0, np.int64)
    for i, sequence in enumerate(sequences):
        part = nothing
        if sequence is None:
            errors[i] = "the record is null"
        else:
            try:
                ids = np.asarray(sequence)
            except (ValueError, OverflowError, TypeError):
                ids = np.empty(1, object)
            if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
                errors[i] = "the record is no sequence of integers"
            elif ids.size:
                # An id beyond 63 bits becomes negative, and that is an error of its own.
                part = ids.astype(np.int64)
        parts.append(part)
    data = np.concatenate(parts) if parts else nothing
    return _core.Column(data, _ends(map(len, parts), len(parts)), errors, text=False)


def arrow_column(array: Any, null: str = "the record is null") -> _core.Column:
    """null: what is said of a null; empty where it is no error (the column's reader then takes it as nothing).

    InvalidArgumentError: neither strings nor lists of integers."""
    pa: Any = importlib.import_module("pyarrow")

    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # what combine_chunks gives for no chunk, or for too much text for one
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    kind = array.type
    if pa.types.is_dictionary(kind):
        array, kind = array.dictionary_decode(), kind.value_type
    nulls = {int(i): null for i in np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))} if array.null_count else {}
    if pa.types.is_null(kind):
        array, kind = array.cast(pa.large_string()), pa.large_string()
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if text:
        array = array.cast(pa.large_string())
        _, offset_buffer, data_buffer = array.buffers()
        data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None and data_buffer.size else np.empty(0, np.uint8)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        if not pa.types.is_integer(kind.value_type):
            raise InvalidArgumentError(f"a column of {kind} holds no token ids")
        wide = kind.value_type if kind.value_type in (pa.int32(), pa.uint32(), pa.int64(), pa.uint64()) else pa.int64()
        array = array.cast(pa.large_list(wide))
        offset_buffer = array.buffers()[1]
        values = array.values
        if values.null_count:
            # A null inside a record is an error of that record: −1 is no id.
            values = values.cast(pa.int64()).fill_null(-1)
        data = values.to_numpy(zero_copy_only=True)
    else:
        raise InvalidArgumentError(f"a column of {kind} holds neither text nor token ids")
    if offset_buffer is None or len(array) == 0:
        offsets = np.zeros(1, np.int64)
    else:
        offsets = np.frombuffer(offset_buffer, np.int64)[array.offset : array.offset + len(array) + 1]
    return _core.Column(data, offsets, nulls, text=text)


def column(records: Records) -> _core.Column:
    if isinstance(records, (str, bytes)):
        raise InvalidArgumentError("records is one text; a sequence of them is expected")
    if type(records).__module__.partition(".")[0] == "pyarrow":
        return arrow_column(records)
    listed = records if isinstance(records, (list, tuple)) else list(records)
    first = next((record for record in listed if record is not None), None)
    return _text_column(listed) if first is None or isinstance(first, str) else _id_column(listed)
