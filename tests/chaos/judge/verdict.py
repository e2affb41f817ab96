"""Compares a run's history, as a client reads it, with the journals of its witnesses."""

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runyard.run import Run
from runyard.run_files import log_pieces
from tests.chaos.judge import witness

DRIVER_LOG = "azureml-logs/70_driver_log"


@dataclass
class Journal:
    """What one rank says it wrote: ``done`` for sure, ``begun`` perhaps in part."""

    rank: int
    done: dict[str, list[int]] = field(default_factory=dict)  # "lines" or a metric's name -> numbers
    begun: dict[str, list[int]] = field(default_factory=dict)
    files_done: dict[str, int] = field(default_factory=dict)  # path -> size
    files_begun: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)

    @property
    def printed(self) -> bool:
        return "lines" in self.done or "lines" in self.begun

    @property
    def metrics(self) -> set[str]:
        return (set(self.done) | set(self.begun)) - {"lines"}


def read_journals(folder: Path) -> list[Journal]:
    """The journals in a witness's folder, by rank."""
    journals = []
    for path in sorted(folder.glob("journal-*")):
        journal = Journal(int(path.name.rpartition("-")[2]))
        open_: dict[str, list[int]] = {}
        for text in path.read_text().splitlines():
            what, kind, value = json.loads(text)
            if what == "told":
                journal.told.append(kind)
            elif kind == "file":
                if what == "begin":
                    journal.files_begun.add(value[0])
                else:
                    journal.files_done[value[0]] = value[1]
            elif what == "begin":
                open_[kind] = list(range(*value))
            else:
                journal.done.setdefault(kind, []).extend(open_.pop(kind))
        journal.begun = open_
        journals.append(journal)
    return journals


@dataclass
class History:
    """What a client reads of a run: by name the bytes of its driver logs, its metrics, the digests of its outputs."""

    logs: dict[str, bytes]
    metrics: dict[str, Any]
    outputs: dict[str, str]


def read_history(run: Run, scratch: Path) -> History:
    """Reads all of it; ``scratch`` is a folder for downloads."""
    history = History({}, run.get_metrics(), {})
    for name in run.get_file_names():
        if name.startswith(DRIVER_LOG):
            history.logs[name] = b"".join(log_pieces(run, name))
        elif name.startswith("outputs/"):
            target = scratch / "downloaded"
            run.download_file(name, str(target))
            history.outputs[name] = hashlib.sha256(target.read_bytes()).hexdigest()
            target.unlink()
    return history


def judge(run: Run, folder: Path, behind: str = "") -> str:
    """Says that logs, metrics and outputs are what the script wrote, or raises AssertionError.

    Args:
        folder: the witness's folder.
        behind: what the interpreter itself has written behind the script's lines, in the log of its one rank.
    Returns:
        What was compared, in words.
    """
    journals = read_journals(folder)
    assert journals, f"no script of {run.id} has written a journal"
    history = read_history(run, folder)
    if behind:
        ((name, stored),) = history.logs.items()
        assert stored.endswith(behind.encode()), f"{name} ends with {stored[-200:]!r}, not with {behind!r}"
        history.logs[name] = stored[: -len(behind.encode())]
    said = compare(journals, history)
    proof = run.verify()
    assert proof["ok"], f"verify() of {run.id}: {proof}"
    return said


def compare(journals: Sequence[Journal], history: History) -> str:
    """As ``judge``, of what was read."""
    logs = dict(history.logs)
    lines = 0
    for journal in journals:
        if not logs and not journal.printed:
            continue  # an interactive run: what its process prints is not the run's
        alone = len(logs) == 1 and len(journals) == 1
        name = f"{DRIVER_LOG}.txt" if alone else f"{DRIVER_LOG}_{journal.rank}.txt"
        assert name in logs, f"{name} is not there; there are {sorted(logs)}"
        lines += _judge_lines(journal, logs.pop(name), name)
    assert not logs, f"there are logs that no rank wrote: {sorted(logs)}"
    points = _judge_metrics(journals, history.metrics)
    files = _judge_files(journals, history.outputs)
    return f"{lines} lines, {points} points, {files} files"


def _judge_lines(journal: Journal, stored: bytes, name: str) -> int:
    numbers = journal.done.get("lines", [])
    sure = "".join(witness.line(journal.rank, number) for number in numbers).encode()
    more = "".join(witness.line(journal.rank, number) for number in journal.begun.get("lines", [])).encode()
    assert stored.startswith(sure), f"{name}: {_difference(sure, stored)}"
    assert (sure + more).startswith(stored), f"{name}: {_difference(sure + more, stored)}"
    return len(numbers)


def _judge_metrics(journals: Sequence[Journal], stored: dict[str, Any]) -> int:
    expected = {name: journal for journal in journals for name in journal.metrics}
    sure = {name for name, journal in expected.items() if journal.done.get(name)}
    assert sure <= set(stored) <= set(expected), f"metrics {sorted(stored)} instead of {sorted(expected)}"
    for name, got in stored.items():
        journal = expected[name]
        values = got if isinstance(got, list) else [got]
        done = [witness.point(name, number) for number in journal.done.get(name, [])]
        more = [witness.point(name, number) for number in journal.begun.get(name, [])]
        assert values[: len(done)] == done, f"{name}: {_difference(done, values)}"
        assert values == (done + more)[: len(values)], f"{name}: {_difference(done + more, values)}"
    return sum(len(journal.done[name]) for name, journal in expected.items() if name in journal.done)


def _judge_files(journals: Sequence[Journal], stored: dict[str, str]) -> int:
    done = {path: size for journal in journals for path, size in journal.files_done.items()}
    begun = {path for journal in journals for path in journal.files_begun}
    kept = {path for path in done if path.startswith("outputs/")}
    assert kept <= set(stored) <= begun, f"outputs {sorted(stored)} instead of {sorted(kept)}"
    for path in sorted(kept):
        expected = hashlib.sha256()
        for block in witness.content(path, done[path]):
            expected.update(block)
        assert stored[path] == expected.hexdigest(), f"{path} was changed"
    return len(kept)


def _difference(expected: Sequence[Any], stored: Sequence[Any]) -> str:
    pairs = itertools.zip_longest(expected, stored)
    place = next((position for position, (one, other) in enumerate(pairs) if one != other), None)
    if place is None:
        return "equal"
    window = slice(max(0, place - 40), place + 40)
    return (
        f"{len(stored)} stored, {len(expected)} expected; they part at {place}: "
        f"{expected[window]!r} was written, {stored[window]!r} is stored"
    )
