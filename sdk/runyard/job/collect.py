"""After the ranks: what they wrote becomes files of the run."""

import os
from typing import Callable, Iterator, List, Optional, Sequence, Tuple

from runyard.errors import LimitReachedError, RunException, RunyardError, ServerUnavailableError, StorageFullError
from runyard.protocol.jobs import JobAssignment
from runyard.shipping import Shipper
from runyard.transfer import list_run_files, local_files, upload_datastore_files, upload_run_files
from runyard.transport.base import Transport

KEPT_FOLDERS = ("outputs", "logs")


class Collector:
    """Sends the last bytes of metrics and logs, then ``outputs/``, ``logs/`` and what was set aside.

    Args:
        log: takes a line for the collection's log.

    Attributes:
        notes: what the run is to be warned of.
    """

    def __init__(
        self,
        assignment: JobAssignment,
        transport: Transport,
        shipper: Shipper,
        code: str,
        spool: str,
        log: Callable[[str], None],
    ) -> None:
        self._assignment = assignment
        self._transport = transport
        self._shipper = shipper
        self._code = code
        self._spool = spool
        self._log = log
        self.notes: List[str] = []

    def collect(self, pause: Callable[[str], bool]) -> Optional[str]:
        """Sends everything; what could not be stored, as a sentence, None if all was.

        Args:
            pause: waits a little while the server is away or full, which it is told in words; False when nobody
                wants it any more.
        """
        files = list(self._files())
        problem = None
        while True:
            try:
                if files:
                    self._upload(files)
                self._upload_data()
                break
            except (ServerUnavailableError, LimitReachedError, StorageFullError) as away:
                if not pause(str(away)):
                    return str(away)
            except (RunyardError, OSError) as refused:
                problem = "The outputs could not be stored: {}".format(refused)
                self._log(problem)
                break
        self._log("{} files of outputs and logs are stored".format(len(files) if problem is None else 0))
        while True:
            kept_back = self._kept_back()
            if kept_back is None:
                return problem
            if not pause(kept_back):
                return "The logs could not be stored: the run has moved on."

    def saved_at(self) -> Optional[float]:
        """When the last file of ``outputs/`` was written, in seconds since the epoch; None where there is none here."""
        outputs = _tree(os.path.join(self._code, "outputs")) if self._assignment.keeps_folders else []
        return max((os.stat(path).st_mtime for path in outputs), default=None)

    def _kept_back(self) -> Optional[str]:
        """Sends what is left of metrics and logs; why some of it could not be, None once all is stored."""
        spooled = self._shipper.drain(self._assignment.directory, timeout_s=30.0)
        passes = [spooled]
        if self._assignment.keeps_folders:
            passes.append(self._shipper.ship_tree(os.path.join(self._code, "logs"), live_prefix(self._assignment)))
        if all(passed.complete for passed in passes):
            return None
        troubles = [passed.trouble for passed in passes if passed.trouble]
        return str(troubles[0] if troubles else "the last bytes of logs and metrics are being sent")

    def _files(self) -> Iterator[Tuple[str, str]]:
        for folder in KEPT_FOLDERS if self._assignment.keeps_folders else ():
            for path in _tree(os.path.join(self._code, folder)):
                name = os.path.relpath(path, self._code).replace(os.sep, "/")
                # An attempt's logs stay beside those of the attempts before it; of its outputs the newest counts.
                yield self._shipper.log_name(name) if folder == "logs" else name, path
        aside = os.path.join(self._spool, "files")
        for path in _tree(aside):
            yield os.path.relpath(path, aside).replace(os.sep, "/"), path

    def _upload(self, files: Sequence[Tuple[str, str]]) -> None:
        own = self._assignment
        if own.node == 0:
            # What the script itself uploaded under a name of outputs/ is replaced by the file it left there.
            upload_run_files(self._transport, own.run_id, files, overwrite=True)
            return
        try:
            upload_run_files(self._transport, own.run_id, files)
        except RunException:
            self._upload_beside(files)

    def _upload_beside(self, files: Sequence[Tuple[str, str]]) -> None:
        """Of a later node: what the run has under the same name with other bytes is kept under the node's own."""
        own = self._assignment
        here = {entry.path for entry in list_run_files(self._transport, own.run_id)}
        new = [(name, path) for name, path in files if name not in here]
        upload_run_files(self._transport, own.run_id, new)
        clashes = []
        for name, path in files:
            if name in here and not self._is_the_same(name, path):
                clashes.append(name)
                upload_run_files(self._transport, own.run_id, [(_beside(name, own.node), path)], overwrite=True)
        if clashes:
            more = " and {} more".format(len(clashes) - 1) if len(clashes) > 1 else ""
            said = "Node {} wrote {}{} with other bytes than a node before it: its own is {}.".format(
                own.node, clashes[0], more, _beside(clashes[0], own.node)
            )
            self._log(said)
            self.notes.append(said)

    def _is_the_same(self, name: str, path: str) -> bool:
        try:
            upload_run_files(self._transport, self._assignment.run_id, [(name, path)])
            return True
        except RunException:
            return False

    def _upload_data(self) -> None:
        for mount in self._assignment.data if self._assignment.keeps_folders else ():
            reference = mount.reference
            if reference.mode != "upload":
                continue
            folder = os.path.join(self._code, reference.path_on_compute or os.path.join(".data", reference.name))
            found = [(os.path.relpath(path, folder).replace(os.sep, "/"), path) for path in _tree(folder)]
            if found:
                done = upload_datastore_files(
                    self._transport, reference.datastore, reference.path, local_files(found), reference.overwrite
                )
                self._log(
                    "{}: {} files uploaded, {} kept".format(reference.datastore, len(done["sent"]), len(done["kept"]))
                )


def live_prefix(assignment: JobAssignment) -> str:
    """Under which name a node's ``logs/`` are shipped while they grow; two nodes may write files of one name."""
    return "logs/" if assignment.node == 0 else "logs/node-{}/".format(assignment.node)


def _beside(name: str, node: int) -> str:
    folder, _, rest = name.partition("/")
    return "{}/node-{}/{}".format(folder, node, rest) if rest else "node-{}/{}".format(node, name)


def _tree(folder: str) -> List[str]:
    """Paths of the plain files below ``folder``, in order; links and sockets are not followed."""
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if os.path.isfile(path):
                found.append(path)
    return sorted(found)
