"""Numbers of event files become metrics: each once, whenever they are taken; what cannot be is named."""

import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from runyard.errors import UnknownRunError
from runyard.event_files import HEADER, EventFile, checksum
from runyard.protocol.status import RunStatus
from runyard_server.services import tensorboard
from runyard_server.services.tensorboard import VARIABLE, folder_of
from runyard_server.testing.played_jobs import Play
from runyard_server.testing.run_server import THIS_PYTHON
from runyard_server.testing.yard import Yard

FILE = "logs/train/events.out.tfevents.1571.node"
Events = Callable[..., bytes]
ASKS = replace(THIS_PYTHON, variables={VARIABLE: "1"})


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    yard = Yard(tmp_path)
    yield yard
    yard.close()


@pytest.fixture
def events(tmp_path: Path) -> Events:
    """Bytes of an event file with so many numbers of the tag ``loss``: 0, 1, 2, ..."""

    def events(count: int, tag: str = "loss") -> bytes:
        path = tmp_path / "made"
        with EventFile(str(path), 1.0) as file:
            for step in range(count):
                file.scalar(tag, float(step), 10 * step, 100.0 + step)
        return path.read_bytes()

    return events


def metrics(yard: Yard, run_id: str) -> dict[str, list[float]]:
    """The metrics that are not of the played job itself."""
    found = {}
    for name in yard.server.metrics.get(run_id)["metrics"]:
        if not name.startswith("loss-"):
            points = yard.server.metrics.numbers(run_id, name)
            assert points.steps == [10 * int(value) for value in points.values]
            assert points.times == [100.0 + value for value in points.values]
            found[name] = [float(value) for value in points.values]
    return found


def test_numbers_are_taken_once_as_they_come(yard: Yard, events: Events) -> None:
    run_id, whole = yard.running(Play(lines=None)), events(3)
    assert yard.server.tensorboard.take(run_id).files == 0
    for size in (3, len(whole) - 1, len(whole) - 1, len(whole), len(whole)):
        yard.server.logs.append(run_id, FILE, 0, whole[:size])
        found = yard.server.tensorboard.take(run_id)
        assert not found.warnings and not found.more and found.files == 1
    assert found.points == 0
    assert metrics(yard, run_id) == {"train/loss": [0.0, 1.0, 2.0]}
    assert yard.server.metrics.summaries([run_id])[run_id]["train/loss"].description == tensorboard.DESCRIPTION
    proof = yard.server.verification.verify(run_id)
    (stream,) = [each for each in proof["streams"] if each["name"] == "tensorboard/" + FILE]
    assert proof["ok"] and stream["stored"] == len(whole) and stream["records"] == 3


def test_a_run_that_has_ended_gives_its_numbers_too_and_they_are_sealed(
    yard: Yard, tmp_path: Path, events: Events
) -> None:
    run_id = yard.running(Play(lines=1))
    (tmp_path / "events").write_bytes(events(100))
    yard.server.files.adopt_file(run_id, "outputs/events.out.tfevents.1571.node", tmp_path / "events")
    yard.until(yard.has_ended(run_id))
    found = yard.server.tensorboard.take(run_id)
    assert (found.points, found.metrics, found.more) == (100, ["loss"], False)
    assert metrics(yard, run_id) == {"loss": [float(step) for step in range(100)]}
    assert yard.server.tensorboard.take(run_id).points == 0


def test_a_part_is_taken_at_a_time(yard: Yard, events: Events) -> None:
    run_id, whole = yard.running(Play(lines=None)), events(9000)
    for name in ("a", "b"):
        yard.server.logs.append(run_id, f"logs/{name}/events.out.tfevents.1", 0, whole)
    parts = []
    while not parts or parts[-1].more:
        parts.append(yard.server.tensorboard.take(run_id, most_bytes=1))
        if len(parts) == 2:
            yard.restart()
    assert len(parts) > 3 and sum(part.points for part in parts) == 18000
    wanted = [float(step) for step in range(9000)]
    assert metrics(yard, run_id) == {"a/loss": wanted, "b/loss": wanted}


def test_of_several_who_take_at_once_each_number_is_taken_by_one(yard: Yard, events: Events) -> None:
    run_id, whole = yard.running(Play(lines=None)), events(9000)
    for name in ("a", "b"):
        yard.server.logs.append(run_id, f"logs/{name}/events.out.tfevents.1", 0, whole)
    together = threading.Barrier(3)

    def take() -> int:
        together.wait()
        points, more = 0, True
        while more:
            found = yard.server.tensorboard.take(run_id, most_bytes=1)
            points, more = points + found.points, found.more
        return points

    with ThreadPoolExecutor(3) as pool:
        taken = [each.result() for each in [pool.submit(take) for _ in range(3)]]
    assert sum(taken) == 18000
    wanted = [float(step) for step in range(9000)]
    assert metrics(yard, run_id) == {"a/loss": wanted, "b/loss": wanted}


