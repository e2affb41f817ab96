"""A thousand submissions from ten processes at once, and a queue that stays fair and answers."""

from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

from tests.crowds.crowd import Crowd, follow_until

CLIENTS, EACH = 10, 100
MOST_TO_QUEUE_CPU_S = 60.0  # of the server, for 1,000 submissions
MOST_BESIDE_CPU_S = 10.0  # of the server, for what somebody does beside a thousand who wait


def test_a_thousand_submissions_from_ten_processes_are_all_taken_and_served_in_their_turn(
    crowd: Crowd, gate: Path
) -> None:
    """One story: a second server and crowd for each of its ends would take a minute more.

    Of each promise of a queue (``domain/placement.py``) there is one whom a thousand others would come before if it
    were broken: priority first, then first come; who waits for two nodes is not overtaken by those who would fit into
    the one that is free; no target holds back another one.
    """
    target, other, second_gate = crowd.target("two-nodes", 2), crowd.target("another", 1), gate.with_name("second")
    first = crowd.submit(f"open({str(gate)!r}).read()\n", target)
    follow_until(first, "Running")
    gang = crowd.submit("print('both')\n", target, nodes=2)
    waits = f"import os, time\nwhile not os.path.exists({str(second_gate)!r}):\n    time.sleep(0.1)\n"
    blocker = crowd.submit(waits, target, nodes=2)
    follow_until(blocker, "Queued")
    source, before = crowd.source("print('done')\n"), crowd.server_cpu_s()
    saw = crowd.does(
        "submit", [{"source": source, "target": target, "count": EACH, "name": str(n)} for n in range(CLIENTS)]
    )
    urgent = crowd.submit("print('urgent')\n", target, nodes=2, priority=1)

    taken = [run_id for ids in saw for run_id in ids]
    assert len(set(taken)) == CLIENTS * EACH
    runs = {run.id: run for run in crowd.workspace.experiments["crowd"].get_runs()}
    assert sorted(runs[run_id].number for run_id in taken) == list(range(4, CLIENTS * EACH + 4))
    in_order = sorted(taken, key=lambda run_id: runs[run_id].number)
    # Nobody is kept waiting at the door: no client gets a long row of its own while nine others ask.
    client_of = {run_id: client for client, ids in enumerate(saw) for run_id in ids}
    assert max(len(list(row)) for _, row in groupby(client_of[run_id] for run_id in in_order)) < EACH
    follow_until(runs[in_order[-1]], "Queued")
    follow_until(urgent, "Queued")
    assert crowd.server_cpu_s() - before < MOST_TO_QUEUE_CPU_S

    # Who comes now to a place that is free does not wait behind a thousand, and whoever asks is answered.
    before = crowd.server_cpu_s()
    late = crowd.submit("print('quick')\n", other)
    late.wait_for_completion(show_output=False)
    asked = [urgent, gang, blocker, *(runs[in_order[place]] for place in (0, 1, -1))]
    why = [run.get_detailed_status() for run in asked]
    assert [said["position"] for said in why] == [1, 2, 3, 4, 5, CLIENTS * EACH + 3]
    assert f"1 run ahead: {urgent.id}" in why[1]["details"], why[1]
    assert crowd.server_cpu_s() - before < MOST_BESIDE_CPU_S

    gate.write_text("go")
    follow_until(blocker, "Running")
    assert runs[in_order[0]].get_status() == "Queued"  # though there was a node for it all the time
    served, cancelled = in_order[:2], in_order[2:]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda run_id: runs[run_id].cancel(), reversed(cancelled)))
    second_gate.touch()
    for run_id in served:
        runs[run_id].wait_for_completion(show_output=False)
    began = [run.get_details()["startTimeUtc"] for run in (urgent, gang, blocker, runs[served[0]])]
    assert began == sorted(began)
    for run_id in (cancelled[0], cancelled[-1]):
        follow_until(runs[run_id], "Canceled")
    assert crowd.complaints() == ""


def test_the_servers_memory_does_not_grow_with_the_runs_that_have_been(crowd: Crowd, gate: Path) -> None:
    target = crowd.target("held", 1)
    first = crowd.submit(f"open({str(gate)!r}).read()\n", target)
    follow_until(first, "Running")
    source = crowd.source("print('done')\n")
    sizes = []
    for _ in range(4):
        saw = crowd.does(
            "submit", [{"source": source, "target": target, "count": 10, "name": str(n)} for n in range(CLIENTS)]
        )
        for run_id in (run_id for ids in saw for run_id in ids):
            crowd.run(run_id).cancel()
        follow_until(crowd.run(saw[-1][-1]), "Canceled")
        sizes.append(crowd.server_bytes())
    gate.write_text("go")
    first.wait_for_completion(show_output=False)
    # The first rounds fill caches of a fixed size; a megabyte for a hundred runs would be ten thousand bytes for each.
    assert sizes[-1] - sizes[1] < 2 * 10**6, sizes
