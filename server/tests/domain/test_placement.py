"""Who starts, with which GPUs, and what the others wait for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard_server.domain.gpus import Gpu, GpuProcess
from runyard_server.domain.placement import (
    Candidate,
    Decision,
    Lines,
    Placed,
    Placement,
    Target,
    grant,
    grant_of_nodes,
    place,
)

GB = 10**9
CLUSTER = Target("gpucluster", 4)
OTHER = Target("other", 2)


def gpu(index: int, free_gb: float = 12, pids: tuple[int, ...] = ()) -> Gpu:
    return Gpu(index, f"GPU-{index}", "K80", 12 * GB, int(free_gb * GB), tuple(GpuProcess(pid) for pid in pids))


def run(
    name: str, nodes: int = 1, gpus: int = 0, at: float = 0, priority: int = 0, target: str = "gpucluster"
) -> Candidate:
    return Candidate(name, target, nodes, gpus, priority, at)


def decide(
    queued: list[Candidate], running: list[Placed] | None = None, gpus: list[Gpu] | None = None
) -> dict[str, Decision]:
    found = place([CLUSTER, OTHER], running or [], queued, gpus or [])
    return {decision.run_id: decision for decision in found}


def test_an_empty_target_takes_what_fits() -> None:
    seen = decide([run("a", nodes=2), run("b", nodes=2, at=1)])
    assert seen["a"] == Decision("a", True, gpus=((), ()))
    assert seen["b"].starts


def test_first_come_is_first_served() -> None:
    seen = decide([run("late", nodes=3, at=2), run("early", nodes=3, at=1)])
    assert seen["early"].starts
    assert not seen["late"].starts


def test_a_higher_priority_goes_before_an_earlier_run() -> None:
    seen = decide([run("early", nodes=3, at=1), run("urgent", nodes=3, at=2, priority=5)])
    assert seen["urgent"].starts
    assert not seen["early"].starts


def test_decisions_come_in_the_order_of_service() -> None:
    found = place([CLUSTER], [], [run("c", at=3), run("a", at=9, priority=1), run("b", at=1)], [])
    assert [decision.run_id for decision in found] == ["a", "b", "c"]


def test_runs_of_one_moment_have_an_order_all_the_same() -> None:
    queued = [run("x"), run("y")]
    assert place([CLUSTER], [], queued, []) == place([CLUSTER], [], queued[::-1], [])


def test_a_gang_waits_for_all_its_nodes_and_says_for_how_many() -> None:
    seen = decide([run("gang", nodes=4)], running=[Placed("exp_1", "gpucluster", 1), Placed("exp_2", "gpucluster", 1)])
    assert seen["gang"] == Decision(
        "gang", False, reason="waits for 2 of 4 nodes of 'gpucluster'; in use by exp_1, exp_2", position=1
    )


def test_a_small_run_does_not_pass_a_large_gang() -> None:
    seen = decide([run("gang", nodes=4, at=1), run("small", at=2)], running=[Placed("exp_1", "gpucluster", 1)])
    assert not seen["gang"].starts
    assert not seen["small"].starts
    assert seen["small"].reason == "waits for its turn in 'gpucluster'; 1 run ahead: gang"
    assert seen["small"].position == 2


def test_the_reason_names_three_runs_ahead_and_counts_the_rest() -> None:
    queued = [run(f"r{number}", nodes=4, at=number) for number in range(6)]
    seen = decide(queued, running=[Placed("exp_1", "gpucluster", 4)])
    assert seen["r5"].reason == "waits for its turn in 'gpucluster'; 5 runs ahead: r0, r1, r2 and 2 more"
    assert seen["r5"].position == 6


def test_one_targets_queue_does_not_hold_another_back() -> None:
    seen = decide(
        [run("blocked", nodes=4, at=1), run("elsewhere", at=2, target="other")],
        running=[Placed("exp_1", "gpucluster", 4)],
    )
    assert not seen["blocked"].starts
    assert seen["elsewhere"].starts


def test_a_target_that_was_made_smaller_says_that_a_run_can_never_start() -> None:
    seen = decide([run("gang", nodes=5)])
    assert seen["gang"].reason == (
        "asks for 5 nodes of 'gpucluster', which has at most 4 nodes: raise its max_nodes or cancel the run"
    )


def test_a_target_that_is_over_its_size_lets_nobody_in() -> None:
    seen = decide([run("a", nodes=1)], running=[Placed("exp_1", "gpucluster", 9)])
    assert seen["a"].reason == "waits for 1 of 1 node of 'gpucluster'; in use by exp_1"


def test_a_run_whose_target_is_gone_waits_and_says_so() -> None:
    (decision,) = place([CLUSTER], [], [run("a", target="gone")], [])
    assert (decision.starts, decision.reason) == (False, "waits for the compute target 'gone', which is not there")


def test_gpus_are_given_out_by_index_to_each_node() -> None:
    seen = decide([run("a", nodes=2, gpus=2)], gpus=[gpu(3), gpu(0), gpu(2), gpu(1)])
    assert seen["a"].gpus == ((0, 1), (2, 3))


def test_a_run_that_asks_for_no_gpu_gets_none() -> None:
    assert decide([run("a")], gpus=[gpu(0)])["a"].gpus == ((),)


def test_gpus_of_running_runs_are_not_given_again() -> None:
    running = [Placed("exp_1", "other", 1, ((0,),))]
    seen = decide([run("a", gpus=1, at=1), run("b", gpus=1, at=2)], running, [gpu(0), gpu(1)])
    assert seen["a"].gpus == ((1,),)
    assert not seen["b"].starts
    assert seen["b"].reason == "waits for 1 of 1 GPU: GPU 0 in use by run exp_1; GPU 1 in use by run a"


def test_a_filled_gpu_is_passed_over() -> None:
    assert decide([run("a", gpus=1)], gpus=[gpu(0, free_gb=0.8, pids=(123,)), gpu(1)])["a"].gpus == ((1,),)


def test_a_gpu_that_nobody_computes_on_goes_first() -> None:
    assert decide([run("a", gpus=1)], gpus=[gpu(0, free_gb=11, pids=(5,)), gpu(1)])["a"].gpus == ((1,),)


def test_the_reason_names_who_fills_the_gpu() -> None:
    seen = decide([run("a", gpus=1)], gpus=[gpu(0, free_gb=0.8, pids=(123,))])
    assert seen["a"].reason == "waits for 1 of 1 GPU: GPU 0 is filled by another process (pid 123, 11.2 of 12.0 GB)"


def test_a_gpu_of_ours_is_not_called_filled() -> None:
    """Our run's own use fills it: the reason is the run."""
    running = [Placed("exp_1", "gpucluster", 1, ((0,),))]
    seen = decide([run("a", gpus=1)], running, [gpu(0, free_gb=0.1, pids=(9,))])
    assert seen["a"].reason == "waits for 1 of 1 GPU: GPU 0 in use by run exp_1"


