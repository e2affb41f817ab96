"""``runyard compute``: compute targets."""

from typing import Any, Dict, List, Optional

from runyard.cli.call import Call
from runyard.cli.output import Column, local_time, one_line, pairs_text
from runyard.cli.parsing import Commands, add_pairs, whole_number

MOST_WAITING = 20  # runs of which it is told why

_OWN_DISKS = [
    ("scratch", "FOLDER", "of each node's own disk, for nodes that do not see the server's folder"),
    ("uv", "PROGRAM", "with --scratch: what builds environments there (default: the one on PATH, else the server's)"),
]


def add(commands: Commands) -> None:
    """Adds ``compute``."""
    noun = commands.noun(
        "compute",
        "list, create, change and delete compute targets",
        "runyard compute create gpucluster --vm-size STANDARD_NC6 --max-nodes 4\nrunyard compute show gpucluster",
    )
    noun.verb("list", list_, "compute targets, and what they do now")
    parser = noun.verb("show", show, "a compute target and its nodes in use")
    parser.add_argument("name", metavar="NAME", help="the compute target")
    parser = noun.verb("create", create, "create a compute target, or change one of the same kind of node")
    parser.add_argument("name", metavar="NAME", help="its name")
    _add_size(parser)
    parser.add_argument("--vm-size", metavar="SIZE", default="", help="the kind of node, as `compute sizes` lists them")
    parser.add_argument("--vm-priority", metavar="WORD", default="dedicated", help="dedicated (default) or lowpriority")
    parser.add_argument("--executor", metavar="NAME", help="who provides the nodes (default: the workspace's own)")
    parser.add_argument(
        "--strict", action="store_true", help="refuse runs where there are fewer GPUs than the size says"
    )
    parser.add_argument("--description", metavar="TEXT", help="what people should know of it")
    add_pairs(parser, "--tag", "a tag; may be repeated")
    _add_slurm(parser)
    parser = noun.verb("attach", attach, "attach a Ray cluster that runs already (docs/ray.md)")
    _add_ray(parser)
    parser = noun.verb("update", update, "change how many nodes a compute target may have")
    parser.add_argument("name", metavar="NAME", help="the compute target")
    _add_size(parser)
    parser = noun.verb("delete", delete, "delete a compute target that no unfinished run uses")
    parser.add_argument("name", metavar="NAME", help="the compute target")
    noun.verb("sizes", sizes, "the kinds of node that --vm-size takes")
    noun.describe()


def _add_slurm(parser: Any) -> None:
    group = parser.add_argument_group("with --executor slurm, what is asked of Slurm for each run (docs/slurm.md)")
    for name, metavar, text in [
        ("partition", "NAME", "default: the cluster's own"),
        ("account", "NAME", "who pays"),
        ("qos", "NAME", "the quality of service"),
        ("constraint", "FEATURES", "features that each node must have"),
        ("reservation", "NAME", "the reservation to run in"),
        ("gres", "LIST", "what each node has: gpu:a100:4 says how many GPUs, of which a run gets what it asks for"),
        ("time", "LIMIT", "minutes, or days-hours:minutes:seconds, after which Slurm ends a run"),
        ("python", "PROGRAM", "what starts the job on a node: Python 3.7 or later (default: python3)"),
        *_OWN_DISKS,
    ]:
        group.add_argument("--" + name, metavar=metavar, help=text)
    for name, text in [
        ("cpus-per-node", "processors of each node (default: what --vm-size says, else the partition's)"),
        ("memory-mb", "memory of each node (default: what --vm-size says, else the partition's)"),
    ]:
        group.add_argument("--" + name, metavar="N", type=whole_number(1), help=text)
    group.add_argument("--exclusive", action="store_true", help="whole nodes")
    group.add_argument("--max-jobs", metavar="N", type=whole_number(1), help="runs with Slurm at a time (default: 100)")
    group.add_argument(
        "--setup", metavar="LINE", action="append", default=[], help="shell before a run; may be repeated"
    )
    group.add_argument(
        "--sbatch", metavar="OPTION", action="append", default=[], help="--sbatch=--nice=10; may be repeated"
    )


