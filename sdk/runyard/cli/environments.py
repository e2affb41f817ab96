"""``runyard env``: what is built on the server's machine, and what is registered."""

from typing import Any, Dict, List

from runyard.cli.call import Call
from runyard.cli.output import Column, counted, local_time
from runyard.cli.parsing import Commands, whole_number
from runyard.cli.submit import environment_text

_DAY_S = 86400


def add(commands: Commands) -> None:
    """Adds ``env``."""
    noun = commands.noun(
        "env",
        "built and registered environments",
        "runyard env list\nrunyard env prune --unused-days 7 --dry-run\nrunyard env registered list",
    )
    noun.verb("list", list_, "environments built on the server's machine, the last used first")
    parser = noun.verb("show", show, "a built environment and its exact packages")
    parser.add_argument("key", metavar="KEY", help="its key, or the beginning of it")
    parser = noun.verb(
        "prune",
        prune,
        "remove built environments that nothing used for some time",
        "What is removed is built again when a run needs it. Environments in use stay.",
    )
    parser.add_argument(
        "--unused-days", metavar="N", type=whole_number(0), default=30, help="unused for so long (default: 30)"
    )
    parser.add_argument("--all", action="store_true", help="all that are not in use now")
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")
    registered = noun.noun("registered", "environments that are registered under a name")
    registered.verb("list", list_registered, "registered environments, the newest version of each")
    parser = registered.verb("show", show_registered, "a registered environment and its versions")
    parser.add_argument(
        "name", metavar="NAME[:VERSION]", help="the environment; its newest version where none is given"
    )
    registered.describe()
    noun.describe()


def list_(call: Call) -> int:
    """Lists built environments."""
    found = call.transport.call("GET", "/environment-cache")["environments"]
    if call.out.as_json:
        call.out.json(found)
    elif not found:
        call.out.note("No environment was built yet.")
    else:
        _write_built(call, found)
    return 0


def show(call: Call) -> int:
    """Shows one built environment."""
    from runyard.progress import size_text
    from runyard.transport.base import url_path

    record = call.transport.call("GET", url_path("environment-cache", call.given.key))
    if call.out.as_json:
        call.out.json(record)
        return 0
    call.out.fields(
        [
            ("key", record["key"]),
            ("state", _state(record)),
            ("python", record["python_version"]),
            ("folder", record["directory"]),
            ("size", "{}, {}".format(size_text(record["size_bytes"]), counted(record["file_count"], "file"))),
            ("built", local_time(record["built_at"])),
            ("last used", local_time(record["last_used_at"])),
        ]
    )
    if record["requirements"]:
        call.out.say()
        for line in record["requirements"]:
            call.out.say(line)
    return 0


def prune(call: Call) -> int:
    """Removes built environments."""
    from runyard.progress import size_text

    given = call.given
    asked = {"unused_for_s": 0 if given.all else given.unused_days * _DAY_S, "dry_run": given.dry_run}
    said = call.transport.call("POST", "/environment-cache/prune", json=asked)
    if call.out.as_json:
        call.out.json(said)
        return 0
    if said["removed"]:
        _write_built(call, said["removed"])
        call.out.say()
    for key, why in sorted(said["kept"].items()):
        call.out.say("kept {}: {}".format(key[:12], why))
    call.out.say(
        "{} {}, {}.".format(
            counted(len(said["removed"]), "environment"),
            "would be removed" if said["dry_run"] else "removed",
            size_text(said["freed_bytes"]),
        )
    )
    return 0


def list_registered(call: Call) -> int:
    """Lists registered environments."""
    found = call.transport.call("GET", "/environments")["environments"]
    if call.out.as_json:
        call.out.json(found)
    elif not found:
        call.out.note("No environment is registered. Environment(name).register(workspace) does it.")
    else:
        _write_registered(call, found)
    return 0


def show_registered(call: Call) -> int:
    """Shows one registered environment."""
    from runyard.transport.base import url_path

    name, _, version = call.given.name.partition(":")
    record = call.transport.call("GET", url_path("environments", name), query={"version": version or None})
    versions = call.transport.call("GET", url_path("environments", name, "versions"))["environments"]
    if call.out.as_json:
        call.out.json(dict(record, versions=[each["version"] for each in versions]))
        return 0
    spec = record["spec"]
    call.out.fields(
        [
            ("environment", "{}:{}".format(record["name"], record["version"])),
            ("versions", ", ".join(each["version"] for each in versions)),
            ("registered", local_time(record["created_at"])),
            ("interpreter", (spec["interpreter"] or "python") if spec["user_managed"] else None),
            ("framework", " ".join(part for part in (spec["framework"], spec["framework_version"]) if part)),
            ("python", spec["python_version"]),
            ("pip", "\n".join(spec["pip_packages"])),
            ("conda", "\n".join(spec["conda_packages"])),
            ("as of", spec.get("packages_as_of")),
            ("variables", "\n".join("{}={}".format(*pair) for pair in sorted(spec["variables"].items()))),
            ("image", spec["docker_image"]),
        ]
    )
    return 0


def _write_built(call: Call, found: List[Dict[str, Any]]) -> None:
    from runyard.progress import size_text

    columns = [Column("KEY"), Column("STATE"), Column("PYTHON"), Column("PACKAGES", right=True)]
    columns += [Column("SIZE", right=True), Column("LAST USED")]
    rows = [
        (
            each["key"][:12],
            _state(each),
            each["python_version"],
            len(each["requirements"]),
            size_text(each["size_bytes"]),
            local_time(each["last_used_at"], seconds=False),
        )
        for each in found
    ]
    call.out.table(columns, rows)


def _write_registered(call: Call, found: List[Dict[str, Any]]) -> None:
    columns = [Column("ENVIRONMENT"), Column("VERSION"), Column("REGISTERED"), Column("WHAT", shrinks=True)]
    rows = [
        (
            each["name"],
            each["version"],
            local_time(each["created_at"], seconds=False),
            environment_text(dict(each["spec"], name=None)),
        )
        for each in found
    ]
    call.out.table(columns, rows)


def _state(record: Dict[str, Any]) -> str:
    return "in use" if record["in_use"] else "ready" if record["ready"] else "unfinished"
