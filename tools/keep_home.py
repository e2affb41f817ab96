"""Keeps a home as this version writes it, so that every later version is tested to open it.

    python tools/keep_home.py

Run it at each release, and when a migration has been added. It starts a real server, lets everything happen that a home can hold,
kills the server, the job and the script while a run goes on and another one waits, and writes
``tests/upgrade/homes/<version>-<version of the tables>.tar.xz``, and what must be read back beside it.
"""

import argparse
import fcntl
import os
import shutil
import signal
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The same place for everybody, since some records name it.
PLACE = Path("/tmp/runyard-kept-home")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--name", help="of the files (default: this version and that of its tables)")
    parser.add_argument("--to", type=Path, default=ROOT / "tests" / "upgrade" / "homes", help="folder of the files")
    given = parser.parse_args()
    sys.path.append(str(ROOT))  # behind PYTHONPATH, which may name an older version's sources
    from runyard.protocol.version import VERSION
    from runyard_server.records.migrate import HEAD

    with PLACE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another one that keeps a home now has the same folder
        in_place(lambda: keep(given.name or f"{VERSION}-{HEAD}", given.to))
    return 0


def in_place(act: Callable[[], None]) -> None:
    """Does something with an empty folder as the home, and this Python under a name that is no machine's."""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True, mode=0o700)
    os.environ["RUNYARD_HOME"] = str(PLACE / "home")
    python = PLACE / "bin" / "python"  # what runs name; not this machine's path
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    os.environ["PATH"] = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    try:
        act()
    finally:
        end_all()
        shutil.rmtree(PLACE)


def keep(name: str, target: Path) -> None:
    from runyard import home as places
    from tests.upgrade import story

    folder = Path(places.workspace_folder(story.WORKSPACE))
    folder.mkdir(parents=True, mode=0o700)
    # Secrets that are none: the home will be public.
    places.write_json(str(folder / "secrets.json"), {"token": "a-kept-home", "signing_key": "00" * 32}, private=True)
    workspace = story.open_workspace(PLACE / "home")
    sources = PLACE / "sources"
    sources.mkdir()
    going_on, queued = story.tell(workspace, sources)
    wait_for(lambda: (sources / "ready").exists(), "the script that waits")
    wait_for(lambda: queued.get_status() == "Queued", "the queue")
    known = story.read_back(workspace)
    end_all()
    target.mkdir(parents=True, exist_ok=True)
    expected = {"going_on": going_on.id, "queued": queued.id, "known": known}
    (target / f"{name}.json").write_text(story.as_json(expected), encoding="utf-8")
    pack(folder, target / f"{name}.tar.xz")
    print(f"kept {name}: {(target / f'{name}.tar.xz').stat().st_size:,} bytes")


def end_all() -> None:
    """kill -9 of every process of the home at once, as a machine that loses its power does."""
    from runyard.job import processes
    from tests.chaos import leftovers

    def nobody() -> bool:
        left = leftovers.processes_of(PLACE)
        for pid in left:
            processes.send(pid, signal.SIGKILL)
        return not left

    wait_for(nobody, "the end of every process")


def wait_for(is_so: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {within_s:.0f} s")
        time.sleep(0.05)


def pack(folder: Path, target: Path) -> None:
    """The folder as an archive in which nothing but its content counts: no owner, no time, one order."""

    def bare(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = 0
        return entry

    with tarfile.open(target, "w:xz", preset=9) as archive:
        for path in [folder, *sorted(folder.rglob("*"))]:
            archive.add(path, str(path.relative_to(folder.parent)), recursive=False, filter=bare)


if __name__ == "__main__":
    sys.exit(main())
