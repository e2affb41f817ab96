"""Throw-away environments for the peers, made with uv under ``build/benchmarks/``."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parent / "programs"

# Exact versions, so that two runs compare the same peers; raise them on purpose.
REQUIREMENTS: Mapping[str, Sequence[str]] = {
    "aim": ["aim==3.29.1", "setuptools<81"],
    "azureml-core": ["azureml-core==1.61.0.post4", "setuptools<81"],
    "metaflow": ["metaflow==2.19.39"],
    "mlflow": ["mlflow==3.17.2"],
    "mpich": ["mpich==5.0.2", "mpi4py==4.1.2"],
    "ray": ["ray[default]==2.60.0"],
    "submitit": ["submitit==1.5.4"],
    "tensorboardX": ["tensorboardX==2.6.5"],
    "torchx": ["torchx==0.7.0"],
    "trackio": ["trackio==0.43.0"],
    "wandb": ["wandb==0.31.0"],
}

# Nothing that a peer does here may leave the machine.
SILENCE = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DISABLE_MLFLOW_TELEMETRY": "true",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "AIM_UI_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "METAFLOW_DEFAULT_METADATA": "local",
    "METAFLOW_USER": "benchmark",
    "GIT_PYTHON_REFRESH": "quiet",
}

_ALONE = ("unshare", "--map-root-user", "--net", "--pid", "--mount-proc", "--fork", "--kill-child")


class PeerUnavailable(Exception):
    """A peer could not be installed or did not run; the message says which and where the log is."""


def plain_environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A small environment for a child process: no user's settings, a home of its own, telemetry off."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "USER": "benchmark",
        "TMPDIR": str(home),
        **SILENCE,
        **(extra or {}),
    }


class PeerEnvironments:
    """Makes an environment per peer on first use and keeps it for the next run.

    Args:
        cache: the folder of the environments and logs, safe to delete at any time.
        allowed: whether peers are measured at all.
    """

    def __init__(self, cache: Path, allowed: bool = True) -> None:
        self._cache = cache
        self.allowed = allowed

    def python(self, peer: str) -> Path:
        """The interpreter of the peer's environment. Raises PeerUnavailable where it cannot be made."""
        if not self.allowed:
            raise PeerUnavailable("not measured: run without peers")
        requirements = REQUIREMENTS[peer]
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        key = hashlib.sha256("\n".join([version, *requirements]).encode()).hexdigest()[:12]
        folder = self._cache / "environments" / f"{peer}-{key}"
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            log = self._log(f"install-{peer}")
            uv = find_uv()
            with log.open("wb") as sink:
                for command in (
                    [uv, "venv", "--python", sys.executable, str(folder)],
                    [uv, "pip", "install", "--compile-bytecode", "--python", str(folder / "bin/python"), *requirements],
                ):
                    if subprocess.run(command, stdout=sink, stderr=sink).returncode:
                        raise PeerUnavailable(f"could not be installed: see build/benchmarks/logs/{log.name}")
            (folder / "ready").touch()
        return folder / "bin" / "python"

    def version(self, peer: str) -> str:
        """The version that is installed in the peer's environment."""
        question = f"import importlib.metadata as m; print(m.version({peer!r}))"
        answer = subprocess.run([self.python(peer), "-c", question], capture_output=True, text=True, check=True)
        return answer.stdout.strip()

    def run(
        self,
        peer: str,
        program: str,
        arguments: Sequence[str],
        folder: Path,
        alone: bool = False,
        timeout_s: float = 240,
    ) -> dict[str, list[float]]:
        """Runs ``programs/<program>`` in the peer's environment and gives what it reported.

        ``folder`` is its working directory and its home; ``alone`` gives it network and process
        namespaces of its own. Raises PeerUnavailable when it fails.
        """
        result = folder / "result.json"
        log = self._log(f"{peer}-{Path(program).stem}")
        command = [*(_ALONE if alone else ()), str(self.python(peer)), str(PROGRAMS / program), *arguments]
        environment = plain_environment(folder, {"BENCHMARK_RESULT": str(result)})
        try:
            with log.open("wb") as sink, process_group(command, folder, environment, sink) as process:
                code = process.wait(timeout_s)
        except subprocess.TimeoutExpired as expired:
            message = f"took more than {timeout_s:.0f} s: see build/benchmarks/logs/{log.name}"
            raise PeerUnavailable(message) from expired
        except FileNotFoundError as missing:
            raise PeerUnavailable(f"needs {command[0]}, which is not here") from missing
        if code or not result.exists():
            raise PeerUnavailable(f"failed with exit code {code}: see build/benchmarks/logs/{log.name}")
        answer: dict[str, list[float]] = json.loads(result.read_text())
        return answer

    def _log(self, name: str) -> Path:
        folder = self._cache / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.log"


@contextmanager
def process_group(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], sink: Any
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process in a session of its own, ended with everything that it left behind."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=sink,
        stderr=sink,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # nothing is left of the group
        process.wait()


def find_uv() -> str:
    """uv beside this interpreter, else on the PATH. Raises PeerUnavailable where there is none."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise PeerUnavailable("could not be installed: uv is not here (`make install` puts it into .venv)")
    return found
