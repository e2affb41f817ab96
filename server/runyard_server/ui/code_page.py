"""The code and the environment that a run was made from, each also beside those of another run."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import HTMLResponse

from runyard.errors import FileNotInRunError, SnapshotException
from runyard.protocol.files import FileEntry
from runyard.protocol.runs import RunRecord
from runyard_server.routes import Routes
from runyard_server.services.container import Services
from runyard_server.services.runs import RunFilter
from runyard_server.ui import differences, previews, run_page
from runyard_server.ui.differences import Line, Pair
from runyard_server.ui.visits import Page, page, services

router = Routes(route_class=Page)

_OTHERS = 30  # runs that are offered for comparing
_MOST_FILES = 2000


@dataclass(frozen=True)
class CodeFile:
    """A file of either run. ``mark`` is "same", "changed", "added" (only this run has it), "removed", or ""."""

    path: str
    mark: str


@dataclass(frozen=True)
class CodeView:
    """The page. ``differing`` is None where one file is shown as it is; ``problem`` says why nothing is shown."""

    run: RunRecord
    other: RunRecord | None
    others: Sequence[RunRecord]
    files: Sequence[CodeFile]
    more_files: int
    shown: str
    text: str
    note: str
    differing: Sequence[Line] | None
    problem: str


@dataclass(frozen=True)
class EnvironmentView:
    """The page. ``different`` comes first; without another run everything is in ``same``."""

    run: RunRecord
    other: RunRecord | None
    others: Sequence[RunRecord]
    lock: run_page.Packages | None
    other_lock: run_page.Packages | None
    different: Sequence[Pair]
    same: Sequence[Pair]


@router.get("/runs/{run_id}/code")
def code(request: Request, run_id: str, file: str = "", other: str = "") -> HTMLResponse:
    """The files of the run's snapshot. ``other``: a run whose code it is compared with."""
    return page(request, "code.html", "runs", view=look_at_code(services(request), run_id, file, other.strip()))


@router.get("/runs/{run_id}/environment")
def environment(request: Request, run_id: str, other: str = "") -> HTMLResponse:
    """The packages of the run's environment. ``other``: a run whose environment it is compared with."""
    view = look_at_environment(services(request), run_id, other.strip())
    return page(request, "environment.html", "runs", view=view)


def look_at_code(held: Services, run_id: str, wanted: str, other_id: str) -> CodeView:
    """Raises UnknownRunError, and FileNotInRunError where neither run's code has the wanted file."""
    run = held.runs.get(run_id)
    other = held.runs.get(other_id) if other_id else None
    mine, theirs = _files(held, run), _files(held, other) if other else {}
    files = [_marked(path, mine.get(path), theirs.get(path), other) for path in sorted({*mine, *theirs})]
    if other:
        files.sort(key=lambda entry: entry.mark == "same")
    shown = wanted or _first(run, files)
    if wanted and wanted not in mine and wanted not in theirs:
        raise FileNotInRunError(f"The code of run {run_id} has no file {wanted[:200]!r}.")
    text, note, differing = "", "", None
    if shown:
        text, note = _text(held, run, mine.get(shown))
        if other:
            before, other_note = _text(held, other, theirs.get(shown))
            note = note or other_note
            differing = differences.lines(before, text)
            note = note or ("" if differing is not None else "The two are too long to compare; this is the run's own.")
    problem = ""
    if not files:
        problem = "It had no code here: it was interactive." if run.spec is None else "Its snapshot is not here."
    others = _others(held, run)
    return CodeView(
        run, other, others, files[:_MOST_FILES], max(0, len(files) - _MOST_FILES), shown, text, note, differing, problem
    )


def look_at_environment(held: Services, run_id: str, other_id: str) -> EnvironmentView:
    """Raises UnknownRunError."""
    run = held.runs.get(run_id)
    other = held.runs.get(other_id) if other_id else None
    lock, other_lock = run_page.packages(held, run), run_page.packages(held, other) if other else None
    told = differences.pairs(dict(lock.pins) if lock else {}, dict(other_lock.pins) if other_lock else {})
    different = [pair for pair in told if other_lock is not None and pair.differs]
    same = [pair for pair in told if other_lock is None or not pair.differs]
    return EnvironmentView(run, other, _others(held, run), lock, other_lock, different, same)


def _others(held: Services, run: RunRecord) -> Sequence[RunRecord]:
    recent = held.runs.list(RunFilter(experiment=run.experiment, limit=_OTHERS + 1))
    return [other for other in recent if other.id != run.id and other.snapshot][:_OTHERS]


def _files(held: Services, run: RunRecord) -> dict[str, FileEntry]:
    if not run.snapshot:
        return {}
    try:
        return {entry.path: entry for entry in held.snapshots.get(run.snapshot).files}
    except SnapshotException:  # an interactive run may name a snapshot that never came here
        return {}


def _marked(path: str, mine: FileEntry | None, theirs: FileEntry | None, other: RunRecord | None) -> CodeFile:
    if other is None:
        mark = ""
    elif mine and theirs:
        mark = "same" if mine.digest == theirs.digest else "changed"
    else:
        mark = "added" if mine else "removed"
    return CodeFile(path, mark)


def _first(run: RunRecord, files: Sequence[CodeFile]) -> str:
    """The first that differs, else the script, else any."""
    paths = [entry.path for entry in files]
    differing = [entry.path for entry in files if entry.mark not in ("", "same")]
    script = run.spec.script if run.spec is not None and run.spec.script in paths else None
    return (script if script in differing else None) or (differing or [script or (paths or [""])[0]])[0]


def _text(held: Services, run: RunRecord, entry: FileEntry | None) -> tuple[str, str]:
    """A file's text, and what is to be said of it."""
    if entry is None or not run.snapshot:
        return "", ""
    snapshot = run.snapshot
    shown = previews.preview(
        "code.txt", entry.size, lambda most: held.snapshots.read(snapshot, entry.path, most)
    )  # as text, whatever it is
    return shown.text, "It is a picture." if shown.kind == "picture" else shown.note