def _add_ray(parser: Any) -> None:
    parser.add_argument("name", metavar="NAME", help="its name here")
    parser.add_argument("--address", metavar="URL", required=True, help="of the cluster's dashboard: http://head:8265")
    parser.add_argument(
        "--token-file", metavar="FILE", help="holds the cluster's token (default: the variable RAY_AUTH_TOKEN, if set)"
    )
    parser.add_argument("--max-nodes", metavar="N", type=whole_number(1), help="the most that one run may ask for")
    parser.add_argument("--vm-size", metavar="SIZE", default="", help="what a run gets of each node")
    for name, text in [
        ("cpus-per-node", "processors of each node (default: what --vm-size says, else one)"),
        ("gpus-per-node", "GPUs of each node (default: what --vm-size says)"),
        ("memory-mb", "memory of each node"),
    ]:
        parser.add_argument("--" + name, metavar="N", type=whole_number(1), default=0, help=text)
    add_pairs(parser, "--resource", "of the cluster's own: fast-disk=1; may be repeated")
    parser.add_argument("--python", metavar="COMMAND", default="python", help="the cluster's Python (default: python)")
    for name, metavar, text in _OWN_DISKS:
        parser.add_argument("--" + name, metavar=metavar, default="", help=text)
    parser.add_argument(
        "--max-jobs", metavar="N", type=whole_number(1), default=20, help="runs with Ray at a time (default: 20)"
    )
    parser.add_argument("--description", metavar="TEXT", help="what people should know of it")
    add_pairs(parser, "--tag", "a tag; may be repeated")


def _slurm_options(given: Any) -> Dict[str, Any]:
    """What was said of Slurm, by the names of ``SlurmCompute.provisioning_configuration``."""
    said = {
        "partition": given.partition,
        "account": given.account,
        "qos": given.qos,
        "constraint": given.constraint,
        "reservation": given.reservation,
        "gres": given.gres,
        "time_limit": given.time,
        "python": given.python,
        "scratch": given.scratch,
        "uv": given.uv,
        "cpus_per_node": given.cpus_per_node,
        "memory_mb": given.memory_mb,
        "exclusive": given.exclusive,
        "max_jobs": given.max_jobs,
        "setup": given.setup,
        "options": given.sbatch,
    }
    return {name: value for name, value in said.items() if value}


def _add_size(parser: Any, required: bool = False) -> None:
    parser.add_argument(
        "--max-nodes", metavar="N", type=whole_number(1), required=required, help="nodes that there are at most"
    )
    parser.add_argument("--min-nodes", metavar="N", type=whole_number(0), help="nodes that there always are")
    parser.add_argument(
        "--idle-seconds", metavar="N", type=whole_number(0), help="when an idle node goes, where nodes cost something"
    )


def list_(call: Call) -> int:
    """Lists compute targets."""
    found: List[Dict[str, Any]] = call.transport.call("GET", "/computes")
    if call.out.as_json:
        call.out.json(found)
        return 0
    columns = [Column("COMPUTE"), Column("STATE"), Column("NODES", right=True), Column("IN USE", right=True)]
    columns += [Column("GPUS", right=True), Column("SIZE", shrinks=True), Column("EXECUTOR", shrinks=True)]
    rows = [
        (
            record["spec"]["name"],
            record["provisioning_state"],
            _nodes(record),
            record["nodes_running"],
            record["gpus_per_node"] or "",
            record["spec"]["vm_size"],
            record["executor"],
        )
        for record in found
    ]
    call.out.table(columns, rows)
    return 0


