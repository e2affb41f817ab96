"""Columns that are parts of files' paths: ``/{state}/{day:yyyy-MM-dd}/data.csv``."""

import datetime
import re
from typing import Any, Dict, List, Set

from runyard.errors import UserErrorException

_HOLE = re.compile(r"\{(?P<name>[^{}:]+)(?::(?P<date>[^{}]+))?\}")
_DATE_PARTS = {"yyyy": ("year", 4), "MM": ("month", 2), "dd": ("day", 2), "HH": ("hour", 2), "mm": ("minute", 2)}
_DATE_PARTS["ss"] = ("second", 2)
_DATE_PART = re.compile("|".join(_DATE_PARTS))


def keys(partition_format: str) -> List[str]:
    """The columns that it names, in order.

    Raises:
        UserErrorException: it names none.
    """
    found = list(dict.fromkeys(hole.group("name") for hole in _HOLE.finditer(partition_format)))
    if not found:
        raise UserErrorException(
            "partition_format names columns in braces, such as '/{{state}}/{{day:yyyy-MM-dd}}/data.csv'; this is {!r}.".format(
                partition_format
            )
        )
    return found


def values(partition_format: str, path: str) -> Dict[str, Any]:
    """The columns' values for a file: texts, and datetimes where the format says a date.

    The format is that of the path's end, from the first column on.

    Raises:
        UserErrorException: the path is not of that form.
    """
    found = re.search(_pattern(partition_format) + "$", "/" + path.lstrip("/"))
    if found is None:
        raise UserErrorException(
            "The file '{}' does not fit partition_format {!r}. Name only files that do, or leave partition_format out.".format(
                path, partition_format
            )
        )
    groups = found.groupdict()
    try:
        return {name: _value("c{}".format(place), groups) for place, name in enumerate(keys(partition_format))}
    except ValueError as fault:  # a thirteenth month
        raise UserErrorException(
            "The file '{}' has a date in its path that there is not: {}. Name only files whose dates there are, or leave "
            "partition_format out.".format(path, fault)
        ) from fault


def _pattern(partition_format: str) -> str:
    pattern, position = "", 0
    seen: Set[str] = set()
    are_dates: Dict[str, bool] = {}
    for hole in _HOLE.finditer(partition_format):
        if are_dates.setdefault(hole.group("name"), hole.group("date") is not None) != (hole.group("date") is not None):
            raise UserErrorException(
                "The column '{}' of partition_format {!r} is a date in one place and a text in another. Give one of them "
                "another name.".format(hole.group("name"), partition_format)
            )
        pattern += _literal(partition_format[position : hole.start()])
        name, date = hole.group("name"), hole.group("date")
        group = "c{}".format(keys(partition_format).index(name))
        if date is not None:
            pattern += _date(group, date, seen)
        elif group in seen:
            pattern += "(?P={})".format(group)
        else:
            pattern += "(?P<{}>[^/]+)".format(group)
        seen.add(group)
        position = hole.end()
    return pattern + _literal(partition_format[position:])


def _literal(text: str) -> str:
    return "".join("[^/]*" if part.startswith("*") else re.escape(part) for part in re.split(r"(\*+)", text))


def _date(group: str, date: str, seen: Set[str]) -> str:
    pattern, position = "", 0
    for part in _DATE_PART.finditer(date):
        word, digits = _DATE_PARTS[part.group()]
        name = "{}_{}".format(group, word)
        pattern += re.escape(date[position : part.start()])
        pattern += "(?P={})".format(name) if name in seen else "(?P<{}>[0-9]{{{}}})".format(name, digits)
        seen.add(name)
        position = part.end()
    return pattern + re.escape(date[position:])


def _value(group: str, groups: Dict[str, str]) -> Any:
    if group in groups:
        return groups[group]
    parts = {key.split("_", 1)[1]: int(text) for key, text in groups.items() if key.startswith(group + "_")}
    return datetime.datetime(
        parts.get("year", 1),
        parts.get("month", 1),
        parts.get("day", 1),
        parts.get("hour", 0),
        parts.get("minute", 0),
        parts.get("second", 0),
    )
