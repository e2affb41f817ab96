"""Which files a ``.gitignore`` or ``.amlignore`` leaves out: git's pattern rules, over plain strings."""

import re
from itertools import count
from typing import Iterator, List, NamedTuple, Optional, Pattern, Tuple

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \t",
    "cntrl": "\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \t\n\r\f\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_NEVER = "(?!)"
_SPECIAL = re.compile(r"[*?\[\\]")


class _Rule(NamedTuple):
    pattern: Pattern[str]
    includes: bool  # "!pattern": takes back what an earlier rule left out
    folders_only: bool
    whole_path: bool  # matched against the path from the root, not against the last part alone


class IgnoreRules:
    """The rules of one ignore file. The last rule that matches decides.

    As in git, nothing below a folder that is left out can be taken back, so a walk asks for each
    folder before it enters it.
    """

    def __init__(self, text: str) -> None:
        found = (_rule(line) for line in text.lstrip("\ufeff").split("\n"))
        self._rules = [rule for rule in found if rule is not None]
        self._rules.reverse()

    def ignores(self, path: str, is_folder: bool = False) -> bool:
        """Whether ``path`` (relative to the ignore file's folder, ``/`` between parts) is left out."""
        name = path.rsplit("/", 1)[-1]
        for rule in self._rules:
            if rule.folders_only and not is_folder:
                continue
            if rule.pattern.match(path if rule.whole_path else name):
                return not rule.includes
        return False


def _rule(line: str) -> Optional[_Rule]:
    if line.endswith("\r"):
        line = line[:-1]
    if line.startswith("#"):
        return None
    line = _without_trailing_spaces(line)
    includes = line.startswith("!")
    if includes:
        line = line[1:]
    folders_only = line.endswith("/")
    if folders_only:
        line = line[:-1]
    if not line:
        return None
    whole_path = "/" in line
    if line.startswith("/"):
        line = line[1:]
    return _Rule(re.compile(_regex(line, whole_path) + r"\Z", re.DOTALL), includes, folders_only, whole_path)


def _without_trailing_spaces(line: str) -> str:
    kept = 0  # length up to the last character that is not a bare trailing space
    position = 0
    while position < len(line):
        if line[position] == "\\":
            position += 2
            kept = position
        else:
            position += 1
            if line[position - 1] != " ":
                kept = position
    return line[:kept]


_STAR = "[^/]*"  # "*"
_FOLDERS = "(?:.*?/)??"  # "**/": this folder or any below it, the nearest first
_ANYTHING = ".*?"  # "**" at an end


def _regex(pattern: str, whole_path: bool) -> str:
    """The pattern as a regular expression (not anchored at its end).

    Where one wildcard follows another, the first match of what stands between them is as good as any later one,
    since the second wildcard takes whatever that leaves. So each such stretch is matched once and never tried again:
    a pattern with many wildcards takes no longer than its length times the path's.
    """
    stretches: List[Tuple[str, List[str]]] = [("", [""])]  # (double wildcard, texts with a "*" between each)
    position = 0
    while position < len(pattern):
        letter = pattern[position]
        if letter == "*":
            wildcard, position = _stars(pattern, position, whole_path)
            if wildcard == _STAR:
                stretches[-1][1].append("")
            else:
                stretches.append((wildcard, [""]))
            continue
        if letter == "?":
            part, position = "[^/]", position + 1
        elif letter == "[":
            part, position = _bracket(pattern, position + 1)
        elif letter == "\\":
            part = re.escape(pattern[position + 1]) if position + 1 < len(pattern) else _NEVER
            position += 2
        else:
            part, position = re.escape(letter), position + 1
        stretches[-1][1][-1] += part
    found = ""
    names = count()
    for number, (wildcard, texts) in enumerate(stretches, 1):
        is_last = number == len(stretches)
        inner = texts[0]
        for text in texts[1:-1]:
            inner += _once("[^/]*?" + text, names)
        if len(texts) > 1:
            inner += _STAR + texts[-1]
        found += wildcard + inner if is_last or not wildcard else _once(wildcard + inner, names)
    return found


def _once(regex: str, names: Iterator[int]) -> str:
    """The first match of ``regex``, never another one (an atomic group, which this Python may not have)."""
    name = "once{}".format(next(names))
    return "(?=(?P<{0}>{1}))(?P={0})".format(name, regex)


def _stars(pattern: str, start: int, whole_path: bool) -> Tuple[str, int]:
    end = start
    while end < len(pattern) and pattern[end] == "*":
        end += 1
    rest = pattern[end:]
    # git compares the text before the first special character by itself and looks at the rest as a pattern of its
    # own, so "**" stands at a beginning there too.
    begins = not _SPECIAL.search(pattern[:start]) or pattern[start - 1] == "/"
    is_double = end - start > 1 and begins
    if not (whole_path and is_double and (rest == "" or rest.startswith(("/", "\\/")))):
        return _STAR, end
    if rest.startswith("/"):
        return _FOLDERS, end + 1
    return _ANYTHING, end


def _bracket(pattern: str, position: int) -> Tuple[str, int]:
    """A character class that begins after its "["; one that never closes matches nothing."""
    negated = pattern[position : position + 1] in ("!", "^")
    position += negated
    items: List[str] = []
    before = ""  # the character that a following "-" would make a range of
    first = True
    while first or pattern[position : position + 1] != "]":
        first = False
        letter = pattern[position : position + 1]
        if letter == "[" and pattern[position + 1 : position + 2] == ":":
            closing = pattern.find("]", position + 2)
            if closing < 0:
                return _NEVER, len(pattern)
            if pattern[closing - 1] == ":" and closing - 1 > position + 1:
                name = pattern[position + 2 : closing - 1]
                if name not in _CLASSES:
                    return _NEVER, len(pattern)
                items.append(_CLASSES[name])
                before, position = "", closing + 1
                continue
        is_range = letter == "-" and before and pattern[position + 1 : position + 2] not in ("", "]")
        if is_range:
            position += 1
            letter = pattern[position]
        if letter == "\\":
            position += 1
            letter = pattern[position : position + 1]
        if not letter:
            return _NEVER, len(pattern)
        position += 1
        if is_range:
            if before <= letter:
                items.append(re.escape(before) + "-" + re.escape(letter))
            before = ""
        else:
            items.append(re.escape(letter))
            before = letter
    if not items:
        return ("[^/]" if negated else _NEVER), position + 1
    return "(?!/)[{}{}]".format("^" if negated else "", "".join(items)), position + 1