def test_free_gpus_are_kept_for_the_run_that_waits_longest_for_them() -> None:
    seen = decide(
        [run("large", gpus=2, at=1), run("small", gpus=1, at=2, target="other"), run("none", at=3, target="other")],
        gpus=[gpu(0), gpu(1, free_gb=0)],
    )
    assert not seen["large"].starts
    assert seen["small"].reason == "waits for 1 GPU; run large waits for GPUs before it"
    assert not seen["none"].starts, "strict order inside a target"


def test_a_run_without_gpus_in_another_target_does_not_wait_for_gpus() -> None:
    seen = decide([run("large", gpus=2, at=1), run("plain", at=2, target="other")], gpus=[gpu(0), gpu(1, free_gb=0)])
    assert seen["plain"].starts


def test_gpus_on_a_host_without_any_are_one_warning_and_no_wait() -> None:
    seen = decide([run("a", gpus=1)])
    assert seen["a"] == Decision(
        "a", True, gpus=((),), warning="The run asks for 1 GPU, this host has no GPU: it runs without GPU."
    )


def test_an_engine_that_gives_gpus_out_itself_is_left_to_do_so() -> None:
    (decision,) = place([Target("slurm", 2, uses_host_gpus=False)], [], [run("a", gpus=8, target="slurm")], [])
    assert decision == Decision("a", True, gpus=((),))


