"""The batch script of a run: what is asked of Slurm, and what it does on the nodes that it gets."""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from runyard.errors import ComputeTargetException
from runyard.job import bootstrap, task
from runyard.protocol.codec import to_json
from runyard.protocol.compute import ComputeSpec, SlurmSpec
from runyard.protocol.jobs import NodeInvitation
from runyard_server.domain.gres import job_gres
from runyard_server.domain.vm_sizes import vm_size

NO_FOLDER, NOT_MINE, OLD_PYTHON = 71, 72, 73  # exit codes of the script itself
CODE_FILE = "step.code"  # in a node's directory: what srun said of its step
GRACE_MIN = 5  # beyond a run's own limit, for fetching and collecting

_PLAIN = re.compile(r"[\w.,:/@+=*-]+")
_FORBIDDEN = re.compile(r'["\\`$\x00-\x1f\x7f]')
# Options that would take the script's own ones back, or make several jobs of one.
_OURS: tuple[str, ...] = (
    "--array",
    "-a",
    "--requeue",
    "--nodes",
    "-N",
    "--ntasks",
    "-n",
    "--ntasks-per-node",
    "--wrap",
    "--job-name",
)
_OURS += ("-J", "--output", "-o", "--error", "-e", "--chdir", "-D", "--input", "-i", "--export", "--parsable")

# What is in braces is filled in; the rest is for people to read who look for a job's script.
_BODY = """\
cd {folder} || exit {no_folder}
exec >>{name}.log 2>&1
# One Slurm job for one attempt: another one that was submitted for it, by a server that then died, leaves at once.
(set -C && echo "$SLURM_JOB_ID" >{name}.job) 2>/dev/null || [ "$(cat {name}.job)" = "$SLURM_JOB_ID" ] || exit {not_mine}
{setup}export PYTHONPATH={sdk}
export {hosts}="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | tr '\\n' ' ')"
export {step}=SLURM_JOB_ID.SLURM_STEP_ID
# One step for each node: its job is watched, ended and told of by itself.
on_node() {{
    srun --nodes=1 --ntasks=1 --relative="$1" --chdir=/ --mpi=none --cpu-bind=none --kill-on-bad-exit=0 --input=none \\
        {python} -S -m runyard.job.task "$2"
    code=$?
    echo $code >"$2/{code_file}"
    return $code
}}
node=0
for directory in {directories}; do
    on_node $node "$directory" &
    steps="$steps $!"
    node=$((node + 1))
done
worst=0
for step in $steps; do
    wait $step || worst=$?
done
[ -e "$directory/{where}" ] || {python} -c 'import sys; sys.exit(sys.version_info < (3, 7))' || exit {old_python}
exit $worst
"""


_BODY_AWAY = """\
{setup}{python} -c 'import sys; sys.exit(sys.version_info < (3, 7))' || exit {old_python}
export {hosts}="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | tr '\\n' ' ')"
export {step}=SLURM_JOB_ID.SLURM_STEP_ID
# One step for each node, which comes to the server for its job: what it shows there is on its input, good for once.
on_node() {{
    srun --nodes=1 --ntasks=1 --relative="$1" --chdir=/ --mpi=none --cpu-bind=none --kill-on-bad-exit=0 --input=all \\
        {python} -S -c "$bootstrap"
    code=$?
    # A step that was killed has said nothing, and the others may wait for it for ever: they are asked to end.
    [ $code -le 128 ] || scancel --signal=TERM "$SLURM_JOB_ID"
    return $code
}}
bootstrap={bootstrap}
{nodes}worst=0
for step in $steps; do
    wait $step || worst=$?
done
exit $worst
"""

_NODE_AWAY = """\
on_node {number} <<'END' &
{invitation}
END
steps="$steps $!"
"""


def batch_script(
    target: ComputeSpec,
    job_name: str,
    folder: str,
    file_name: str,
    sdk_path: str,
    directories: Sequence[str],
    gpus_per_node: int,
    max_run_duration_s: int | None,
    invitations: Sequence[NodeInvitation] = (),
) -> str:
    """The script that starts ``runyard.job.task`` once on each node.

    Args:
        folder: the attempt's, which holds ``file_name``.log and .job.
        directories: of the nodes, by node.
        invitations: of the nodes, where they do not see the folder.
    """
    slurm = target.slurm or SlurmSpec()
    asked = _header(target, slurm, job_name, len(directories), gpus_per_node, max_run_duration_s)
    setup = "".join(line + "\n" for line in slurm.setup)
    if invitations:
        return asked + _body_away(slurm, setup, invitations)
    return asked + _BODY.format(
        folder=shlex.quote(folder),
        name=file_name,
        no_folder=NO_FOLDER,
        not_mine=NOT_MINE,
        old_python=OLD_PYTHON,
        setup=setup,
        python=shlex.quote(slurm.python),
        sdk=shlex.quote(sdk_path),
        hosts=task.HOSTS,
        step=task.STEP,
        code_file=CODE_FILE,
        where=task.WHERE_FILE,
        directories=" ".join(shlex.quote(directory) for directory in directories),
    )


