"""``runyard backup | restore``: a workspace of this machine, saved while its server runs, and brought back."""

import json
import os
import sys
from typing import Any, List, Tuple

from runyard.cli.call import Call
from runyard.cli.output import counted
from runyard.cli.parsing import Commands


def add(commands: Commands) -> None:
    """Adds ``backup`` and ``restore``."""
    parser = commands.verb(
        "backup",
        backup,
        "save a workspace of this machine, also while its server runs",
        "The records as they are at one moment, every file that they name, datastores of the workspace's own folder, and\n"
        "logs of runs that go on. Said again with the same folder, it copies only what is new. The tokens are not saved.",
        "runyard backup /mnt/backups/digits",
    )
    parser.add_argument("folder", metavar="DIR", help="where to; the newest backup is the one that counts")
    parser.add_argument("--database", metavar="URL", help="the server's, where that is not SQLite in its folder")
    parser = commands.verb(
        "restore",
        restore,
        "make a new workspace of this machine from a backup",
        "Every file of a run, model or snapshot is hashed on its way; those of datastores are copied.\n"
        "Exit code 1 where something is missing or damaged.",
        "runyard --workspace again restore /mnt/backups/digits --verify",
    )
    parser.add_argument("folder", metavar="DIR", help="what `runyard backup` wrote")
    parser.add_argument(
        "--verify", action="store_true", help="prove also of each run that what it wrote is what is stored"
    )


def backup(call: Call) -> int:
    """Saves a workspace."""
    folder = _own_folder(call, "backup")
    more = ["--database", call.given.database] if call.given.database else []
    code, said = _run(["save", "--home", folder] + more + [call.given.folder])
    if said is None:
        return code
    if call.out.as_json:
        call.out.json(said)
    else:
        from runyard.progress import size_text

        call.out.say(
            "Saved in {}: {}, of which {} ({}) were copied now.".format(
                call.given.folder,
                counted(said["objects"], "file content"),
                said["copied_objects"],
                size_text(said["copied_bytes"]),
            )
        )
        if said["left_out"]:
            call.out.say(
                "Left out of datastores: {}: links that lead out of them, pipes or sockets, or a datastore whose folder is "
                "away.".format(counted(said["left_out"], "thing"))
            )
    return code


def restore(call: Call) -> int:
    """Brings a workspace back."""
    folder = _own_folder(call, "restore")
    more = ["--verify"] if call.given.verify else []
    code, said = _run(["restore", "--home", folder] + more + [call.given.folder])
    if said is None:
        return code
    if call.out.as_json:
        call.out.json(said)
    else:
        call.out.say(
            "Restored in {}: {}, {}.".format(
                folder, counted(said["runs"], "run"), counted(said["objects"], "file content")
            )
        )
        for fault in said["faults"]:
            call.out.say("  " + fault)
        call.out.say("Something is missing or damaged." if said["faults"] else "Everything is as it was stored.")
    return code


def _own_folder(call: Call, verb: str) -> str:
    from runyard.errors import WorkspaceException

    if call.place.folder is None:
        raise WorkspaceException(
            "The workspace is that of the server {}: say `runyard {}` on that machine, with --workspace.".format(
                call.place.server, verb
            )
        )
    return os.path.abspath(call.place.folder)


def _run(arguments: List[str]) -> Tuple[int, Any]:
    """Lets the server's Python do it; its exit code, and what it says: None where it was refused."""
    import subprocess

    from runyard import embedded

    command, _ = embedded.server_command()
    done = subprocess.run(command + ["backup"] + arguments, capture_output=True, text=True)
    if not done.stdout:
        sys.stderr.write(done.stderr)
        return done.returncode or 1, None
    return done.returncode, json.loads(done.stdout)
