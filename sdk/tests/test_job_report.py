"""What a job says to the server, and what the answer makes it do. The server here is a script of answers."""

import io
import json
import threading
from urllib.parse import parse_qs, urlsplit

import pytest

from runyard.errors import AttemptOverError
from runyard.job.report import BUSY_S, CROWDED_S, Reporter, rest_s
from runyard.job.spawn import Stop
from runyard.protocol.jobs import JobAssignment, RankReport
from runyard.protocol.runs import RunError
from runyard.shipping import MUCH_BYTES, Shipped, Shipper
from runyard.transport.base import Answer, Transport

PATIENCE_S = 120


class Server(Transport):
    """Keeps what it is told; ``answers`` are given one after the other, the last one ever after.

    An answer is what a report gets: a JSON value, or an exception for a server that is away.
    """

    def __init__(self, *answers):
        self.answers = list(answers) or [{}]
        self.reports = []
        self.pieces = []
        self.rest_s = 0.0
        self.told = threading.Condition()

    def send(self, method, path, body, headers, stream, timeout_s):
        if not path.endswith("/report"):  # a log or metrics: all of it is stored
            end = int(parse_qs(urlsplit(path).query)["offset"][0]) + len(body)
            with self.told:
                self.pieces.append(body)
                self.told.notify_all()
            return Answer(200, {}, io.BytesIO(json.dumps({"size": end, "rest_s": self.rest_s}).encode()))
        with self.told:
            answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
            if isinstance(answer, Exception):
                self.told.notify_all()
                raise answer
            if isinstance(answer, int):
                error = {"error": {"code": "unknown_run", "message": "There is no run 'exp_1'."}}
                return Answer(answer, {}, io.BytesIO(json.dumps(error).encode()))
            self.reports.append(json.loads(body.decode()))
            self.told.notify_all()
            return Answer(200, {}, io.BytesIO(json.dumps(answer).encode()))

    def wait_for(self, is_so):
        with self.told:
            assert self.told.wait_for(lambda: is_so(self.reports), PATIENCE_S), self.reports


@pytest.fixture
def make(tmp_path):
    """``make(server, **changes of the assignment)`` gives a reporter and the list of what it asked to stop."""
    made = []

    def make(server, **changes):
        given = {"heartbeat_s": 0.05}
        given.update(changes)
        assignment = JobAssignment(
            run_id="exp_1", attempt=2, experiment="exp", node=1, node_count=2, directory=str(tmp_path),
            server_url="http://127.0.0.1:1", token="t", snapshot="0" * 64, python="python", sdk_path="", **given
        )  # fmt: skip
        stops = []
        made.append(Reporter(assignment, server, Shipper(server, "exp_1", 2), str(tmp_path / "code"), stops.append))
        return made[-1], stops

    yield make
    for reporter in made:
        reporter.close()


def phases(reports):
    found = []
    for report in reports:
        if not found or found[-1] != report["phase"]:
            found.append(report["phase"])
    return found


def test_a_jobs_phases_arrive_in_order_with_growing_numbers(make):
    server = Server()
    reporter, stops = make(server)
    reporter.start()
    reporter.ranks.append(RankReport(rank=1, pid=5, started_at=1.0))
    reporter.running()
    server.wait_for(lambda reports: phases(reports)[-1:] == ["running"])
    error = RunError(code="script_failed", message="exit code 3", rank=1, exit_code=3)
    reporter.collecting(error)
    server.wait_for(lambda reports: phases(reports)[-1:] == ["collecting"])
    assert reporter.finish(error)
    assert phases(server.reports)[-2:] == ["collecting", "done"]
    numbers = [report["sequence"] for report in server.reports]
    assert numbers == sorted(numbers)
    last = server.reports[-1]
    assert (last["attempt"], last["node"], last["error"]["exit_code"], last["ranks"][0]["pid"]) == (2, 1, 3, 5)
    assert stops == []


def test_it_says_that_it_lives_though_nothing_is_new(make):
    server = Server()
    reporter, _ = make(server)
    reporter.start()
    server.wait_for(lambda reports: len(reports) >= 3)
    assert {report["sequence"] for report in server.reports} == {0}


