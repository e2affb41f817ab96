"""``runyard clean``: frees the disk of what nothing needs any more."""

from runyard.cli.call import Call
from runyard.cli.output import counted
from runyard.cli.parsing import Commands, whole_number

_LONGEST_S = 3600.0  # the server answers when it has ended, and a large store takes its time


def add(commands: Commands) -> None:
    """Adds ``clean``."""
    parser = commands.verb(
        "clean",
        clean,
        "remove from the store what no run, model or snapshot needs",
        "Contents are kept once, however many runs have them. When runs or models are deleted, what nothing else has\n"
        "stays on the disk until a clean-up. What came within the last hours may be on its way to a run, and stays.",
        "runyard clean --dry-run\nrunyard clean --grace 1",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.add_argument(
        "--grace", metavar="HOURS", type=whole_number(1), default=24, help="keep what came since (default: 24)"
    )


def clean(call: Call) -> int:
    """Cleans the store up."""
    from runyard.progress import size_text

    asked = {"grace_s": call.given.grace * 3600.0, "dry_run": call.given.dry_run}
    with call.transport.request("POST", "/cleaning", json=asked, timeout_s=_LONGEST_S) as answer:
        said = answer.json()
    if call.out.as_json:
        call.out.json(said)
        return 0
    verb = "Would remove" if said["dry_run"] else "Removed"
    call.out.say(
        "{} {} ({}) and {}.".format(
            verb,
            counted(said["objects"], "object"),
            size_text(said["size_bytes"]),
            counted(said["snapshots"], "snapshot"),
        )
    )
    call.out.say("Needed: {}, {}.".format(counted(said["needed_objects"], "object"), size_text(said["needed_bytes"])))
    if said["young_objects"]:
        call.out.say(
            "Not needed so far, but younger than {}: {}, {}.".format(
                counted(call.given.grace, "hour"),
                counted(said["young_objects"], "object"),
                size_text(said["young_bytes"]),
            )
        )
    return 0
