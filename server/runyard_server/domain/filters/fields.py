"""What runs have that a filter or an order may name."""

import difflib

from runyard_server.domain.filters.tree import Field, Kind, Source

COLUMNS: dict[str, Kind] = {
    "id": Kind.TEXT,
    "name": Kind.TEXT,
    "experiment": Kind.TEXT,
    "number": Kind.NUMBER,
    "status": Kind.TEXT,
    "reason": Kind.TEXT,
    "type": Kind.TEXT,
    "target": Kind.TEXT,
    "by": Kind.TEXT,
    "parent": Kind.TEXT,
    "description": Kind.TEXT,
    "environment": Kind.TEXT,
    "snapshot": Kind.TEXT,
    "attempt": Kind.NUMBER,
    "priority": Kind.NUMBER,
    "submitted": Kind.TIME,
    "started": Kind.TIME,
    "ended": Kind.TIME,
    "age": Kind.DURATION,
    "duration": Kind.DURATION,
}
# Words of Azure, of MLflow and of everyday that mean the same.
_SAME_COLUMN = {
    "created": "submitted",
    "created_at": "submitted",
    "submitted_at": "submitted",
    "start_time": "started",
    "started_at": "started",
    "end_time": "ended",
    "ended_at": "ended",
    "display_name": "name",
    "run_name": "name",
    "run_id": "id",
    "run_number": "number",
    "compute": "target",
    "compute_target": "target",
    "submitted_by": "by",
    "user": "by",
    "lasted": "duration",
    "parent_id": "parent",
}
_SOURCES = {
    **dict.fromkeys(("metric", "metrics"), Source.METRIC),
    **dict.fromkeys(("tag", "tags"), Source.TAG),
    **dict.fromkeys(("property", "properties"), Source.PROPERTY),
    **dict.fromkeys(
        ("argument", "arguments", "arg", "args", "param", "params", "parameter", "parameters"), Source.ARGUMENT
    ),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), Source.COLUMN),
}
PARTS = ("last", "min", "max")
KEYED = "metrics.NAME, tags.KEY, arguments.NAME, properties.KEY"


def column(name: str) -> Field | None:
    """The field of that word."""
    word = name.lower()
    word = _SAME_COLUMN.get(word, word)
    return Field(Source.COLUMN, word, COLUMNS[word]) if word in COLUMNS else None


def keyed(source: str, key: str, part: str = "last") -> Field | None:
    """The field ``source.key``."""
    found = _SOURCES.get(source.lower())
    if found is None or not key:
        return None
    if found is Source.COLUMN:
        return column(key)
    if found is Source.METRIC:
        return Field(found, key, Kind.NUMBER, part)
    return Field(found, key.lstrip("-") if found is Source.ARGUMENT else key, Kind.ANY)


def is_source(word: str) -> bool:
    return word.lower() in _SOURCES


def known(word: str) -> str:
    """What might have been meant, and all that there is."""
    close = difflib.get_close_matches(word.lower(), [*COLUMNS, *_SAME_COLUMN, *_SOURCES], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{hint} There are: {', '.join(COLUMNS)}; {KEYED}."
