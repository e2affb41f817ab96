"""Waiting for a run's end, with its logs printed as they are written."""

import json
import re
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Optional, Tuple

from runyard.errors import ServerUnavailableError
from runyard.rank_lines import RankLines, rank_of, title_of
from runyard.transport.base import url_path

if TYPE_CHECKING:
    from runyard.run import Run

# What a person wants to see of a run's logs: the build, the preparation, what each rank prints.
LOGS = "azureml-logs/"
_SHOWN = re.compile(r"azureml-logs/(attempt-\d+/)?(20_\w+|65_job_prep-0|70_driver_log(_\w+)?)\.txt$")
_SILENCE_S = 60.0  # the server says something at least every 15 s
_AWAY_S = 600.0


def wait(run: "Run", show_output: bool, say: Callable[[str], Any] = print) -> Dict[str, Any]:
    """Follows the run to its end; gives its last record."""
    view = _View(run, say) if show_output else None
    record: Optional[Dict[str, Any]] = None
    try:
        for kind, data in events(run, logs=show_output):
            if kind == "status":
                record = data
                if view is not None:
                    view.status(data)
            elif kind == "log" and view is not None:
                view.log(data)
    except KeyboardInterrupt:
        say(
            "\nThe output streaming for the run was interrupted; the run itself goes on. "
            "run.cancel() or `runyard run cancel {}` ends it.".format(run.id)
        )
        raise
    assert record is not None
    if view is not None:
        view.end(record)
    return record


def is_shown(log: str) -> bool:
    """Whether a person wants to see the log of that name unasked."""
    return _SHOWN.match(log) is not None


def events(
    run: "Run", logs: bool, prefix: str = LOGS, seen: Optional[Dict[str, int]] = None
) -> Iterator[Tuple[str, Dict[str, Any]]]:
    """``("status", record)`` and ``("log", {"name", "end", "text"})`` until the run has ended.

    A server that goes away is waited for, and nothing is told twice.

    Args:
        prefix: only logs whose name begins with it.
        seen: log name to the number of its bytes that the caller has already.
    Raises:
        ServerUnavailableError: it stayed away for ten minutes.
    """
    offsets = dict(seen or {})
    deadline = time.monotonic() + _AWAY_S
    while True:
        try:
            query = {"logs": "true" if logs else "false", "prefix": prefix, "offsets": json.dumps(offsets)}
            path = url_path("runs", run.id, "follow")
            with run._transport.request("GET", path, query=query, stream=True, timeout_s=_SILENCE_S) as answer:
                for kind, data in _parsed(answer):
                    deadline = time.monotonic() + _AWAY_S
                    if kind == "end":
                        return
                    if kind == "log":
                        offsets[data["name"]] = data["end"]
                    yield kind, data
        except (OSError, ServerUnavailableError):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def _parsed(answer: Any) -> Iterator[Tuple[str, Dict[str, Any]]]:
    kind = ""
    while True:
        line = answer.readline()
        if not line:
            return
        if line.startswith(b"event: "):
            kind = line[7:].strip().decode("ascii")
        elif line.startswith(b"data: "):
            yield kind, json.loads(line[6:])


def _since(at: Optional[float]) -> str:
    return time.strftime(" since %H:%M:%S", time.localtime(at)) if at else ""


class _View:
    """Prints a run as a person follows it."""

    def __init__(self, run: "Run", say: Callable[[str], Any]) -> None:
        import sys

        self._run = run
        self._say = say
        self._out = sys.stdout
        self._log = ""
        self._lines = RankLines()
        self._ranks = ""  # whose: the title of the last log of one
        self._waits = ""
        say("RunId: {}\nWeb View: {}".format(run.id, run.get_portal_url()))

    def status(self, record: Dict[str, Any]) -> None:
        if record["status"] == "Queued":
            said = self._run.get_detailed_status()
            if said["status"] == "Queued" and said["details"] not in ("", "starts now", self._waits):
                self._waits = said["details"]
                self._say("Queued{}: {}".format(_since(said["since"]), said["details"]))

    def log(self, data: Dict[str, Any]) -> None:
        name = data["name"]
        if not is_shown(name):
            return
        rank, text, shown = rank_of(name), data["text"], name
        if rank is not None:
            shown = title_of(name)
            if shown != self._ranks:  # those of another attempt: what the last one's had begun stays as it is
                self._out.write(self._lines.rest())
                self._ranks = shown
            text = self._lines.take(rank, text)
        if shown != self._log:
            self._log = shown
            title = "Streaming " + shown
            self._say("\n{}\n{}\n".format(title, "=" * len(title)))
        self._out.write(text)
        self._out.flush()

    def end(self, record: Dict[str, Any]) -> None:
        self._out.write(self._lines.rest())
        lines = ["", "Execution Summary", "=================", "RunId: " + self._run.id]
        lines.append("Web View: " + self._run.get_portal_url())
        if record.get("warnings"):
            lines.append("Warnings:")
            lines += ["  " + text for text in record["warnings"]]
        if record.get("error"):
            lines.append("Error: " + record["error"]["message"])
        lines.append("Status: " + record["status"])
        self._say("\n".join(lines) + "\n")
