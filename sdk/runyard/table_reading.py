"""From a table's files to a DataFrame of the caller's own pandas, which is imported only here and when it is needed."""

import importlib
import os
import random
import re
import tempfile
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from runyard import partition_format as partitions
from runyard.errors import UserErrorException

DELIMITED = "delimited"
PARQUET = "parquet"
JSON_LINES = "json_lines"

NO_HEADERS, FIRST_FILE_HEADERS = "none", "first"  # else every file has them

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?")
_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})


def pandas() -> Any:
    """The caller's pandas.

    Raises:
        UserErrorException: there is none in this Python; says how to get it.
    """
    try:
        return importlib.import_module("pandas")
    except ImportError as fault:
        raise UserErrorException(
            "Tables are read with pandas, which this Python does not have ({}). Install it (pip install pandas), or in a run "
            "name it in the environment: pip_packages=['pandas'].".format(fault)
        ) from fault


def frame(
    sources: Sequence[Any],
    reading: Mapping[str, Any],
    steps: Sequence[Sequence[Any]],
    partition_format: Optional[str],
    on_error: str,
    out_of_range: str,
) -> Any:
    """The table of the files at ``sources``, after ``steps``.

    Raises:
        UserErrorException: a library is missing, or the files are not what the description says.
    """
    pd = pandas()
    with tempfile.TemporaryDirectory(prefix="dataset-") as folder:
        files = _fetched(sources, folder)
        tables: List[Any] = []
        for path, local in files:
            table = _read(pd, local, path, reading, tables)
            if partition_format is not None:
                for name, value in partitions.values(partition_format, path).items():
                    table[name] = value
            if reading.get("include_path"):
                table.insert(0, "Path", "/" + path)
            tables.append(table)
    if not tables:
        raise UserErrorException("The dataset has no files, so there is no table.")
    found = tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True, sort=False)
    found = _typed(pd, found, reading, on_error, out_of_range)
    for step in steps:
        found = _done(pd, found, step).reset_index(drop=True)
    return found


def _fetched(sources: Sequence[Any], folder: str) -> List[Tuple[str, str]]:
    """Whole path and local path of each file, in the order of the sources and then of their names."""
    from runyard.file_dataset import FileDataset, whole_path

    found = []
    for number, source in enumerate(sources):
        place = os.path.join(folder, str(number))
        one = FileDataset([source])
        one.download(place)
        for relative, _, entry in sorted(one._files(), key=lambda file: file[0]):
            found.append((whole_path(source, entry), os.path.join(place, *relative.split("/"))))
    return found


def _read(pd: Any, local: str, path: str, reading: Mapping[str, Any], before: Sequence[Any]) -> Any:
    kind = reading["format"]
    try:
        if kind == PARQUET:
            return pd.read_parquet(local)
        if kind == JSON_LINES:
            return _read_json_lines(pd, local, reading)
        return _read_delimited(pd, local, reading, before)
    except ImportError as fault:
        raise UserErrorException(
            "{} files need a library that this Python does not have ({}). Install it: pip install pyarrow.".format(
                kind.capitalize(), str(fault).splitlines()[0]
            )
        ) from fault
    except (ValueError, OSError, LookupError) as fault:  # pandas's parsers raise subclasses of ValueError
        raise UserErrorException("'{}' cannot be read as {}: {}".format(path, kind.replace("_", " "), fault)) from fault


