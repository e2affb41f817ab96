"""Compiles the Horovods that the tests train with, where they are not in the cache yet: ``python compile_horovod.py``.

CI starts it before everything else, so that they are there when the tests come to them; a test that comes sooner waits.
"""

import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

from runyard.errors import EnvironmentException
from runyard.protocol.environments import EnvironmentSpec
from runyard_server.environments.provision import Environments
from runyard_server.settings import load


def wheel_cache() -> Path:
    """Where what the tests compile outlives them."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("RUNYARD_WHEELS") or Path(cache) / "runyard" / "wheels")


def main() -> int:
    cancel = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: cancel.set())
    with tempfile.TemporaryDirectory(prefix="runyard-horovod-") as folder:
        settings = load(folder, os.environ)
        environments = Environments(Path(folder), None, settings.python_directories, wheel_cache())
        for version in ("1.13", "2.15"):
            spec = EnvironmentSpec(framework="tensorflow", framework_version=version, mpi=True)
            try:
                environments.ensure(environments.resolve(spec, print, cancel), print, cancel)
            except EnvironmentException as error:
                print(error)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