def test_a_run_that_asks_for_it_has_its_numbers_while_it_goes_on_and_at_its_end(yard: Yard, events: Events) -> None:
    run_id, whole = yard.running(Play(lines=None), environment=ASKS), events(6000)
    yard.server.logs.append(run_id, FILE, 0, events(2))
    yard.looks(2 * tensorboard.LOOK_EVERY_S, beats=True)
    assert metrics(yard, run_id) == {"train/loss": [0.0, 1.0]}
    yard.server.logs.append(run_id, FILE, 0, whole + b"and more")
    yard.server.runs.cancel(run_id, "ann")
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert run.status is RunStatus.CANCELED
    assert metrics(yard, run_id) == {"train/loss": [float(step) for step in range(6000)]}
    assert not run.warnings


@pytest.mark.parametrize("variables", [{}, {VARIABLE: "0"}, {VARIABLE: ""}])
def test_a_run_that_does_not_ask_for_it_has_its_own_metrics_alone(
    yard: Yard, events: Events, variables: dict[str, str]
) -> None:
    run_id = yard.running(Play(lines=None), environment=replace(THIS_PYTHON, variables=variables))
    yard.server.logs.append(run_id, FILE, 0, events(2))
    yard.looks(2 * tensorboard.LOOK_EVERY_S, beats=True)
    yard.server.runs.cancel(run_id, "ann")
    yard.until(yard.has_ended(run_id))
    assert metrics(yard, run_id) == {}


def test_what_cannot_be_taken_is_a_warning_of_the_run(yard: Yard, events: Events) -> None:
    run_id, whole = yard.running(Play(lines=None), environment=ASKS), events(3)
    damaged = bytearray(whole)
    damaged[-6] ^= 1  # in the last number
    yard.server.logs.append(run_id, FILE, 0, bytes(damaged) + b"no record at all, but more bytes than a header has")
    yard.server.runs.cancel(run_id, "ann")
    yard.until(yard.has_ended(run_id))
    last = len(whole) - len(whole[whole.rindex(b"\x09") - 12 :])
    assert yard.run(run_id).warnings == [
        f"{FILE}: the record at byte {last} is damaged",
        f"{FILE}: no record begins at byte {len(whole)}: what follows is not read",
    ]
    assert metrics(yard, run_id) == {"train/loss": [0.0, 1.0]}


@pytest.mark.parametrize("stuck", ["no event file", "half a record"])
def test_a_file_that_leads_nowhere_keeps_the_others_neither_from_being_taken_nor_the_run_from_its_end(
    yard: Yard, events: Events, stuck: str
) -> None:
    run_id, more_than_a_look = yard.running(Play(lines=None), environment=ASKS), 2 * tensorboard.LOOK_BYTES
    length = struct.pack("<Q", 2 * more_than_a_look)
    head = length + struct.pack("<I", checksum(length)) if stuck == "half a record" else b""
    yard.server.logs.append(run_id, "logs/a/events.out.tfevents.0", 0, head + b"x" * more_than_a_look)
    yard.server.logs.append(run_id, "logs/b/events.out.tfevents.0", 0, events(2))
    yard.looks(2 * tensorboard.LOOK_EVERY_S, beats=True)
    assert metrics(yard, run_id) == {"b/loss": [0.0, 1.0]}
    assert not yard.server.tensorboard.take(run_id).more
    yard.server.runs.cancel(run_id, "ann")
    yard.until(yard.has_ended(run_id))


def test_a_file_that_cannot_be_read_keeps_no_run_from_its_end(yard: Yard, tmp_path: Path, events: Events) -> None:
    run_id = yard.running(Play(lines=None), environment=ASKS)
    (tmp_path / "events").write_bytes(events(2))
    yard.server.files.adopt_file(run_id, "outputs/events.out.tfevents.1", tmp_path / "events")
    yard.server.files.open(run_id, "outputs/events.out.tfevents.1").location.unlink()
    yard.server.runs.cancel(run_id, "ann")
    yard.until(yard.has_ended(run_id))
    (warning,) = yard.run(run_id).warnings
    assert warning.startswith("Numbers of TensorBoard's event files were not taken: ")


