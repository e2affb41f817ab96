"""``python -m runyard.job``: becomes the job that the one line on its input describes."""

import json
import sys


def main() -> int:
    # Ours lies in a folder of the server's or the job's user, where what is compiled of it may stay, whatever
    # PYTHONDONTWRITEBYTECODE says of the user's own code: to compile it anew takes as long as all that it does before
    # the script, and on an engine's node every run waits for that.
    sys.dont_write_bytecode = False
    from runyard.job.node import NodeJob  # imported before the line comes: a standby is ready then
    from runyard.job.processes import adopt_orphans, node_environment, take_place
    from runyard.protocol.codec import from_json
    from runyard.protocol.jobs import JobAssignment

    adopt_orphans()
    line = sys.stdin.readline()
    if not line:
        return 0  # the server that kept this process ready is gone
    assignment = from_json(JobAssignment, json.loads(line))
    if "--standby" in sys.argv[1:]:
        given = node_environment(assignment.run_id, assignment.attempt, assignment.node, assignment.gpus)
        take_place(assignment.directory, given)
    return NodeJob(assignment).run()


if __name__ == "__main__":
    sys.exit(main())