def show(call: Call) -> int:
    """Shows one compute target."""
    from runyard.transport.base import url_path

    record = call.transport.call("GET", url_path("computes", call.given.name))
    nodes = call.transport.call("GET", url_path("computes", call.given.name, "nodes"))
    waiting = _waiting(call, record["spec"]["name"])
    if call.out.as_json:
        call.out.json(dict(record, nodes=nodes, waiting=waiting))
        return 0
    spec = record["spec"]
    call.out.fields(
        [
            ("compute", spec["name"]),
            ("state", record["provisioning_state"]),
            ("executor", record["executor"]),
            ("size", spec["vm_size"]),
            ("gpus", "{} on each node".format(record["gpus_per_node"]) if record["gpus_per_node"] else None),
            ("nodes", "{} ({})".format(_nodes(record), _states(record))),
            ("slurm", pairs_text(_asked_of_engine(spec.get("slurm") or {}))),
            ("ray", pairs_text(_asked_of_engine(spec.get("ray") or {}))),
            ("created", local_time(record["created_at"]) if record["created_at"] else None),
            ("description", spec["description"]),
            ("tags", pairs_text(spec["tags"])),
            ("warnings", "\n".join(record["warnings"])),
            ("errors", "\n".join(record["errors"])),
        ]
    )
    if nodes:
        call.out.say()
        rows = [(node["name"], node["state"], ",".join(map(str, node["gpus"])), node["run_id"]) for node in nodes]
        call.out.table([Column("NODE"), Column("STATE"), Column("GPUS"), Column("RUN")], rows)
    if waiting:
        call.out.say()
        lines = [(each["run_id"], local_time(each["since"]) or "", one_line(each["reason"])) for each in waiting]
        call.out.table([Column("WAITING"), Column("SINCE"), Column("FOR", shrinks=True)], lines)
    return 0


def _waiting(call: Call, name: str) -> List[Dict[str, Any]]:
    """The runs that wait for nodes of a target, the longest there first, with why and since when."""
    from runyard.transport.base import url_path

    waits = 'target = "{}" and status = Queued'.format(name)
    query = {"filter": waits, "sort": "submitted", "include_children": "true", "limit": MOST_WAITING}
    found = []
    for run in call.transport.call("GET", "/run-table", query=query)["runs"]:
        why = call.transport.call("GET", url_path("runs", run["id"], "why"))
        if why["status"] == "Queued":
            found.append({"run_id": run["id"], "since": why.get("since"), "reason": why["reason"]})
    return found


def create(call: Call) -> int:
    """Creates a compute target."""
    from runyard.compute import AmlCompute, ComputeTarget

    given = call.given
    slurm = _slurm_options(given)
    if given.executor == "slurm" or (slurm and given.executor is None):
        from runyard.slurm_compute import SlurmCompute

        asked = SlurmCompute.provisioning_configuration(
            max_nodes=given.max_nodes,
            vm_size=given.vm_size,
            tags=dict(given.tag),
            description=given.description,
            **slurm,
        )
        return _told(call, ComputeTarget.create(call.workspace, given.name, asked), "{} is ready: {} nodes.")
    if slurm:
        from runyard.errors import ComputeTargetException

        raise ComputeTargetException("{} is for --executor slurm alone.".format(", ".join(sorted(slurm))))
    configuration = AmlCompute.provisioning_configuration(
        vm_size=given.vm_size,
        vm_priority=given.vm_priority,
        min_nodes=given.min_nodes or 0,
        max_nodes=given.max_nodes,
        idle_seconds_before_scaledown=1800 if given.idle_seconds is None else given.idle_seconds,
        tags=dict(given.tag),
        description=given.description,
        executor=given.executor,
        strict=given.strict,
    )
    target = ComputeTarget.create(call.workspace, given.name, configuration)
    return _told(call, target, "{} is ready: {} nodes.")