def _read_delimited(pd: Any, local: str, reading: Mapping[str, Any], before: Sequence[Any]) -> Any:
    header = reading["header"]
    has_names = header != NO_HEADERS and not (header == FIRST_FILE_HEADERS and before)
    texts = dict.fromkeys(reading["types"], str)
    try:
        table = pd.read_csv(
            local,
            sep=reading["separator"],
            header=0 if has_names else None,
            encoding=reading["encoding"],
            dtype=(texts or None) if reading["infer"] and has_names else None if reading["infer"] else str,
            keep_default_na=not reading["empty_as_string"],
            engine="c" if len(reading["separator"]) == 1 else "python",
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    if not has_names:
        names = list(before[0].columns) if before else ["Column{}".format(n + 1) for n in range(table.shape[1])]
        table.columns = names[: table.shape[1]] + ["Column{}".format(n + 1) for n in range(len(names), table.shape[1])]
    return table


def _read_json_lines(pd: Any, local: str, reading: Mapping[str, Any]) -> Any:
    import json

    rows = []
    with open(local, encoding=reading["encoding"]) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                rows.append(json.loads(line))
            except ValueError as fault:
                if reading["invalid_lines"] == "error":
                    raise ValueError(
                        "line {} is no JSON ({}); invalid_lines='drop' passes such lines over".format(number, fault)
                    ) from None
    return pd.DataFrame(rows)


# Types


def _typed(pd: Any, table: Any, reading: Mapping[str, Any], on_error: str, out_of_range: str) -> Any:
    types: Mapping[str, Any] = reading["types"]
    missing = [name for name in types if name not in table.columns]
    if missing:
        raise UserErrorException(_no_columns(missing, table))
    for name, wanted in types.items():
        try:
            table[name] = _converted(pd, table[name], wanted, on_error, out_of_range)
        except (ValueError, TypeError, OverflowError) as fault:
            raise UserErrorException(
                "The column '{}' has a value that is no {}: {}. on_error='null' reads such values as missing.".format(
                    name, wanted["type"], fault
                )
            ) from fault
    if reading["format"] == DELIMITED and reading["infer"]:
        for name in table.columns:
            if name not in types and _looks_like_dates(table[name]):
                times = pd.to_datetime(table[name], errors="coerce" if out_of_range == "null" else "raise")
                if not (times.isna() & ~table[name].isna()).any():  # else they are of several forms: they stay text
                    table[name] = times
    return table


def _looks_like_dates(column: Any) -> bool:
    if str(column.dtype) not in ("object", "str", "string"):
        return False
    values = [value for value in column if value == value and value is not None]
    return bool(values) and all(isinstance(value, str) and _DATE.fullmatch(value) for value in values)


def _converted(pd: Any, column: Any, wanted: Mapping[str, Any], on_error: str, out_of_range: str) -> Any:
    errors = "coerce" if on_error == "null" else "raise"
    kind = wanted["type"]
    if kind == "string":
        return column.map(lambda value: value if _is_missing(value) else str(value))
    if kind == "bool":
        return column.map(lambda value: _truth(value, on_error))
    if kind == "datetime":
        errors = "raise" if "fail" in (on_error, out_of_range) else "coerce"
        return _times(pd, column, wanted.get("formats"), errors)
    if wanted.get("decimal_mark", ".") != ".":
        mark = wanted["decimal_mark"]
        column = column.map(lambda value: value.replace(mark, ".") if isinstance(value, str) else value)
    numbers = pd.to_numeric(column, errors=errors)
    if kind == "long":
        whole = numbers.dropna()
        if on_error == "fail" and (whole != whole.round()).any():
            raise ValueError("a number with a fraction")
        return numbers.round() if numbers.isna().any() else numbers.round().astype("int64")
    return numbers.astype("float64")


def _times(pd: Any, column: Any, formats: Optional[Sequence[str]], errors: str) -> Any:
    if not formats:
        return pd.to_datetime(column, errors=errors)
    found = pd.to_datetime(column, format=formats[0], errors="coerce")
    for other in formats[1:]:
        found = found.fillna(pd.to_datetime(column, format=other, errors="coerce"))
    if errors == "raise" and (found.isna() & ~column.isna()).any():
        raise ValueError("none of the formats {} fits".format(", ".join(formats)))
    return found


def _truth(value: Any, on_error: str) -> Any:
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if on_error == "fail" and not _is_missing(value):
        raise ValueError(repr(value))
    return None


def _is_missing(value: Any) -> bool:
    return value is None or value != value


# Steps


def _done(pd: Any, table: Any, step: Sequence[Any]) -> Any:
    name = step[0]
    if name not in _STEPS:
        raise UserErrorException(
            "This version of runyard does not know the step {!r} of the dataset. Install the version that made it.".format(
                name
            )
        )
    return _STEPS[name](pd, table, *step[1:])


def _part(pd: Any, table: Any, fraction: float, seed: int, chosen: bool) -> Any:
    chance = random.Random(seed)
    return table[[(chance.random() < fraction) is chosen for _ in range(len(table))]]


def _keep(pd: Any, table: Any, columns: List[str]) -> Any:
    return table[_there(table, columns)]


def _drop(pd: Any, table: Any, columns: List[str]) -> Any:
    return table.drop(columns=_there(table, columns))


def _timestamps(pd: Any, table: Any, *columns: Optional[str]) -> Any:
    for name in _there(table, [name for name in columns if name is not None]):
        table[name] = pd.to_datetime(table[name])
    return table


def _time(pd: Any, table: Any, column: str, start: Optional[str], end: Optional[str], inclusive: bool) -> Any:
    (column,) = _there(table, [column])
    times = pd.to_datetime(table[column], utc=True)
    rows = times.notna()
    if start is not None:
        first = pd.to_datetime(start, utc=True)
        rows &= times >= first if inclusive else times > first
    if end is not None:
        last = pd.to_datetime(end, utc=True)
        rows &= times <= last if inclusive else times < last
    return table[rows]


_STEPS: Dict[str, Callable[..., Any]] = {
    "take": lambda pd, table, count: table.head(count),
    "skip": lambda pd, table, count: table.iloc[count:],
    "part": _part,
    "keep": _keep,
    "drop": _drop,
    "timestamps": _timestamps,
    "time": _time,
}


def _there(table: Any, columns: List[str]) -> List[str]:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise UserErrorException(_no_columns(missing, table))
    return columns


def _no_columns(missing: Sequence[str], table: Any) -> str:
    return "The table has no column '{}'. It has: {}.".format(
        missing[0], ", ".join(str(name) for name in table.columns)
    )
