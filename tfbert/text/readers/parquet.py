"""Reader for Parquet files, with the label names that the library `datasets` stores in them."""

import json
import math
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

from tfbert.extras import import_library
from tfbert.text.readers.class_labels import names_of_features
from tfbert.text.readers.columns import ColumnFinder, shown
from tfbert.text.readers.compression import DECOMPRESSION_ERRORS
from tfbert.text.readers.object_rows import object_rows
from tfbert.text.readers.rows import Row, Source

_BATCH_ROWS = 1024
_FEATURES = b"huggingface"  # the key of the metadata in which `datasets` stores the types of columns


def parquet_rows(source: Source) -> Iterator[Row | str]:
    """Yield the rows of a Parquet file. Values that are not a number (NaN) count as missing.

    Raises:
        ValueError: pyarrow is not installed, the file is damaged, the columns cannot be determined, or a column that is
            read contains dates or bytes.
    """
    pyarrow, parquet = (import_library(name, "Parquet files", "files") for name in ("pyarrow", "pyarrow.parquet"))
    with ExitStack() as stack:
        try:
            file = stack.enter_context(parquet.ParquetFile(stack.enter_context(source.binary())))
        except (*DECOMPRESSION_ERRORS, pyarrow.ArrowException) as error:
            raise ValueError(f"{source.name}: cannot be read as a Parquet file: {error}") from None
        layout, schema = source.layout, file.schema_arrow
        layout.kind, layout.header = "Parquet file", "column names in the file"
        _check_types(pyarrow, schema, source)
        metadata = (schema.metadata or {}).get(_FEATURES)
        if metadata:
            layout.class_names = names_of_features(json.loads(metadata).get("info", {}).get("features"))
            layout.class_names_from = "the file"
        # Values of other types are not read, but their columns are reported as unused.
        simple = [field.name for field in schema if not _is_opaque(pyarrow, field.type)]
        opaque = dict.fromkeys(set(schema.names) - set(simple))
        yield from object_rows(_objects(file, simple, opaque, source, pyarrow), source, "", noun="column")


def _objects(file: Any, names: list[str], opaque: dict[str, None], source: Source, pyarrow: Any) -> Iterator[tuple]:
    number = 0
    try:
        for batch in file.iter_batches(_BATCH_ROWS, columns=names):
            for values in batch.to_pylist():
                number += 1
                plain = {name: _plain(value) for name, value in values.items()}
                yield f"{source.name}: row {number}", plain | opaque
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(f"{source.name}: cannot be read after row {number}: {error}") from None


def _check_types(pyarrow: Any, schema: Any, source: Source) -> None:
    """Reject columns to be read whose values are neither texts, numbers, truth values nor lists of these."""
    names = list(schema.names)
    positions = ColumnFinder(source.columns, source.data, "column").find(names, source.name)
    read = (p for value in positions.values() for p in (value.values() if isinstance(value, dict) else [value]))
    for position in read:
        kind = schema.field(position).type
        if _is_opaque(pyarrow, kind):
            expected = "expected texts, numbers, truth values, or lists or objects of these"
            raise ValueError(f"{source.name}: column {shown(names[position])} has the type {kind}; {expected}")


def _is_opaque(pyarrow: Any, kind: Any) -> bool:
    types = pyarrow.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    is_bytes = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    return types.is_temporal(kind) or is_bytes


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        value = float(value)
    return None if isinstance(value, float) and math.isnan(value) else value
