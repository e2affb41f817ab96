"""A decision holds only on what it was made on, and whoever comes next goes on from what is written."""

from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from runyard.protocol.status import RunStatus
from runyard_server.testing.played_jobs import Play
from runyard_server.testing.yard import Yard


def test_a_decision_on_a_run_that_changed_meanwhile_is_void(yard: Yard) -> None:
    run_id = yard.running(Play(lines=1))
    yard.until(lambda: yard.run(run_id).status is RunStatus.FINALIZING)
    yard.jobs(run_id)[0].act(yard.server)
    yard.jobs(run_id)[0].act(yard.server)  # all is said: the next look makes it Completed

    def cancelled_meanwhile() -> None:
        yard.server.runs.cancel(run_id, "bea")

    yard.engine.on_look = cancelled_meanwhile
    yard.looks(2)
    path = [event.to_status for event in yard.server.runs.events(run_id)]
    assert path[-3:] == [RunStatus.FINALIZING, RunStatus.CANCEL_REQUESTED, RunStatus.CANCELED]


def test_a_database_that_fails_for_a_while_only_delays(yard: Yard) -> None:
    run_id = yard.running(Play(lines=1))
    fails = True

    def trouble(connection, cursor, statement, parameters, context, executemany):  # type: ignore[no-untyped-def]
        if fails and statement.startswith(("UPDATE runs", "INSERT INTO run_events")):
            raise OperationalError(statement, parameters, Exception("disk I/O error"))

    event.listen(yard.database.engine, "before_cursor_execute", trouble)
    for _ in range(10):
        yard.round()
    assert yard.run(run_id).status is RunStatus.RUNNING
    fails = False
    yard.until(yard.has_ended(run_id))
    assert yard.run(run_id).status is RunStatus.COMPLETED
    assert yard.reasons(run_id)[-2:] == ["script_ended", "outputs_collected"]


def test_a_new_server_goes_on_where_the_other_one_stopped(yard: Yard) -> None:
    run_id = yard.running(Play(lines=6))
    for _ in range(4):
        yard.restart()
        yard.round()
    yard.until(yard.has_ended(run_id))
    assert yard.run(run_id).status is RunStatus.COMPLETED
    assert len(yard.engine.jobs) == 1


def test_what_an_ended_run_left_is_cleared_away_by_the_next_server(yard: Yard) -> None:
    run_id = yard.running(Play(lines=1))
    yard.until(yard.has_ended(run_id))
    left = yard.home / "runs" / run_id / "attempt-1" / "node-0"
    left.mkdir(parents=True)
    yard.restart()
    assert not (yard.home / "runs" / run_id).exists()
