"""Lines of a spool, whole and broken."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.errors import UserErrorException
from runyard_server.domain.metric_chunks import Points
from runyard_server.domain.spool_lines import LIST, SCALAR, TABLE, Entry, parse


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_lines_are_sorted_by_what_they_say() -> None:
    batch = parse(
        lines(
            ["s", "loss", 0.5, 1.0],
            ["s", "loss", 2, 2, 7],
            ["s", "note", "text", 3.0, 8],
            ["e", "list", LIST, [1, None], 4.0],
            ["d", "loss", "how wrong"],
            ["t", "color", "red"],
            ["t", "empty", None],
            ["p", "commit", "abc"],
        )
    )
    assert batch.scalars == {"loss": Points([None, 7], [1.0, 2.0], [0.5, 2])}
    assert batch.entries == [Entry("note", SCALAR, 3.0, "text", 8), Entry("list", LIST, 4.0, [1, None])]
    assert batch.types == {"loss": SCALAR, "note": SCALAR, "list": LIST}
    assert batch.descriptions == {"loss": "how wrong"}
    assert (batch.tags, batch.properties) == ({"color": "red", "empty": ""}, {"commit": "abc"})
    assert batch.records == 8


def test_nan_infinities_and_minus_zero_are_read_as_python_writes_them() -> None:
    batch = parse(b'["s","x",NaN,1.0]\n["s","x",Infinity,1.0]\n["s","x",-Infinity,1.0]\n["s","x",-0.0,1.0]\n')
    nan, plus, minus, zero = batch.scalars["x"].values
    assert math.isnan(nan) and (plus, minus) == (math.inf, -math.inf)
    assert math.copysign(1, zero) == -1


def test_blank_lines_say_nothing() -> None:
    batch = parse(b'   \n["s","x",1,1.0]\n\n["s","x",2,1.0]\n' + b" " * 40 + b"\n")
    assert batch.scalars["x"].values == [1, 2]
    assert batch.records == 2
    assert parse(b"").records == 0


def test_the_first_type_of_a_metric_is_its_type() -> None:
    batch = parse(lines(["e", "x", LIST, [1], 1.0], ["s", "x", 1, 1.0]))
    assert batch.types == {"x": LIST}


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"{}",
        b"[]",
        b'["s"]',
        b'["s","x"]',
        b'["s","x",1]',
        b'["s","x",null,1.0]',
        b'["s","x",[1],1.0]',
        b'["s","x",9223372036854775808,1.0]',
        b'["s","x",1,"now"]',
        b'["s","x",1,1.0,1.5]',
        b'["s","x",1,1.0,-9223372036854775808]',
        b'["s","x",1,1.0,true]',
        b'["s","",1,1.0]',
        b'["s","' + b"n" * 256 + b'",1,1.0]',
        b'["s","a\\u0000b",1,1.0]',
        b'["s","\\ud800",1,1.0]',
        b'["s",["x"],1,1.0]',
        b'["s",{},"text",1.0]',
        b'["s","x","text",NaN]',
        b'["e","x","azureml.v1.list",{},1.0]',
        b'["e","x","azureml.v1.table",[],1.0]',
        b'["e","x","",1,1.0]',
        b'["e","x","azureml.v2.image","a",Infinity]',
        b'["e","x","azureml.v2.image","a"]',
        b'["t","x",1]',
        b'["p","x",null]',
        b'["d","x",null]',
        b'["z","x",1,1.0]',
        b'["s","x",1,1.0',
        b'["s"["s","x",1,1.0]',
        b"\xff\xfe",
        b"[" * 100_000,
        b'["s","x",' + b"9" * 5000 + b",1.0]",
    ],
)
def test_a_line_that_cannot_be_read_is_refused_with_its_place(line: bytes) -> None:
    before = lines(["s", "x", 1, 1.0])
    with pytest.raises(UserErrorException) as refusal:
        parse(before + line + b"\n" + lines(["s", "x", 2, 1.0]), position=1000)
    assert refusal.value.details == {"line_at": 1000 + len(before), "line_bytes": len(line)}


def test_what_a_database_cannot_hold_as_text_is_replaced_in_texts() -> None:
    batch = parse(b'["t","key","a\\u0000b"]\n["p","key","\\ud800"]\n["d","x","\\u0000"]\n')
    assert (batch.tags, batch.properties, batch.descriptions) == ({"key": "a\ufffdb"}, {"key": "?"}, {"x": "\ufffd"})


@given(st.lists(st.floats() | st.integers(-(2**63), 2**63 - 1)))
def test_every_number_is_read_as_it_was_written(values: list[float]) -> None:
    read = parse(lines(*(["s", "x", value, 1.0] for value in values))).scalars
    found = read["x"].values if values else []
    assert [repr(value) for value in found] == [repr(value) for value in values]


def test_a_table_with_nan_cells_keeps_them() -> None:
    (entry,) = parse(lines(["e", "t", TABLE, {"x": [math.nan, math.inf]}, 1.0])).entries
    assert math.isnan(entry.value["x"][0]) and entry.value["x"][1] == math.inf
