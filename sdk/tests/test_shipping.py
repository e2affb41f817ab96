import io
import json
import os
import re
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from runyard import stream
from runyard.background_shipping import BackgroundShipper
from runyard.errors import (
    OffsetGapError,
    PathRefusedError,
    ServerUnavailableError,
    StorageFullError,
    UserErrorException,
)
from runyard.shipping import MUCH_BYTES, Shipper
from runyard.spool import Spool
from runyard.transport.base import Answer, Transport


class StreamServer(Transport):
    """What the API promises of streams, in memory. ``failing``: errors for the next requests, in turn."""

    def __init__(self):
        self.streams = {}
        self.requests = []
        self.failing = []
        self.losing_answers = False
        self.refused_lines = ()
        self.rest_s = 0.0

    def send(self, method, path, body, headers, stream, timeout_s):
        parts = urlsplit(path)
        found = re.match(r"^/api/v1/runs/([^/]+)/(metrics|logs/(.+))$", parts.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        name = unquote(found.group(3)) if method == "PUT" else "metrics/" + query["writer"]
        offset = int(query["offset"])
        self.requests.append((name, offset, len(body)))
        if self.failing:
            problem = self.failing.pop(0)
            if problem is not None:
                raise problem
        stored = self.streams.get(name, b"")
        if offset > len(stored):
            raise OffsetGapError("a gap", {"size": len(stored)})
        position = offset
        for line in body.split(b"\n") if method == "POST" else ():
            if line in self.refused_lines:
                raise UserErrorException("no such line", {"line_at": position, "line_bytes": len(line)})
            position += len(line) + 1
        stored += body[len(stored) - offset :]
        self.streams[name] = stored
        if self.losing_answers:
            raise ServerUnavailableError("it died after it had stored")
        return Answer(200, {}, io.BytesIO(json.dumps({"size": len(stored), "rest_s": self.rest_s}).encode()))


class Clock:
    def __init__(self):
        self.now = 0.0
        self.waits = []

    def wait(self, seconds):
        self.waits.append(seconds)
        self.now += seconds

    def monotonic(self):
        return self.now


@pytest.fixture
def server():
    return StreamServer()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def shipper(server, clock):
    return Shipper(server, "run-1", wait=clock.wait, monotonic=clock.monotonic)


@pytest.fixture
def job(tmp_path):
    (tmp_path / "spool").mkdir()
    (tmp_path / "logs" / "azureml-logs").mkdir(parents=True)
    return tmp_path


def append(path, data):
    with open(str(path), "ab") as file:
        file.write(data)


def test_a_pass_ships_metrics_and_logs_and_the_next_one_only_what_is_new(server, shipper, job):
    log, metrics = job / "logs" / "azureml-logs" / "70_driver_log.txt", job / "spool" / "rank-0.metrics"
    append(log, b"one\ntwo")
    append(metrics, b'["s","x",1,1.0]\n')
    shipped = shipper.ship_once(str(job))
    assert shipped and shipped.complete and shipped.sent_bytes == 23
    append(log, b" and a half\n")
    shipper.ship_once(str(job))
    assert not shipper.ship_once(str(job))
    assert server.streams == {
        "azureml-logs/70_driver_log.txt": b"one\ntwo and a half\n",
        "metrics/rank-0": b'["s","x",1,1.0]\n',
    }
    assert [request[:2] for request in server.requests] == [
        ("metrics/rank-0", 0),
        ("azureml-logs/70_driver_log.txt", 0),
        ("azureml-logs/70_driver_log.txt", 7),
    ]
    assert shipper.written == {"azureml-logs/70_driver_log.txt": 19, "metrics/rank-0": 16}


def test_a_metrics_line_is_sent_when_it_is_whole(server, shipper, job):
    metrics = job / "spool" / "rank-0.metrics"
    append(metrics, b'["s","x",1,1.0]\n["s",')
    assert shipper.ship_once(str(job)).complete
    assert server.streams == {"metrics/rank-0": b'["s","x",1,1.0]\n'}
    assert shipper.written == {"metrics/rank-0": 16}
    assert not shipper.ship_once(str(job)) and len(server.requests) == 1
    append(metrics, b'"x",2,1.0]\n')
    assert shipper.ship_once(str(job)).complete
    assert server.streams == {"metrics/rank-0": metrics.read_bytes()}
    assert shipper.written == {"metrics/rank-0": len(metrics.read_bytes())}


def test_a_large_file_goes_in_bounded_requests_and_leaves_other_files_their_turn(server, shipper, job):
    content = os.urandom(1 << 10) * (9 << 10)  # 9 MiB
    append(job / "logs" / "a.txt", content)
    append(job / "logs" / "b.txt", b"small")
    first = shipper.ship_once(str(job))
    assert not first.complete and server.streams["b.txt"] == b"small"
    assert max(size for _, _, size in server.requests) == stream.REQUEST_BYTES
    assert shipper.drain(str(job), 60).complete
    assert server.streams["a.txt"] == content


def test_metrics_are_cut_at_line_ends_even_where_one_line_exceeds_a_request(server, shipper, job):
    lines = [b"[%d]\n" % number * 1000 for number in range(300)] + [b'"' + b"a" * (3 << 20) + b'"\n', b"[1]\n"]
    append(job / "spool" / "rank-0.metrics", b"".join(lines))
    assert shipper.drain(str(job), 60).complete
    assert server.streams["metrics/rank-0"] == b"".join(lines)
    ends = [offset + size for _, offset, size in server.requests]
    assert all(server.streams["metrics/rank-0"][end - 1 : end] == b"\n" for end in ends)


def test_a_server_that_is_away_is_told_and_nothing_is_raised(server, shipper, job):
    append(job / "logs" / "a.txt", b"one")
    append(job / "logs" / "b.txt", b"two")
    server.failing = [ServerUnavailableError("away")]
    shipped = shipper.ship_once(str(job))
    assert not shipped and not shipped.reachable and not shipped.complete
    assert len(server.requests) == 1  # one try is enough to know
    assert shipper.ship_once(str(job)).complete
    assert server.streams == {"a.txt": b"one", "b.txt": b"two"}


def test_an_answer_that_was_lost_does_not_double_anything(server, shipper, job):
    append(job / "logs" / "a.txt", b"one")
    server.losing_answers = True
    assert not shipper.ship_once(str(job)).reachable
    server.losing_answers = False
    append(job / "logs" / "a.txt", b"two")
    assert shipper.ship_once(str(job)).complete
    assert server.streams == {"a.txt": b"onetwo"}


def test_a_server_that_lost_its_last_bytes_gets_them_again(server, shipper, job):
    append(job / "logs" / "a.txt", b"0123456789")
    shipper.ship_once(str(job))
    server.streams["a.txt"] = b"0123"
    append(job / "logs" / "a.txt", b"ab")
    assert shipper.ship_once(str(job)).complete
    assert server.streams == {"a.txt": b"0123456789ab"}


def test_a_shipper_that_starts_again_learns_from_the_first_answer_what_is_there(server, clock, job):
    content = os.urandom(1 << 10) * (3 << 10)
    append(job / "logs" / "a.txt", content)
    Shipper(server, "run-1").drain(str(job), 60)
    del server.requests[:]
    append(job / "logs" / "a.txt", b"more")
    assert Shipper(server, "run-1").drain(str(job), 60).complete
    assert server.requests == [("a.txt", 0, 1 << 20), ("a.txt", 3 << 20, 4)]
    assert server.streams["a.txt"] == content + b"more"


def test_a_full_server_keeps_its_file_waiting_and_not_the_others(server, shipper, job):
    append(job / "logs" / "a.txt", b"one")
    append(job / "logs" / "b.txt", b"two")
    server.failing = [StorageFullError("full")]
    shipped = shipper.ship_once(str(job))
    assert shipped and not shipped.complete and isinstance(shipped.trouble, StorageFullError)
    assert server.streams == {"b.txt": b"two"}
    assert shipper.ship_once(str(job)).complete
    assert server.streams == {"a.txt": b"one", "b.txt": b"two"}


def test_a_name_that_the_server_will_never_take_is_tried_once(server, shipper, job):
    append(job / "logs" / "bad ", b"one")
    server.failing = [PathRefusedError("ends with a space")]
    shipped = shipper.ship_once(str(job))
    assert shipped.complete and isinstance(shipped.trouble, PathRefusedError)
    assert list(shipper.refused) == ["bad "]
    shipper.ship_once(str(job))
    assert len(server.requests) == 1


def test_a_file_name_that_is_no_text_is_left_out(server, shipper, job):
    with open(os.path.join(os.fsencode(str(job / "logs")), b"bad\xff"), "wb") as file:
        file.write(b"one")
    append(job / "logs" / "good", b"two")
    assert shipper.ship_once(str(job)).complete
    assert server.streams == {"good": b"two"} and len(shipper.refused) == 1


def test_a_metrics_line_that_cannot_be_read_is_left_out_and_the_rest_arrives(server, shipper, job, capsys):
    server.refused_lines = (b'["s","x"["s","x",1,1.0]', b"garbage")
    lines = [b"[1]", b'["s","x"["s","x",1,1.0]', b"[2]", b"garbage", b"[3]"]
    append(job / "spool" / "rank-0.metrics", b"\n".join(lines) + b"\n")
    assert shipper.drain(str(job), 60).complete
    stored = server.streams["metrics/rank-0"]
    assert [line for line in stored.split(b"\n") if line.strip()] == [b"[1]", b"[2]", b"[3]"]
    assert len(stored) == len(b"\n".join(lines)) + 1
    assert capsys.readouterr().err.count("is left out") == 2


def test_a_server_that_refuses_even_the_blank_line_is_not_asked_for_ever(server, shipper, job, capsys):
    server.failing = [UserErrorException("no such line", {"line_at": 0, "line_bytes": 3})] * 5
    append(job / "spool" / "rank-0.metrics", b"[1]\n")
    shipped = shipper.ship_once(str(job))
    assert not shipped.complete and "no such line" in str(shipped.trouble)
    assert len(server.requests) == 2


@pytest.mark.parametrize("rewrite", ["shrink", "replace"])
def test_a_file_that_is_written_anew_is_not_mixed_with_its_earlier_content(server, shipper, job, rewrite):
    path = job / "logs" / "state.txt"
    append(path, b"first content")
    shipper.ship_once(str(job))
    if rewrite == "shrink":
        path.write_bytes(b"second")
    else:
        append(job / "new", b"a second, longer content")
        os.replace(str(job / "new"), str(path))
    assert shipper.ship_once(str(job)).complete
    append(path, b" and a good deal more")
    assert shipper.ship_once(str(job)).complete
    assert server.streams == {"state.txt": b"first content"}
    assert (shipper.rewritten, shipper.refused) == (["state.txt"], {})
    assert shipper.written == {"state.txt": path.stat().st_size}


def test_a_later_attempt_ships_under_names_of_its_own(server, job):
    append(job / "logs" / "azureml-logs" / "70_driver_log.txt", b"one")
    append(job / "logs" / "top.txt", b"two")
    append(job / "spool" / "rank-0.metrics", b"[1]\n")
    shipper = Shipper(server, "run-1", attempt=2)
    shipper.ship_once(str(job))
    assert server.streams == {
        "azureml-logs/attempt-2/70_driver_log.txt": b"one",
        "attempt-2/top.txt": b"two",
        "metrics/rank-0.attempt-2": b"[1]\n",
    }
    assert sorted(shipper.written) == sorted(server.streams)


def test_single_files_and_other_trees_are_shipped_too(server, shipper, job):
    append(job / "a", b"one")
    (job / "user").mkdir()
    append(job / "user" / "events.txt", b"two")
    append(job / "b.metrics", b"[1]\n")
    assert shipper.ship_log("azureml-logs/65_job_prep.txt", str(job / "a"))
    assert shipper.ship_tree(str(job / "user"), "logs/")
    assert shipper.ship_metrics("client", str(job / "b.metrics"))
    assert server.streams == {
        "azureml-logs/65_job_prep.txt": b"one",
        "logs/events.txt": b"two",
        "metrics/client": b"[1]\n",
    }


def test_folders_links_to_nowhere_and_pipes_are_passed_over(server, shipper, job):
    os.symlink("nowhere", str(job / "logs" / "link"))
    os.mkfifo(str(job / "logs" / "pipe"))
    (job / "spool" / "files.metrics").mkdir()
    assert shipper.ship_once(str(job)).complete
    assert shipper.ship_once(str(job / "missing")).complete
    assert server.requests == []


def test_draining_waits_ever_longer_for_a_server_that_is_away_and_ends_in_time(server, shipper, job, clock):
    append(job / "logs" / "a.txt", b"one")
    server.failing = [ServerUnavailableError("away")] * 1000
    shipped = shipper.drain(str(job), 10.0)
    assert not shipped.reachable and clock.now == pytest.approx(10.0)
    assert clock.waits[:4] == [0.02, 0.04, 0.08, 0.16] and max(clock.waits) == 1.0


def test_draining_goes_on_when_the_server_comes_back(server, shipper, job, clock):
    append(job / "logs" / "a.txt", b"one")
    server.failing = [ServerUnavailableError("away")] * 3
    assert shipper.drain(str(job), 10.0).complete
    assert server.streams == {"a.txt": b"one"} and len(clock.waits) == 3


def test_flushing_in_the_background_means_that_it_is_stored(server, job):
    background = BackgroundShipper(Shipper(server, "run-1"), str(job), busy_s=0.001, idle_s=0.001)
    spool = Spool(str(job / "spool"), "client")
    for number in range(20):
        spool.scalar("x", number)
        assert background.flush(30)
        assert server.streams["metrics/client"].count(b"\n") == number + 1
    spool.scalar("x", 20)
    assert background.close(30)
    assert server.streams["metrics/client"].count(b"\n") == 21
    assert not background.flush(30)  # there is nobody left to do it


def test_flushing_gives_up_in_time_when_the_server_is_away(server, job):
    server.failing = [ServerUnavailableError("away")] * 100000
    background = BackgroundShipper(Shipper(server, "run-1"), str(job), busy_s=0.001, idle_s=0.001)
    append(job / "spool" / "client.metrics", b"[1]\n")
    assert not background.flush(0.05)
    assert not background.last.reachable
    server.failing = []
    assert background.close(30)
    assert server.streams == {"metrics/client": b"[1]\n"}


def test_what_the_disk_did_not_take_counts_as_written(server, shipper, job):
    (job / "spool" / "rank-0.metrics").write_bytes(b'["s","x",1,1.0]\n')
    with open(str(job / "spool" / "rank-0.lost"), "wb") as counted:
        counted.truncate(200)
    assert shipper.ship_once(str(job)).complete
    assert shipper.lost == {"metrics/rank-0": 200}
    assert shipper.written == {"metrics/rank-0": 216}
    assert server.streams == {"metrics/rank-0": b'["s","x",1,1.0]\n'}


def test_a_held_log_is_shipped_whatever_happens_to_its_name(server, shipper, job):
    path = job / "logs" / "azureml-logs" / "70_driver_log.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(str(path), "wb", buffering=0) as output:
        reading = os.open(str(path), os.O_RDONLY)
        shipper.hold("azureml-logs/70_driver_log.txt", reading)
        output.write(b"before\n")
        shipper.ship_once(str(job))
        path.unlink()
        path.write_bytes(b"somebody else's file of that name\n")
        output.write(b"after\n")
        assert shipper.ship_once(str(job)).complete
    os.close(reading)
    assert server.streams == {"azureml-logs/70_driver_log.txt": b"before\nafter\n"}
    assert shipper.rewritten == []


def test_what_a_writer_began_anew_is_sent_after_what_it_left(server, shipper, job):
    for name in ("rank-0-10", "rank-0", "rank-0-2"):
        (job / "spool" / (name + ".metrics")).write_bytes(b'["s","x",1,1.0]\n')
    shipper.ship_once(str(job))
    assert list(server.streams) == ["metrics/rank-0", "metrics/rank-0-2", "metrics/rank-0-10"]


def test_what_a_writer_began_anew_waits_for_what_it_left(server, shipper, job):
    for name in ("rank-0", "rank-0-2", "rank-1"):
        (job / "spool" / (name + ".metrics")).write_bytes(b'["s","x",1,1.0]\n')
    server.failing = [StorageFullError("full")]
    assert not shipper.ship_once(str(job)).complete
    assert list(server.streams) == ["metrics/rank-1"]
    assert shipper.ship_once(str(job)).complete
    assert list(server.streams) == ["metrics/rank-1", "metrics/rank-0", "metrics/rank-0-2"]


def test_a_server_that_came_back_with_older_records_gets_again_what_it_lost(server, shipper, job):
    (job / "spool" / "rank-0.metrics").write_bytes(b'["s","x",1,1.0]\n["s","x",2,1.0]\n')
    append(job / "logs" / "a.txt", b"first\nsecond\n")
    shipper.ship_once(str(job))
    stored = dict(server.streams)
    server.streams = {"metrics/rank-0": b'["s","x",1,1.0]\n', "a.txt": b"first\n"}
    assert not shipper.ship_once(str(job))  # nothing is new: it does not know
    shipper.doubt()
    server.failing = [StorageFullError("full")]
    assert not shipper.ship_once(str(job)).complete
    assert shipper.ship_once(str(job)).complete
    assert server.streams == stored
    server.requests = []
    shipper.ship_once(str(job))
    assert server.requests == []


def test_a_stream_rests_for_as_long_as_the_server_says_and_goes_with_what_has_come_meanwhile(
    job, server, shipper, clock
):
    server.rest_s = 0.5
    log = job / "logs" / "azureml-logs" / "70_driver_log.txt"
    log.write_bytes(b"one\n")
    assert shipper.ship_once(str(job), patient=True)
    log.write_bytes(b"one\ntwo\n")
    clock.now += 0.2
    passed = shipper.ship_once(str(job), patient=True)
    assert not passed and passed.rests_s == pytest.approx(0.3)
    log.write_bytes(b"one\ntwo\nthree\n")
    clock.now += 0.3
    assert shipper.ship_once(str(job), patient=True)
    assert server.streams == {"azureml-logs/70_driver_log.txt": b"one\ntwo\nthree\n"}
    assert len(server.requests) == 2


def test_a_rest_ends_where_a_script_waits_for_what_it_has_logged_or_the_run_ends(job, server, shipper):
    server.rest_s = 3600.0
    spool = job / "spool" / "rank-0.metrics"
    spool.write_bytes(b"1\n")
    shipper.ship_once(str(job), patient=True)
    spool.write_bytes(b"1\n2\n")
    assert not shipper.ship_once(str(job), patient=True)
    (job / "spool" / "hurry").touch()
    assert shipper.ship_once(str(job), patient=True)
    assert not (job / "spool" / "hurry").exists()
    spool.write_bytes(b"1\n2\n3\n")
    assert not shipper.ship_once(str(job), patient=True)
    assert shipper.ship_once(str(job))
    assert server.streams == {"metrics/rank-0": b"1\n2\n3\n"}


def test_a_rest_ends_where_much_is_waiting(job, server, shipper):
    server.rest_s = 3600.0
    spool = job / "spool" / "rank-0.metrics"
    spool.write_bytes(b"1\n")
    shipper.ship_once(str(job), patient=True)
    spool.write_bytes(b"1\n" + (MUCH_BYTES // 2 - 1) * b"2\n")
    assert not shipper.ship_once(str(job), patient=True)
    spool.write_bytes(b"1\n" + MUCH_BYTES // 2 * b"2\n")
    assert shipper.ship_once(str(job), patient=True)
    assert server.streams == {"metrics/rank-0": spool.read_bytes()}


def test_what_a_writer_began_anew_does_not_overtake_what_it_left_and_rests(job, server, shipper, clock):
    server.rest_s = 0.5
    (job / "spool" / "rank-0.metrics").write_bytes(b"1\n")
    shipper.ship_once(str(job), patient=True)
    (job / "spool" / "rank-0.metrics").write_bytes(b"1\n2\n")
    (job / "spool" / "rank-0-2.metrics").write_bytes(b"3\n")
    assert not shipper.ship_once(str(job), patient=True)
    clock.now += 0.5
    shipper.ship_once(str(job), patient=True)
    assert [name for name, _, _ in server.requests] == ["metrics/rank-0", "metrics/rank-0", "metrics/rank-0-2"]


def test_what_a_writer_began_anew_does_not_wait_for_what_it_left_and_is_stored(job, server, shipper):
    server.rest_s = 3600.0
    (job / "spool" / "rank-0.metrics").write_bytes(b"1\n")
    shipper.ship_once(str(job), patient=True)
    (job / "spool" / "rank-0-2.metrics").write_bytes(b"2\n")
    passed = shipper.ship_once(str(job), patient=True)
    assert passed.complete
    assert server.streams == {"metrics/rank-0": b"1\n", "metrics/rank-0-2": b"2\n"}
