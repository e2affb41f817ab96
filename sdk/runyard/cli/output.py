"""What people and programs see: tables that fit the terminal, fields, times, and ``--json``'s one document."""

import os
import re
import sys
import time
import unicodedata
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, TextIO, Tuple

_GAP = "  "
_LEAST = 8  # characters that are left of a column that shrinks
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_COLOURS = {
    "Completed": "32",
    "Failed": "31",
    "Canceled": "33",
    "CancelRequested": "33",
    "NotResponding": "33",
    "Running": "36",
    "Finalizing": "36",
}


class Column:
    """A column of a table.

    Args:
        right: whether its texts stand at the right, as numbers do.
        shrinks: whether its texts are cut, and at last left out, where the terminal is too narrow. Ids never are.
        paint: gives the colour (an SGR number) of a text, None for none.
    """

    def __init__(
        self,
        title: str,
        right: bool = False,
        shrinks: bool = False,
        paint: Optional[Callable[[str], Optional[str]]] = None,
    ) -> None:
        self.title, self.right, self.shrinks, self.paint = title, right, shrinks, paint


def status_column() -> Column:
    """The column of a run's status."""
    return Column("STATUS", paint=_COLOURS.get)


class Output:
    """Where a command's answer goes: texts for people, or (``as_json``) one JSON document on ``out``.

    Attributes:
        as_json: whether a program reads; what only people need then goes to ``err``.
        people: the stream for people's texts.
    """

    def __init__(
        self,
        as_json: bool = False,
        out: Optional[TextIO] = None,
        err: Optional[TextIO] = None,
        width: Optional[int] = None,
    ) -> None:
        self.as_json = as_json
        self.out = sys.stdout if out is None else out
        self.err = sys.stderr if err is None else err
        self.people = self.err if as_json else self.out
        terminal = _is_terminal(self.people)
        self._width = width
        if width is None and terminal:
            import shutil

            self._width = shutil.get_terminal_size().columns
        self._coloured = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def json(self, value: Any) -> None:
        """Writes the document. NaN and infinities, which JSON has not, become texts."""
        import json

        json.dump(_finite(value), self.out, indent=2, ensure_ascii=False)
        self.out.write("\n")

    def say(self, text: str = "") -> None:
        """A line for people."""
        self.people.write(text + "\n")

    def note(self, text: str) -> None:
        """A hint for people, kept out of what a pipe reads."""
        self.err.write(text + "\n")

    def status(self, status: str) -> str:
        """A run's status, coloured where a terminal shows it."""
        return self._painted(status, _COLOURS.get(status))

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        """Writes a table: aligned, its titles first. None is shown as nothing."""
        texts = [[one_line(cell) for cell in row] for row in rows]
        widths = [
            max([len(column.title)] + [_width(row[place]) for row in texts]) for place, column in enumerate(columns)
        ]
        shown = self._fitted(columns, widths)
        self.say(_GAP.join(_aligned(columns[place].title, width, columns[place]) for place, width in shown).rstrip())
        for row in texts:
            cells = []
            for place, width in shown:
                column = columns[place]
                paint = column.paint(row[place]) if column.paint else None
                cells.append(self._painted(_aligned(_cut(row[place], width), width, column), paint))
            self.say(_GAP.join(cells).rstrip())

    def fields(self, pairs: Iterable[Tuple[str, Any]]) -> None:
        """Writes names and values, one to a line; pairs whose value is None or empty are left out."""
        kept = [(name, str(value)) for name, value in pairs if value not in (None, "")]
        width = max([len(name) for name, _ in kept] or [0])
        for name, value in kept:
            first, *others = value.split("\n")
            self.say("{}{}{}".format(name.ljust(width), _GAP, first).rstrip())
            for line in others:
                self.say("{}{}{}".format(" " * width, _GAP, line).rstrip())

    def _fitted(self, columns: Sequence[Column], widths: List[int]) -> List[Tuple[int, int]]:
        """(place, width) of the columns that are shown."""
        shown = list(range(len(columns)))

        def excess() -> int:
            assert self._width is not None
            return sum(widths[place] for place in shown) + len(_GAP) * (len(shown) - 1) - self._width

        if self._width is not None:
            flexible = [place for place in shown if columns[place].shrinks]
            while excess() > 0 and flexible:
                widest = max(flexible, key=lambda place: widths[place])
                least = max(_LEAST, len(columns[widest].title))
                if widths[widest] > least:
                    widths[widest] = max(least, widths[widest] - excess())
                else:
                    shown.remove(flexible.pop())
        return [(place, widths[place]) for place in shown]

    def _painted(self, text: str, colour: Optional[str]) -> str:
        return "\x1b[{}m{}\x1b[0m".format(colour, text) if colour and self._coloured else text


# Texts


def local_time(at: Optional[float], seconds: bool = True) -> str:
    """A time (seconds since the epoch) as this machine's clock shows it: "2019-08-17 09:31:07"; "" for None."""
    if at is None:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M", time.localtime(at))


def duration(seconds: Optional[float]) -> str:
    """How long: "0.3 s", "42 s", "3m 05s", "2h 14m", "5d 03h"; "" for None."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return "{:.1f} s".format(max(0.0, seconds))
    whole = int(round(seconds))
    if whole < 60:
        return "{} s".format(whole)
    if whole < 3600:
        return "{}m {:02d}s".format(whole // 60, whole % 60)
    if whole < 86400:
        return "{}h {:02d}m".format(whole // 3600, whole % 3600 // 60)
    return "{}d {:02d}h".format(whole // 86400, whole % 86400 // 3600)


def counted(count: int, noun: str) -> str:
    """ "1 run", "2 runs"."""
    return "{:,} {}{}".format(count, noun, "" if count == 1 else "s")


def pairs_text(pairs: Dict[str, str]) -> str:
    """Tags or properties on one line: "kind=cnn, final"."""
    return ", ".join("{}={}".format(key, value) if value else key for key, value in sorted(pairs.items()))


def one_line(value: Any) -> str:
    """A value as one line without control characters, whoever wrote it; "" for None."""
    if value is None:
        return ""
    return _CONTROL.sub("?", " ".join(str(value).split("\n"))).replace("\t", " ")


def harmless(text: str) -> str:
    """A text of several lines without characters that would command a terminal."""
    return _CONTROL.sub("?", text.replace("\r\n", "\n"))


def _is_terminal(stream: TextIO) -> bool:
    return bool(getattr(stream, "isatty", lambda: False)())


def _width(text: str) -> int:
    """Cells that a terminal takes for the text."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while text and _width(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _aligned(text: str, width: int, column: Column) -> str:
    space = " " * max(0, width - _width(text))
    return space + text if column.right else text + space


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
