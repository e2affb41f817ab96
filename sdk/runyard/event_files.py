"""TensorBoard's event files: how they are framed, and how numbers are written into one.

A file is a row of records, each with its length and two checksums; a record is a protocol buffer of TensorFlow's,
``Event``. Of that as much is here as numbers need, so that neither package has to be installed.
"""

import struct
from types import TracebackType
from typing import BinaryIO, List, Optional, Type

HEADER = struct.Struct("<QI")  # the record's length, and that number's checksum
CHECKSUM = struct.Struct("<I")  # of the record, after it
VERSION = b"brain.Event:2"  # what the first record of a file says

_DOUBLE = struct.Struct("<d")
_FLOAT = struct.Struct("<f")
_POLYNOMIAL = 0x82F63B78  # Castagnoli's, its bits in reverse


def _table() -> List[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (_POLYNOMIAL if number & 1 else 0)
        table.append(number)
    return table


_TABLE = _table()


def checksum(data: bytes) -> int:
    """The masked CRC-32C of the bytes, as it stands in event files."""
    table, crc = _TABLE, 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return (crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8 & 0xFFFFFFFF


def is_event_file(path: str) -> bool:
    """Whether TensorBoard would take a file of that path for one of its own."""
    return "tfevents" in path.rsplit("/", 1)[-1]


def record(data: bytes) -> bytes:
    """The bytes as a record of a file."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, CHECKSUM.pack(checksum(length)), data, CHECKSUM.pack(checksum(data))))


class EventFile:
    """An event file that numbers are written into.

    Args:
        path: of the file, which is made new.
        begun_at: when what it tells of began, in seconds since the epoch.
    """

    def __init__(self, path: str, begun_at: float) -> None:
        self._file: BinaryIO = open(path, "wb")
        self._file.write(record(b"\x09" + _DOUBLE.pack(begun_at) + b"\x1a" + _sized(VERSION)))

    def scalar(self, tag: str, value: float, step: int, at: float) -> None:
        """Writes one number; TensorBoard keeps 32 bits of it, and so does this."""
        named = b"\x0a" + _sized(tag.encode("utf-8", "replace"))
        summary = b"\x0a" + _sized(named + b"\x15" + _float(value))
        self._file.write(record(b"\x09" + _DOUBLE.pack(at) + b"\x10" + _varint(step) + b"\x2a" + _sized(summary)))

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "EventFile":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


def _float(value: float) -> bytes:
    try:
        return _FLOAT.pack(value)
    except OverflowError:  # beyond 32 bits
        return _FLOAT.pack(float("inf") if value > 0 else float("-inf"))


def _sized(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _varint(number: int) -> bytes:
    number &= 0xFFFFFFFFFFFFFFFF  # a negative one as 64 bits
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
