"""The run that a script is part of: found from the variables that its job set."""

import os
import time
from typing import Any, Optional, Sequence, Tuple

from runyard.errors import RunEnvironmentException
from runyard.interactive import Session, copy_into
from runyard.spool import HURRY, Spool
from runyard.transport.base import Transport, url_path

_CURRENT = {}  # type: ignore[var-annotated]  # by process: a forked rank gets its own


def current_run(allow_offline: bool) -> Any:
    """The run of this process, the same object every time; an offline run outside a job.

    Raises:
        RunEnvironmentException: outside a job with ``allow_offline=False``.
    """
    key = os.getpid()
    if key not in _CURRENT:
        if "AZUREML_RUN_ID" in os.environ and "AZUREML_RUN_TOKEN" in os.environ:
            _CURRENT[key] = _run_of_job()
        elif not allow_offline:
            raise RunEnvironmentException(
                "This process is not part of a run. Submit the script with Experiment.submit(), or call "
                "Run.get_context() without allow_offline=False to have its logging printed."
            )
        else:
            from runyard.offline_run import OfflineRun

            _CURRENT[key] = OfflineRun()
    return _CURRENT[key]


class JobSession(Session):
    """A session inside a job: the job beside this process delivers what it spools."""

    def __init__(self, spool_folder: str, transport: Transport, run_id: str, rank: str) -> None:
        self._folder = spool_folder
        self._transport = transport
        self._run_id = run_id
        os.makedirs(spool_folder, exist_ok=True)
        self.spool = Spool(spool_folder, "rank-" + rank)

    def flush(self, timeout_s: float) -> bool:
        path = self.spool.path
        if not path:
            return True
        wanted = os.path.getsize(path)
        writer = os.path.basename(path)[: -len(".metrics")]
        attempt = os.environ.get("RUNYARD_RUN_ATTEMPT", "1")
        writer = writer if attempt == "1" else "{}.attempt-{}".format(writer, attempt)
        asked_at = time.monotonic()
        deadline = asked_at + timeout_s
        pause, before = 0.005, None  # type: Tuple[float, Optional[int]]
        while True:
            # Nothing is sent: an empty piece at offset 0 asks how much is stored.
            query = {"writer": writer, "offset": 0}
            with self._transport.request(
                "POST", url_path("runs", self._run_id, "metrics"), query=query, body=b""
            ) as answer:
                stored = int(answer.json()["size"])
            if stored >= wanted:
                return True
            now = time.monotonic()
            if now > deadline:
                return False
            self._hurry()
            if before is None or stored == before:
                pause = min(pause * 2, 0.2)
            else:  # the rest will take as long as what came since then
                pause = min(max((now - asked_at) * (wanted - stored) / (stored - before), 0.01), 0.2)
            asked_at, before = now, stored
            time.sleep(pause)

    def _hurry(self) -> None:
        """Tells the job beside that somebody waits: nothing that it ships rests then."""
        try:
            with open(os.path.join(self._folder, HURRY), "wb"):
                pass  # that it is there says it
        except OSError:
            pass  # a disk that is full: rests are short, and a script does not fail by it

    def set_aside(self, files: Sequence[Tuple[str, str]]) -> None:
        for name, path in files:
            copy_into(os.path.join(self._folder, "files"), name, path)


def _run_of_job() -> Any:
    from runyard.experiment import Experiment
    from runyard.home import read_json
    from runyard.run import Run
    from runyard.transport.http import HttpTransport
    from runyard.workspace import Workspace

    variables = os.environ
    token = variables["AZUREML_RUN_TOKEN"]
    server_file = variables.get("RUNYARD_RUN_SERVER_FILE")

    def address() -> str:
        said: Optional[Any] = read_json(server_file) if server_file else None
        return str(said["url"]) if said and said.get("url") else variables["AZUREML_SERVICE_ENDPOINT"]

    transport = HttpTransport(address, lambda: token, patience_s=30.0)
    workspace = Workspace(
        variables.get("AZUREML_ARM_SUBSCRIPTION"),
        variables.get("AZUREML_ARM_RESOURCEGROUP"),
        variables.get("AZUREML_ARM_WORKSPACE_NAME"),
        transport=transport,
    )
    run_id = variables["AZUREML_RUN_ID"]
    experiment = Experiment(workspace, variables["AZUREML_ARM_PROJECT_NAME"])
    spool_folder = variables.get("RUNYARD_RUN_SPOOL")
    if spool_folder is None:
        return Run(experiment, run_id, _transport=transport)
    session = JobSession(spool_folder, transport, run_id, variables.get("RUNYARD_RUN_RANK", "0"))
    return Run(experiment, run_id, _transport=transport, _session=session)
