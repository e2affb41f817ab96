"""Before the ranks: the code and the data come to the node."""

import fcntl
import os
from typing import Callable, Dict, List

from runyard.errors import LimitReachedError, RunyardError, ServerUnavailableError
from runyard.home import read_json, write_json
from runyard.protocol.files import FileEntry
from runyard.protocol.jobs import DataMount, JobAssignment
from runyard.protocol.run_parts import DataReferenceSpec
from runyard.transfer import (
    contained,
    download_datastore_files,
    download_given_files,
    fetch_snapshot,
    list_datastore_files,
    list_given_files,
)
from runyard.transport.base import Transport


class Fetcher:
    """Fetches what an assignment needs into the script's working directory.

    Args:
        code: the working directory; ``outputs/`` and ``logs/`` are made in it.
        log: takes a line for the preparation's log.
    """

    def __init__(self, assignment: JobAssignment, transport: Transport, code: str, log: Callable[[str], None]) -> None:
        self._assignment = assignment
        self._transport = transport
        self._code = code
        self._log = log

    def fetch(self, pause: Callable[[str], bool]) -> Dict[str, str]:
        """Brings code and data; gives each data reference's local path by name.

        Args:
            pause: waits a little while the server is away, told why; False when nobody wants the run any more.
        Raises:
            RunyardError: something is not there, or the server is away for good.
            OSError: the node's disk refuses.
        """
        while True:
            try:
                return self._fetched() if self._assignment.shared_code is None else self._fetched_once()
            except (ServerUnavailableError, LimitReachedError) as away:
                if not pause(str(away)):
                    raise

    def _fetched_once(self) -> Dict[str, str]:
        """As ``_fetched``, into a directory that several nodes share: one of them fetches, the others wait for it."""
        beside = os.path.dirname(self._code)
        done = os.path.join(beside, "fetched.json")
        with open(os.path.join(beside, "fetch.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel lets go of it when its holder is killed
            said = read_json(done)
            if said is None:
                said = {"data": self._fetched()}
                write_json(done, said, private=True)
            else:
                self._log("code and data were fetched by another node into the folder that all share")
        return dict(said["data"])

    def _fetched(self) -> Dict[str, str]:
        files = fetch_snapshot(self._transport, self._assignment.snapshot, self._code)
        self._log("{} files of snapshot {} are here".format(len(files), self._assignment.snapshot[:12]))
        for folder in ("outputs", "logs"):
            os.makedirs(os.path.join(self._code, folder), exist_ok=True)
        data = {}
        for mount in self._assignment.data:
            data[mount.reference.name] = path = self._place(mount)
            self._log("{} is {}".format("$AZUREML_DATAREFERENCE_" + mount.reference.name, path))
        return data

    def _place(self, mount: DataMount) -> str:
        reference = mount.reference
        wanted = reference.path_on_compute
        if wanted is None and reference.mode == "mount" and mount.local_path is not None:
            os.makedirs(os.path.dirname(mount.local_path), exist_ok=True)
            if not os.path.exists(mount.local_path):
                os.makedirs(mount.local_path, exist_ok=True)  # an empty place to write to, as a mount would be
            return mount.local_path
        path = os.path.join(self._code, wanted or os.path.join(".data", reference.name))
        if reference.mode == "mount" and mount.local_path is not None:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            os.makedirs(mount.local_path, exist_ok=True)
            if not os.path.islink(path):  # from an attempt that the server's absence cut short
                os.symlink(mount.local_path, path)
            return path
        if reference.mode == "upload":
            os.makedirs(path, exist_ok=True)
            return path
        if reference.mode == "mount":
            self._log("the datastore is not mounted here; its files are downloaded instead")
        return self._download(mount, path)

    def _download(self, mount: DataMount, path: str) -> str:
        reference = mount.reference
        prefix = reference.path
        entries = [
            entry
            for entry in self._listed(reference)
            if not prefix or entry.path == prefix or entry.path.startswith(prefix + "/")
        ]
        if not entries and reference.run is not None:
            raise RunyardError(
                "Run {} has no files in '{}'. A run's outputs are there once it has ended: run.get_file_names().".format(
                    reference.run, prefix
                )
            )
        if not entries:
            raise RunyardError(
                "Datastore '{}' holds nothing at '{}'. See `runyard datastore files {}`.".format(
                    reference.datastore, prefix, reference.datastore
                )
            )
        if len(entries) == 1 and entries[0].path == prefix:
            target = os.path.join(path, os.path.basename(prefix))
            self._brought(reference, entries, {prefix: target})
            return target
        targets = {entry.path: contained(path, entry.path[len(prefix) :].lstrip("/")) for entry in entries}
        if not reference.overwrite:  # a file that the code brought along stays
            entries = [entry for entry in entries if not os.path.exists(targets[entry.path])]
        count = self._brought(reference, entries, targets)
        self._log("downloaded {} files from {}".format(count, reference.run or reference.datastore))
        return path

    def _listed(self, reference: DataReferenceSpec) -> List[FileEntry]:
        if reference.run is not None:
            return list_given_files(self._transport, self._assignment.run_id, reference.name)
        return list_datastore_files(self._transport, reference.datastore, reference.path or None)

    def _brought(self, reference: DataReferenceSpec, entries: List[FileEntry], targets: Dict[str, str]) -> int:
        if reference.run is not None:
            return download_given_files(self._transport, self._assignment.run_id, reference.name, entries, targets)
        return download_datastore_files(self._transport, reference.datastore, entries, targets)
