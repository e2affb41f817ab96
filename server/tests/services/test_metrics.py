"""Metrics through the service: taken in once whatever is sent twice, given back in Azure's shapes."""

import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, insert, select

from runyard.errors import (
    OffsetGapError,
    PathRefusedError,
    RunException,
    UnknownRunError,
    UserErrorException,
)
from runyard.protocol.system_metrics import name_of
from runyard_server.domain.metric_chunks import Points, Summary
from runyard_server.records import streams
from runyard_server.records.engine import Database, create_all
from runyard_server.records.tables import experiments, metric_chunks, metric_outlines, runs
from runyard_server.services import metrics as module
from runyard_server.services.hub import ANYTHING, Change, Hub
from runyard_server.services.metrics import MetricService, Wanted

SCALAR, LIST, TABLE, IMAGE = "azureml.v1.scalar", "azureml.v1.list", "azureml.v1.table", "azureml.v2.image"


def add_run(database: Database, run_id: str, parent_id: str | None = None, type_: str = "azureml.scriptrun") -> None:
    with database.write() as connection:
        number = connection.execute(select(func.count()).select_from(runs)).scalar_one() + 1
        if number == 1:
            connection.execute(insert(experiments).values(id="e", name="e", created_at=0.0, tags={}, last_number=1))
        connection.execute(
            insert(runs).values(
                id=run_id,
                experiment_id="e",
                number=number,
                parent_id=parent_id,
                type=type_,
                status="Running",
                version=1,
                attempt=1,
                priority=0,
                created_at=float(number),
                warnings=[],
                tags={},
                properties={},
            )
        )


