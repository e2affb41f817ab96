"""Nodes that do not see the server's folder: they come for their job, ask what is wanted of it, and tell how it ended."""

from typing import Any

from runyard.protocol.jobs import DriverState, NodeArrival, NodeEnd
from runyard_server.executors import task_folder
from runyard_server.services.assignments import AssignmentService
from runyard_server.services.job_archive import JobArchive
from runyard_server.services.tokens import RUN_TOKEN_S, Lease, TokenService

SPARE_S = 24 * 3600.0  # beyond a run's own limit: fetching, building and collecting, also past an absence of the server


class NodeService:
    """Does for such nodes what others do themselves in their directory, which lies here for them as well."""

    def __init__(self, assignments: AssignmentService, tokens: TokenService, archive: JobArchive) -> None:
        self._assignments = assignments
        self._tokens = tokens
        self.archive = archive

    def begin(self, run_id: str, attempt: int, node: int, arrival: NodeArrival) -> dict[str, Any]:
        """What a node is to do, and the token with which it speaks from now on.

        Raises:
            TicketUsedError: another one has come for it already.
        """
        directory = self._assignments.directory(run_id, attempt, node)
        told = task_folder.come_for(directory, arrival)
        token = self._token(run_id, attempt, told["assignment"]["max_run_duration_s"])
        wanted = task_folder.wanted_end(directory)
        return {"task": told, "token": token, "wanted": wanted, "claim": arrival.claim}

    def begin_driver(self, run_id: str, attempt: int, arrival: NodeArrival) -> dict[str, Any]:
        """What the driver of a gang is to do, and the token with which it speaks from now on.

        Raises:
            TicketUsedError: another one has come for it already, or the attempt was taken back.
        """
        told = task_folder.come_to_drive(self._assignments.driver_directory(run_id, attempt), arrival)
        # It may wait in its engine's queue for as long as a ticket may; a run's own limit begins after that.
        return {"task": told, "token": self._token(run_id, attempt, None), "wanted": "", "claim": arrival.claim}

    def _token(self, run_id: str, attempt: int, limit_s: int | None) -> str:
        lasts_s = RUN_TOKEN_S if limit_s is None else min(limit_s + SPARE_S, RUN_TOKEN_S)
        return self._tokens.for_run(run_id, Lease(run_id, attempt), lasts_s)

    def hear_driver(self, run_id: str, attempt: int, said: DriverState) -> bool:
        """Notes what a gang's driver says, or the one node of a run for itself; whether it is to go on."""
        directory = self._assignments.driver_directory(run_id, attempt)
        if not directory.is_dir():
            directory = self._assignments.directory(run_id, attempt, 0)
        return task_folder.write_driver_state(directory, said)

    def wanted(self, run_id: str, attempt: int, node: int) -> str:
        """How the job is to end: see ``task_folder.wanted_end``."""
        return task_folder.wanted_end(self._assignments.directory(run_id, attempt, node))

    def end(self, run_id: str, attempt: int, node: int, said: NodeEnd) -> None:
        """Notes how it ended."""
        task_folder.write_end(self._assignments.directory(run_id, attempt, node), said)