@pytest.mark.parametrize(
    ("asked", "nodes", "here", "per_node", "warning"),
    [
        (0, 1, 8, 0, ""),
        (1, 1, 1, 1, ""),
        (2, 4, 8, 2, ""),
        (1, 1, 0, 0, "The run asks for 1 GPU, this host has no GPU: it runs without GPU."),
        (4, 1, 2, 2, "The run asks for 4 GPUs, this host has only 2 GPUs: it runs with 2 GPUs per node."),
        (1, 2, 1, 0, "The run asks for 1 GPU on each of 2 nodes, this host has only 1 GPU: it runs without GPU."),
        (
            4,
            2,
            5,
            2,
            "The run asks for 4 GPUs on each of 2 nodes, this host has only 5 GPUs: it runs with 2 GPUs per node.",
        ),
    ],
)
def test_a_host_with_fewer_gpus_gives_every_node_the_same_fewer(
    asked: int, nodes: int, here: int, per_node: int, warning: str
) -> None:
    granted = grant(asked, nodes, here)
    assert (granted.per_node, granted.warning) == (per_node, warning)


@pytest.mark.parametrize(
    ("asked", "most", "per_node", "warning"),
    [
        (1, None, 1, ""),
        (2, 2, 2, ""),
        (1, 0, 0, "The run asks for 1 GPU on each node, no node of 'c' has one: it runs without GPU."),
        (
            4,
            2,
            2,
            "The run asks for 4 GPUs on each node, no node of 'c' has more than 2 GPUs: it runs with 2 GPUs per node.",
        ),
    ],
)
def test_an_engine_is_asked_for_no_more_gpus_than_a_node_of_it_has(
    asked: int, most: int | None, per_node: int, warning: str
) -> None:
    granted = grant_of_nodes(asked, most, "c")
    assert (granted.per_node, granted.warning) == (per_node, warning)


runs = st.builds(
    Candidate,
    run_id=st.uuids().map(str),
    target=st.sampled_from(["gpucluster", "other"]),
    node_count=st.integers(1, 5),
    gpus_per_node=st.integers(0, 3),
    priority=st.integers(0, 2),
    queued_at=st.floats(0, 10),
)


@given(
    queued=st.lists(runs, max_size=12, unique_by=lambda item: item.run_id),
    held=st.lists(st.booleans(), max_size=4),
    filled=st.lists(st.booleans(), max_size=6),
)
def test_no_room_is_ever_given_twice_and_every_wait_has_a_reason(
    queued: list[Candidate], held: list[bool], filled: list[bool]
) -> None:
    gpus = [gpu(index, free_gb=0 if is_filled else 12) for index, is_filled in enumerate(filled)]
    running = [
        Placed(f"held-{index}", "gpucluster", 1, ((index,),) if has_gpu and index < len(gpus) else ((),))
        for index, has_gpu in enumerate(held)
    ]
    decisions = {decision.run_id: decision for decision in place([CLUSTER, OTHER], running, queued, gpus)}
    assert set(decisions) == {candidate.run_id for candidate in queued}
    by_id = {candidate.run_id: candidate for candidate in queued}
    for target, room in (("gpucluster", 4 - len(running)), ("other", 2)):
        started = [c for c in queued if c.target == target and decisions[c.run_id].starts]
        assert sum(c.node_count for c in started) <= room
    given_out = [index for decision in decisions.values() for node in decision.gpus for index in node]
    usable = {g.index for g in gpus if not g.is_filled} - {i for p in running for node in p.gpus for i in node}
    assert len(given_out) == len(set(given_out))
    assert set(given_out) <= usable
    for decision in decisions.values():
        candidate = by_id[decision.run_id]
        assert decision.starts == (decision.position == 0) == (decision.reason == "")
        if decision.starts:
            wanted = grant(candidate.gpus_per_node, candidate.node_count, len(gpus)).per_node
            assert [len(node) for node in decision.gpus] == [wanted] * candidate.node_count


# Only the first of each line is looked at. That must come to the same as looking at everybody.


