"""Turns outcomes into tables: Markdown for people, JSON for machines."""

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.measurement import Absent, Figure, Measure, Outcome, Target


@dataclass(frozen=True)
class Row:
    """One benchmark's outcomes. ``ours`` is empty while that part of runyard is not measured.

    Attributes:
        earlier: when it was measured, where that was in an earlier run than the rest.
    """

    name: str
    title: str
    method: str
    measures: tuple[Measure, ...]
    ours: tuple[Outcome, ...]
    floor: tuple[Outcome, ...]
    peers: tuple[Outcome, ...]
    earlier: str = ""

    def figure(self, outcomes: tuple[Outcome, ...], measure: Measure) -> Figure | None:
        """The first figure of a measure among ``outcomes``."""
        return next((o for o in outcomes if isinstance(o, Figure) and o.measure == measure.name), None)


@dataclass(frozen=True)
class Verdict:
    """A target beside what was reached."""

    subject: str
    measure: str
    asked: str
    reached: str
    is_met: bool


def verdicts(row: Row) -> list[Verdict]:
    """What every target of a row came to. A target without our figure gives none."""
    found = []
    for measure in row.measures:
        floor, target = row.figure(row.floor, measure), measure.target
        for ours in row.ours:
            if target is not None and isinstance(ours, Figure) and ours.measure == measure.name:
                found += _judged(measure, target, ours, floor)
    return found


def _judged(measure: Measure, target: Target, ours: Figure, floor: Figure | None) -> list[Verdict]:
    found = []
    sign = "≥" if measure.more_is_better else "≤"
    if target.factor is not None and floor is not None:
        ratio = ours.median / floor.median
        is_met = ratio >= target.factor if measure.more_is_better else ratio <= target.factor
        found.append(
            Verdict(ours.subject, measure.name, f"{sign} {target.factor:g}× the floor", f"{number(ratio)}×", is_met)
        )
    if target.bound is not None:
        is_met = ours.median >= target.bound if measure.more_is_better else ours.median <= target.bound
        asked = f"{sign} {number(target.bound)} {measure.unit}"
        found.append(Verdict(ours.subject, measure.name, asked, f"{number(ours.median)} {measure.unit}", is_met))
    return found


