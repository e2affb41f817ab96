"""Reads and writes conda environment files: the part of YAML that they use, and nothing beyond it.

What it reads: mappings and lists by indentation, ``[a, b]`` on one line, plain and quoted text, comments.
Anchors, tags, block text, flow mappings and several documents are refused with their line.
"""

import re
from typing import Any, Dict, List, Optional, Tuple

from runyard.errors import UserErrorException

KEYS = ("name", "channels", "dependencies", "variables", "prefix", "platforms")

_KEY = re.compile(r"^([A-Za-z_][\w.\-]*)\s*:(?:\s+(.*))?$")
_NEEDS_QUOTES = re.compile(
    r"^[\s\-?:,\[\]{}#&*!|>'\"%@`]|: |:$| #|\s$|^$|^(?:null|true|false|yes|no|on|off|~)$", re.IGNORECASE
)
_OPTION = re.compile(r"^--?[A-Za-z]")
_BEYOND = {
    "&": "an anchor",
    "*": "an alias",
    "!": "a tag",
    "|": "block text",
    ">": "block text",
    "{": "a mapping on one line",
    "%": "a directive",
    "@": "a reserved sign",
    "`": "a reserved sign",
    "?": "a complex key",
}

Line = Tuple[int, int, str]  # number, indentation, text


def read(path: str) -> Dict[str, Any]:
    """The content of the environment file at ``path``; see ``parse``.

    Raises:
        UserErrorException: the file cannot be read, or as ``parse``.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UserErrorException("The conda environment file {} cannot be read: {}.".format(path, error)) from error
    return parse(text, path)


def parse(text: str, where: str = "the conda environment file") -> Dict[str, Any]:
    """The mapping of an environment file: texts, lists of texts, and in ``dependencies`` ``{"pip": [...]}``.

    Raises:
        UserErrorException: YAML beyond what conda files use, or keys and shapes that they do not
            have; says the line.
    """
    reader = _Reader(_lines(text, where), where)
    content = reader.mapping(0) if reader.lines else {}
    reader.end()
    _check(content, where)
    return content


def dump(content: Dict[str, Any]) -> str:
    """``content`` as the text of an environment file; ``parse`` gives it back."""
    out: List[str] = []
    for key, value in content.items():
        if isinstance(value, dict):
            out.append("{}:".format(key) if value else "{}:".format(key))
            out.extend("  {}: {}".format(name, _quoted(item)) for name, item in value.items())
        elif isinstance(value, (list, tuple)):
            out.append("{}:".format(key) if value else "{}: []".format(key))
            for item in value:
                out.extend(_item(item))
        elif value is not None:
            out.append("{}: {}".format(key, _quoted(value)))
    return "\n".join(out) + "\n"


def _item(item: Any) -> List[str]:
    if not isinstance(item, dict):
        return ["- {}".format(_quoted(item))]
    lines = []
    for key, packages in item.items():
        lines.append("- {}:".format(key) if packages else "- {}: []".format(key))
        lines.extend("  - {}".format(_quoted(package)) for package in packages)
    return lines


def _quoted(value: Any) -> str:
    text = str(value)
    if _OPTION.match(text) and ": " not in text and " #" not in text:
        return text
    if _NEEDS_QUOTES.search(text):
        return "'{}'".format(text.replace("'", "''"))
    return text


def _fault(where: str, number: int, what: str) -> UserErrorException:
    return UserErrorException(
        "{}, line {}: {}. A conda environment file has the keys {}; dependencies is a list such as "
        "'- numpy=1.24' with pip's packages under '- pip:'.".format(where, number, what, ", ".join(KEYS))
    )


def _lines(text: str, where: str) -> List[Line]:
    found: List[Line] = []
    for number, raw in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        line = raw.rstrip()
        body = line.lstrip(" ")
        if not body or body.startswith("#"):
            continue
        if body.startswith("\t"):
            raise _fault(where, number, "a tab where YAML wants spaces")
        if line == "---" and not found:
            continue
        if line in ("---", "..."):
            raise _fault(where, number, "a second document")
        found.append((number, len(line) - len(body), body))
    return found


class _Reader:
    """Goes through the lines once; ``at`` is the next one."""

    def __init__(self, lines: List[Line], where: str) -> None:
        self.lines = lines
        self.where = where
        self.at = 0

    def end(self) -> None:
        if self.at < len(self.lines):
            number, _, text = self.lines[self.at]
            raise self.fault(number, "cannot read {!r} here; look at its indentation".format(text[:60]))

    def fault(self, number: int, what: str) -> UserErrorException:
        return _fault(self.where, number, what)

    def mapping(self, indent: int) -> Dict[str, Any]:
        content: Dict[str, Any] = {}
        while self.at < len(self.lines) and self.lines[self.at][1] == indent:
            number, _, text = self.lines[self.at]
            if text.startswith("- ") or text == "-":
                break
            match = _KEY.match(text)
            if match is None:
                raise self.fault(number, "expected 'key: value', found {!r}".format(text[:60]))
            if match.group(1) in content:
                raise self.fault(number, "'{}' is there twice".format(match.group(1)))
            self.at += 1
            content[match.group(1)] = self.value(match.group(2), indent, number)
        return content

    def value(self, text: Optional[str], indent: int, number: int) -> Any:
        """What follows ``key:`` on its line, or else below it."""
        text = _uncommented(text or "")
        if text:
            return self.scalar(text, number)
        if self.at < len(self.lines):
            _, deeper, below = self.lines[self.at]
            is_item = below.startswith("- ") or below == "-"
            if is_item and deeper >= indent:
                return self.sequence(deeper)
            if deeper > indent:
                return self.mapping(deeper)
        return None

    def sequence(self, indent: int) -> List[Any]:
        items: List[Any] = []
        while self.at < len(self.lines) and self.lines[self.at][1] == indent:
            number, _, text = self.lines[self.at]
            if not text.startswith("-") or _OPTION.match(text):
                break
            if text != "-" and not text.startswith("- "):
                raise self.fault(number, "expected '- item', found {!r}".format(text[:60]))
            body = text[1:].lstrip(" ")
            inner = indent + len(text) - len(body)
            self.at += 1
            if body.startswith("- "):
                raise self.fault(number, "a list directly in a list")
            match = _KEY.match(_uncommented(body))
            if match is not None:
                items.append({match.group(1): self.value(match.group(2), inner, number)})
            else:
                items.append(self.scalar(_uncommented(body), number))
        return items

    def scalar(self, text: str, number: int) -> Any:
        if text.startswith("["):
            return self.flow(text, number)
        if text[:1] in ("'", '"'):
            return self.quoted(text, number)
        if text[:1] in _BEYOND:
            raise self.fault(number, "{} ({!r}) is beyond what these files use".format(_BEYOND[text[0]], text[:30]))
        if ": " in text:
            raise self.fault(number, "more than one 'key: value' on the line")
        return None if text in ("", "~", "null", "Null", "NULL") else text

    def quoted(self, text: str, number: int) -> str:
        mark = text[0]
        if len(text) < 2 or not text.endswith(mark):
            raise self.fault(number, "a quote that is not closed on its line")
        body = text[1:-1]
        if mark == "'":
            if "'" in body.replace("''", ""):
                raise self.fault(number, "text after the closing quote")
            return body.replace("''", "'")
        if re.search(r'(?<!\\)(?:\\\\)*"', body) or re.search(r"\\[^\"\\]", body):
            raise self.fault(number, "a quoted text with escapes; write it in single quotes")
        return re.sub(r"\\([\"\\])", r"\1", body)

    def flow(self, text: str, number: int) -> List[Any]:
        if not text.endswith("]"):
            raise self.fault(number, "a list in brackets that does not end on its line")
        body = text[1:-1].strip()
        if not body:
            return []
        parts = re.findall(r"'(?:[^']|'')*'|\"(?:[^\"\\]|\\.)*\"|[^,]+", body)
        parts = [part.strip() for part in parts if part.strip()]
        if any("[" in part and not part.startswith(("'", '"')) for part in parts):
            raise self.fault(number, "brackets within brackets; write one item per line")
        return [self.scalar(part, number) for part in parts]


def _uncommented(text: str) -> str:
    """``text`` without a trailing comment; a ``#`` inside quotes or a word is none."""
    if text[:1] in ("'", '"'):
        match = re.match(r"^('(?:[^']|'')*'|\"(?:[^\"\\]|\\.)*\")\s+#.*$", text)
        return match.group(1) if match else text.strip()
    if text.startswith("#"):
        return ""
    return re.sub(r"\s+#.*$", "", text).strip()


