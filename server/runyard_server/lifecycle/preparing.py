"""Preparing: the run's environment becomes ready, built once however many runs wait for it."""

import json
import threading
from collections.abc import Sequence, Set
from concurrent.futures import Future

from runyard.errors import RunyardError
from runyard.protocol.codec import to_json
from runyard.protocol.runs import RunError, RunRecord
from runyard.protocol.status import Reason, RunStatus
from runyard_server.lifecycle.ports import Move, Ports
from runyard_server.services.environments import ReadyEnvironment, of_packages

LOG = "azureml-logs/20_image_build_log.txt"
PARALLEL_BUILDS = 4


class Preparing:
    """→ Queued, or Failed with the resolver's or builder's own words."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._slots = threading.Semaphore(PARALLEL_BUILDS)
        self._builds: dict[str, Build] = {}
        self._waiting: set[str] = set()

    def advance(self, runs: Sequence[RunRecord]) -> list[Move]:
        self._waiting = set[str]()
        present = {run.id for run in runs}
        for build in self._builds.values():
            build.tell_only(present)
        moves = [move for run in runs if (move := self._one(run)) is not None]
        # Whoever waited has been answered; a later run asks anew, so that it gets an environment that is verified then.
        answered = [identity for identity in self._builds if identity not in self._waiting]
        for identity in answered:
            del self._builds[identity]
        return moves

    def _one(self, run: RunRecord) -> Move | None:
        assert run.spec is not None
        identity = _identity(run)
        build = self._builds.get(identity)
        if build is None or not build.serves(run.id):
            try:
                ready = self._ports.environments.ready(run.spec.environment, run.spec.environment_key)
            except RunyardError as fault:
                return self._failed(run, str(fault))
            if ready is not None:
                return _queued(run, ready)
            build = self._builds[identity] = Build(self._ports, run, self._slots)
        build.tell(run.id)
        if not build.future.done():
            self._waiting.add(identity)
            return None
        trouble = build.future.exception()
        if trouble is None:
            move = _queued(run, build.future.result())
        elif isinstance(trouble, RunyardError):
            move = self._failed(run, str(trouble))
        else:
            move = self._failed(run, f"{type(trouble).__name__}: {trouble}")
        return move

    def _failed(self, run: RunRecord, why: str) -> Move:
        self._ports.log(run.id, LOG, f"\n{why}\n")
        return Move(
            run,
            RunStatus.FAILED,
            Reason.ENVIRONMENT_FAILED,
            why,
            RunError(code=Reason.ENVIRONMENT_FAILED.value, message=why),
        )


class Build:
    """One environment in the making, and the runs that read its log live.

    Its thread is a daemon: a server that ends waits for no build, the next one builds anew.
    """

    def __init__(self, ports: Ports, run: RunRecord, slots: threading.Semaphore) -> None:
        assert run.spec is not None
        self.future: Future[ReadyEnvironment] = Future()
        self._slots = slots
        self._ports = ports
        self._spec = run.spec.environment
        self._key = run.spec.environment_key
        self._lines: list[str] = []
        self._told: set[str] = set()
        self._telling = threading.Lock()  # a run that joins gets every line once
        threading.Thread(target=self._work, name="environment", daemon=True).start()

    def serves(self, run_id: str) -> bool:
        """Whether its outcome is one for this run: what was built before the run came may be gone, or broken then."""
        return not self.future.done() or run_id in self._told

    def _work(self) -> None:
        with self._slots:
            try:
                ready = self._ports.environments.prepare(self._spec, self._key, self._log)
            except Exception as trouble:
                self.future.set_exception(trouble)
            else:
                self.future.set_result(ready)
        self._ports.wake()

    def tell_only(self, run_ids: Set[str]) -> None:
        """Writes to the logs of no other runs any more: they wait no longer."""
        with self._telling:
            self._told &= run_ids

    def tell(self, run_id: str) -> None:
        """Lets a run follow the build; what was said before it came is told first."""
        with self._telling:
            if run_id not in self._told:
                self._told.add(run_id)
                if self._lines:
                    self._ports.log(run_id, LOG, "".join(self._lines))

    def _log(self, line: str) -> None:
        text = line if line.endswith("\n") else line + "\n"
        with self._telling:
            self._lines.append(text)
            for run_id in self._told:
                self._ports.log(run_id, LOG, text)


def _identity(run: RunRecord) -> str:
    """Equal for runs that wait for the same environment: its name, variables and container's options do not count."""
    assert run.spec is not None
    return json.dumps([to_json(of_packages(run.spec.environment)), run.spec.environment_key], sort_keys=True)


def _queued(run: RunRecord, ready: ReadyEnvironment) -> Move:
    changes: dict[str, object] = {"environment_key": ready.key} if ready.key else {}
    new = [warning for warning in ready.warnings if warning not in run.warnings]  # it may have been here before
    if new:
        changes["warnings"] = [*run.warnings, *new]
    return Move(run, RunStatus.QUEUED, Reason.ENVIRONMENT_READY, changes=changes)
