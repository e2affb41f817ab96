"""What the loop looks at: what it was told of, and once in a while everything."""

from runyard.protocol.runs import RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.lifecycle.loop import News, Unfinished


def run(name: str, status: RunStatus, version: int = 1) -> RunRecord:
    return RunRecord(name, 1, "e", "azureml.scriptrun", status, 1.0, version)


def taken(unfinished: Unfinished) -> dict[str, list[str]]:
    """The statuses that are due, with their runs."""
    found = {status.value: unfinished.take(status) for status in RunStatus}
    return {status: [run.id for run in runs] for status, runs in found.items() if runs is not None}


def test_only_the_stage_that_a_run_came_to_is_due() -> None:
    unfinished = Unfinished()
    unfinished.put(run("a", RunStatus.RUNNING))
    unfinished.put(run("b", RunStatus.QUEUED))
    assert taken(unfinished) == {"Running": ["a"], "Queued": ["b"]}
    unfinished.put(run("c", RunStatus.STARTING))
    assert taken(unfinished) == {"Starting": ["c"]}
    assert taken(unfinished) == {}


def test_the_stage_that_a_run_left_is_due_too() -> None:
    unfinished = Unfinished()
    unfinished.put(run("a", RunStatus.PREPARING))
    taken(unfinished)
    unfinished.put(run("a", RunStatus.CANCEL_REQUESTED, version=2))
    assert taken(unfinished) == {"Preparing": [], "CancelRequested": ["a"]}
    assert unfinished.version("a") == 2


def test_whoever_ends_makes_room_in_the_queue() -> None:
    unfinished = Unfinished()
    unfinished.put(run("a", RunStatus.FINALIZING))
    unfinished.put(run("b", RunStatus.QUEUED))
    taken(unfinished)
    unfinished.put(run("a", RunStatus.COMPLETED, version=2))
    assert taken(unfinished) == {"Finalizing": [], "Queued": ["b"]}
    assert (unfinished.run_ids(), unfinished.version("a")) == ({"b"}, None)


def test_a_run_that_is_told_of_again_is_looked_at_again() -> None:
    """What its job reported is not in its record."""
    unfinished = Unfinished()
    for _ in range(2):
        unfinished.put(run("a", RunStatus.RUNNING))
        assert taken(unfinished) == {"Running": ["a"]}


def test_a_run_that_is_not_here_is_dropped_without_a_word() -> None:
    unfinished = Unfinished()
    unfinished.drop("nobody")
    unfinished.put(run("ended", RunStatus.FAILED))
    assert taken(unfinished) == {}


def test_news_are_told_once_and_in_their_order() -> None:
    news = News()
    for name in ("b", "a", "b"):
        news.tell(name)
    told = news.take(timeout_s=60)
    assert (list(told.runs), told.everything) == (["b", "a"], False)
    news.tell(None)
    assert news.take(timeout_s=60).everything
    told = news.take(timeout_s=0)
    assert (told.runs, told.everything) == ({}, False)


def test_a_rest_is_over_at_once_when_everything_is_to_be_looked_at() -> None:
    news = News()
    news.tell("a")
    news.tell(None)
    told = news.take(timeout_s=60, rest_s=60)
    assert (list(told.runs), told.everything) == (["a"], True)


def test_what_was_told_before_a_rest_is_taken_after_it() -> None:
    news = News()
    news.tell("a")
    assert news.take(timeout_s=60, rest_s=0.001).runs == {"a": None}


def test_a_run_is_handed_over_as_it_is_but_read_where_it_was_told_of_twice() -> None:
    news = News()
    new, again = run("a", RunStatus.STARTING), run("b", RunStatus.STARTING)
    news.tell("a", new)
    news.tell("b", again)
    news.tell("b", run("b", RunStatus.CANCEL_REQUESTED, version=2))
    assert news.take(timeout_s=60).runs == {"a": new, "b": None}