def number(value: float) -> str:
    """Three figures that count, and commas in thousands."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def markdown(rows: list[Row], machine: dict[str, str], picture: str | None = None) -> str:
    """The whole report. ``picture`` is the name of the SVG beside it."""
    parts = [
        "# Benchmarks",
        "Written by `make bench`: the figures of a row are from one run on one machine, those of all rows that say "
        "nothing else from the same run; so compare the ratios, not the figures. A figure is the median, in brackets "
        "the middle half of its n repetitions (all of them where n < 4). *× floor* is the figure beside the floor's; "
        "*lead* is how many times better runyard (its first line) does than that peer.",
        "\n".join(f"- {name}: {value}" for name, value in machine.items()),
        *([f"![Each measure of runyard and its peers, in times the floor]({picture})"] if picture else []),
        *_summary(rows),
    ]
    for row in rows:
        earlier = [f"From an earlier run: {row.earlier}."] if row.earlier else []
        parts += [f"## {row.title}", row.method, *earlier, _table(row), *_notes(row)]
    return "\n\n".join(parts) + "\n"


def _summary(rows: list[Row]) -> list[str]:
    """Every target on a line, before the tables."""
    judged = [(row, verdict) for row in rows for verdict in verdicts(row)]
    if not judged:
        return []
    missed = sum(not verdict.is_met for _, verdict in judged)
    lines = [["row", "of", "asked", "reached", ""]]
    for row, verdict in judged:
        outcome = "met" if verdict.is_met else "**missed**"
        lines.append([row.title, f"{verdict.subject}: {verdict.measure}", verdict.asked, verdict.reached, outcome])
    return [f"Targets: {len(judged) - missed} of {len(judged)} met.", _aligned(lines)]


def _table(row: Row) -> str:
    head = ["subject"]
    for measure in row.measures:
        head += [
            f"{measure.name} ({measure.unit})",
            "× floor",
            "lead",
        ]
    lines = [head + ["n"]]
    for outcomes, label in ((row.ours, "**{}**"), (row.floor, "{} *(floor)*"), (row.peers, "{}")):
        subjects = dict.fromkeys(o.subject for o in outcomes if isinstance(o, Figure))
        for subject in subjects:
            lines.append([label.format(subject), *_cells(row, outcomes, subject)])
    return _aligned(lines)


def _cells(row: Row, outcomes: tuple[Outcome, ...], subject: str) -> list[str]:
    own = tuple(o for o in outcomes if isinstance(o, Figure) and o.subject == subject)
    cells, n = [], 0
    for measure in row.measures:
        figure = row.figure(own, measure)
        if figure is None:
            cells += ["", "", ""]
            continue
        n = max(n, len(figure.samples))
        low, high = figure.spread
        floor, ours = row.figure(row.floor, measure), row.figure(row.ours, measure)
        cells.append(f"{number(figure.median)} [{number(low)}–{number(high)}]")
        cells.append(f"{number(figure.median / floor.median)}" if floor else "")
        cells.append(f"{number(_lead(measure, ours, figure))}" if ours and outcomes is row.peers else "")
    return [*cells, str(n)]


def _lead(measure: Measure, ours: Figure, other: Figure) -> float:
    return ours.median / other.median if measure.more_is_better else other.median / ours.median


def _notes(row: Row) -> list[str]:
    everything = (*row.ours, *row.floor, *row.peers)
    notes = [_sentence(verdict) for verdict in verdicts(row)]
    notes += [f"{o.subject}: {o.reason}." for o in everything if isinstance(o, Absent)]
    remarks = dict.fromkeys((o.subject, o.note) for o in everything if isinstance(o, Figure) and o.note)
    notes += [f"{subject}: {note}." for subject, note in remarks]
    return ["\n".join(f"- {note}" for note in notes)] if notes else []


def _sentence(verdict: Verdict) -> str:
    met = "met" if verdict.is_met else "**missed**"
    return f"{verdict.subject}, {verdict.measure}: {verdict.asked} asked, {verdict.reached} reached: {met}."


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(lines[0]))]
    lines = [
        lines[0],
        ["-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)],
        *lines[1:],
    ]
    return "\n".join("| " + " | ".join(cell.ljust(widths[i]) for i, cell in enumerate(line)) + " |" for line in lines)


def as_json(rows: list[Row], machine: dict[str, str]) -> dict[str, Any]:
    """The same with every sample, and the medians and ratios beside them."""
    return {"machine": machine, "benchmarks": [_row_json(row) for row in rows]}


def _row_json(row: Row) -> dict[str, Any]:
    found = []
    for role, outcomes in (("runyard", row.ours), ("floor", row.floor), ("peer", row.peers)):
        for outcome in outcomes:
            entry = {"role": role, **asdict(outcome)}
            if isinstance(outcome, Figure):
                floor = next((row.figure(row.floor, m) for m in row.measures if m.name == outcome.measure), None)
                entry["median"] = outcome.median
                entry["times_floor"] = outcome.median / floor.median if floor else None
            found.append(entry)
    return {
        "name": row.name,
        "title": row.title,
        "method": row.method,
        "earlier": row.earlier,
        "measures": [asdict(measure) for measure in row.measures],
        "outcomes": found,
        "targets": [asdict(verdict) for verdict in verdicts(row)],
    }


def rows_of(report: dict[str, Any]) -> list[Row]:
    """The rows of a report as ``as_json`` gives it, those of its own run with its date and load."""
    machine = report["machine"]
    its_own = f"{machine['date']}, load at the start {machine['load at the start']}"
    return [_row_of(said, said.get("earlier") or its_own) for said in report["benchmarks"]]


def _row_of(said: dict[str, Any], earlier: str) -> Row:
    outcomes: dict[str, list[Outcome]] = {"runyard": [], "floor": [], "peer": []}
    for one in said["outcomes"]:
        if "reason" in one:
            found: Outcome = Absent(one["subject"], one["reason"])
        else:
            found = Figure(one["subject"], one["measure"], tuple(one["samples"]), one["note"])
        outcomes[one["role"]].append(found)
    measures = tuple(
        Measure(**{**one, "target": Target(**one["target"]) if one["target"] else None}) for one in said["measures"]
    )
    ours, floor, peers = map(tuple, outcomes.values())
    return Row(said["name"], said["title"], said["method"], measures, ours, floor, peers, earlier)
