"""A run's files, to and from this machine."""

import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from runyard.errors import UserErrorException
from runyard.protocol.files import FileEntry

if TYPE_CHECKING:
    from runyard.progress import Progress
    from runyard.run import Run


@contextmanager
def as_local_file(path_or_stream: Any) -> Iterator[str]:
    """The path of a file with what was given: itself for a path, a temporary one for a stream."""
    if isinstance(path_or_stream, (str, os.PathLike)):
        yield os.fspath(path_or_stream)
        return
    if not hasattr(path_or_stream, "read"):
        raise UserErrorException(
            "A file to upload is a path or something with read(), not {}.".format(type(path_or_stream).__name__)
        )
    with tempfile.NamedTemporaryFile(prefix="runyard-") as kept:
        piece = path_or_stream.read(1 << 20)
        while piece:
            kept.write(piece.encode("utf-8") if isinstance(piece, str) else piece)
            piece = path_or_stream.read(1 << 20)
        kept.flush()
        yield kept.name


def files_below(folder: str) -> List[Tuple[str, str]]:
    """Name below the folder (with ``/``) and path of each plain file there, in order."""
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if os.path.isfile(path):
                found.append((os.path.relpath(path, folder).replace(os.sep, "/"), path))
    return sorted(found)


class Kept(NamedTuple):
    """What a run keeps: its files, and the logs that it has or still writes."""

    entries: List[FileEntry]
    logs: List[str]

    @property
    def names(self) -> List[str]:
        return sorted({entry.path for entry in self.entries}.union(self.logs))


def kept_by(run: "Run") -> Kept:
    """Asks the server what the run keeps now."""
    from runyard.transfer import list_run_files

    return Kept(list_run_files(run._transport, run.id), run._log_names())


def targets(
    names: Sequence[str],
    prefix: Optional[str],
    directory: Optional[str],
    paths: Optional[Sequence[str]],
    append_prefix: bool,
) -> Dict[str, str]:
    """Where each of the run's files below ``prefix`` goes: run path to local path."""
    from runyard.unpacking import Folder

    chosen = [name for name in names if prefix is None or name.startswith(prefix)]
    if paths is not None:
        if len(paths) != len(chosen):
            raise UserErrorException("{} output_paths do not fit {} files.".format(len(paths), len(chosen)))
        return dict(zip(chosen, paths))
    folder = Folder(directory or ".")
    found = {}
    for name in chosen:
        kept = name
        if prefix and not append_prefix:
            kept = name[len(prefix) :].lstrip("/") or name.rsplit("/", 1)[-1]
        found[name] = folder.target(kept)
    return found


def download(run: "Run", kept: Kept, wanted: Mapping[str, str], progress: Optional["Progress"] = None) -> int:
    """Writes files of the run (run path to local path) and gives how many there were.

    Args:
        kept: what the run keeps, as ``kept_by`` has told.
    """
    from runyard.transfer import download_run_files

    entries = [entry for entry in kept.entries if entry.path in wanted]
    count = download_run_files(run._transport, run.id, entries, wanted, progress) if entries else 0
    stored = {entry.path for entry in entries}
    # The logs of a run that goes on are not files yet; they are read as they stand.
    for name in set(kept.logs) & (set(wanted) - stored):
        os.makedirs(os.path.dirname(os.path.abspath(wanted[name])), exist_ok=True)
        with open(wanted[name], "wb") as target:
            for piece in log_pieces(run, name):
                target.write(piece)
        count += 1
    return count


def log_pieces(run: "Run", name: str, offset: int = 0) -> Iterator[bytes]:
    """A log's bytes from ``offset`` on as they are now, in the pieces that the server gives."""
    from runyard.transport.base import url_path

    while True:
        path = url_path("runs", run.id, "logs", name)
        with run._transport.request("GET", path, query={"offset": offset}) as answer:
            piece = answer.whole()
        if not piece:
            return
        yield piece
        offset += len(piece)
