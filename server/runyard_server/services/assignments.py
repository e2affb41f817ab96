"""What each node of an attempt is told: code, interpreter, data, GPUs, addresses and its token."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from runyard.errors import EnvironmentException
from runyard.protocol.compute import ComputeSpec
from runyard.protocol.environments import EnvironmentLock, EnvironmentSpec
from runyard.protocol.jobs import DataMount, EnvironmentToBuild, JobAssignment, JobContainer, NodeInvitation
from runyard.protocol.runs import DataReferenceSpec, RunRecord, RunSpec
from runyard_server.domain.retrying import goes_on_from, references
from runyard_server.environments.container_arguments import checked
from runyard_server.executors.task_folder import DRIVER
from runyard_server.services.environments import ReadyEnvironment
from runyard_server.services.tokens import Lease, TokenService

HEARTBEAT_S = 5.0
GANG_HEARTBEAT_S = 1.0  # what one node's ranks did, the jobs on the others learn from their next heartbeat's answer


class AssignmentService:
    """Builds assignments.

    Args:
        runs_folder: below it every node of an attempt has its own directory.
        address: the server's URL as nodes reach it.
        server_file: the file that holds the present address, for nodes that see it.
        public_address: the URL as nodes on other machines reach it; "" where ``address`` is good for them too.
        interpreter: the environment that stands for a spec and key; raises where it is gone.
        local_path: a data reference as a folder of this machine, None where it is none.
        has_outputs: whether a run has files in ``outputs/``.
        lock: the lock of a built environment, by its key.
        archive: digest of the archive of the SDK that nodes fetch.
        wheels: what of a lock was compiled here, for nodes to fetch: digests by file name.
    """

    def __init__(
        self,
        runs_folder: Path,
        workspace: str,
        address: Callable[[], str],
        server_file: Path | None,
        sdk_path: Path,
        tokens: TokenService,
        interpreter: Callable[[EnvironmentSpec, str | None], ReadyEnvironment],
        local_path: Callable[[DataReferenceSpec], Path | None],
        has_outputs: Callable[[str], bool],
        public_address: str = "",
        lock: Callable[[str], EnvironmentLock | None] = lambda key: None,
        archive: Callable[[], str] = lambda: "",
        wheels: Callable[[EnvironmentLock], dict[str, str]] = lambda lock: {},
    ) -> None:
        self._runs_folder = runs_folder
        self._workspace = workspace
        self._address = address
        self._server_file = server_file
        self._sdk_path = sdk_path
        self._tokens = tokens
        self._interpreter = interpreter
        self._local_path = local_path
        self._public_address = public_address
        self._has_outputs = has_outputs
        self._lock = lock
        self._archive = archive
        self._wheels = wheels

    @property
    def address_elsewhere(self) -> str:
        """The server's URL as nodes on other machines are told."""
        return self._public_address or self._address()

    def as_seen_elsewhere(self, assignments: Sequence[JobAssignment]) -> list[JobAssignment]:
        """The same for nodes on other machines. A configured address stays good: they look for no newer one."""
        if not self._public_address:
            return list(assignments)
        return [replace(each, server_url=self._public_address, server_file=None) for each in assignments]

    def on_own_disks(
        self, run: RunRecord, assignments: Sequence[JobAssignment], target: ComputeSpec
    ) -> list[JobAssignment]:
        """The same for nodes that do not see this machine's folders: they fetch everything, and build the environment.

        An image comes from the registry, as to other nodes.

        Raises:
            EnvironmentException: its environment cannot be built there.
        """
        assert run.spec is not None
        build = None
        if assignments[0].container is None:
            build = replace(self._to_build(run.spec.environment, run.environment_key), uv=target.uv)
        return [
            replace(
                each,
                server_url=self.address_elsewhere,
                server_file=None,
                shared_code=None,
                data=[replace(mount, local_path=None) for mount in each.data],
                token="",  # it gets one when it comes
                build=build,
                own_disk=True,
            )
            for each in assignments
        ]

    def _to_build(self, spec: EnvironmentSpec, key: str | None) -> EnvironmentToBuild:
        if spec.user_managed:
            return EnvironmentToBuild(interpreter=spec.interpreter or "")
        lock = self._lock(key) if key else None
        if lock is None:
            raise EnvironmentException(f"The lock of the environment {key!r} is not known here. Submit the run again.")
        if lock.conda:
            raise EnvironmentException(
                "The environment has conda packages, which a node without the server's folder cannot build. Take packages "
                "of pip alone, a user-managed environment that is on the nodes, or a target whose nodes see the server's "
                "folder (without scratch)."
            )
        return EnvironmentToBuild(
            key=lock.key,
            python_version=lock.python_version,
            requirements=lock.requirements,
            options=list(lock.options),
            wheels=self._wheels(lock),
        )

    def invitations(
        self, assignments: Sequence[JobAssignment], target: ComputeSpec, with_tickets: bool = True
    ) -> list[NodeInvitation]:
        """What such nodes are told by their engine; none for a target whose nodes see this machine's folders.

        Args:
            with_tickets: False for a dry run: nobody comes for it.
        """
        if not target.scratch:
            return []
        return [self._invitation(each, each.node, target, with_tickets) for each in assignments]

    def driver_invitation(
        self, assignments: Sequence[JobAssignment], target: ComputeSpec, with_tickets: bool = True
    ) -> NodeInvitation | None:
        """The same for the driver of a gang, where its engine has one."""
        if not target.scratch or len(assignments) == 1:
            return None
        return self._invitation(assignments[0], None, target, with_tickets)

    def _invitation(
        self, own: JobAssignment, node: int | None, target: ComputeSpec, with_ticket: bool
    ) -> NodeInvitation:
        return NodeInvitation(
            server_url=self.address_elsewhere,
            run_id=own.run_id,
            attempt=own.attempt,
            node=node,
            ticket=self._tokens.for_node(own.run_id, own.attempt, node) if with_ticket else "TICKET",
            archive=self._archive(),
            scratch=target.scratch,
        )

    def build(
        self, run: RunRecord, gpus: Sequence[Sequence[int]], ports: Sequence[int] = (), share_folder: bool = False
    ) -> list[JobAssignment]:
        """One assignment per node.

        Args:
            gpus: the indices that each node was given.
            ports: leased for the run: see ``distributed/``.
            share_folder: whether the nodes see each other's directories, and so can work in one.
        Raises:
            RunyardError: its environment or a datastore is not here any more.
        """
        spec = run.spec
        assert spec is not None
        ready = self._interpreter(spec.environment, run.environment_key)
        container = None
        if ready.image is not None:
            image, engine = ready.image
            asked = spec.environment
            container = JobContainer(image, engine, asked.docker_shm_size, checked(asked.docker_arguments))
        resume = goes_on_from(spec, run.id, run.attempt > 1 and self._has_outputs(run.id))
        data = []
        for reference in references(spec, resume):
            folder = self._local_path(reference)
            data.append(DataMount(reference, str(folder) if folder is not None else None))
        told = self._for_nodes(run, spec, gpus, ports, str(ready.python), data, share_folder, container)
        return told if resume is None else [replace(each, resume=resume.name) for each in told]

    def sketch(self, run: RunRecord) -> list[JobAssignment]:
        """What each node of a run would be told, as far as that is known before it has an environment."""
        assert run.spec is not None
        nobody: list[Sequence[int]] = [()] * run.spec.node_count
        return self._for_nodes(run, run.spec, nobody, (), "python", [], False)

    def salvage(self, run: RunRecord, node: int, number: int, share_folder: bool = False) -> JobAssignment:
        """For the job that collects what a lost one left: it starts nothing, so it needs neither environment nor data.

        Args:
            number: which one it is of this node, from 1.
            share_folder: as for ``build``.
        """
        spec = run.spec
        assert spec is not None
        data = [DataMount(reference) for reference in spec.data_references if reference.mode == "upload"]
        nobody: list[Sequence[int]] = [()] * spec.node_count
        told = self._for_nodes(run, spec, nobody, (), sys.executable, data, share_folder)[node]
        return replace(told, salvage=number)

    def _for_nodes(
        self,
        run: RunRecord,
        spec: RunSpec,
        gpus: Sequence[Sequence[int]],
        ports: Sequence[int],
        python: str,
        data: list[DataMount],
        share_folder: bool,
        container: JobContainer | None = None,
    ) -> list[JobAssignment]:
        token = self._tokens.for_run(run.id, Lease(run.id, run.attempt))
        first = self.directory(run.id, run.attempt, 0)
        shared_code = str(first / "code") if share_folder and spec.node_count > 1 else None
        return [
            JobAssignment(
                run_id=run.id,
                attempt=run.attempt,
                experiment=run.experiment,
                node=node,
                node_count=spec.node_count,
                directory=str(self.directory(run.id, run.attempt, node)),
                server_url=self._address(),
                token=token,
                snapshot=spec.snapshot,
                python=python,
                sdk_path=str(self._sdk_path),
                workspace=self._workspace,
                server_file=str(self._server_file) if self._server_file else None,
                script=spec.script,
                command=spec.command,
                arguments=spec.arguments,
                variables=spec.environment.variables,
                distribution=spec.distribution,
                addresses=["127.0.0.1"] * spec.node_count,
                ports=list(ports),
                gpus=list(given),
                data=data,
                max_run_duration_s=spec.max_run_duration_s,
                heartbeat_s=HEARTBEAT_S if spec.node_count == 1 else GANG_HEARTBEAT_S,
                shared_code=shared_code,
                container=container,
            )
            for node, given in enumerate(gpus)
        ]

    def directory(self, run_id: str, attempt: int, node: int) -> Path:
        """A node's own directory."""
        return self.attempt_directory(run_id, attempt) / f"node-{node}"

    def driver_directory(self, run_id: str, attempt: int) -> Path:
        """What lies here for the driver of a gang that does not see it."""
        return self.attempt_directory(run_id, attempt) / DRIVER

    def attempt_directory(self, run_id: str, attempt: int) -> Path:
        """What the nodes of an attempt have, on this machine or where they share a folder."""
        return self.run_directory(run_id) / f"attempt-{attempt}"

    def run_ids(self) -> list[str]:
        """Ids of the runs of which something lies on this machine."""
        return os.listdir(self._runs_folder) if self._runs_folder.is_dir() else []

    def run_directory(self, run_id: str) -> Path:
        """Everything that this machine holds of a run while it lives."""
        assert os.sep not in run_id and run_id not in (".", "..")
        return self._runs_folder / run_id
