"""The numbers in TensorBoard's event files, read from whatever part of a file has come so far.

How such a file is framed is in ``runyard.event_files``. Its records are protocol buffers that somebody else wrote: what
is none is said, and never more work than its bytes are worth.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from runyard.event_files import CHECKSUM, HEADER, checksum
from runyard_server.domain.metric_chunks import NO_STEP, Points

FRAME = HEADER.size + CHECKSUM.size
CHECKED_BYTES = 16 << 10  # of a record; the bytes of a longer one (an image, a graph) are not added up
MOST_FIELDS = 100_000  # in one record

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # how a field stands there
_SCALARS = b"scalars"  # the plug-in whose tensors are numbers

Value = bytes | int


@dataclass
class Reading:
    """What some bytes of a file say.

    Attributes:
        points: by tag, in their order.
        end: how many bytes were read: whole records.
        wanted: bytes of the record after them, as far as that is known; 0 where it is not, or nothing is there.
        faults: what could not be read, and where in the file.
        is_damaged: what follows ``end`` is no record, and nothing after it can be found.
    """

    points: dict[str, Points] = field(default_factory=dict)
    end: int = 0
    wanted: int = 0
    faults: list[str] = field(default_factory=list)
    is_damaged: bool = False


def read(data: bytes, position: int = 0) -> Reading:
    """Reads the records that ``data`` begins with; the last one may not have come whole.

    Args:
        position: of the first byte in its file, for messages.
    """
    found = Reading()
    while len(data) - found.end >= HEADER.size:
        length, stated = HEADER.unpack_from(data, found.end)
        if checksum(data[found.end : found.end + 8]) != stated:
            found.faults.append(f"no record begins at byte {position + found.end}: what follows is not read")
            found.is_damaged = True
            break
        end = found.end + FRAME + length
        if end > len(data):
            found.wanted = FRAME + length
            break
        event = data[found.end + HEADER.size : end - CHECKSUM.size]
        (stated,) = CHECKSUM.unpack_from(data, end - CHECKSUM.size)
        if length <= CHECKED_BYTES and checksum(event) != stated:
            found.faults.append(f"the record at byte {position + found.end} is damaged")
        else:
            try:
                _take(event, found.points)
            except (ValueError, struct.error):
                found.faults.append(f"the record at byte {position + found.end} is none that can be read")
        found.end = end
    return found


def _take(event: bytes, points: dict[str, Points]) -> None:
    """Adds the numbers of one event."""
    at, step, scalars = 0.0, 0, []
    budget = _Budget()
    for number, kind, value in _fields(event, budget):
        if number == 1 and kind == _DOUBLE:
            (at,) = struct.unpack("<d", _bytes(value))
        elif number == 2 and kind == _VARINT:
            step = _signed(value)
        elif number == 5 and kind == _BYTES:
            scalars += [
                scalar
                for inner, how, summary in _fields(_bytes(value), budget)
                if inner == 1 and how == _BYTES and (scalar := _scalar(_bytes(summary), budget)) is not None
            ]
    if step == NO_STEP or not math.isfinite(at):
        raise ValueError("no step or no time that a metric can have")
    for tag, number_ in scalars:
        columns = points.setdefault(tag, Points([], [], []))
        columns.steps.append(step)
        columns.times.append(at)
        columns.values.append(number_)


def _scalar(summary: bytes, budget: "_Budget") -> tuple[str, float] | None:
    """The tag and number of a value, None where it is something else: a histogram, an image, a text."""
    tag, number, tensor, plugin = b"", None, None, None
    for inner, kind, value in _fields(summary, budget):
        if inner == 1 and kind == _BYTES:
            tag = _bytes(value)
        elif inner == 2 and kind == _FLOAT:
            (number,) = struct.unpack("<f", _bytes(value))
        elif inner == 8 and kind == _BYTES:
            tensor = _bytes(value)
        elif inner == 9 and kind == _BYTES:
            plugin = _plugin(_bytes(value), budget)
    if number is None and tensor is not None and plugin in (None, _SCALARS):
        number = _number(tensor, budget)
    return None if number is None else (tag.decode("utf-8", "replace"), number)


def _plugin(metadata: bytes, budget: "_Budget") -> bytes | None:
    """The name of the plug-in that a value is for; writers say it with a tag's first value, or with all."""
    for number, kind, value in _fields(metadata, budget):
        if number == 1 and kind == _BYTES:
            for inner, how, name in _fields(_bytes(value), budget):
                if inner == 1 and how == _BYTES:
                    return _bytes(name)
    return None


