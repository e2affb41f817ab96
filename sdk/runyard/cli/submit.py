"""``runyard submit`` and ``rerun``: from a command line to a run."""

import argparse
from typing import TYPE_CHECKING, Any, List, Optional, Tuple

from runyard.cli import configuration
from runyard.cli.call import Call
from runyard.cli.output import counted, duration, pairs_text
from runyard.cli.parsing import Commands, add_pairs, whole_number
from runyard.protocol.runs import ASKED_FOR, LOSSES

if TYPE_CHECKING:
    from runyard.protocol.runs import RunSpec
    from runyard.run import Run

EXIT_CODES = {"Completed": 0, "Failed": 1, "Canceled": 5}


def add(commands: Commands) -> None:
    """Adds ``submit`` and ``rerun``."""
    parser = commands.verb(
        "submit",
        submit,
        "send a script with its folder, and run it",
        "Options of runyard stand before SCRIPT; everything after it is the script's own. Unless --follow or --wait is\n"
        "given the command returns as soon as the run has an id, and prints that id alone.",
        "runyard submit -f train.py --epochs 20\n"
        "runyard submit --framework tensorflow==2.15 --pip matplotlib --gpu --target gpucluster train.py\n"
        "runyard submit --interpreter python3 --dry-run train.py\n"
        "runyard submit --data mnist=workspaceblobstore/mnist train.py --data '$AZUREML_DATAREFERENCE_mnist'",
    )
    parser.add_argument("script", metavar="SCRIPT", help="the script, in the folder that is sent")
    parser.add_argument("arguments", metavar="ARGUMENT", nargs=argparse.REMAINDER, help="the script's arguments")
    group = parser.add_argument_group("the run")
    group.add_argument("--experiment", metavar="NAME", help="default: the name of the folder that is sent")
    group.add_argument(
        "--source", metavar="DIR", help="the folder to send (default: this one if SCRIPT lies in it, else SCRIPT's)"
    )
    add_pairs(group, "--tag", "a tag of the run; may be repeated")
    _add_environment(parser.add_argument_group("what it runs in"))
    _add_place(parser.add_argument_group("where it runs"))
    group = parser.add_argument_group("what this command does")
    _add_following(group)
    group.add_argument(
        "--dry-run", action="store_true", help="send the code and have all of it checked, but submit nothing"
    )
    parser = commands.verb(
        "rerun",
        rerun,
        "run the same code, environment, data and arguments again",
        examples="runyard rerun @last\nrunyard rerun -f mnist_1566",
    )
    parser.add_argument("run", metavar="RUN", help="the run's id, its beginning or end, or @last")
    _add_following(parser)


def _add_environment(group: Any) -> None:
    group.add_argument(
        "--framework",
        metavar="NAME[==VERSION]",
        type=configuration.framework,
        help="tensorflow, pytorch, scikit-learn or chainer, in the version that is asked for",
    )
    group.add_argument("--pip", metavar="PACKAGE", action="append", default=[], help="a pip package; may be repeated")
    group.add_argument("--requirements", metavar="FILE", help="a pip requirements file")
    group.add_argument("--conda-file", metavar="FILE", help="a conda environment file")
    group.add_argument("--python", metavar="VERSION", help="the Python version, such as 3.11")
    group.add_argument("--environment", metavar="NAME[:VERSION]", help="a registered environment, instead of the above")
    group.add_argument(
        "--interpreter",
        metavar="PATH",
        help="an interpreter of the target's machine, left untouched, instead of the above",
    )
    add_pairs(group, "--env", "an environment variable of the script; may be repeated")


def _add_place(group: Any) -> None:
    group.add_argument("--target", metavar="NAME", default="local", help="the compute target (default: local)")
    group.add_argument("--gpu", action="store_true", help="with the GPUs that a node of the target has")
    group.add_argument("--nodes", metavar="N", type=whole_number(1), default=1, help="nodes, all at once (default: 1)")
    group.add_argument(
        "--processes", metavar="N", type=whole_number(1), default=1, help="processes on each node (default: 1)"
    )
    group.add_argument(
        "--distributed",
        metavar="KIND",
        choices=["pytorch", "tensorflow", "mpi"],
        help="how several processes find each other: pytorch, tensorflow or mpi",
    )
    group.add_argument("--priority", metavar="N", type=int, help="higher goes first in the target's queue (default: 0)")
    group.add_argument(
        "--max-seconds", metavar="N", type=whole_number(1), help="end the run after so long (default: 30 days)"
    )
    group.add_argument(
        "--max-attempts",
        metavar="N",
        type=whole_number(1),
        default=1,
        help="try it so often in all where its node or job is lost or preempted (default: 1)",
    )
    group.add_argument(
        "--retry-on",
        metavar="CAUSE",
        action="append",
        default=[],
        help="try it again after that, too: {}; may be repeated".format(", ".join(ASKED_FOR)),
    )
    group.add_argument(
        "--data",
        metavar="NAME=STORE/PATH",
        type=configuration.data,
        action="append",
        default=[],
        help="data of a datastore; the script finds its path in $AZUREML_DATAREFERENCE_NAME; may be repeated",
    )


def _add_following(group: Any) -> None:
    group.add_argument(
        "-f", "--follow", action="store_true", help="print the log as it is written, until the run's end"
    )
    group.add_argument("--wait", action="store_true", help="wait for the run's end; the exit code tells it")


# Commands


