"""Spool folders of interactive runs: kept by the living client, shipped by a later one if it was killed.

``<root>/<run id>~<writer>/`` (mode 0700) holds ``meta.json`` (which server, which run), ``lock`` (held
by the client while it lives), ``spool/`` and ``logs/``.
"""

import fcntl
import json
import os
import shutil
import uuid
from typing import Any, Callable, Dict, List, Optional, Tuple

from runyard import home
from runyard.errors import RunyardError, StorageFullError
from runyard.run_files import files_below
from runyard.shipping import Shipper
from runyard.transport.base import Transport


class SpoolFolder:
    """One client's folder for one run, held until ``release``.

    Attributes:
        path: the folder; ``path/spool`` and ``path/logs`` exist.
        writer: a name for the Spool that no other client has.
        meta: what ``meta.json`` says.
    """

    def __init__(self, path: str, meta: Dict[str, Any], lock: int) -> None:
        self.path = path
        self.meta = meta
        self.writer = path.rpartition("~")[2]
        self._lock = lock

    @property
    def spool_directory(self) -> str:
        return os.path.join(self.path, "spool")

    def files(self) -> List[Tuple[str, str]]:
        """Files that wait to be the run's: name and path, from below ``spool/files``."""
        return files_below(os.path.join(self.spool_directory, "files"))

    def release(self, delete: bool) -> None:
        """Lets go of the folder; ``delete`` once everything in it is stored."""
        if delete:
            shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class SyncReport:
    """What a sync did: run ids whose leftovers are now stored, and those still waiting, with the cause."""

    def __init__(self) -> None:
        self.stored: List[str] = []
        self.waiting: Dict[str, str] = {}


def spool_root() -> str:
    """Where interactive runs spool: ``$RUNYARD_HOME/spool``, else ``~/.runyard/spool``."""
    return os.path.join(home.root(), "spool")


def open_folder(root: str, run_id: str, meta: Dict[str, Any]) -> SpoolFolder:
    """Makes and holds a folder for a run of this client.

    Args:
        root: see ``spool_root``.
        meta: what a later client needs to reach the server: ``server_file``, ``server_url`` ...; never a token.
    """
    name = "{}~{}".format(run_id, uuid.uuid4().hex[:12])
    path, unready = os.path.join(root, name), os.path.join(root, "." + name)
    meta = dict(meta, run_id=run_id)
    os.makedirs(root, mode=0o700, exist_ok=True)
    os.mkdir(unready, 0o700)
    lock = _hold(unready)
    if lock is None:
        raise StorageFullError("No lock can be taken on {}: is its file system a network one?".format(unready))
    os.mkdir(os.path.join(unready, "spool"), 0o700)
    os.mkdir(os.path.join(unready, "logs"), 0o700)
    with open(os.path.join(unready, "meta.json"), "w", encoding="utf-8") as file:
        json.dump(meta, file)
    os.rename(unready, path)  # only now can another client see it, and it is held
    return SpoolFolder(path, meta, lock)


def leftover_spools(root: str) -> List[SpoolFolder]:
    """Folders that no living client holds. They are held by the caller now, who releases each."""
    found = []
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    for name in names:
        path = os.path.join(root, name)
        lock = None if name.startswith(".") else _hold(path)
        if lock is None:
            continue
        try:
            with open(os.path.join(path, "meta.json"), encoding="utf-8") as file:
                meta = json.load(file)
            run_id = meta["run_id"]
        except (OSError, ValueError, KeyError, TypeError):
            os.close(lock)  # not a spool folder
            continue
        found.append(SpoolFolder(path, dict(meta, run_id=run_id), lock))
    return found


def sync(
    root: str,
    connect: Callable[[Dict[str, Any]], Optional[Transport]],
    timeout_s: float = 30.0,
    upload: Optional[Callable[..., Any]] = None,
) -> SyncReport:
    """Ships what killed clients left behind, and deletes what is stored.

    Args:
        connect: gives the transport for a folder's ``meta``, or None to leave the folder alone (another server's).
        timeout_s: seconds to spend on each folder's metrics and logs.
        upload: stores files (name, local path) of a run, as ``upload_run_files`` does, which is the default.
    """
    from runyard.transfer import upload_run_files

    upload = upload or upload_run_files
    report = SyncReport()
    for folder in leftover_spools(root):
        run_id = str(folder.meta["run_id"])
        delete = False
        try:
            transport = connect(folder.meta)
            if transport is not None:
                shipper = Shipper(transport, run_id)
                shipped = shipper.drain(folder.path, timeout_s)
                kept_back = list(shipper.refused.values()) + [shipped.trouble]
                delete = shipped.complete and not shipper.refused
                files = folder.files()
                if delete and files:
                    upload(transport, run_id, files, overwrite=True)
                if delete:
                    report.stored.append(run_id)
                else:
                    report.waiting[run_id] = str(kept_back[0] or "there was no time to send all of it")
        except (RunyardError, OSError) as problem:
            delete = False
            report.waiting[run_id] = str(problem)
        finally:
            folder.release(delete)
    return report


def _hold(path: str) -> Optional[int]:
    """Takes the folder's lock; None if it is held, or the folder is gone."""
    try:
        lock = os.open(os.path.join(path, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