def attach(call: Call) -> int:
    """Attaches a Ray cluster."""
    from runyard.compute import ComputeTarget
    from runyard.ray_compute import RayCompute

    given = call.given
    asked = RayCompute.attach_configuration(
        address=given.address,
        token=_token(given.token_file),
        max_nodes=given.max_nodes,
        vm_size=given.vm_size,
        cpus_per_node=given.cpus_per_node,
        gpus_per_node=given.gpus_per_node,
        memory_mb=given.memory_mb,
        resources=_amounts(dict(given.resource)),
        python=given.python,
        scratch=given.scratch,
        uv=given.uv,
        max_jobs=given.max_jobs,
        tags=dict(given.tag),
        description=given.description,
    )
    return _told(call, ComputeTarget.attach(call.workspace, given.name, asked), "{} is attached: {} nodes.")


def _token(path: Optional[str]) -> Optional[str]:
    """A cluster's token: never on the command line, which every user of the machine can read."""
    import os

    if path is None:
        return os.environ.get("RAY_AUTH_TOKEN") or None
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            return file.read().strip()
    except OSError as fault:
        from runyard.errors import ComputeTargetException

        raise ComputeTargetException("The token cannot be read: {}".format(fault)) from fault


def _amounts(given: Dict[str, str]) -> Dict[str, float]:
    try:
        return {name: float(amount) for name, amount in given.items()}
    except ValueError:
        from runyard.errors import ComputeTargetException

        raise ComputeTargetException("--resource takes NAME=NUMBER.") from None


def update(call: Call) -> int:
    """Changes a compute target's size."""
    from runyard.compute import AmlCompute

    given = call.given
    target = AmlCompute(call.workspace, given.name)
    target.update(given.min_nodes, given.max_nodes, given.idle_seconds)
    return _told(call, target, "{} has {} nodes.")


def delete(call: Call) -> int:
    """Deletes a compute target."""
    from runyard.transport.base import url_path

    call.transport.call("DELETE", url_path("computes", call.given.name))
    if call.out.as_json:
        call.out.json({"name": call.given.name, "deleted": True})
    else:
        call.out.say("{} is deleted.".format(call.given.name))
    return 0


def sizes(call: Call) -> int:
    """Lists kinds of node."""
    found = call.transport.call("GET", "/vm_sizes")
    if call.out.as_json:
        call.out.json(found)
        return 0
    columns = [Column("SIZE"), Column("CPUS", right=True), Column("MEMORY", right=True), Column("GPUS", right=True)]
    rows = [(each["name"], each["cpus"], "{:g} GB".format(each["memory_gb"]), each["gpus"] or "") for each in found]
    call.out.table(columns, rows)
    return 0


def _told(call: Call, target: Any, text: str) -> int:
    from runyard.protocol.codec import to_json

    record = to_json(target._record)
    if call.out.as_json:
        call.out.json(record)
        return 0
    call.out.say(text.format(target.name, _nodes(record)))
    for warning in record["warnings"]:
        call.out.note("warning: " + warning)
    return 0


def _states(record: Dict[str, Any]) -> str:
    """How many nodes are in which state; of those that there need not be any, only where there are."""
    words = ["{} in use".format(record["nodes_running"]), "{} idle".format(record["nodes_idle"])]
    for state in ("preparing", "leaving", "unusable"):
        if record["nodes_" + state]:
            words.append("{} {}".format(record["nodes_" + state], state))
    return ", ".join(words)


def _asked_of_engine(options: Dict[str, Any]) -> Dict[str, str]:
    return {
        name: _option_text(value)
        for name, value in options.items()
        if value and name != "token" and not (name == "python" and value in ("python", "python3"))
    }


def _option_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join("{} {:g}".format(name, amount) for name, amount in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def _nodes(record: Dict[str, Any]) -> str:
    spec = record["spec"]
    if spec["min_nodes"]:
        return "{} to {}".format(spec["min_nodes"], spec["max_nodes"])
    return "up to {}".format(spec["max_nodes"])
