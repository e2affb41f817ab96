"""Reads pip requirements files: packages and index options, nested files included."""

import os
import re
from typing import List, Tuple

from runyard.errors import UserErrorException

_COMMENT = re.compile(r"(^|\s)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_NESTED = re.compile(r"^(?:-r|--requirement)[\s=]\s*(\S.*)$")
_REFUSED = {
    "-e": "an editable install points into your own files; put that code into the source directory instead",
    "--editable": "an editable install points into your own files; put that code into the source directory instead",
    "-c": "constraints are not read; write the versions at the packages themselves",
    "--constraint": "constraints are not read; write the versions at the packages themselves",
}


def read(path: str) -> Tuple[List[str], List[str]]:
    """(packages, options) of the file at ``path``, as pip reads it.

    Relative paths of packages become absolute ones, ``${NAME}`` is taken from the environment.

    Raises:
        UserErrorException: a file that cannot be read, or a line that cannot be served; says which.
    """
    packages: List[str] = []
    options: List[str] = []
    _read(os.path.abspath(path), packages, options, [])
    return packages, options


def _read(path: str, packages: List[str], options: List[str], opened: List[str]) -> None:
    if path in opened:
        raise UserErrorException("The requirements file {} names itself through -r.".format(path))
    try:
        with open(path, encoding="utf-8-sig") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UserErrorException("The requirements file {} cannot be read: {}.".format(path, error)) from error
    for number, line in _logical_lines(text):
        line = _VARIABLE.sub(lambda match: os.environ.get(match.group(1), match.group(0)), line)
        nested = _NESTED.match(line)
        word = re.split(r"[\s=]", line, maxsplit=1)[0]
        if nested:
            _read(os.path.join(os.path.dirname(path), nested.group(1)), packages, options, opened + [path])
        elif word in _REFUSED:
            raise UserErrorException("{}, line {}: {!r}: {}.".format(path, number, line, _REFUSED[word]))
        elif line.startswith("-"):
            options.append(line)
        else:
            packages.append(_absolute(line, os.path.dirname(path)))


def _logical_lines(text: str) -> List[Tuple[int, str]]:
    """(number, line) without comments and empty lines, continued lines joined."""
    found: List[Tuple[int, str]] = []
    held, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        start = start or number
        if raw.endswith("\\") and not raw.lstrip().startswith("#"):
            held += raw[:-1]
            continue
        line = _COMMENT.sub("", held + raw).strip()
        if line:
            found.append((start, line))
        held, start = "", 0
    if held.strip():
        found.append((start, _COMMENT.sub("", held).strip()))
    return found


def _absolute(line: str, directory: str) -> str:
    path = line.split(" ", 1)[0]
    if path.startswith(("./", "../")) or (
        path.endswith((".whl", ".tar.gz", ".zip")) and "://" not in line and "@" not in line
    ):
        return os.path.normpath(os.path.join(directory, path)) + line[len(path) :]
    return line
