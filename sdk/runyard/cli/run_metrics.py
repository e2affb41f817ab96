"""``runyard run metrics``: a run's metrics at a glance, and the history of one."""

from typing import TYPE_CHECKING, Any, List, Optional, Tuple

from runyard.cli.output import Column, Output, local_time

if TYPE_CHECKING:
    from runyard.run import Run

_IMAGE = "aml://artifactId/"


def write_table(out: Output, run: "Run") -> None:
    """Every metric: its last value and how often it was logged. ``--json``: what ``get_metrics()`` gives."""
    found = run.get_metrics()
    if out.as_json:
        out.json(found)
    elif not found:
        out.note("Run {} has logged no metrics.".format(run.id))
    else:
        rows = [(name,) + _glance(value) for name, value in sorted(found.items())]
        out.table([Column("METRIC"), Column("LAST", shrinks=True), Column("COUNT", right=True)], rows)


def write_history(out: Output, run: "Run", name: str, last: Optional[int]) -> None:
    """Every value of one metric, or the last few.

    Raises:
        RunException: the run has no metric of that name; says which it has.
    """
    from runyard.errors import RunException
    from runyard.transport.base import url_path

    found = run.get_metrics(name=name)
    if name not in found:
        there = ", ".join(sorted(run.get_metrics())[:20])
        raise RunException("Run {} has no metric {!r}. It has: {}.".format(run.id, name, there or "none"))
    value = found[name]
    if isinstance(value, dict):
        _write_columns(out, value, last)
        return
    if not _is_curve(value):
        out.json({name: value}) if out.as_json else out.say(_text(value))
        return
    path = url_path("runs", run.id, "metrics", "history")
    curve = run._transport.call("GET", path, query={"name": name})
    start = max(0, len(curve["values"]) - last) if last else 0
    for column in ("steps", "times", "values"):
        curve[column] = curve[column][start:]
    if out.as_json:
        out.json(curve)
        return
    stepped = any(step is not None for step in curve["steps"])
    steps = curve["steps"] if stepped else range(start + 1, start + len(curve["values"]) + 1)
    rows = zip(steps, (local_time(at) for at in curve["times"]), (_text(item) for item in curve["values"]))
    out.table([Column("STEP" if stepped else "#", right=True), Column("TIME"), Column("VALUE")], rows)


def _write_columns(out: Output, columns: Any, last: Optional[int]) -> None:
    """Rows and tables: one column for each of theirs."""
    lists = {key: item if isinstance(item, list) else [item] for key, item in columns.items()}
    if last:
        lists = {key: item[-last:] for key, item in lists.items()}
    if out.as_json:
        out.json(lists)
        return
    longest = max([len(item) for item in lists.values()] or [0])
    rows = [[_text(item[place]) if place < len(item) else "" for item in lists.values()] for place in range(longest)]
    out.table([Column(str(key)) for key in lists], rows)


def _is_curve(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in items)


def _glance(value: Any) -> Tuple[str, int]:
    if isinstance(value, list):
        return (_text(value[-1]) if value else ""), len(value)
    if isinstance(value, dict):
        lists: List[Any] = [item for item in value.values() if isinstance(item, list)]
        return "columns: " + ", ".join(str(key) for key in value), max([len(item) for item in lists] or [1])
    return _text(value), 1


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "{:.6g}".format(value)
    if isinstance(value, str) and value.startswith(_IMAGE):
        return "image " + value.rsplit("/", 1)[-1]
    return str(value)
