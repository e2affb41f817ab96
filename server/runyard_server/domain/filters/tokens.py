"""A filter's text as tokens, each with its place."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runyard_server.domain.filters.tree import FilterError

LONGEST = 4000  # letters of a filter
LONGEST_TEXT = 200  # letters of one text in it

# The name after the dot of "metrics.loss" may hold what no other word may.
_KEYED = (
    r"""(?P<source>[A-Za-z_]+)\.(?:"(?P<key_in_quotes>[^"]*)"|`(?P<key_in_ticks>[^`]*)`|(?P<key>[^\s=<>!~'"`(),]+))"""
)
_TOKEN = re.compile(
    rf"""(?P<keyed>{_KEYED})"""
    r"""|(?P<date>\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d)?)?)(?![\w.])"""
    r"""|(?P<number>[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|inf(?:inity)?\b))(?P<unit>ms|[smhdw])?(?![\w.])"""
    r"""|"(?P<double>(?:[^"]|"")*)"|'(?P<single>(?:[^']|'')*)'"""
    r"""|(?P<sign><=|>=|!=|<>|==|=|<|>|!~|~)"""
    r"""|(?P<mark>[(),])"""
    r"""|(?P<word>[\w][\w.:/+-]*)"""
)
_SPACE = re.compile(r"\s*")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_SAME_SIGN = {"<>": "!=", "==": "="}


@dataclass(frozen=True)
class Token:
    """One word of a filter.

    Attributes:
        kind: "field" (with a source and a key), "number", "duration", "text", "sign", "mark", "word" or "end".
        text: the key of a field, the content of a text.
        place: of its first letter.
    """

    kind: str
    text: str
    place: int
    number: float = 0.0
    source: str = ""


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a filter, and an "end".

    Raises:
        FilterError: what is there is none, or the text is too long.
    """
    if len(text) > LONGEST:
        raise FilterError(text, LONGEST, f"a filter has at most {LONGEST:,} letters, this one {len(text):,}.")
    place = _after_space(text, 0)
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise FilterError(text, place, _problem(text[place]))
        yield _token(text, match)
        place = _after_space(text, match.end())
    yield Token("end", "", len(text))


def _after_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _token(text: str, match: re.Match[str]) -> Token:
    place, said = match.start(), match.groupdict()
    if said["keyed"] is not None:
        keys = (said["key_in_quotes"], said["key_in_ticks"], said["key"])
        key = next(key for key in keys if key is not None)
        return Token("field", _checked(text, place, key), place, source=said["source"])
    if said["date"] is not None:
        return Token("text", said["date"], place)
    if said["number"] is not None:
        number, unit = float(said["number"]), said["unit"]
        if unit is not None:
            return Token("duration", match.group(), place, number * _UNITS_S[unit])
        return Token("number", match.group(), place, number)
    for quote in ("double", "single"):
        if said[quote] is not None:
            sign = '"' if quote == "double" else "'"
            return Token("text", _checked(text, place, said[quote].replace(sign * 2, sign)), place)
    if said["sign"] is not None:
        return Token("sign", _SAME_SIGN.get(said["sign"], said["sign"]), place)
    if said["mark"] is not None:
        return Token("mark", said["mark"], place)
    return Token("word", _checked(text, place, said["word"]), place)


def _checked(text: str, place: int, said: str) -> str:
    if len(said) > LONGEST_TEXT:
        raise FilterError(text, place, f"a text has at most {LONGEST_TEXT} letters here, this one {len(said):,}.")
    if "\x00" in said:
        raise FilterError(text, place, "a text holds no NUL.")
    return said


def _problem(letter: str) -> str:
    if letter in "\"'`":
        return f"this {letter} is never closed. Write a text between two of them; one inside is written twice."
    return f"{letter!r} has no meaning here. Write names, texts in quotes, numbers, = != < <= > >= ~ and parentheses."
