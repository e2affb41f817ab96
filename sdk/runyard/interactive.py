"""Runs whose process is this one: what they log is spooled here and delivered by a thread of it."""

import atexit
import os
import shutil
import threading
import uuid
import weakref
from typing import TYPE_CHECKING, Any, Dict, Optional, Sequence, Tuple

from runyard.background_shipping import BackgroundShipper
from runyard.errors import RunyardError
from runyard.leftovers import SpoolFolder, open_folder, spool_root
from runyard.protocol.codec import to_json
from runyard.protocol.runs import ClientProcess, InteractiveRunSpec
from runyard.shipping import Shipper
from runyard.spool import Spool
from runyard.transport.base import Transport, url_path

if TYPE_CHECKING:
    from runyard.experiment import Experiment
    from runyard.run import Run

HEARTBEAT_S = 20.0
END_S = 5.0  # how long a process that ends waits for delivery; what is left is delivered by a later client


class Session:
    """A run's writing side: where what it logs goes, and how that is delivered and ended."""

    spool: Spool

    def flush(self, timeout_s: float) -> bool:
        """Waits until all that was logged is stored; False when the time was up."""
        raise NotImplementedError

    def set_aside(self, files: Sequence[Tuple[str, str]]) -> None:
        """Keeps files (name, local path) that could not be sent now."""
        raise NotImplementedError

    def finish(self, run: "Run") -> None:
        """Delivers what the run has before its end is told."""

    def close(self) -> None:
        """Ends the writing side, after the run's end was told."""


class InteractiveSession(Session):
    """A session of ``start_logging`` or ``child_run``.

    Args:
        is_its_process: whether the run has no other process than this one, which then gives account of it.
    """

    def __init__(
        self,
        folder: SpoolFolder,
        transport: Transport,
        run_id: str,
        outputs: Optional[str],
        is_its_process: bool = True,
    ) -> None:
        self._folder = folder
        self._transport = transport
        self._run_id = run_id
        self._outputs = outputs
        self._is_its_process = is_its_process
        self.spool = Spool(folder.spool_directory, folder.writer)
        self._shipper = BackgroundShipper(Shipper(transport, run_id), folder.path)
        self._closed = threading.Event()
        # It starts no server that somebody has stopped: a heart beats for who listens.
        self._heart = transport.with_token(None, revives=False)
        threading.Thread(target=self._beat, name="runyard-heartbeat", daemon=True).start()
        _OPEN.add(self)

    def flush(self, timeout_s: float) -> bool:
        return self._shipper.flush(timeout_s)

    def set_aside(self, files: Sequence[Tuple[str, str]]) -> None:
        for name, path in files:
            copy_into(os.path.join(self._folder.spool_directory, "files"), name, path)

    def finish(self, run: "Run") -> None:
        from runyard.run_files import files_below
        from runyard.transfer import upload_run_files

        aside = os.path.join(self._folder.spool_directory, "files")
        waiting = files_below(aside)
        if self._outputs and os.path.isdir(self._outputs):
            waiting += [("outputs/" + name, path) for name, path in files_below(self._outputs)]
        if waiting:
            upload_run_files(self._transport, self._run_id, waiting, overwrite=True)
            shutil.rmtree(aside, ignore_errors=True)
        self.flush(300.0)
        if self._is_its_process:
            self._account()

    def _account(self) -> None:
        """Says how much was written, for ``run.verify()``, and what of it is lost."""
        from runyard.protocol.jobs import JobReport

        shipper = self._shipper.shipper
        report = JobReport(1, 0, 1, "running", written=shipper.written, warnings=shipper.warnings())
        self._transport.call("POST", url_path("runs", self._run_id, "report"), json=to_json(report))

    def close(self) -> None:
        if self in _OPEN:
            _OPEN.discard(self)
            self._closed.set()
            delivered = self._shipper.close(END_S)
            self.spool.close()
            self._folder.release(delivered and not self._folder.files())

    def _beat(self) -> None:
        """Signs of life: a server on another machine cannot see this process."""
        while not self._closed.wait(HEARTBEAT_S):
            try:
                self._heart.call("POST", url_path("runs", self._run_id, "heartbeat"))
            except RunyardError:
                continue  # the next one may get through


_OPEN = weakref.WeakSet()  # type: ignore[var-annotated]


def _close_all() -> None:
    for session in list(_OPEN):
        session.close()


atexit.register(_close_all)


def begin(
    experiment: "Experiment",
    parent: Optional["Run"] = None,
    run_id: Optional[str] = None,
    outputs: Optional[str] = None,
    snapshot: Optional[str] = None,
    display_name: Optional[str] = None,
    tags: Optional[Dict[str, str]] = None,
) -> "Run":
    """Makes an interactive run, below ``parent`` if one is given."""
    from runyard.names import checked_pairs
    from runyard.run import Run

    workspace = experiment.workspace
    transport = parent._transport if parent is not None else workspace.transport
    spec = InteractiveRunSpec(
        experiment=experiment.name,
        id=run_id or str(uuid.uuid4()),
        parent=None if parent is None else parent.id,
        display_name=display_name,
        snapshot=snapshot,
        tags=checked_pairs(tags),
        process=this_process(),
    )
    said = transport.call("POST", "/interactive-runs", json=to_json(spec))
    # Beside the work of this run: what an earlier client was killed with is delivered now.
    threading.Thread(target=sync_leftovers, args=(workspace,), name="runyard-sync", daemon=True).start()
    own = workspace.with_token(said["token"])
    folder = open_folder(spool_root(), said["run"]["id"], {"workspace": workspace.name, "home": workspace.folder})
    session = InteractiveSession(folder, own, said["run"]["id"], outputs)
    return Run(experiment, said["run"]["id"], _said=said["run"], _transport=own, _session=session)


def attach(run: "Run") -> InteractiveSession:
    """A session for a client that logs to a run whose script runs elsewhere."""
    workspace = run.experiment.workspace
    folder = open_folder(spool_root(), run.id, {"workspace": workspace.name, "home": workspace.folder})
    return InteractiveSession(folder, run._transport, run.id, None, is_its_process=False)


def this_process() -> Optional[ClientProcess]:
    """This process, named so that its end can be seen; None where the system does not show processes."""
    from runyard.job.processes import machine_name, start_ticks

    ticks = start_ticks(os.getpid())
    return None if ticks is None else ClientProcess(os.getpid(), ticks, machine_name())


def copy_into(folder: str, name: str, path: str) -> None:
    """Copies a file below ``folder`` as ``name``: whole, or not at all."""
    target = os.path.join(folder, *name.split("/"))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    temporary = os.path.join(os.path.dirname(target), ".{}.{}".format(os.getpid(), uuid.uuid4().hex[:8]))
    shutil.copyfile(path, temporary)
    os.replace(temporary, target)


def sync_leftovers(workspace: Any) -> Any:
    """Delivers what killed clients of this workspace left on this machine; gives a SyncReport."""
    from runyard.leftovers import sync

    def connect(meta: Dict[str, Any]) -> Optional[Transport]:
        mine = meta.get("workspace") == workspace.name and meta.get("home") == workspace.folder
        return workspace.transport if mine else None

    return sync(spool_root(), connect)
