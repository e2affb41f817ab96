"""What a test of the lifecycle says in a line: a run that works, a job that hangs, time that passes."""

from pathlib import Path
from typing import Any

from runyard.protocol.runs import RunRecord
from runyard_server.testing.mortal_server import MortalWorld, sqlite_in
from runyard_server.testing.played_jobs import Play, PlayedJob


class Yard(MortalWorld):
    """What a test of one status says in a line."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.plays: dict[int, list[Play]] = {}
        super().__init__(folder, sqlite_in(folder), play=lambda run_id, node: self.plays.get(node, [Play()]), **options)

    def submit(self, **changes: object) -> str:
        """The id of a new run, which nobody has looked at."""
        return self.server.runs.submit(self.server.spec(**changes), "ann").id

    def running(self, *plays: Play, **changes: object) -> str:
        """The id of a run whose ranks work, one node for each play."""
        self.plays = {node: [play, Play()] for node, play in enumerate(plays or [Play(lines=None)])}
        run_id = self.submit(node_count=len(self.plays), **changes)
        self.until(lambda: self.jobs(run_id) != [] and all(job.phase == "running" for job in self.jobs(run_id)))
        self.until(lambda: all(job.is_told for job in self.jobs(run_id)))
        return run_id

    def run(self, run_id: str) -> RunRecord:
        return self.server.runs.get(run_id)

    def jobs(self, run_id: str) -> list[PlayedJob]:
        """The run's jobs, in the order in which they were started."""
        return [player for player in self.players if player.job.handle.run_id == run_id]

    def reasons(self, run_id: str) -> list[str]:
        """Why the run moved, oldest first."""
        return [event.reason for event in self.server.runs.events(run_id)]

    def looks(self, seconds: float, beats: bool = False) -> None:
        """Looks once a second for so long; jobs do nothing meanwhile but, if asked, say that they live."""
        for _ in range(int(seconds)):
            self.clock.advance(seconds=1)
            if beats:
                for player in self.players:
                    player.beat(self.server)
            self.server.lifecycle.step()