def _check(content: Dict[str, Any], where: str) -> None:
    unknown = sorted(set(content) - set(KEYS))
    if unknown:
        raise UserErrorException(
            "{} has the key '{}', which conda environment files do not have. Allowed: {}.".format(
                where, unknown[0], ", ".join(KEYS)
            )
        )
    for key in ("channels", "platforms"):
        if not _texts(content.get(key) or []):
            raise UserErrorException("{}: {} is a list of names.".format(where, key))
    variables = content.get("variables")
    if variables is not None and not isinstance(variables, dict):
        raise UserErrorException("{}: variables is a mapping such as 'NAME: value'.".format(where))
    for key in ("name", "prefix"):
        if not isinstance(content.get(key), (str, type(None))):
            raise UserErrorException("{}: {} is one text.".format(where, key))
    dependencies = content.get("dependencies") or []
    plain = [item for item in dependencies if not isinstance(item, dict)] if isinstance(dependencies, list) else [None]
    nested = [item for item in dependencies if isinstance(item, dict)] if isinstance(dependencies, list) else []
    if (
        not _texts(plain)
        or len(nested) > 1
        or any(list(item) != ["pip"] or not _texts(item["pip"] or []) for item in nested)
    ):
        raise UserErrorException(
            "{}: dependencies is a list of packages such as '- numpy=1.24', with at most one '- pip:' that holds "
            "a list of pip's packages.".format(where)
        )


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
