"""What a run of any shape hears before Ray takes one of its nodes away."""

from runyard.run import Run
from runyard_server.testing.ray_yard import RayYard

# Says what it has of Ray's own variables, and saves when it is asked to end.
SAVES = """
import os, signal
def save(*_):
    os.makedirs("outputs", exist_ok=True)
    open("outputs/saved-" + os.environ.get("RANK", "alone"), "w").write("x")
    raise SystemExit(0)
signal.signal(signal.SIGTERM, save)
print("up", [name for name in os.environ if name.startswith("RAY_")], flush=True)
while True:
    signal.pause()
"""


def assert_told_and_kept(yard: RayYard, run: Run, node: str, *saved: str) -> None:
    """The run's ranks hear that this node is about to be taken away; what they save then is kept."""
    with yard.cluster.taken_away(node):
        error = yard.error(run)
    assert error["code"] == "preempted" and "is about to be taken away" in error["message"], error
    assert set(saved) <= set(run.get_file_names())
    yard.until_gone(run)