# Of a tensor: how its kind stands in its packed content, and in which field its values stand otherwise.
_CONTENT = {
    1: "<f",
    2: "<d",
    3: "<i",
    4: "<B",
    5: "<h",
    6: "<b",
    9: "<q",
    10: "<?",
    17: "<H",
    19: "<e",
    22: "<I",
    23: "<Q",
}
_FIELD = {1: 5, 2: 6, 3: 7, 4: 7, 5: 7, 6: 7, 9: 10, 10: 11, 14: 13, 17: 7, 19: 13, 22: 16, 23: 17}
_BFLOAT16, _HALF = 14, 19


def _number(tensor: bytes, budget: "_Budget") -> float | None:
    """The one number of a tensor without dimensions, None where it is none."""
    dtype, content, dimensions, listed = 0, b"", 0, {}
    for number, kind, value in _fields(tensor, budget):
        if number == 1 and kind == _VARINT:
            dtype = _integer(value)
        elif number == 2 and kind == _BYTES:
            dimensions += sum(inner == 2 for inner, _, _ in _fields(_bytes(value), budget))
        elif number == 4 and kind == _BYTES:
            content = _bytes(value)
        elif number > 4:
            listed[number] = (kind, value)
    if dimensions or dtype not in _FIELD:
        return None
    if content:
        if dtype == _BFLOAT16:
            return _bfloat16(int.from_bytes(content, "little"))
        return float(struct.unpack(_CONTENT[dtype], content)[0])
    if _FIELD[dtype] not in listed:
        return 0.0  # as protocol buffers leave it out
    return _listed(dtype, *listed[_FIELD[dtype]])


def _listed(dtype: int, kind: int, value: Value) -> float:
    """A tensor's number from its list of values, which may be packed."""
    if dtype in (1, 2):
        return float(struct.unpack(_CONTENT[dtype], _bytes(value))[0])
    number = _integer(value) if kind == _VARINT else _varint(_bytes(value), 0)[0]
    if dtype == _HALF:
        return float(struct.unpack("<e", struct.pack("<H", number))[0])
    if dtype == _BFLOAT16:
        return _bfloat16(number)
    return float(number if dtype in (22, 23) else _signed(number))


def _bfloat16(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", bits << 16))[0])


class _Budget:
    """How many fields of a record may still be looked at."""

    def __init__(self) -> None:
        self.left = MOST_FIELDS


def _fields(data: bytes, budget: _Budget) -> Iterator[tuple[int, int, Value]]:
    """Number, kind and value of each field of a protocol buffer. Raises ValueError where it is none."""
    position = 0
    while position < len(data):
        budget.left -= 1
        if budget.left < 0:
            raise ValueError("too many fields")
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value: Value
            value, position = _varint(data, position)
        else:
            if kind == _BYTES:
                size, position = _varint(data, position)
            else:
                size = {_DOUBLE: 8, _FLOAT: 4}.get(kind, -1)
            if number == 0 or not 0 <= size <= len(data) - position:
                raise ValueError("no field")
            value = data[position : position + size]
            position += size
        yield number, kind, value


def _varint(data: bytes, position: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & 0xFFFFFFFFFFFFFFFF, position
    raise ValueError("no number")


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where there must be bytes")
    return value


def _integer(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError("bytes where there must be a number")
    return value


def _signed(value: Value) -> int:
    number = _integer(value)
    return number - (1 << 64) if number >> 63 else number
