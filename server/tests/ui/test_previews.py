"""What is shown of a file: by what is in it, never as markup, however broken it is."""

import base64
import json
import tracemalloc

import pytest

from runyard.protocol.pictures import picture_type
from runyard_server.ui.previews import JSON_LETTERS, TEXT_BYTES, WHOLE_BYTES, preview

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 30
HOSTILE = "<script>alert(1)</script>"


def shown(path: str, content: bytes):
    return preview(path, len(content), lambda most: content[:most])


def test_text_is_text_without_what_a_terminal_would_do_with_it() -> None:
    found = shown("notes.txt", f"{HOSTILE}\n\x1b[31mred\x1b[0m\x1b]0;title\x07\n".encode())
    assert (found.kind, found.text, found.note) == ("text", f"{HOSTILE}\nred\n", "")


def test_of_a_long_text_the_first_part_is_shown_and_said_so() -> None:
    found = shown("long.log", "ä".encode() * TEXT_BYTES)
    assert found.kind == "text" and found.note == "The first 262 KB of 524 KB."


@pytest.mark.parametrize("content", [b"\0\1\2\3", bytes(range(128, 256)) * 10])
def test_what_is_no_text_is_not_shown(content: bytes) -> None:
    assert shown("weights.bin", content).kind == "none"


def test_an_empty_file_is_said_to_be_empty() -> None:
    assert shown("a.json", b"").note == "The file is empty."


def test_a_picture_is_known_by_its_content_and_no_other_thing_is_one() -> None:
    assert shown("x.bin", PNG).kind == "picture"
    assert shown("drawing.svg", b"<svg onload=alert(1)></svg>").kind == "text"
    assert shown("fake.png", HOSTILE.encode()).kind == "text"
    assert picture_type(b"RIFF\0\0\0\0WEBPVP8 ") == "image/webp"
    assert picture_type(b"RIFF\0\0\0\0WAVEfmt ") is None


def test_a_table_has_its_first_rows_and_says_what_is_left_out() -> None:
    found = shown("t.csv", b"a,b\n" + b"1,2\n" * 1000)
    assert found.kind == "table" and len(found.rows) == 201 and found.rows[0] == ["a", "b"]
    assert found.note == "The first 200 rows."
    wide = shown("t.tsv", b"\t".join(b"%d" % n for n in range(90)) + b"\nx\n")
    assert len(wide.rows[0]) == 40 and len(wide.rows[1]) == 40 and "40 of 90 columns" in wide.note


def test_a_table_that_is_cut_off_ends_with_a_whole_row() -> None:
    rows = b"name,value\n" + b"".join(b"%d,%s\n" % (n, b"y" * 100_000) for n in range(4))
    assert [row[0] for row in shown("t.csv", rows).rows] == ["name", "0", "1"]


def test_a_table_with_a_cell_that_is_too_long_is_shown_as_text() -> None:
    assert shown("t.csv", b"a," + b"y" * 200_000).kind == "text"


def test_json_is_put_in_shape_and_what_is_none_is_shown_as_it_is() -> None:
    assert shown("a.json", b'{"b": [1]}').text == '{\n  "b": [\n    1\n  ]\n}'
    broken = shown("a.json", b'{"b": ')
    assert broken.kind == "text" and broken.text == '{"b": ' and broken.note.startswith("This is not JSON")
    assert shown("deep.json", b"[" * 100_000).kind == "text"


@pytest.mark.parametrize("depth", [1, 400])
def test_json_that_is_put_in_shape_is_cut_at_a_limit_and_says_so(depth: int) -> None:
    content = b"[" * depth + b"[" + b",".join([b"1"] * 200_000) + b"]" + b"]" * depth
    assert len(content) < WHOLE_BYTES
    tracemalloc.start()
    try:
        found = shown("deep.json", content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.kind == "text" and len(found.text) == JSON_LETTERS and found.text.startswith("[\n  [")
    assert "The first 1,048,576 letters" in found.note
    assert peak < 40 << 20  # all of it would be 160 MB where it is deep


def test_half_a_letter_in_json_or_a_notebook_breaks_no_page() -> None:
    assert shown("a.json", b'{"\\ud83d": "x\\ud83d"}').text == '{\n  "?": "x?"\n}'
    outputs = [{"text": ["b\ud83d"]}, {"traceback": ["c\ud83d"]}, {"data": {"text/plain": "d\ud83d"}}]
    found = shown("n.ipynb", notebook({"cell_type": "code", "source": ["a\ud83d"], "outputs": outputs}))
    assert found.cells[0].source == "a?" and [one.text for one in found.cells[0].outputs] == ["b?", "c?", "d?"]


def notebook(*cells: object) -> bytes:
    return json.dumps({"cells": list(cells), "nbformat": 4}).encode()


def test_a_notebook_shows_sources_texts_and_pictures_and_none_of_its_html() -> None:
    outputs = [
        {"output_type": "stream", "text": ["a\n", "\x1b[1mb\x1b[0m\n"]},
        {"output_type": "display_data", "data": {"image/png": base64.b64encode(PNG).decode(), "text/html": HOSTILE}},
        {"output_type": "execute_result", "data": {"text/html": [HOSTILE], "text/plain": ["3 rows"]}},
        {"output_type": "error", "traceback": ["\x1b[31mValueError\x1b[0m: x"]},
        {"output_type": "display_data", "data": {"image/png": "PHN2Zz4=", "image/svg+xml": "<svg onload=x>"}},
    ]
    found = shown(
        "n.ipynb",
        notebook(
            {"cell_type": "markdown", "source": ["# title\n", HOSTILE]},
            {"cell_type": "code", "execution_count": 4, "source": "f(x)", "outputs": outputs},
        ),
    )
    first, second = found.cells
    assert found.kind == "notebook" and (first.kind, first.source) == ("text", f"# title\n{HOSTILE}")
    assert (second.kind, second.number) == ("code", 4)
    assert [one.text for one in second.outputs] == ["a\nb\n", "", "3 rows", "ValueError: x"]
    assert second.outputs[1].picture == "data:image/png;base64," + base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    "cell",
    [{}, {"cell_type": "code", "outputs": {"x": 1}}, {"source": 3, "outputs": [None, {"data": [1]}]}, "text", None, 7],
)
def test_a_broken_notebook_breaks_no_page(cell: object) -> None:
    assert shown("n.ipynb", notebook(cell)).kind == "notebook"
    assert shown("n.ipynb", json.dumps({"cells": 3}).encode()).kind == "text"
