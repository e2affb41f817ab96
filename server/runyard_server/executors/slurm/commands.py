"""Slurm's commands: how they are called, and what they print as values."""

import getpass
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runyard_server.executors.base import EngineAwayError, StartFailedError
from runyard_server.executors.local import inherited

_TIMEOUT_S = 20.0  # with the controller dead a command gives up by itself after some seconds
_COLUMNS = {
    "JobID": 24,
    "State": 24,
    "exit_code": 12,
    "Reason": 120,
    "StartTime": 24,
    "Name": 400,
    "PreemptTime": 24,
    "NodeList": 400,
}
_NO_TIME = ("N/A", "Unknown", "None", "NONE")
_AWAY = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Connection refused",
    "Zero Bytes were transmitted",
    "Slurm backup controller in standby mode",
    "Slurmctld could not be",
    "Protocol authentication error",
    "Communication connection failure",
    "Resource temporarily unavailable",
    "Job submission temporarily disabled",
    "slurm_persist_conn_open",
)
# A limit on jobs in the queue, unlike all others, lets none in that would wait: QOSMaxSubmitJobPerUserLimit ...
_NO_MORE = re.compile(r"\b(?:QOS|Assoc|Max)\w*SubmitJob\w*")
# What Slurm says of an option that a target is not to have, and which one that is.
_REFUSALS = {
    "Invalid account": "account",
    "Invalid qos": "qos",
    "Invalid feature": "constraint",
    "reservation is invalid": "reservation",
}
_DIGITS = re.compile(r"[0-9]{1,12}")
_ERROR_LINE = re.compile(r"^\w+: (?:error|fatal): |^slurm_load_\w+ error: |^slurm_load_\w+: ")
# A server that is itself a job of some cluster must not hand its own place there on.
_OWN_PREFIXES = ("SLURM_", "SBATCH_", "SQUEUE_", "SINFO_", "SCANCEL_", "SALLOC_", "SRUN_")


@dataclass(frozen=True)
class Seen:
    """A job as Slurm shows it.

    Attributes:
        exit_code, signal: of its batch script; both 0 where it ended well or goes on.
        start: when it is expected to start, as Slurm prints it; "" where it does not know.
        nodes: those that it has, as Slurm writes lists of them: "n[1-3]".
        is_preempted: whether its nodes were taken for another job, however it ended then.
    """

    state: str
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    start: str = ""
    name: str = ""
    is_preempted: bool = False
    nodes: str = ""


@dataclass(frozen=True)
class Node:
    """A node of a partition. ``gres`` as Slurm prints it."""

    name: str
    state: str
    cpus: int
    memory_mb: int
    gres: str
    features: frozenset[str]


@dataclass(frozen=True)
class Partition:
    """A partition. ``time_limit_min`` and ``max_nodes`` None: without limit."""

    name: str
    is_default: bool
    is_up: bool
    time_limit_min: int | None
    max_nodes: int | None


class NoMoreJobsError(EngineAwayError):
    """A limit on jobs in Slurm's queue is reached; when some have ended, there is room again."""


