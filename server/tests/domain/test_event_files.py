"""Event files as they are read: whole, in pieces, cut off, damaged, and by hands that mean ill."""

import math
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.event_files import EventFile, record
from runyard_server.domain.event_files import CHECKED_BYTES, MOST_FIELDS, Reading, read
from runyard_server.domain.metric_chunks import Points, pack

SCALARS = st.lists(
    st.tuples(
        st.sampled_from(["loss", "train/acc", "größe"]),
        st.floats(width=32),
        st.integers(-(1 << 63) + 1, (1 << 63) - 1),
        st.floats(0, 4e9),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("events") / "events.out.tfevents"


def written(scratch: Path, scalars: list[tuple[str, float, int, float]]) -> bytes:
    with EventFile(str(scratch), 1.0) as file:
        for tag, value, step, at in scalars:
            file.scalar(tag, value, step, at)
    return scratch.read_bytes()


def same(found: Mapping[str, Points], wanted: Mapping[str, Points]) -> bool:
    """Bit by bit: NaN is NaN."""
    return {tag: pack(points) for tag, points in found.items()} == {tag: pack(points) for tag, points in wanted.items()}


def expected(scalars: list[tuple[str, float, int, float]]) -> dict[str, Points]:
    found: dict[str, Points] = {}
    for tag, value, step, at in scalars:
        points = found.setdefault(tag, Points([], [], []))
        points.steps.append(step)
        points.times.append(at)
        points.values.append(value)
    return found


# How a value stands in a summary, field by field.


def sized(number: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def event(value: bytes, step: int = 7) -> bytes:
    return record(b"\x09" + struct.pack("<d", 5.0) + bytes([0x10, step]) + sized(5, sized(1, value)))


def tensor(dtype: int, rest: bytes, shape: bytes = b"", plugin: bytes | None = b"scalars") -> bytes:
    metadata = b"" if plugin is None else sized(9, sized(1, sized(1, plugin)))
    return event(sized(1, b"t") + metadata + sized(8, bytes([8, dtype]) + sized(2, shape) + rest))


@given(scalars=SCALARS)
def test_what_was_written_is_read(scratch: Path, scalars: list[tuple[str, float, int, float]]) -> None:
    data = written(scratch, scalars)
    found = read(data)
    assert found.end == len(data) and not found.faults and not found.wanted
    assert same(found.points, expected(scalars))


@given(scalars=SCALARS, data=st.data())
def test_a_file_that_is_cut_off_is_read_as_far_as_it_is_whole(
    scratch: Path, scalars: list[tuple[str, float, int, float]], data: st.DataObject
) -> None:
    whole = written(scratch, scalars)
    cut = data.draw(st.integers(0, len(whole)))
    first = read(whole[:cut])
    assert first.end <= cut and not first.faults
    if first.wanted:
        assert first.end + first.wanted > cut
    rest = read(whole[first.end :], first.end)
    assert first.end + rest.end == len(whole) and not rest.faults
    together: dict[str, Points] = {}
    for part in (first, rest):
        for tag, points in part.points.items():
            before = together.setdefault(tag, Points([], [], []))
            before.steps.extend(points.steps)
            before.times.extend(points.times)
            before.values.extend(points.values)
    assert same(together, expected(scalars))


@given(scalars=SCALARS, data=st.data())
def test_a_damaged_byte_is_named_and_makes_no_number(
    scratch: Path, scalars: list[tuple[str, float, int, float]], data: st.DataObject
) -> None:
    whole = bytearray(written(scratch, scalars))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    found = read(bytes(whole))
    assert len(found.faults) == 1 and "at byte" in found.faults[0]
    count = sum(len(points.values) for points in found.points.values())
    assert count <= len(scalars)
    if not found.is_damaged:
        assert found.end == len(whole) and count >= len(scalars) - 1


@given(st.binary(max_size=200))
def test_bytes_that_are_no_event_are_read_without_harm(data: bytes) -> None:
    framed = read(record(data))
    assert framed.end == len(data) + 16
    bare = read(data)
    assert bare.end <= len(data)


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 30))
def test_a_summary_that_is_none_is_said_or_has_no_numbers(value: bytes, inner: bytes, dtype: int) -> None:
    for data in (event(value), tensor(dtype, inner)):
        found = read(data)
        assert found.end == len(data)
        assert len(found.faults) <= 1


@pytest.mark.parametrize(
    ("dtype", "rest", "number"),
    [
        (1, b"\x2a\x04" + struct.pack("<f", 0.5), 0.5),
        (1, b"\x2d" + struct.pack("<f", 0.5), 0.5),
        (1, sized(4, struct.pack("<f", 0.25)), 0.25),
        (1, b"", 0.0),
        (2, sized(4, struct.pack("<d", 0.1)), 0.1),
        (2, b"\x31" + struct.pack("<d", 0.1), 0.1),
        (3, b"\x38\x05", 5.0),
        (3, b"\x3a\x01\x05", 5.0),
        (9, b"\x50" + b"\xff" * 9 + b"\x01", -1.0),
        (9, sized(4, struct.pack("<q", -3)), -3.0),
        (10, b"\x58\x01", 1.0),
        (14, b"\x6a\x02\x80\x7f", 1.0),
        (19, sized(4, struct.pack("<e", 1.5)), 1.5),
        (23, sized(4, struct.pack("<Q", (1 << 64) - 1)), float((1 << 64) - 1)),
    ],
)
def test_a_tensor_without_dimensions_is_a_number(dtype: int, rest: bytes, number: float) -> None:
    for plugin in (b"scalars", None):
        found = read(tensor(dtype, rest, plugin=plugin))
        assert not found.faults
        assert found.points["t"].steps == [7] and found.points["t"].times == [5.0]
        assert found.points["t"].values == [number]


@pytest.mark.parametrize(
    "data",
    [
        tensor(1, sized(4, struct.pack("<f", 0.25)), plugin=b"hparams"),
        tensor(1, sized(4, struct.pack("<2f", 0.25, 0.5)), shape=b"\x12\x02\x08\x02"),
        tensor(7, sized(8, b"a text")),
        event(sized(1, b"t") + sized(4, b"an image")),
        record(b"\x09" + struct.pack("<d", 5.0) + sized(3, b"brain.Event:2")),
    ],
    ids=["another plug-in's", "a row of numbers", "a text", "an image", "the file's version"],
)
def test_what_is_no_number_is_passed_over(data: bytes) -> None:
    assert read(data) == Reading(end=len(data))


@pytest.mark.parametrize("at", [math.nan, math.inf])
def test_a_time_that_is_none_is_named(at: float) -> None:
    value = sized(1, b"t") + b"\x15" + struct.pack("<f", 1.0)
    found = read(record(b"\x09" + struct.pack("<d", at) + sized(5, sized(1, value))), 100)
    assert found.faults == ["the record at byte 100 is none that can be read"] and not found.points


def test_a_record_of_more_fields_than_anyone_writes_is_given_up() -> None:
    data = record(b"\x10\x01" * (MOST_FIELDS + 1))
    assert read(data).faults == ["the record at byte 0 is none that can be read"]


def test_the_bytes_of_a_long_record_are_not_added_up() -> None:
    value = sized(1, b"t") + b"\x15" + struct.pack("<f", 1.0)
    filler = b"\x7a" + bytes([0x80 | (CHECKED_BYTES & 127), 0x80 | (CHECKED_BYTES >> 7 & 127), CHECKED_BYTES >> 14])
    data = bytearray(record(sized(5, sized(1, value)) + filler + bytes(CHECKED_BYTES)))
    data[-1] ^= 1
    assert read(bytes(data)).points["t"].values == [1.0]
