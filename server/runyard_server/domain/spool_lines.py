"""The lines of a client's spool, read into columns. What the lines are is in ``runyard.spool``."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

import msgspec

from runyard.errors import UserErrorException
from runyard.protocol.system_metrics import PREFIX
from runyard_server.domain.metric_chunks import NO_STEP, Points

SCALAR = "azureml.v1.scalar"
LIST = "azureml.v1.list"
TABLE = "azureml.v1.table"
IMAGE = "azureml.v2.image"
CONFUSION_MATRIX = "azureml.v2.confusion_matrix"
ACCURACY_TABLE = "azureml.v2.accuracy_table"
RESIDUALS = "azureml.v2.residuals"
PREDICTIONS = "azureml.v2.predictions"
SYSTEM = "runyard.v1.system"  # a number that the job measured of its node
NAME_LENGTH = 255
TYPE_LENGTH = 64

_LEAST, _GREATEST = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True)
class Entry:
    """What is not a number, as it was logged: ``value`` is plain JSON. ``type`` in Azure's words."""

    name: str
    type: str
    at: float
    value: Any
    step: int | None = None


@dataclass
class Batch:
    """What some lines say.

    Attributes:
        scalars: points by metric, in the order of the lines.
        types: the first type that each metric has here.
        records: number of lines that say something.
    """

    scalars: dict[str, Points] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    records: int = 0


def parse(lines: bytes, position: int = 0) -> Batch:
    """Reads whole lines (the last one ends with a newline, too). Blank lines say nothing.

    Args:
        position: of the first byte in its stream, for messages.
    Raises:
        UserErrorException: a line is none of those that a spool has; ``details`` has ``line_at``, the
            position of its first byte, and ``line_bytes``, its length without the newline.
    """
    if not lines:
        return Batch()
    try:
        # One call of a parser for all lines: newlines are escaped within JSON texts.
        return _read(_loaded(b"[" + lines[:-1].replace(b"\n", b",") + b"]"))
    except (ValueError, TypeError, LookupError, RecursionError):
        return _read_each(lines, position)


def _loaded(document: bytes) -> list[Any]:
    try:
        found: list[Any] = msgspec.json.decode(document)  # three times as quick as json
    except (msgspec.MsgspecError, ValueError):
        found = json.loads(document)  # NaN, infinities and broken pairs are no JSON, but Python's
    return found


def _read_each(lines: bytes, position: int) -> Batch:
    found = []
    for line in lines[:-1].split(b"\n"):
        if line.strip(b" "):
            try:
                record = json.loads(line)
                _read([record])
            except (ValueError, TypeError, LookupError, RecursionError) as problem:
                raise UserErrorException(
                    f"The line at byte {position} of the spool is none that can be read ({problem}): {line[:200]!r}.",
                    {"line_at": position, "line_bytes": len(line)},
                ) from None
            found.append(record)
        position += len(line) + 1
    return _read(found)


def _read(records: list[Any]) -> Batch:
    batch = Batch(records=len(records))
    scalars = batch.scalars
    for record in records:
        kind, name, value = record[0], record[1], record[2]
        if kind != "s":
            _read_other(batch, record)
            continue
        at, step = record[3], record[4] if len(record) > 4 else None
        if type(at) is not float:
            at = _time(at)
        if step is not None and (type(step) is not int or not NO_STEP < step <= _GREATEST):
            raise ValueError("a step must be an integer of 64 bits")
        if type(value) is float or (type(value) is int and _LEAST <= value <= _GREATEST):
            points = scalars.get(name)
            if points is None:
                points = scalars[_name(name)] = Points([], [], [])
                batch.types.setdefault(name, SYSTEM if name.startswith(PREFIX) else SCALAR)
            points.steps.append(step)
            points.times.append(at)
            points.values.append(value)
        elif type(value) is str or type(value) is bool:
            _add_entry(batch, Entry(_name(name), SCALAR, _time(at), value, step))
        else:
            raise ValueError("a scalar must be a number of at most 64 bits, a text or a truth value")
    return batch


def _read_other(batch: Batch, record: list[Any]) -> None:
    match record:
        case ["e", name, str(type_), value, at] if 1 <= len(type_) <= TYPE_LENGTH:
            _add_entry(batch, Entry(_name(name), _clean(type_), _time(at), _checked(type_, value)))
        case ["d", name, str(text)]:
            batch.descriptions[_name(name)] = _clean(text)
        case ["t", key, value] if value is None or isinstance(value, str):
            batch.tags[_name(key)] = _clean(value or "")
        case ["p", key, str(value)]:
            batch.properties[_name(key)] = _clean(value)
        case _:
            raise ValueError("no such kind of line")


def _add_entry(batch: Batch, entry: Entry) -> None:
    batch.types.setdefault(entry.name, entry.type)
    batch.entries.append(entry)


def _name(name: Any) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= NAME_LENGTH or _clean(name) != name:
        raise ValueError(f"a name must be a text of 1 to {NAME_LENGTH} characters")
    return name


def _clean(text: str) -> str:
    """Without what a database cannot hold as text: NUL and broken pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _time(at: Any) -> float:
    if (type(at) is int or type(at) is float) and math.isfinite(at):
        return float(at)
    raise ValueError("a time must be a number of seconds")


def _checked(type_: str, value: Any) -> Any:
    if type_ == LIST and not isinstance(value, list):
        raise ValueError("a list must be a JSON array")
    if type_ == TABLE and not isinstance(value, dict):
        raise ValueError("a table must be a JSON object of columns")
    return value
