"""A server of a later version, as the tests imagine it: this one, with the migrations of a folder after its own.

python tests/upgrade/next_server.py FOLDER --home HOME [--database URL]
"""

import argparse
import os
import sys
from pathlib import Path

from runyard_server.__main__ import _lock
from runyard_server.records.migrate import SHIPPED, Migrations
from runyard_server.serve import serve
from runyard_server.settings import load

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--home")
    parser.add_argument("--database")
    given = parser.parse_args()
    settings = load(given.home, os.environ, database=given.database)
    lock = _lock(settings.home)
    assert lock is not None
    sys.exit(serve(settings, Migrations((*SHIPPED.folders, given.folder))))
