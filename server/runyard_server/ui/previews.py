"""What a file looks like, as text, a table, a picture's kind or a notebook's cells: nothing in it is ever markup or run."""

import base64
import binascii
import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from runyard.protocol.pictures import picture_type
from runyard_server.ui import terminal_text, words

TEXT_BYTES = 256 << 10
WHOLE_BYTES = 4 << 20  # of what can be read only as a whole: JSON, notebooks
PICTURE_BYTES = 16 << 20
JSON_LETTERS = 1 << 20  # put in shape it may be far longer than it was: each line begins with its depth
_ROWS, _COLUMNS, _CELL_LETTERS = 200, 40, 200
_CELLS, _OUTPUT_LETTERS = 300, 20_000

_SEPARATORS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Output:
    """What a notebook's cell left: a text, or the address of a picture that is part of the page."""

    text: str = ""
    picture: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell of a notebook. ``kind`` is "code" or "text"; ``number`` is that of its execution."""

    kind: str
    source: str
    number: int | None
    outputs: Sequence[Output]


@dataclass(frozen=True)
class Preview:
    """A file at a glance.

    Attributes:
        kind: "text", "table", "picture", "notebook", or "none" where it cannot be shown.
        note: what is left out, or why nothing is shown.
    """

    kind: str
    note: str = ""
    text: str = ""
    rows: Sequence[Sequence[str]] = ()
    cells: Sequence[Cell] = ()


def preview(path: str, size_bytes: int, read: Callable[[int], bytes]) -> Preview:
    """What can be shown of a file.

    Args:
        read: gives its first bytes, as many as asked for.
    """
    head = read(TEXT_BYTES)
    if picture_type(head):
        if size_bytes > PICTURE_BYTES:
            return Preview("none", f"Pictures of more than {words.size(PICTURE_BYTES)} are not shown.")
        return Preview("picture")
    if size_bytes == 0:
        return Preview("none", "The file is empty.")
    name = path.lower()
    if name.endswith((".ipynb", ".json")):
        if size_bytes <= WHOLE_BYTES:
            return _of_json(name, read(WHOLE_BYTES))
        return _of_text(head, size_bytes)
    separator = next((mark for end, mark in _SEPARATORS.items() if name.endswith(end)), None)
    if separator is not None and b"\0" not in head:
        return _table(head, size_bytes, separator)
    return _of_text(head, size_bytes)


def _of_text(head: bytes, size_bytes: int) -> Preview:
    text = _decoded(head, size_bytes)
    if text is None:
        return Preview("none", "It is no text, table, picture or notebook. Download it to look inside.")
    return Preview("text", _left_out(head, size_bytes), terminal_text.shown(text))


def _decoded(head: bytes, size_bytes: int) -> str | None:
    if b"\0" in head:
        return None
    text = head.decode("utf-8", "replace")
    wrong = text.count("�") - (1 if len(head) < size_bytes else 0)  # the last letter may be cut in two
    return None if wrong > len(text) // 20 else text


def _left_out(head: bytes, size_bytes: int) -> str:
    if size_bytes <= len(head):
        return ""
    return f"The first {words.size(len(head))} of {words.size(size_bytes)}."


def _of_json(name: str, data: bytes) -> Preview:
    try:
        value = json.loads(data)
        if name.endswith(".ipynb") and isinstance(value, dict) and isinstance(value.get("cells"), list):
            return _notebook(value["cells"])
        return _in_shape(value)
    except ValueError:
        why = "This is not JSON, whatever its name says."
    except RecursionError:
        why = "It is nested too deeply to be put in shape."
    shown = _of_text(data[:TEXT_BYTES], len(data))
    return Preview(shown.kind, f"{why} {shown.note}".strip(), shown.text)


def _in_shape(value: Any) -> Preview:
    parts, letters = [], 0
    for part in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(value):
        parts.append(part)
        letters += len(part)
        if letters > JSON_LETTERS:
            note = f"The first {words.count(JSON_LETTERS, 'letter')} of it, put in shape. Download it for all of it."
            return Preview("text", note, _encodable("".join(parts)[:JSON_LETTERS]))
    return Preview("text", text=_encodable("".join(parts)))


def _encodable(text: str) -> str:
    """JSON can say half of a letter (a lone surrogate), which no page can be sent with."""
    return text.encode("utf-8", "replace").decode()


def _table(head: bytes, size_bytes: int, separator: str) -> Preview:
    text = head.decode("utf-8-sig", "replace")
    cut = len(head) < size_bytes
    rows: list[list[str]] = []
    widest = 0
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            if len(rows) > _ROWS:
                cut = True
                break
            widest = max(widest, len(row))
            rows.append([cell[:_CELL_LETTERS] for cell in row[:_COLUMNS]])
    except csv.Error:
        return _of_text(head, size_bytes)
    if size_bytes > len(head) and len(rows) <= _ROWS:
        rows = rows[:-1]  # it may be cut in two
    notes = [f"The first {words.count(len(rows) - 1, 'row')}"] if cut else []
    notes += [f"{_COLUMNS} of {widest} columns"] if widest > _COLUMNS else []
    width = max((len(row) for row in rows), default=0)
    note = f"{', '.join(notes)}." if notes else ""
    return Preview("table", note, rows=[row + [""] * (width - len(row)) for row in rows])


def _notebook(cells: Sequence[Any]) -> Preview:
    shown = [_cell(cell) for cell in cells[:_CELLS] if isinstance(cell, dict)]
    note = f"The first {_CELLS} of {len(cells)} cells." if len(cells) > _CELLS else ""
    return Preview("notebook", note, cells=shown)


def _cell(cell: dict[str, Any]) -> Cell:
    is_code = cell.get("cell_type") == "code"
    outputs = cell.get("outputs")
    found = [_output(one) for one in outputs if isinstance(one, dict)] if isinstance(outputs, list) else []
    number = cell.get("execution_count")
    return Cell(
        "code" if is_code else "text",
        _joined(cell.get("source")),
        number if isinstance(number, int) else None,
        [one for one in found if one.text or one.picture],
    )


def _output(output: dict[str, Any]) -> Output:
    if isinstance(output.get("traceback"), list):
        return Output(terminal_text.shown(_encodable("\n".join(map(str, output["traceback"]))))[:_OUTPUT_LETTERS])
    data = output.get("data")
    if not isinstance(data, dict):
        return Output(terminal_text.shown(_joined(output.get("text")))[:_OUTPUT_LETTERS])
    for media in ("image/png", "image/jpeg"):
        picture = _picture(_joined(data.get(media)))
        if picture:
            return Output(picture=picture)
    text = _joined(data.get("text/plain"))
    return Output(terminal_text.shown(text)[:_OUTPUT_LETTERS])  # what it has as HTML is not shown


def _picture(encoded: str) -> str:
    """A picture as an address that is part of the page; "" for what is none."""
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        return ""
    media = picture_type(content)
    return f"data:{media};base64,{base64.b64encode(content).decode()}" if media else ""


def _joined(source: Any) -> str:
    if isinstance(source, list):
        source = "".join(str(line) for line in source)
    return _encodable(source) if isinstance(source, str) else ""