def run_by_run(queued: list[Candidate], running: list[Placed], gpus: list[Gpu]) -> list[tuple[str, bool, int]]:
    """Every run in turn: (id, whether it starts, its position), decided by asking about it alone, room being left."""
    found, waiting, now = [], {CLUSTER.name: 0, OTHER.name: 0}, list(running)
    kept = False  # free GPUs are kept for the first that waits for some
    for candidate in sorted(queued, key=lambda run: run.turn):
        starts = False
        if not waiting[candidate.target]:
            taken = {index for placed in now for node in placed.gpus for index in node}
            free = [gpu for gpu in gpus if gpu.index not in taken and not gpu.is_filled]
            nodes = sum(placed.node_count for placed in now if placed.target == candidate.target)
            room = {CLUSTER.name: CLUSTER, OTHER.name: OTHER}[candidate.target].max_nodes - nodes
            per_node = grant(candidate.gpus_per_node, candidate.node_count, len(gpus)).per_node
            wanted = per_node * candidate.node_count
            starts = candidate.node_count <= room and (not wanted or (wanted <= len(free) and not kept))
            if starts:
                given = tuple(gpu.index for gpu in sorted(free, key=lambda gpu: (bool(gpu.processes), gpu.index)))
                now.append(Placed(candidate.run_id, candidate.target, candidate.node_count, (given[:wanted],)))
            elif candidate.node_count <= room and wanted:
                kept = True
        if not starts:
            waiting[candidate.target] += 1
        found.append((candidate.run_id, starts, 0 if starts else waiting[candidate.target]))
    return found


@given(
    queued=st.lists(
        st.builds(
            Candidate,
            run_id=st.uuids().map(str),
            target=st.sampled_from(["gpucluster", "other"]),
            node_count=st.integers(1, 3),
            gpus_per_node=st.integers(0, 2),
            priority=st.integers(0, 1),
            queued_at=st.integers(0, 3).map(float),
        ),
        unique_by=lambda run: run.run_id,
        max_size=12,
    ),
    held=st.integers(0, 3),
    gpus=st.lists(st.builds(gpu, index=st.integers(0, 9)), unique_by=lambda one: one.index, max_size=4),
)
def test_looking_at_the_first_of_each_line_decides_as_looking_at_everybody(
    queued: list[Candidate], held: int, gpus: list[Gpu]
) -> None:
    running = [Placed("exp_1", "gpucluster", held)]
    found = place([CLUSTER, OTHER], running, queued, gpus)
    assert [(one.run_id, one.starts, one.position) for one in found] == run_by_run(queued, running, gpus)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2), st.integers(0, 5)), max_size=40))
def test_lines_stay_in_order_while_runs_come_and_go(visits: list[tuple[int, int, int]]) -> None:
    lines, there = Lines(), dict[str, Candidate]()
    for number, priority, at in visits:
        name = str(number)
        if name in there:
            lines.leave(name)
            del there[name]
        else:
            there[name] = run(name, at=at, priority=priority, target=f"target-{number % 3}")
            lines.join(there[name])
    assert list(lines) == sorted(there.values(), key=lambda run: run.turn)
    assert lines.run_ids() == there.keys()
    assert lines.targets() == {candidate.target for candidate in there.values()}


def test_the_hosts_gpus_are_not_asked_for_where_nobody_wants_one() -> None:
    def inventory() -> list[Gpu]:
        raise AssertionError("asked for the GPUs")

    placement = Placement([CLUSTER], [], Lines([run("a"), run("b", nodes=4, at=1)]), inventory)
    assert [decision.run_id for decision in placement.starts] == ["a"]


def test_a_target_whose_engine_queues_is_limited_in_runs_not_in_nodes() -> None:
    cluster = Target("cluster", max_nodes=4, uses_host_gpus=False, max_jobs=2)
    with_engine = [Placed("r1", "cluster", node_count=4)]
    queued = [Candidate(f"r{number}", "cluster", node_count=4, queued_at=number) for number in (2, 3)]
    second, third = place([cluster], with_engine, queued, [])
    assert second.starts
    assert (third.starts, third.position) == (False, 1)
    assert third.reason == "waits until fewer than 2 runs of 'cluster' are with its engine (max_jobs)"