def submit(call: Call) -> int:
    """Submits a run, or says what would be submitted."""
    from runyard.experiment import Experiment, sent_spec

    given = call.given
    source, script = configuration.source_and_script(given.script, given.source)
    experiment = Experiment(call.workspace, given.experiment or configuration.experiment_name(source))
    config = configuration.config(call, source, script)
    if given.dry_run:
        spec = sent_spec(experiment, config, dict(given.tag))
        return _check(call, spec)
    return _after(call, experiment.submit(config, tags=dict(given.tag)))


def rerun(call: Call) -> int:
    """Submits a run again."""
    return _after(call, call.run(call.given.run).rerun())


def follow(call: Call, run: "Run", show_output: bool) -> int:
    """Waits for the run's end, says it, and gives the exit code that stands for it."""
    from contextlib import redirect_stdout

    from runyard import following

    with redirect_stdout(call.out.people):
        record = following.wait(run, show_output)
    if call.out.as_json:
        call.out.json(record)
    elif not show_output:
        call.out.say("{}: {}".format(run.id, ended_text(record)))
    return EXIT_CODES.get(record["status"], 1)


def ended_text(record: Any) -> str:
    """How a run ended, on one line."""
    took = ""
    if record.get("started_at") and record.get("ended_at"):
        took = " after {}".format(duration(record["ended_at"] - record["started_at"]))
    why = record["error"]["message"] if record.get("error") else record.get("message") or ""
    why = why.strip().split("\n")[0] if record["status"] != "Completed" else ""
    return "{}{}{}".format(record["status"], took, ": " + why if why else "")


def _after(call: Call, run: "Run") -> int:
    if call.given.follow or call.given.wait:
        return follow(call, run, call.given.follow)
    record = run._refresh()
    if call.out.as_json:
        call.out.json(record)
        return 0
    call.out.say(run.id)
    for warning in record.get("warnings") or []:
        call.out.note("warning: " + warning)
    call.out.note("follow it:  runyard run logs -f {}\nits page:   {}".format(run.id, record["portal_url"]))
    return 0


def _check(call: Call, spec: "RunSpec") -> int:
    from runyard.protocol.codec import to_json

    checked = call.transport.call("POST", "/runs/check", json=to_json(spec))
    warnings, script = checked["warnings"], checked.get("script") or ""
    if call.out.as_json:
        call.out.json({"spec": to_json(spec), "warnings": warnings, "script": script})
        return 0
    call.out.fields(_spec_fields(spec))
    for warning in warnings:
        call.out.say("warning      " + warning)
    if script:
        call.out.say("\nThe script that its engine would get:\n\n" + script)
    call.out.say("\nIt could be submitted. Nothing was.")
    return 0


def _spec_fields(spec: "RunSpec") -> List[Tuple[str, Any]]:
    environment = spec.environment
    packages = environment.pip_packages + environment.conda_packages
    gpus = {-1: "all of a node", -2: "what a node has", 0: None}.get(spec.gpus_per_node, spec.gpus_per_node)
    processes = spec.node_count * spec.distribution.process_count_per_node
    return [
        ("experiment", spec.experiment),
        ("source", "{}  (snapshot {})".format(spec.source_directory, spec.snapshot[:12])),
        ("command", command_text(spec.script, spec.command, spec.arguments)),
        ("target", spec.target),
        ("nodes", "{} ({})".format(spec.node_count, counted(processes, "process") + ("es" if processes > 1 else ""))),
        ("gpus", gpus),
        ("environment", environment_text(to_plain(environment))),
        ("packages", ", ".join(packages)),
        ("variables", ", ".join(sorted(environment.variables))),
        ("data", "\n".join("{}: {}/{} ({})".format(d.name, d.datastore, d.path, d.mode) for d in spec.data_references)),
        ("priority", spec.priority or None),
        ("at most", duration(spec.max_run_duration_s)),
        ("attempts", attempts_text(to_plain(spec.retry))),
        ("tags", pairs_text(spec.tags)),
    ]


def to_plain(value: Any) -> Any:
    """A dataclass of the protocol as plain values."""
    from runyard.protocol.codec import to_json

    return to_json(value)


def command_text(script: Optional[str], command: List[str], arguments: List[str]) -> str:
    """A run's command as it would be typed."""
    import shlex

    return " ".join(shlex.quote(word) for word in (command or [script or ""] + arguments))


def attempts_text(retry: Any) -> Optional[str]:
    """How often a run is tried, and after what; None for once."""
    if retry["max_attempts"] == 1:
        return None
    return "up to {}, after {}".format(retry["max_attempts"], ", ".join(list(LOSSES) + retry["causes"]))


def environment_text(environment: Any) -> str:
    """An environment on one line: its name, its interpreter or its framework and Python."""
    words = []
    if environment["name"]:
        words.append(environment["name"] + (":" + environment["version"] if environment["version"] else ""))
    if environment["user_managed"]:
        words.append("interpreter {}".format(environment["interpreter"] or "python"))
        return ", ".join(words)
    if environment["framework"]:
        words.append(" ".join(part for part in (environment["framework"], environment["framework_version"]) if part))
    if environment["python_version"]:
        words.append("Python " + environment["python_version"])
    packages = len(environment["pip_packages"]) + len(environment["conda_packages"])
    if packages:
        words.append(counted(packages, "package"))
    if environment.get("packages_as_of"):
        words.append("as of " + environment["packages_as_of"])
    return ", ".join(words) or "plain Python"
