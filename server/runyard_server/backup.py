"""``runyard-server backup save | restore``: saves a workspace's home, also while its server runs, and restores it."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from runyard.errors import RunyardError
from runyard_server.records.engine import Database
from runyard_server.services import backups

FAULTS = 1
REFUSED = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Does it, says what it did as a JSON document; the process's exit code."""
    parser = argparse.ArgumentParser(prog="runyard-server backup", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="verb", required=True)
    save = commands.add_parser("save")
    save.add_argument("--database", help="SQLAlchemy URL (default: SQLite in the home)")
    restore = commands.add_parser("restore")
    restore.add_argument("--verify", action="store_true")
    for command in (save, restore):
        command.add_argument("--home", type=Path, required=True)
        command.add_argument("folder", type=Path)
    given = parser.parse_args(argv)
    home, folder = given.home.absolute(), given.folder.absolute()
    try:
        if given.verb == "restore":
            restored = backups.restore(folder, home, given.verify)
            print(json.dumps(asdict(restored)))
            return FAULTS if restored.faults else 0
        database = Database(given.database or f"sqlite:///{home / 'records.db'}")
        try:
            print(json.dumps(asdict(backups.save(database, home, folder))))
        finally:
            database.close()
    except (RunyardError, OSError) as fault:
        print(fault, file=sys.stderr)
        return REFUSED
    return 0