def test_a_metric_that_the_run_has_logged_itself_stays_as_it_is(yard: Yard, events: Events) -> None:
    run_id = yard.running(Play(lines=None))
    yard.server.metrics.take(run_id, "rank-0-own", 0, b'["s", "loss", 0, 100.0, 0]\n')
    yard.server.logs.append(run_id, "logs/events.out.tfevents.1", 0, events(3))
    yard.server.logs.append(run_id, "logs/events.out.tfevents.2", 0, events(2, "accuracy"))
    found = yard.server.tensorboard.take(run_id)
    assert (found.points, found.metrics) == (2, ["accuracy"])
    (warning,) = found.warnings
    assert "logs/events.out.tfevents.1: the run has logged a metric 'loss' itself" in warning
    assert metrics(yard, run_id) == {"loss": [0.0], "accuracy": [0.0, 1.0]}
    assert yard.server.tensorboard.take(run_id).points == 0


@pytest.mark.parametrize("tag", ["", "x" * 256, "runyard.system/0/cpu_percent"])
def test_a_tag_that_can_be_no_metric_is_named(yard: Yard, events: Events, tag: str) -> None:
    run_id = yard.running(Play(lines=None))
    yard.server.logs.append(run_id, "logs/events.out.tfevents.1", 0, events(1, tag) + events(1)[40:])
    found = yard.server.tensorboard.take(run_id)
    (warning,) = found.warnings
    assert "can be no metric's name" in warning and found.metrics == ["loss"]


def test_records_too_long_for_numbers_are_passed_over(yard: Yard, events: Events) -> None:
    run_id = yard.running(Play(lines=None))
    # A graph of nine megabytes, and one of one, and numbers after them. Their bytes are never added up.
    body = events(1) + _framed(9 << 20) + _framed(1 << 20) + events(2, "after")[40:]
    for offset in range(0, len(body), 8 << 20):
        yard.server.logs.append(run_id, "logs/events.out.tfevents.1", offset, body[offset : offset + (8 << 20)])
        found = yard.server.tensorboard.take(run_id, most_bytes=100 << 20)
        assert not found.warnings
    assert metrics(yard, run_id) == {"loss": [0.0], "after": [0.0, 1.0]}


def _framed(size: int) -> bytes:
    """A record of one field of bytes, without its checksum: that of a long one is not looked at."""
    rest = size - 6
    field = b"\x22" + bytes(
        [rest & 127 | 128, rest >> 7 & 127 | 128, rest >> 14 & 127 | 128, rest >> 21 & 127 | 128, 0]
    )
    length = struct.pack("<Q", size)
    return HEADER.pack(size, checksum(length)) + field + bytes(rest) + bytes(4)


def test_what_another_node_wrote_is_taken_once_though_it_is_stored_under_two_names(
    yard: Yard, tmp_path: Path, events: Events
) -> None:
    run_id = yard.running(Play(lines=None))
    (tmp_path / "events").write_bytes(events(2))
    yard.server.logs.append(run_id, "logs/node-1/a/events.out.tfevents.1", 0, events(1))
    assert yard.server.tensorboard.take(run_id).metrics == ["node-1/a/loss"]
    yard.server.logs.append(run_id, "logs/node-1/a/events.out.tfevents.1", 0, events(2))
    yard.server.files.adopt_file(run_id, "logs/a/events.out.tfevents.1", tmp_path / "events")
    yard.server.tensorboard.take(run_id)
    assert metrics(yard, run_id) == {"node-1/a/loss": [0.0, 1.0]}


def test_a_file_of_which_the_live_copy_is_shorter_is_taken_whole(yard: Yard, tmp_path: Path, events: Events) -> None:
    run_id = yard.running(Play(lines=None))
    yard.server.logs.append(run_id, FILE, 0, events(2)[:-7])
    yard.server.tensorboard.take(run_id)
    (tmp_path / "events").write_bytes(events(3))
    yard.server.files.adopt_file(run_id, FILE, tmp_path / "events")
    yard.server.tensorboard.take(run_id)
    assert metrics(yard, run_id) == {"train/loss": [0.0, 1.0, 2.0]}


def test_a_run_that_is_not_there_has_nothing_to_take(yard: Yard) -> None:
    with pytest.raises(UnknownRunError):
        yard.server.tensorboard.take("nowhere")


@pytest.mark.parametrize(
    ("name", "attempt", "folder"),
    [
        ("logs/events.out.tfevents.1", 1, ""),
        ("logs/train/events.out.tfevents.1", 1, "train/"),
        ("outputs/tb/fold-1/events.out.tfevents.1", 1, "tb/fold-1/"),
        ("mine/events.out.tfevents.1", 1, "mine/"),
        ("logs/train/attempt-2/events.out.tfevents.1", 2, "train/"),
        ("logs/attempt-2/events.out.tfevents.1", 2, ""),
        ("logs/attempt-2/events.out.tfevents.1", 1, "attempt-2/"),
    ],
)
def test_a_metric_has_the_name_that_tensorboard_shows(name: str, attempt: int, folder: str) -> None:
    assert folder_of(name, attempt) == folder
