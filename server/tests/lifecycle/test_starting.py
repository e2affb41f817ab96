"""Starting: a run is checked against its target as it is now."""

from runyard.protocol.compute import ComputeChanges, ComputeSpec
from runyard.protocol.status import Reason, RunStatus
from runyard_server.testing.yard import Yard


def test_an_accepted_run_goes_on_to_its_environment_and_further_in_one_pass(yard: Yard) -> None:
    run_id = yard.submit()
    assert yard.run(run_id).status is RunStatus.STARTING
    yard.server.lifecycle.step()
    assert yard.reasons(run_id) == ["submitted", "accepted", "environment_ready", "nodes_started"]


def test_a_target_that_shrank_since_the_submission_refuses_the_run_with_the_cure(yard: Yard) -> None:
    yard.server.computes.create(ComputeSpec("cluster", max_nodes=2))
    run_id = yard.submit(target="cluster", node_count=2)
    yard.server.computes.update("cluster", ComputeChanges(max_nodes=1))
    yard.server.lifecycle.step()
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, Reason.REFUSED)
    assert run.error is not None and run.error.code == "refused"
    assert "at most 1" in run.error.message and "max_nodes=2" in run.error.message
    assert yard.engine.jobs == []


def test_one_refused_run_does_not_keep_the_others(yard: Yard) -> None:
    yard.server.computes.create(ComputeSpec("cluster", max_nodes=2))
    refused, fine = yard.submit(target="cluster", node_count=2), yard.submit()
    yard.server.computes.update("cluster", ComputeChanges(max_nodes=1))
    yard.server.lifecycle.step()
    assert yard.run(refused).status is RunStatus.FAILED
    assert yard.run(fine).status is RunStatus.RUNNING


def test_looking_again_moves_nothing(yard: Yard) -> None:
    run_id = yard.submit()
    yard.server.lifecycle.step()
    before = yard.run(run_id)
    yard.looks(5)
    assert yard.run(run_id) == before
    assert len(yard.engine.jobs) == 1