def test_the_last_word_waits_for_a_server_that_is_away(make):
    from runyard.errors import ServerUnavailableError

    server = Server(ServerUnavailableError("away"), ServerUnavailableError("away"), {})
    reporter, _ = make(server, heartbeat_s=60.0)
    reporter.start()
    assert reporter.finish(None)
    assert phases(server.reports) == ["done"]


def test_the_answer_to_cancel_stops_the_ranks_once(make):
    server = Server({"cancel": True})
    reporter, stops = make(server)
    reporter.start()
    server.wait_for(lambda reports: len(reports) >= 3)
    assert stops == [Stop.CANCEL]


@pytest.mark.parametrize("answer", [{"stale": True}, 404, AttemptOverError("another attempt has followed")])
def test_a_job_that_nobody_wants_any_more_stops_and_does_not_count_as_heard(make, answer):
    reporter, stops = make(Server(answer))
    reporter.start()
    assert not reporter.finish(None)
    assert reporter.is_stale and stops == [Stop.STALE]


def test_a_directory_that_was_removed_ends_the_wait_for_a_server(make, tmp_path):
    from runyard.errors import ServerUnavailableError

    server = Server(ServerUnavailableError("away"))
    reporter, stops = make(server)
    reporter.start()
    tmp_path.rmdir()
    assert not reporter.finish(None)


def test_each_salvage_speaks_after_all_that_spoke_before(make):
    numbers = []
    for salvage in (0, 1, 2):
        server = Server()
        reporter, _ = make(server, salvage=salvage)
        reporter.start()
        assert reporter.finish(None)
        numbers += [max(report["sequence"] for report in server.reports)]
    assert numbers[0] < 1000000 < numbers[1] and numbers[1] + 1000000 < numbers[2]


def test_a_server_that_answers_nonsense_is_told_again(make):
    server = Server([1, 2], {})
    reporter, _ = make(server)
    reporter.start()
    assert reporter.finish(None)


def test_the_job_that_collects_for_all_waits_until_no_rank_is_left_anywhere(make):
    server = Server({}, {}, {}, {"ranks_over": True})
    reporter, _ = make(server, heartbeat_s=60.0)
    reporter.start()
    reporter.collecting(None)
    assert reporter.wait_for_the_others()
    assert len(server.reports) >= 4  # it has asked, though its heartbeats are far apart


def test_nobody_waits_for_the_others_of_an_attempt_that_is_over(make):
    reporter, _ = make(Server({}, {"stale": True}))
    reporter.start()
    reporter.collecting(None)
    assert not reporter.wait_for_the_others()


def test_what_the_server_lets_rest_rests_while_the_ranks_run_and_no_longer(make, tmp_path):
    server = Server()
    server.rest_s = 3600.0
    reporter, _ = make(server)
    (tmp_path / "spool").mkdir()
    spool = tmp_path / "spool" / "rank-0.metrics"
    spool.write_bytes(b"1\n")
    reporter.start()
    reporter.running()
    server.wait_for(lambda _: server.pieces == [b"1\n"])
    spool.write_bytes(b"1\n2\n")
    so_far = len(server.reports)
    server.wait_for(lambda reports: len(reports) >= so_far + 4)  # each with a pass over the files
    assert server.pieces == [b"1\n"]
    reporter.collecting(None)
    server.wait_for(lambda _: server.pieces == [b"1\n", b"2\n"])


def passed(sent_bytes, complete=True):
    shipped = Shipped()
    shipped.sent_bytes, shipped.complete = sent_bytes, complete
    return shipped


def test_a_server_that_takes_long_for_a_little_is_come_to_less_often():
    assert rest_s([passed(100)], 0.001) == BUSY_S
    assert rest_s([passed(100), passed(0)], 0.05) == 0.1
    assert rest_s([passed(100)], 60.0) == CROWDED_S


def test_a_server_that_takes_long_for_much_is_come_to_as_soon_as_ever():
    assert rest_s([passed(MUCH_BYTES)], 60.0) == 0.0
    assert rest_s([passed(100), passed(100, complete=False)], 60.0) == BUSY_S
