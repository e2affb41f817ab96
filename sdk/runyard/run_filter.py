"""What lists of runs are asked for by arguments and options, in the words of the filter language."""

from typing import Any, List, Mapping, Optional

from runyard.errors import UserErrorException


def filter_of(
    where: str = "",
    status: Optional[str] = None,
    type: Optional[str] = None,
    target: Optional[str] = None,
    tags: Optional[Mapping[str, Any]] = None,
    properties: Optional[Mapping[str, Any]] = None,
) -> str:
    """A filter, and all else that has to hold.

    Args:
        status: one, or several with a comma between.
        tags: key to value, None for any.
    """
    more: List[str] = []
    if status:
        more.append("status in ({})".format(status) if "," in status else "status = {}".format(status))
    if type:
        more.append("type = {}".format(_quoted(type)))
    if target:
        more.append("target = {}".format(_quoted(target)))
    for source, pairs in (("tags", tags), ("properties", properties)):
        for key, value in (pairs or {}).items():
            named = "{}.{}".format(source, _key(key))
            more.append(named + " is not null" if value is None else "{} = {}".format(named, _quoted(str(value))))
    if not where.strip():
        return " and ".join(more)
    return " and ".join(["({})".format(where)] + more) if more else where


def _key(key: str) -> str:
    if "`" not in key:
        return "`{}`".format(key)
    if '"' in key:
        raise UserErrorException(
            "{!r} has both kinds of quotes, and cannot be named in a filter. Ask for it without a filter.".format(key)
        )
    return '"{}"'.format(key)


def _quoted(text: str) -> str:
    return '"{}"'.format(text.replace('"', '""'))
