"""``runyard up | down | status | sync``: the workspace's server."""

import os
from typing import Any, Dict, List, Tuple

from runyard.cli.call import Call, Place
from runyard.cli.parsing import Commands, whole_number

NOT_RUNNING = 3


def add(commands: Commands) -> None:
    """Adds ``up``, ``down``, ``status`` and ``sync``."""
    parser = commands.verb(
        "up",
        up,
        "run the workspace's server in the foreground",
        "Nobody has to: a client starts the server by itself, and it ends after an hour with nothing to do. `up` is for\n"
        "a server that stays, or that other machines are to reach. The workspace is made where it does not exist.",
        "runyard up\nrunyard --workspace team up --host 0.0.0.0 --port 8000 --plain-http",
    )
    parser.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="default: this machine alone")
    parser.add_argument(
        "--plain-http", action="store_true", help="serve other machines too, though what travels can be read on the way"
    )
    parser.add_argument(
        "--port", metavar="N", type=whole_number(0), default=0, help="default: that of last time, or any"
    )
    parser.add_argument("--public-url", metavar="URL", help="where nodes of a cluster reach it, if not at --host")
    commands.verb(
        "down",
        down,
        "stop the workspace's server",
        "Runs that go on are not touched: the next server finds them again.",
    )
    commands.verb(
        "status",
        status,
        "whether the server runs, where, and what goes on",
        "Starts nothing. Exit code 3 where no server runs.",
    )
    commands.verb(
        "sync",
        sync,
        "deliver what killed clients of this workspace left on this machine",
        "Exit code 1 where something still waits.",
    )


def up(call: Call) -> int:
    """Becomes the server."""
    from runyard import embedded
    from runyard.errors import WorkspaceException
    from runyard.workspace import keep_identity

    place = call.place
    folder = _own_folder(place, "up")
    keep_identity(folder, place.name, place.subscription_id, place.resource_group)
    found = embedded.running(folder)
    if found is not None:
        raise WorkspaceException(
            "A server runs for the workspace '{}' already: {} (process {}). `runyard down` stops it.".format(
                place.name, found["url"], found["pid"]
            )
        )
    command, _ = embedded.server_command()
    command = command + ["--home", folder, "--host", call.given.host, "--port", str(call.given.port)]
    if call.given.plain_http:
        command.append("--plain-http")
    if call.given.public_url:
        command += ["--public-url", call.given.public_url]
    if call.out.as_json:
        command.append("--json")
    call.out.note("Workspace '{}' in {}. Ctrl-C ends the server.".format(place.name, _short(folder)))
    call.out.out.flush()
    os.execvp(command[0], command)  # signals and the exit code are the server's own


def down(call: Call) -> int:
    """Stops the server."""
    from runyard import embedded

    place = call.place
    was_running = embedded.stop(_own_folder(place, "down"))
    if call.out.as_json:
        call.out.json({"workspace": place.name, "stopped": was_running})
    else:
        call.out.say("Stopped." if was_running else "No server runs for the workspace '{}'.".format(place.name))
    return 0


def status(call: Call) -> int:
    """Tells of the server."""
    place = call.place
    said = _team_status(call) if place.server else _own_status(place)
    if call.out.as_json:
        call.out.json(said)
    else:
        call.out.fields(_status_fields(said))
    return 0 if said["running"] else NOT_RUNNING


def sync(call: Call) -> int:
    """Delivers leftovers."""
    from runyard.interactive import sync_leftovers

    report = sync_leftovers(call.workspace)
    if call.out.as_json:
        call.out.json({"stored": report.stored, "waiting": report.waiting})
    else:
        for run_id in report.stored:
            call.out.say("stored   " + run_id)
        for run_id, why in sorted(report.waiting.items()):
            call.out.say("waiting  {}: {}".format(run_id, why))
        if not report.stored and not report.waiting:
            call.out.say("Nothing was left over.")
    return 1 if report.waiting else 0


def _own_folder(place: Place, verb: str) -> str:
    from runyard.errors import WorkspaceException

    if place.folder is None:
        raise WorkspaceException(
            "The workspace is that of the server {}: `runyard {}` is for workspaces of this machine. Name one with "
            "--workspace, or leave RUNYARD_SERVER out.".format(place.server, verb)
        )
    return place.folder


def _own_status(place: Place) -> Dict[str, Any]:
    from runyard import embedded
    from runyard.transport.http import HttpTransport

    assert place.folder is not None
    found = embedded.running(place.folder)
    said: Dict[str, Any] = {
        "workspace": place.name,
        "folder": place.folder,
        "exists": os.path.isdir(place.folder),
        "running": found is not None,
        "url": None,
        "pid": None,
        "version": None,
        "unfinished_runs": None,
    }
    if found is not None:
        transport = HttpTransport(lambda: found["url"], lambda: found["token"], patience_s=0.0)
        said.update(url=found["url"], pid=found["pid"], **_what_goes_on(transport))
    return said


def _team_status(call: Call) -> Dict[str, Any]:
    from runyard.errors import ServerUnavailableError

    said = {"workspace": None, "running": False, "url": call.place.server, "version": None, "unfinished_runs": None}
    try:
        said.update(_what_goes_on(call.transport), workspace=call.transport.call("GET", "/workspace")["name"])
    except ServerUnavailableError:
        return said
    return dict(said, running=True)


def _what_goes_on(transport: Any) -> Dict[str, Any]:
    from runyard.protocol.status import RunStatus

    unfinished = ",".join(each.value for each in RunStatus if not each.is_terminal)
    query = {"status": unfinished, "include_children": "true", "limit": 1000}
    found = transport.call("GET", "/runs", query=query)
    counts: Dict[str, int] = {}
    for record in found:
        counts[record["status"]] = counts.get(record["status"], 0) + 1
    return {"version": transport.call("GET", "/health")["version"], "unfinished_runs": counts}


def _status_fields(said: Dict[str, Any]) -> List[Tuple[str, Any]]:

    folder = said.get("folder")
    server = "not running; it starts by itself with the next command that needs it"
    if said.get("exists") is False:
        server = "not running; the workspace does not exist yet"
    elif folder is None:
        server = "{} does not answer".format(said["url"])
    runs = None
    if said["running"]:
        server = "{}  ({}version {})".format(
            said["url"], "process {}, ".format(said["pid"]) if said.get("pid") else "", said["version"]
        )
        counts = said["unfinished_runs"]
        listed = ", ".join("{} {}".format(count, name) for name, count in sorted(counts.items()))
        runs = "{} unfinished: {}".format(sum(counts.values()), listed) if counts else "none unfinished"
    return [
        ("workspace", said["workspace"]),
        ("folder", _short(folder) if folder else None),
        ("server", server),
        ("runs", runs),
    ]


def _short(path: str) -> str:
    """A path below the user's folder as the user would write it."""
    user = os.path.join(os.path.expanduser("~"), "")
    return "~/" + path[len(user) :] if path.startswith(user) else path