class Tags:
    """Remembers what the run's tags and properties were set to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str], dict[str, str]]] = []

    def __call__(self, connection: Connection, run_id: str, tags: dict[str, str], properties: dict[str, str]) -> None:
        self.calls.append((run_id, tags, properties))


class Listening(Hub):
    def __init__(self) -> None:
        super().__init__()
        self.published: list[str] = []

    def publish(self, run_id: str, change: Change = ANYTHING) -> None:
        assert change.measured
        self.published.append(run_id)
        super().publish(run_id, change)


@pytest.fixture
def tags() -> Tags:
    return Tags()


@pytest.fixture
def hub() -> Listening:
    return Listening()


@pytest.fixture
def service(database: Database, hub: Hub, tags: Tags) -> MetricService:
    add_run(database, "r1")
    return MetricService(database, hub, tags)


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def scalars(name: str, *values: Any) -> bytes:
    return lines(*(["s", name, value, 1.0 + number, number] for number, value in enumerate(values)))


def values_of(service: MetricService, name: str = "x", run_id: str = "r1") -> Any:
    return service.get(run_id)["metrics"].get(name)


def test_what_is_taken_is_given_back(service: MetricService, hub: Listening) -> None:
    body = scalars("loss", 0.5, 0.25) + scalars("epochs", 3) + lines(["e", "list", LIST, [1, "a"], 1.0])
    assert service.take("r1", "rank-0", 0, body) == len(body)
    assert service.get("r1") == {"metrics": {"epochs": 3, "list": [1, "a"], "loss": [0.5, 0.25]}, "warnings": []}
    assert service.get("r1", name="loss") == {"metrics": {"loss": [0.5, 0.25]}, "warnings": []}
    assert service.get("r1", name="missing") == {"metrics": {}, "warnings": []}
    assert hub.published == ["r1"]


@pytest.mark.parametrize("value", [-0.0, 5e-324, math.inf, -math.inf, 2**63 - 1, -(2**63), 2**53 + 1, True, "text"])
def test_a_value_survives_the_database_exactly(service: MetricService, value: Any) -> None:
    service.take("r1", "w", 0, scalars("x", value))
    assert repr(values_of(service)) == repr(value)


def test_nan_survives_the_database(service: MetricService) -> None:
    service.take("r1", "w", 0, scalars("x", math.nan, 1.0, math.nan))
    assert [repr(value) for value in values_of(service)] == ["nan", "1.0", "nan"]


def test_a_batch_sent_twice_is_stored_once(service: MetricService, hub: Listening) -> None:
    body = scalars("x", 1, 2, 3)
    assert service.take("r1", "w", 0, body) == len(body)
    assert service.take("r1", "w", 0, body) == len(body)
    more = scalars("x", 4)
    assert service.take("r1", "w", 0, body + more) == len(body + more)
    assert values_of(service) == [1, 2, 3, 4]


def test_writers_have_streams_of_their_own(service: MetricService) -> None:
    service.take("r1", "rank-0", 0, scalars("x", 1))
    service.take("r1", "rank-1", 0, scalars("x", 2))
    service.take("r1", "rank-0", len(scalars("x", 1)), scalars("x", 3))
    assert values_of(service) == [1, 2, 3]


def test_a_gap_is_refused_with_the_size_that_is_stored(service: MetricService) -> None:
    body = scalars("x", 1)
    service.take("r1", "w", 0, body)
    with pytest.raises(OffsetGapError) as gap:
        service.take("r1", "w", len(body) + 1, body)
    assert gap.value.details == {"size": len(body)}
    assert values_of(service) == 1


def test_a_line_without_its_end_waits_for_it(service: MetricService) -> None:
    first, second = scalars("x", 1), scalars("x", 2)
    assert service.take("r1", "w", 0, first + second[:-1]) == len(first)
    assert service.take("r1", "w", 0, b"") == len(first)
    assert values_of(service) == 1
    assert service.take("r1", "w", len(first), second) == len(first + second)
    assert values_of(service) == [1, 2]


def test_one_line_that_cannot_be_read_refuses_the_whole_batch_with_its_place(
    service: MetricService, database: Database
) -> None:
    first, second = scalars("x", 1), scalars("x", 2)
    service.take("r1", "w", 0, first)
    with pytest.raises(UserErrorException) as refusal:
        service.take("r1", "w", 0, first + second + b"garbage\n")
    assert refusal.value.details == {"line_at": len(first + second), "line_bytes": 7}
    assert values_of(service) == 1
    # Sent again with spaces for the line, the offsets are what they were.
    service.take("r1", "w", 0, first + second + b"       \n" + scalars("x", 3))
    assert values_of(service) == [1, 2, 3]
    with database.read() as connection:
        row = streams.get(connection, "r1", "metrics/w")
    assert row is not None and (row.stored, row.records) == (3 * len(first) + 8, 3)


def test_what_is_stored_already_is_skipped_though_it_could_not_be_read(service: MetricService) -> None:
    first, second = scalars("x", 1), scalars("x", 2)
    blanked = b"       \n"
    assert service.take("r1", "w", 0, blanked + first) == len(blanked + first)
    assert service.take("r1", "w", 0, b"garbage\n" + first + second) == len(blanked + first + second)
    assert values_of(service) == [1, 2]


def test_nothing_that_is_sent_asks_how_much_is_stored(service: MetricService) -> None:
    assert service.take("r1", "w", 0, b"") == 0
    service.take("r1", "w", 0, scalars("x", 1))
    assert service.take("r1", "w", 0, b"") == len(scalars("x", 1))
    with pytest.raises(OffsetGapError):
        service.take("r1", "w", 100, b"")
    with pytest.raises(UnknownRunError):
        service.take("missing", "w", 0, b"")


def test_an_unknown_run_a_strange_writer_and_a_body_without_measure_are_refused(service: MetricService) -> None:
    with pytest.raises(UnknownRunError):
        service.take("missing", "w", 0, scalars("x", 1))
    for writer in ("", "../w", "a/b", "a\x00b"):
        with pytest.raises((PathRefusedError, UserErrorException)):
            service.take("r1", writer, 0, scalars("x", 1))
    with pytest.raises(UserErrorException):
        service.take("r1", "w" * 300, 0, scalars("x", 1))
    with pytest.raises(UserErrorException):
        service.take("r1", "w", -1, scalars("x", 1))
    with pytest.raises(UserErrorException):
        service.take("r1", "w", 0, b" " * (16 << 20) + b"\n")
    with pytest.raises(UnknownRunError):
        service.get("missing")
    with pytest.raises(UnknownRunError):
        service.history("missing", "x")


def test_tags_and_properties_reach_the_run_once(service: MetricService, tags: Tags) -> None:
    body = lines(["t", "color", "red"], ["p", "commit", "abc"], ["t", "color", "blue"], ["t", "empty", None])
    service.take("r1", "w", 0, body)
    service.take("r1", "w", 0, body)
    assert tags.calls == [("r1", {"color": "blue", "empty": ""}, {"commit": "abc"})]


def test_a_refused_tag_keeps_its_batch_out(database: Database, hub: Hub) -> None:
    def refuse(*_: Any) -> None:
        raise RunException("too many tags")

    add_run(database, "r1")
    service = MetricService(database, hub, refuse)
    with pytest.raises(RunException):
        service.take("r1", "w", 0, scalars("x", 1) + lines(["t", "a", "b"]))
    assert service.get("r1")["metrics"] == {}


def test_rows_and_tables_are_columns(service: MetricService) -> None:
    service.take("r1", "w", 0, lines(["e", "t", TABLE, {"x": 1, "y": math.nan}, 1.0]))
    assert repr(values_of(service, "t")) == "{'x': 1, 'y': nan}"
    size = service.take("r1", "w", 0, b"")
    service.take("r1", "w", size, lines(["e", "t", TABLE, {"x": [2, 3]}, 2.0]))
    assert repr(values_of(service, "t")) == "{'x': [1, 2, 3], 'y': [nan, None, None]}"


def test_a_second_type_under_a_name_is_dropped_with_a_warning(service: MetricService) -> None:
    service.take("r1", "w", 0, lines(["e", "x", LIST, [1], 1.0], ["s", "x", 5, 1.0], ["e", "x", IMAGE, "a", 1.0]))
    answer = service.get("r1")
    assert answer["metrics"] == {"x": [1]}
    (warning,) = answer["warnings"]
    assert "azureml.v1.scalar, azureml.v2.image" in warning
    assert service.summaries(["r1"])["r1"]["x"].summary.count == 1


def test_an_integer_among_floats_stays_an_integer(service: MetricService) -> None:
    service.take("r1", "w", 0, scalars("x", 1, 0.5, 2**62 + 1))
    assert repr(values_of(service)) == repr([1, 0.5, 2**62 + 1])


def test_summaries_follow_every_batch(service: MetricService) -> None:
    bodies = [
        lines(["s", "x", 2.0, 1.0, 1], ["s", "x", 5, 1.0, 2]),
        lines(["s", "x", -1.5, 1.0, 3], ["s", "y", "text", 1.0]),
        lines(["s", "x", math.nan, 1.0, 4], ["d", "x", "what it is"], ["e", "z", LIST, [1], 1.0]),
    ]
    size = 0
    for body in bodies:
        size = service.take("r1", "w", size, body)
    found = service.summaries(["r1", "missing"])["r1"]
    assert found["x"].summary == Summary(4, last=None, min=-1.5, max=5.0, last_step=4, min_step=3, max_step=2)
    assert (found["x"].type, found["x"].description) == (SCALAR, "what it is")
    assert (found["y"].type, found["y"].summary) == (SCALAR, Summary(1))
    assert (found["z"].type, found["z"].summary) == (LIST, Summary(1))
    assert list(service.summaries(["r1"], ["x", "none"])["r1"]) == ["x"]


def test_a_description_of_a_metric_that_is_not_there_is_let_go(service: MetricService) -> None:
    service.take("r1", "w", 0, lines(["d", "ghost", "nobody"]))
    assert service.get("r1")["metrics"] == {}


def test_points_that_come_one_by_one_do_not_stay_a_row_each(service: MetricService, database: Database) -> None:
    size = 0
    count = 3 * module.MERGE_EVERY + 5
    for number in range(count):
        value: float = number if number % 7 else number + 0.5
        size = service.take("r1", "w", size, lines(["s", "x", value, float(number), number]))
    with database.read() as connection:
        rows = connection.execute(select(func.count()).select_from(metric_chunks)).scalar_one()
    assert rows <= module.MERGE_EVERY
    assert values_of(service) == [number if number % 7 else number + 0.5 for number in range(count)]
    assert service.history("r1", "x")["steps"] == list(range(count))


def test_what_a_metric_has_much_of_is_sealed_as_it_comes_and_the_rest_when_the_run_has_ended(
    service: MetricService, database: Database
) -> None:
    values = [n / 7 if n % 1000 else math.nan for n in range(2 * module.SEALED_POINTS + 300)]
    size = 0
    for start in range(0, len(values), 3000):
        body = lines(*(["s", "x", value, 5.0 + n, n] for n, value in enumerate(values[start : start + 3000], start)))
        size = service.take("r1", "w", size, body + lines(["s", "y", 1, 1.0]))
    kinds = select(metric_chunks.c.kind, metric_chunks.c.count).where(metric_chunks.c.name == "x")
    with database.read() as connection:
        before = list(connection.execute(kinds.order_by(metric_chunks.c.id)))
    assert before[:2] == [("D", module.SEALED_POINTS)] * 2 and [kind for kind, _ in before[2:]] == ["d"]
    service.settle("r1")
    service.settle("r1")
    with database.read() as connection:
        assert list(connection.execute(kinds.order_by(metric_chunks.c.id)))[2:] == [("D", 300)]
        outlines = connection.execute(select(func.count()).select_from(metric_outlines)).scalar_one()
    assert outlines == 2
    assert repr(values_of(service)) == repr(values)
    assert service.last_points(["r1"])["r1"]["x"].values == values[-1:]
    service.take("r1", "w", size, lines(["s", "x", 5, 1.0]))
    assert service.last_points(["r1"])["r1"]["x"].values == [5]
    assert values_of(service)[-1] == 5


def test_what_was_measured_of_the_nodes_is_no_metric_of_the_script(service: MetricService) -> None:
    name = name_of(0, "cpu_percent")
    service.take("r1", "w", 0, lines(["s", name, 50.0, 1.0], ["s", name, 60.0, 2.0], ["s", "x", 1, 1.0]))
    assert service.get("r1")["metrics"] == {"x": 1}
    assert list(service.summaries(["r1"])["r1"]) == list(service.last_points(["r1"])["r1"]) == ["x"]
    assert service.usual_names(["r1"], 10) == ["x"]
    found = service.page("r1", Wanted(system=True))
    assert [(one.name, one.summary.max) for one in found.metrics] == [(name, 60.0)]
    assert service.history("r1", name)["values"] == [50.0, 60.0]


def test_what_is_drawn_and_what_is_shown_otherwise_is_the_same_to_the_records_and_to_a_summary(
    service: MetricService,
) -> None:
    said: list[list[Any]] = [["s", "curve", 1.0, 1.0], ["s", "curve", 2.0, 2.0], ["s", "once", 1.0, 1.0]]
    said += [["s", "no-number", math.nan, 1.0], ["s", "no-number", math.nan, 2.0], ["e", "t", TABLE, {"a": 1}, 1.0]]
    gpu = name_of(0, "gpu_percent")
    said += [["s", gpu, 1.0, 1.0], ["s", gpu, 2.0, 2.0]]
    service.take("r1", "w", 0, lines(*said))
    found = {}
    for is_system in (False, True):
        every = service.page("r1", Wanted(system=is_system)).metrics
        drawn = service.page("r1", Wanted(drawable=True, system=is_system)).metrics
        shown = service.page("r1", Wanted(exhibits=True, system=is_system)).metrics
        assert [one for one in every if one.is_drawable] == drawn
        assert [one for one in every if one.is_exhibit] == shown
        found[is_system] = ([one.name for one in drawn], [one.name for one in shown])
    assert found[False] == (["curve"], ["t"]) and found[True] == ([gpu], [])


def test_ten_thousand_names_are_told_page_by_page_and_found_by_a_part_of_them(service: MetricService) -> None:
    body = lines(*(["s", f"layer{n:05d}/Norm_%", n / 2, 1.0] for n in range(10_000)))
    size = service.take("r1", "w", 0, body)
    service.take("r1", "w", size, lines(["s", "layer00007/Norm_%", 1.5, 2.0], ["e", "t", TABLE, {"a": 1}, 1.0]))
    first = service.page("r1", limit=1000)
    assert (first.count, len(first.metrics), first.next) == (10_001, 1000, "layer00999/Norm_%")
    second = service.page("r1", after=first.next, limit=1000)
    assert second.metrics[0].name == "layer01000/Norm_%"
    found = service.page("r1", Wanted("0007/norm_%"))
    assert [(one.name, one.summary.last) for one in found.metrics][0] == ("layer00007/Norm_%", 1.5)
    assert (found.count, found.next) == (1, None)
    full = service.page("r1", Wanted("layer0000"), limit=10)
    assert (full.count, len(full.metrics), full.next) == (
        10,
        10,
        None,
    )  # the last page is full, and the last all the same
    assert [one.name for one in service.page("r1", Wanted(drawable=True)).metrics] == ["layer00007/Norm_%"]
    assert service.page("r1", Wanted("layer")).glances == {}
    assert service.page("r1", after="layer09999/Norm_%").glances == {"t": "columns: a"}
    with pytest.raises(UserErrorException, match="1,000"):
        service.page("r1", limit=1001)
    with pytest.raises(UnknownRunError):
        service.page("missing")


def test_a_history_has_all_steps_times_and_values(service: MetricService) -> None:
    service.take("r1", "w", 0, scalars("x", *range(1000)) + lines(["e", "list", LIST, [1], 1.0]))
    whole = service.history("r1", "x")
    assert whole["values"] == whole["steps"] == list(range(1000))
    assert whole["times"] == [1.0 + number for number in range(1000)]
    for name in ("list", "missing"):
        with pytest.raises(RunException, match="no scalar metric"):
            service.history("r1", name)


def test_metrics_of_a_family_are_by_run(service: MetricService, database: Database) -> None:
    add_run(database, "child", "r1", "azureml.scriptrun")
    add_run(database, "silent", "r1")
    add_run(database, "grandchild", "child", "hyperdrive")
    add_run(database, "stranger")
    for run_id, value in (("r1", 1), ("child", 2), ("grandchild", 3), ("stranger", 4)):
        service.take(run_id, "w", 0, scalars("x", value))
    family = service.get("r1", recursive=True)["metrics"]
    assert family == {"r1": {"x": 1}, "child": {"x": 2}, "grandchild": {"x": 3}}
    assert service.get("r1", recursive=True, run_type="hyperdrive")["metrics"] == {"grandchild": {"x": 3}}
    assert service.get("r1")["metrics"] == {"x": 1}


def test_the_same_batch_sent_by_many_threads_at_once_is_stored_once(service: MetricService) -> None:
    body = b"".join(scalars("x", number) for number in range(200))
    cuts = [0, 1000, 2500, len(body)]
    failures: list[BaseException] = []

    def send() -> None:
        try:
            size = 0
            for end in cuts[1:]:
                size = service.take("r1", "w", size, body[size:end])
        except BaseException as problem:
            failures.append(problem)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert values_of(service) == list(range(200))


def test_many_ranks_may_log_the_same_metric_at_once(service: MetricService) -> None:
    def send(rank: int) -> None:
        size = 0
        for number in range(20):
            body = lines(["s", "b", rank, 1.0], ["s", "a", number, 1.0])
            size = service.take("r1", f"rank-{rank}", size, body)

    threads = [threading.Thread(target=send, args=(rank,)) for rank in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(values_of(service, "a")) == sorted(list(range(20)) * 4)
    assert service.summaries(["r1"])["r1"]["b"].summary.count == 80


# Whatever way the stream is chopped and re-sent, the result is the same.

record = st.one_of(
    st.tuples(st.just("s"), st.sampled_from("ab"), st.floats() | st.integers(-(2**63), 2**63 - 1), st.just(1.0)),
    st.tuples(st.just("s"), st.sampled_from("ab"), st.floats(), st.just(1.0), st.integers(-(2**62), 2**62)),
    st.tuples(
        st.just("e"), st.sampled_from("lm"), st.just(LIST), st.lists(st.integers(0, 9), max_size=3), st.just(2.0)
    ),
)


@pytest.fixture(scope="module")
def chopping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder: Path = tmp_path_factory.mktemp("chopping")
    database = Database(f"sqlite:///{folder}/records.db")
    create_all(database.engine)
    yield database
    database.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(record, max_size=25), data=st.data())
def test_any_chopping_and_resending_gives_the_same_result(
    chopping: Database, records: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    service = MetricService(chopping, Hub(), Tags())
    body = lines(*records)
    with chopping.read() as connection:
        number = connection.execute(select(func.count()).select_from(runs)).scalar_one()
    whole, chopped = f"whole-{number}", f"chopped-{number}"
    add_run(chopping, whole)
    add_run(chopping, chopped)
    assert service.take(whole, "w", 0, body) == len(body)
    size = 0
    for end in sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6), label="ends")) + [len(body)]:
        start = data.draw(st.integers(0, size), label="start")
        size = service.take(chopped, "w", start, body[start:end])
    assert size == len(body)
    assert repr(service.get(chopped)) == repr(service.get(whole))
    of_whole, of_chopped = (service.summaries([run_id]).get(run_id) for run_id in (whole, chopped))
    # A float column cannot tell which of two integers that round to one float came first.
    assert {
        n: (s.type, s.summary.count, s.summary.min, s.summary.max, s.summary.last) for n, s in (of_whole or {}).items()
    } == {
        n: (s.type, s.summary.count, s.summary.min, s.summary.max, s.summary.last)
        for n, s in (of_chopped or {}).items()
    }


@pytest.mark.parametrize("before", [0, 1, module.SEALED_POINTS - 200, module.SEALED_POINTS])
def test_a_request_that_is_sent_again_adds_nothing_where_a_part_of_it_was_sealed(
    service: MetricService, before: int
) -> None:
    def points(first: int, count: int) -> Points:
        numbers = range(first, first + count)
        return Points(list(numbers), [float(number) for number in numbers], [number / 7 for number in numbers])

    for first in range(0, before, 500):
        service.add("r1", {"x": points(first, min(500, before - first))})
    for _ in range(3):
        service.add("r1", {"x": points(before, 1000)})
    assert values_of(service) == [number / 7 for number in range(before + 1000)]
