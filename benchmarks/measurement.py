"""What a benchmark gives: measures, figures with their spread, and the targets they are held to."""

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers import PeerEnvironments, PeerUnavailable

if TYPE_CHECKING:
    from runyard import Workspace

RUNYARD = "runyard"


@dataclass(frozen=True)
class Target:
    """What our figure must reach: at worst ``factor`` times the floor's, and ``bound`` by itself."""

    factor: float | None = None
    bound: float | None = None


@dataclass(frozen=True)
class Measure:
    """One quantity of a benchmark.

    Attributes:
        name: what is measured, a column's head.
        unit: "ms", "points/s"...
        more_is_better: whether a greater figure is the better one (rates), or a smaller (times, sizes).
        target: what ours must reach, or None where nothing is asked.
    """

    name: str
    unit: str
    more_is_better: bool = False
    target: Target | None = None


@dataclass(frozen=True)
class Figure:
    """The repetitions of one measure by one subject, in the measure's unit."""

    subject: str
    measure: str
    samples: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def spread(self) -> tuple[float, float]:
        """The middle half of the samples, or all of them where there are fewer than four."""
        if len(self.samples) < 4:
            return min(self.samples), max(self.samples)
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return low, high


@dataclass(frozen=True)
class Absent:
    """A subject that gave no figure, and why."""

    subject: str
    reason: str


Outcome = Figure | Absent


@dataclass
class Bench:
    """Where and how large a benchmark runs. ``scratch`` is a folder of its own, deleted afterwards.

    ``workspace``: one for all benchmarks, where it is asked whether they run, not how quickly; else each makes its own.
    """

    quick: bool
    scratch: Path
    peers: PeerEnvironments
    workspace: "Workspace | None" = None
    _folders: int = field(default=0, init=False)

    def sized(self, full: int, quick: int) -> int:
        """``full`` in a real run, ``quick`` with ``--quick``."""
        return quick if self.quick else full

    def folder(self, name: str) -> Path:
        """A new empty folder."""
        self._folders += 1
        path = self.scratch / f"{self._folders:03d}-{name}"
        path.mkdir(parents=True)
        return path

    def discard(self, folder: Path) -> None:
        """Gives a folder's space back early: the artifact benchmarks would otherwise fill the disk.

        Its files are emptied, and deleted with the scratch folder when all is measured: ext4 passes over the inodes
        that were deleted in the last minutes one by one whenever it makes a file, so that after some ten thousand
        deletions `cp -r` makes a file in a millisecond instead of in 50 microseconds.
        """
        for path in folder.rglob("*"):
            if path.is_file():
                os.truncate(path, 0)


def figures(subject: str, samples: Mapping[str, Sequence[float]], note: str = "") -> list[Outcome]:
    """Figures of one subject from ``{measure name: samples}``."""
    return [Figure(subject, measure, tuple(values), note) for measure, values in samples.items()]


def measured(
    bench: Bench, subject: str, peer: str, program: str, *arguments: object, alone: bool = False, note: str = ""
) -> list[Outcome]:
    """Runs a peer's program in its environment; it reports ``{measure name: samples}``.

    ``alone`` runs it in namespaces of its own. A peer that cannot be installed or fails is told as Absent, never left out.
    """
    try:
        result = bench.peers.run(peer, program, [str(value) for value in arguments], bench.folder(peer), alone)
    except PeerUnavailable as unavailable:
        return [Absent(subject, str(unavailable))]
    return figures(f"{subject} {bench.peers.version(peer)}", result, note)
