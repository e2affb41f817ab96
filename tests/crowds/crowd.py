"""A crowd of client processes at one workspace, and what its server is asked to hold."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runyard import (
    AmlCompute,
    ComputeTarget,
    Environment,
    Experiment,
    PyTorchConfiguration,
    Run,
    ScriptRunConfig,
    Workspace,
)
from runyard.following import events

CLIENT = Path(__file__).with_name("client.py")


class Crowd:
    """Client processes of one workspace, and what its server is asked to hold."""

    def __init__(self, workspace: Workspace, scratch: Path) -> None:
        self.workspace = workspace
        assert workspace.folder is not None
        self.folder = Path(workspace.folder)
        self._scratch = scratch
        self.slowest_s = 0.0  # what the last thing that clients did took, from "go" to the last of them
        self.environment = Environment("this-python")
        self.environment.python.user_managed_dependencies = True
        self.environment.python.interpreter_path = sys.executable

    def does(self, what: str, each: list[dict[str, Any]]) -> list[Any]:
        """Lets a client for each of the arguments do something, all beginning at once; what each saw.

        Fails where a client ends badly or says anything on stderr.
        """
        command = [sys.executable, str(CLIENT), what, self.workspace.name]
        clients = [
            subprocess.Popen(
                [*command, json.dumps(arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for arguments in each
        ]
        try:
            for client in clients:
                assert client.stdout is not None
                assert client.stdout.readline() == "ready\n", client.communicate()
            for client in clients:
                assert client.stdin is not None
                client.stdin.write("go\n")
                client.stdin.flush()
            said = [client.communicate() for client in clients]
        finally:
            for client in clients:
                client.kill()
                client.wait()
        assert [(client.returncode, errors) for client, (_, errors) in zip(clients, said)] == [(0, "")] * len(each)
        results = [json.loads(output) for output, _ in said]
        self.slowest_s = max(result["seconds"] for result in results)
        return [result["saw"] for result in results]

    def source(self, text: str) -> str:
        """A source directory with a script."""
        folder = self._scratch / f"source-{len(list(self._scratch.iterdir()))}"
        folder.mkdir()
        (folder / "train.py").write_text(text)
        return str(folder)

    def target(self, name: str, max_nodes: int) -> str:
        shape = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=max_nodes)
        ComputeTarget.create(self.workspace, name, shape)
        return name

    def submit(self, text: str, target: str, arguments: Sequence[str] = (), nodes: int = 1, priority: int = 0) -> Run:
        config = ScriptRunConfig(
            self.source(text),
            "train.py",
            arguments=list(arguments),
            compute_target=target,
            environment=self.environment,
            distributed_job_config=PyTorchConfiguration(node_count=nodes) if nodes > 1 else None,
        )
        config.run_config.priority = priority
        return Experiment(self.workspace, "crowd").submit(config)

    def run(self, run_id: str) -> Run:
        return Run(Experiment(self.workspace, "crowd"), run_id)

    def server_bytes(self) -> int:
        """The server's resident memory."""
        status = Path(f"/proc/{self._server_pid()}/status").read_text()
        return 1024 * int(status.partition("VmRSS:")[2].split()[0])

    def server_cpu_s(self) -> float:
        """What the server has computed so far: unlike a time, it is the same on a busy machine."""
        fields = Path(f"/proc/{self._server_pid()}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _server_pid(self) -> int:
        return int(json.loads((self.folder / "server.json").read_text())["pid"])

    def complaints(self) -> str:
        """What the server wrote into its log: it writes nothing where all goes well."""
        return (self.folder / "server.log").read_text()


def follow_until(run: Run, status: str) -> None:
    """Follows a run until it has a status."""
    for kind, said in events(run, logs=False):
        if kind == "status" and said["status"] == status:
            return
    raise AssertionError(f"{run.id} ended as {run.get_status()}, never {status}")