class Commands:
    """Calls Slurm. ``calls`` counts how often, by command."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    @property
    def missing(self) -> str:
        """A command that is not on this server's PATH; "" where all are."""
        needed = ("sbatch", "squeue", "scancel", "sinfo", "scontrol")
        return next((name for name in needed if shutil.which(name) is None), "")

    def submit(self, script: str) -> str:
        """Submits a batch script; the job's id.

        Raises:
            StartFailedError: Slurm refuses it.
            NoMoreJobsError: Slurm refuses it for now.
            EngineAwayError: as all of them, where Slurm does not answer.
        """
        done = self._call(["sbatch", "--parsable"], script)
        if done.returncode != 0:
            said = _said(done)
            limit = _NO_MORE.search(said)
            if limit:
                raise NoMoreJobsError(
                    f"Slurm takes no more jobs until some have ended ({limit[0]}). With a lower max_jobs of the compute "
                    "target, runs wait here, by their priority."
                )
            raise StartFailedError(f"Slurm refused the job: {said}{self._correction(said)}")
        return done.stdout.strip().split(";")[0]  # a cluster's name may follow

    def refusal(self, script: str) -> str:
        """Why Slurm would take no job with a batch script's account, QoS, constraint or reservation, and what to do."""
        said = _said(self._call(["sbatch", "--test-only"], script))
        correction = self._correction(said)  # what else it says may be so now, and not be later
        return said.replace("allocation failure: ", "") + correction if correction else ""

    def _correction(self, said: str) -> str:
        option = next((option for words, option in _REFUSALS.items() if words in said), None)
        if option is None:
            return ""
        words = f". Correct {option}=... of the compute target"
        return words + (f"; {self._may_use()}" if option in ("account", "qos") else "") + "."

    def _may_use(self) -> str:
        """The accounts and QoS that Slurm lets this user have."""
        user = getpass.getuser()
        look = f"`sacctmgr show associations user={user}` shows what {user} may use"
        asked = ["sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={user}"]
        try:
            config = self._call(["scontrol", "show", "config"]).stdout
            cluster = re.search(r"^ClusterName\s*=\s*(\S+)", config, re.MULTILINE)
            done = self._call([*asked, *([f"cluster={cluster[1]}"] if cluster else []), "format=Account,Partition,QOS"])
        except EngineAwayError:
            return look  # this only explains what Slurm has said already
        if done.returncode != 0:
            return look
        found = []
        for line in sorted(set(done.stdout.split())):
            account, partition, qos = (line.split("|") + ["", ""])[:3]
            found.append(
                f"account {account}" + (f" in partition {partition}" if partition else "") + f" with QoS {qos}"
            )
        return f"{user} may use {'; '.join(found) or 'no account'}"

    def jobs(self) -> dict[str, Seen]:
        """This user's jobs that Slurm remembers, by id: one look, however many there are."""
        wanted = ",".join(f"{name}:.{width}" for name, width in _COLUMNS.items())
        done = self._checked(["squeue", "--noheader", "--states=all", "--user", getpass.getuser(), "--Format", wanted])
        return dict(_job(line) for line in done.splitlines() if line.strip())

    def ended_jobs(self, numbers: Iterable[str]) -> dict[str, Seen]:
        """Those of the jobs that Slurm's accounting knows, by id; nothing where it keeps no accounts."""
        if shutil.which("sacct") is None:
            return {}
        fields = "JobIDRaw,State,ExitCode"  # its Reason is what a job last waited for, not why it ended
        asked = ["sacct", "--noheader", "--parsable2", "--allocations", "--jobs", ",".join(numbers)]
        done = self._call([*asked, f"--format={fields}"])
        if done.returncode != 0:  # "Slurm accounting storage is disabled"
            return {}
        found = {}
        for line in done.stdout.splitlines():
            number, state, ended = (line.split("|") + ["", ""])[:3]
            code, _, by_signal = ended.partition(":")
            found[number] = Seen(state, _number(code), _number(by_signal))
        return found

    def cancel(self, steps: Sequence[str], how: Sequence[str] = ()) -> None:
        """Ends jobs or single steps of them, with any further options of ``scancel``."""
        done = self._call(["scancel", *how, *steps])
        said = _said(done)
        if done.returncode != 0 and "Invalid job id" not in said and "already completing" not in said.lower():
            self._raise_if_away(done)
            raise EngineAwayError(f"Slurm did not cancel {', '.join(steps)}: {said}")

    def node_states(self, nodes: str) -> dict[str, str]:
        """The state of each of the nodes that a list names ("n[1-3]"), by name."""
        shown = self._checked(["sinfo", "--noheader", "--Node", f"--nodes={nodes}", "--format", "%N|%T"])
        return dict(line.strip().split("|", 1) for line in shown.splitlines() if "|" in line)

    def nodes(self, partition: str | None) -> list[Node]:
        """The nodes of a partition, or of the default one."""
        argv = ["sinfo", "--noheader", "--Node", "--format", "%N|%T|%c|%m|%G|%f|%R"]
        found = []
        name = partition or self.default_partition()
        for line in self._checked(argv).splitlines():
            words = line.strip().split("|")
            if len(words) != 7:
                raise EngineAwayError(f"Slurm says of its nodes what is not understood: {line[:200]!r}.")
            node, state, cpus, memory, gres, features, of = words
            if of == name:
                present = frozenset(features.split(",")) - {"(null)"}
                found.append(Node(node, state, _number(cpus), _number(memory), gres.replace("(null)", ""), present))
        return found

    def default_partition(self) -> str | None:
        """Name of the partition that a job gets which names none."""
        return next((partition.name for partition in self.partitions() if partition.is_default), None)

    def partitions(self) -> list[Partition]:
        """Every partition that this user sees."""
        found = []
        for line in self._checked(["scontrol", "--oneliner", "show", "partition"]).splitlines():
            words = dict(word.split("=", 1) for word in line.split() if "=" in word)
            if "PartitionName" in words:
                most = words.get("MaxNodes", "UNLIMITED")
                found.append(
                    Partition(
                        name=words["PartitionName"],
                        is_default=words.get("Default") == "YES",
                        is_up=words.get("State", "UP") == "UP",
                        time_limit_min=minutes(words.get("MaxTime", "UNLIMITED")),
                        max_nodes=int(most) if _DIGITS.fullmatch(most) else None,
                    )
                )
        return found

    def _checked(self, argv: Sequence[str]) -> str:
        done = self._call(argv)
        if done.returncode != 0:
            raise EngineAwayError(f"Slurm does not answer: {_said(done)}")
        return done.stdout

    def _call(self, argv: Sequence[str], text: str = "") -> "subprocess.CompletedProcess[str]":
        self.calls[argv[0]] = self.calls.get(argv[0], 0) + 1
        try:
            done = subprocess.run(
                argv,
                input=text,
                capture_output=True,
                text=True,
                env=_environment(os.environ),
                timeout=_TIMEOUT_S,
                check=False,
            )
        except FileNotFoundError as fault:
            raise EngineAwayError(f"Slurm cannot be asked: this server has no {argv[0]} on its PATH.") from fault
        except subprocess.TimeoutExpired as fault:
            raise EngineAwayError(f"Slurm does not answer: {argv[0]} took more than {_TIMEOUT_S:.0f} s.") from fault
        self._raise_if_away(done)
        return done

    def _raise_if_away(self, done: "subprocess.CompletedProcess[str]") -> None:
        if done.returncode != 0 and any(words in done.stderr for words in _AWAY):
            raise EngineAwayError(f"Slurm does not answer: {_said(done)}")


