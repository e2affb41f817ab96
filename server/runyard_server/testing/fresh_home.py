"""The home of a server as it is after its first start: for the many tests that build a server of their own."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from runyard_server.app import node_sdk
from runyard_server.testing.empty_tables import write_migrated


def fresh_home(home: Path) -> Path:
    """Makes such a home, and returns it; the folder may be there, empty."""
    home.mkdir(mode=0o700, exist_ok=True)
    write_migrated(home / "records.db")
    (home / "sdk").symlink_to(_sdk())
    return home


@cache
def _sdk() -> Path:
    """One copy of the SDK for all servers of this process: it is named by its content there, and nobody changes it."""
    folder = Path(tempfile.mkdtemp(prefix="runyard-sdk-"))
    atexit.register(shutil.rmtree, folder)
    return node_sdk(folder).parent
