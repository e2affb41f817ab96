"""Two hundred submissions from ten processes at once, and a queue that stays fair and answers."""

from itertools import groupby
from pathlib import Path

from tests.crowds.crowd import Crowd, follow_until

CLIENTS, EACH = 10, 20


def test_two_hundred_submissions_from_ten_processes_are_all_taken_and_served_as_they_came(
    crowd: Crowd, gate: Path
) -> None:
    """One story: a second server and crowd for each of its ends would take a minute more."""
    target, other = crowd.target("one-node", 1), crowd.target("another", 1)
    first = crowd.submit(f"open({str(gate)!r}).read()\n", target)
    follow_until(first, "Running")
    source = crowd.source("print('done')\n")
    saw = crowd.does(
        "submit", [{"source": source, "target": target, "count": EACH, "name": str(n)} for n in range(CLIENTS)]
    )

    taken = [run_id for ids in saw for run_id in ids]
    assert len(set(taken)) == CLIENTS * EACH
    runs = {run.id: run for run in crowd.workspace.experiments["crowd"].get_runs()}
    assert sorted(runs[run_id].number for run_id in taken) == list(range(2, CLIENTS * EACH + 2))
    in_order = sorted(taken, key=lambda run_id: runs[run_id].number)
    # Nobody is kept waiting at the door: no client gets a long row of its own while nine others ask.
    client_of = {run_id: client for client, ids in enumerate(saw) for run_id in ids}
    assert max(len(list(row)) for _, row in groupby(client_of[run_id] for run_id in in_order)) < EACH

    # Who comes now to a place that is free does not wait behind two hundred.
    late = crowd.submit("print('quick')\n", other)
    late.wait_for_completion(show_output=False)
    follow_until(runs[in_order[-1]], "Queued")
    why = [runs[run_id].get_detailed_status() for run_id in (in_order[0], in_order[1], in_order[-1])]
    assert [said["position"] for said in why] == [1, 2, CLIENTS * EACH]
    assert why[1]["details"].endswith(f"1 run ahead: {in_order[0]}")

    served, cancelled = in_order[:6], in_order[6:]
    for run_id in cancelled:
        runs[run_id].cancel()
    gate.write_text("go")
    for run_id in served:
        runs[run_id].wait_for_completion(show_output=False)
    began = [runs[run_id].get_details()["startTimeUtc"] for run_id in served]
    assert began == sorted(began)
    for run_id in cancelled:
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