def minutes(text: str) -> int | None:
    """A time limit as Slurm prints it (``[days-]hours:minutes:seconds``) in minutes; None for one without end."""
    days, _, rest = text.rpartition("-")
    parts = rest.split(":")
    if not all(_DIGITS.fullmatch(part) for part in [days or "0", *parts]) or len(parts) > 3:
        return None  # UNLIMITED, infinite, Partition_Limit
    seconds = 0
    for part in parts if len(parts) == 3 else ["0"] * (3 - len(parts)) + parts:
        seconds = 60 * seconds + int(part)
    return (int(days or 0) * 24 * 60) + -(-seconds // 60)


def signal_name(number: int) -> str:
    """ "SIGKILL" for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _job(line: str) -> tuple[str, Seen]:
    values, place = {}, 0
    for name, width in _COLUMNS.items():
        values[name] = line[place : place + width].strip()
        place += width
    status = _number(values["exit_code"])
    start, preempted = ("" if values[name] in _NO_TIME else values[name] for name in ("StartTime", "PreemptTime"))
    seen = Seen(
        state=values["State"],
        exit_code=status >> 8,
        signal=status & 0x7F,
        reason=values["Reason"],
        start=start,
        name=values["Name"],
        is_preempted=bool(preempted),
        nodes=values["NodeList"],
    )
    return values["JobID"], seen


def _environment(mine: Mapping[str, str]) -> dict[str, str]:
    kept = {"SLURM_CONF", "SLURM_CLUSTERS"}
    return {
        name: value for name, value in inherited(mine).items() if name in kept or not name.startswith(_OWN_PREFIXES)
    }


def _said(done: "subprocess.CompletedProcess[str]") -> str:
    """What a command said, without its own name before each line."""
    lines = [_ERROR_LINE.sub("", line).strip() for line in done.stderr.splitlines() if line.strip()]
    return "; ".join(lines).rstrip(".") or f"exit code {done.returncode}"


def _number(text: str) -> int:
    """ "2+" where nodes of one line differ."""
    return int(re.sub(r"\D", "", text) or 0)
