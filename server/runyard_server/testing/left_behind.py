"""What a run has left on this machine, for tests that say that it leaves nothing."""

from runyard.job import processes
from runyard_server.testing import own_network


def left_of(run_id: str) -> list[int]:
    """Pids of the processes that carry the run's mark, of whatever attempt and node."""
    return [pid for pid in processes.all_processes() if (processes.marker_in(pid) or "").startswith(run_id + "/")]


def until_gone(run_id: str) -> None:
    """Looks until nothing is left of a run that has ended: by its own last word a job is over, and goes a moment later."""
    own_network.until(lambda: not left_of(run_id), f"the end of the last process of {run_id}")