def kind_of(script: str) -> str:
    """What a batch script asks for, whichever run it is of."""
    asked = [line for line in script.splitlines() if line.startswith("#SBATCH ")]
    return "\n".join(line for line in asked if not line.startswith("#SBATCH --job-name="))


def trial_script(target: ComputeSpec) -> str:
    """One that asks for what every run of the target asks for, for Slurm to judge; it does nothing."""
    return _header(target, target.slurm or SlurmSpec(), "trial", 1, 0, None) + "exit 0\n"


def _header(
    target: ComputeSpec,
    slurm: SlurmSpec,
    job_name: str,
    node_count: int,
    gpus_per_node: int,
    max_run_duration_s: int | None,
) -> str:
    """What is asked of Slurm."""
    asked = [
        ("job-name", job_name),
        ("nodes", str(node_count)),
        ("ntasks-per-node", "1"),
        ("partition", slurm.partition),
        ("account", slurm.account),
        ("qos", slurm.qos),
        ("constraint", slurm.constraint),
        ("reservation", slurm.reservation),
        ("gres", job_gres(slurm.gres, gpus_per_node)),
        ("time", _time_limit(slurm.time_limit_min, max_run_duration_s)),
        *_shape(target, slurm),
        ("chdir", "/"),
        ("output", "/dev/null"),
        ("export", "ALL"),
    ]
    lines = ["#!/bin/sh"]
    lines += [f"#SBATCH --{name}={_quoted(value)}" for name, value in asked if value]
    lines += ["#SBATCH --exclusive"] if slurm.exclusive else []
    lines += [f"#SBATCH {option}" for option in slurm.options]
    lines.append("#SBATCH --no-requeue")  # last: a second try is an attempt of ours, with a number of its own
    return "\n".join(lines) + "\n"


def _body_away(slurm: SlurmSpec, setup: str, invitations: Sequence[NodeInvitation]) -> str:
    told = [json.dumps(to_json(invitation)) for invitation in invitations]
    return _BODY_AWAY.format(
        old_python=OLD_PYTHON,
        setup=setup,
        python=shlex.quote(slurm.python),
        hosts=task.HOSTS,
        step=task.STEP,
        bootstrap=shlex.quote(Path(bootstrap.__file__).read_text(encoding="utf-8")),
        nodes="".join(_NODE_AWAY.format(number=place, invitation=line) for place, line in enumerate(told)),
    )


def check_options(slurm: SlurmSpec) -> None:
    """Raises ComputeTargetException for what cannot stand in a batch script."""
    for name in ("partition", "account", "qos", "constraint", "reservation", "gres"):
        value = getattr(slurm, name)
        if value is not None and (not value or _FORBIDDEN.search(value)):
            raise ComputeTargetException(
                f"{name} is what sbatch's --{name} takes, without quotes, backslashes and line ends; this is {value!r}."
            )
    own_disk = [text for text in (slurm.scratch, slurm.uv) if text]
    for line in [*slurm.options, *slurm.setup, slurm.python, *own_disk]:
        if "\n" in line or "\r" in line or "\0" in line or not line.strip():
            raise ComputeTargetException(f"Each option and each line of setup is one line; this is {line!r}.")
    for option in slurm.options:
        word = re.split(r"[=\s]", option, maxsplit=1)[0]
        if not option.startswith("-") or word in _OURS:
            raise ComputeTargetException(
                f"{option!r} cannot be among the options: each begins with '-', and those that runyard sets itself "
                f"({', '.join(each for each in _OURS if each.startswith('--'))}) stay as they are."
            )
    numbers = [("cpus_per_node", slurm.cpus_per_node, 0), ("memory_mb", slurm.memory_mb, 0)]
    numbers += [("max_jobs", slurm.max_jobs, 1), ("time_limit_min", slurm.time_limit_min or 1, 1)]
    for name, number, least in numbers:
        if number < least:
            raise ComputeTargetException(f"{name} is {least} or more; this is {number}.")


def shape_of(target: ComputeSpec) -> tuple[int, int]:
    """Processors and megabytes that each node is asked to have; 0 where nothing was said."""
    slurm = target.slurm or SlurmSpec()
    size = vm_size(target.vm_size)
    cpus, memory_mb = (size.cpus, int(size.memory_gb * 1000)) if size is not None else (0, 0)
    return slurm.cpus_per_node or cpus, slurm.memory_mb or memory_mb


def _shape(target: ComputeSpec, slurm: SlurmSpec) -> list[tuple[str, str]]:
    cpus, memory_mb = shape_of(target)
    return [("cpus-per-task", str(cpus) if cpus else ""), ("mem", f"{memory_mb}M" if memory_mb else "")]


def _time_limit(limit_min: int | None, max_run_duration_s: int | None) -> str:
    """The target's limit, or what the run itself needs: a job that says when it ends is fitted in earlier."""
    needed = None if max_run_duration_s is None else -(-max_run_duration_s // 60) + GRACE_MIN
    found = [limit for limit in (limit_min, needed) if limit is not None]
    return str(min(found)) if found else ""


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else f'"{value}"'
