"""What MLflow's clients and pages are told by the whole application: models, times of changes, histories, data sets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard.protocol.files import FileEntry, Manifest
from runyard.protocol.runs import InteractiveRunSpec, RunChanges
from runyard_server.api.mlflow.metric_histories import steps_at_intervals
from runyard_server.api.mlflow.words import METRIC_ORIGINS
from runyard_server.app import Server, build
from runyard_server.services.runs import LONGEST_NOTE, MAX_TAGS
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock

MLFLOW, PAGES = "/api/2.0/mlflow", "/ajax-api/2.0/mlflow"
Ask = Callable[..., Any]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(tmp_path: Path, clock: FakeClock) -> Iterator[Server]:
    settings = Settings(home=tmp_path / "home", environments=tmp_path / "environments", public_url="http://memory")
    settings.home.mkdir(mode=0o700)
    made = build(settings, Secrets("member", b"k" * 32), lambda: "http://memory", clock)
    yield made
    made.close()


@pytest.fixture
def ask(server: Server) -> Ask:
    """MLflow's client: a method, an address behind the prefix or a whole one, and a body or a query."""
    client = Client(server.app, "http://memory", {"Authorization": "Bearer member"})

    def ask(method: str, path: str, expected: int = 200, query: Any = None, **said: Any) -> Any:
        address = path if path.startswith("/") else f"{MLFLOW}/{path}"
        body = {} if method == "GET" else {"json": said}
        answer = client.request(method, address, params=query, **body)
        assert answer.status_code == expected, answer.text
        return answer.json()

    return ask


async def weights() -> AsyncIterator[bytes]:
    yield b"weights"


@pytest.fixture
def files(server: Server) -> None:
    """A run with the file of a model."""
    server.services.runs.start_interactive(InteractiveRunSpec("plums", id="maker"), "user", beats=False)
    digest, size = asyncio.run(server.services.objects.take(weights(), None))
    server.services.files.commit("maker", Manifest([FileEntry("model/weights.bin", size, digest)]))


def version(ask: Ask, name: str, **said: Any) -> Any:
    return ask("POST", "model-versions/create", name=name, source="runs:/maker/model", **said)["model_version"]


def names_of(found: Any) -> list[tuple[str, str]]:
    return [(one["name"], one["version"]) for one in found["model_versions"]]


def test_versions_come_in_the_order_that_is_asked_for_and_by_name_within_it(
    ask: Ask, files: None, clock: FakeClock
) -> None:
    for name in ("a", "b"):
        ask("POST", "registered-models/create", name=name)
    for name in ("a", "b", "a"):
        clock.advance(1)
        version(ask, name)

    def ordered(*order: str) -> list[tuple[str, str]]:
        return names_of(ask("GET", "model-versions/search", query=[("order_by", one) for one in order]))

    assert ordered() == [("a", "2"), ("b", "1"), ("a", "1")]
    assert ordered("version_number ASC") == [("a", "1"), ("b", "1"), ("a", "2")]
    assert ordered("name DESC") == [("b", "1"), ("a", "2"), ("a", "1")]
    assert ordered("version_number DESC", "name DESC") == [("a", "2"), ("b", "1"), ("a", "1")]


def test_a_version_says_the_run_that_was_named_and_is_found_by_it(ask: Ask, files: None) -> None:
    ask("POST", "registered-models/create", name="net")
    assert version(ask, "net", run_id="trainer")["run_id"] == "trainer"
    assert version(ask, "net")["run_id"] == "maker"

    def of_run(run_id: str) -> list[tuple[str, str]]:
        return names_of(ask("GET", "model-versions/search", query={"filter": f"run_id = '{run_id}'"}))

    assert of_run("trainer") == [("net", "1")]
    assert of_run("maker") == [("net", "2")]
    assert of_run("nobody") == []


def test_a_model_and_its_versions_say_when_they_were_changed_last(ask: Ask, files: None, clock: FakeClock) -> None:
    ask("POST", "registered-models/create", name="net")
    made = clock.now()

    def seconds_later(change: Callable[[], Any], name: str = "net") -> tuple[int, int]:
        """When the name and its first version were changed last, in seconds since the name was made."""
        clock.advance(1)
        change()
        told = ask("GET", "registered-models/get", query={"name": name})["registered_model"]
        first = ask("GET", "model-versions/get", query={"name": name, "version": "1"})["model_version"]
        assert told["creation_timestamp"] == made * 1000
        return tuple(round(one["last_updated_timestamp"] / 1000 - made) for one in (told, first))  # type: ignore[return-value]

    assert seconds_later(lambda: version(ask, "net")) == (1, 1)
    described = {"name": "net", "version": "1", "description": "round"}
    assert seconds_later(lambda: ask("PATCH", "model-versions/update", **described)) == (1, 2)
    assert seconds_later(lambda: ask("PATCH", "model-versions/update", **described)) == (1, 2)  # nothing is another
    staged = {"name": "net", "version": "1", "stage": "Staging"}
    assert seconds_later(lambda: ask("POST", "model-versions/transition-stage", **staged)) == (4, 4)
    assert seconds_later(lambda: ask("PATCH", "registered-models/update", name="net", description="x")) == (5, 4)
    assert seconds_later(lambda: version(ask, "net")) == (6, 4)
    assert seconds_later(lambda: ask("DELETE", "model-versions/delete", name="net", version="2")) == (7, 4)
    assert seconds_later(lambda: ask("POST", "registered-models/rename", name="net", new_name="web"), "web") == (8, 4)


def test_an_experiment_says_when_it_was_changed_last(ask: Ask, clock: FakeClock) -> None:
    experiment_id = ask("POST", "experiments/create", name="plums")["experiment_id"]
    for change, said in (
        ("update", {"new_name": "pears"}),
        ("set-experiment-tag", {"key": "a", "value": "b"}),
        ("delete", {}),
        ("restore", {}),
    ):
        clock.advance(1)
        ask("POST", f"experiments/{change}", experiment_id=experiment_id, **said)
        told = ask("GET", "experiments/get", query={"experiment_id": experiment_id})["experiment"]
        assert told["last_update_time"] == clock.now() * 1000


def log(ask: Ask, run_id: str, *points: tuple[int, int, float]) -> None:
    """Step, milliseconds and value of each point."""
    metrics = [{"key": "loss", "step": step, "timestamp": at, "value": value} for step, at, value in points]
    ask("POST", "runs/log-batch", run_id=run_id, metrics=metrics)


@pytest.fixture
def runs(ask: Ask, server: Server) -> list[str]:
    for run_id in ("a", "b"):
        server.services.runs.start_interactive(InteractiveRunSpec("plums", id=run_id), "user", beats=False)
    return ["a", "b"]


def test_histories_of_many_runs_come_run_by_run_and_by_time(ask: Ask, runs: list[str]) -> None:
    log(ask, "b", (0, 1, 5.0))
    log(ask, "a", (3, 2, 1.0), (2, 1, 2.0), (1, 1, 3.0))
    bulk = f"{PAGES}/metrics/get-history-bulk"

    def told(**asked: Any) -> list[tuple[str, int, float]]:
        found = ask("GET", bulk, query={"run_id": ["b", "a"], "metric_key": "loss", **asked})["metrics"]
        return [(one["run_id"], one["step"], one["value"]) for one in found]

    everything = [("a", 1, 3.0), ("a", 2, 2.0), ("a", 3, 1.0), ("b", 0, 5.0)]
    assert told() == everything
    assert told(max_results=2) == everything[:2]
    assert told(metric_key="other") == []
    for asked in ({"metric_key": "loss"}, {"run_id": ["a"] * 101, "metric_key": "loss"}, {"run_id": ["a"]}):
        assert ask("GET", bulk, 400, query=asked)["error_code"] == "INVALID_PARAMETER_VALUE"
    assert ask("GET", bulk, 404, query={"run_id": ["nobody"], "metric_key": "loss"})["error_code"]


def test_a_history_at_intervals_has_the_same_steps_of_all_runs_and_the_ends_of_each(ask: Ask, runs: list[str]) -> None:
    log(ask, "a", *((step, at, 1.0) for step in range(10) for at in (1, 2)))
    log(ask, "b", *((step, 1, 1.0) for step in range(20)))
    interval = "metrics/get-history-bulk-interval"

    def steps(*run_ids: str, **asked: Any) -> list[tuple[str, int, int]]:
        found = ask("GET", interval, query={"run_ids": list(run_ids), "metric_key": "loss", **asked})["metrics"]
        return [(one["run_id"], one["step"], one["timestamp"]) for one in found]

    both = [("a", step, at) for step in (0, 4, 8, 9) for at in (1, 2)]
    both += [("b", step, 1) for step in (0, 4, 8, 9, 12, 16, 19)]
    assert steps("a", "b", max_results=5) == both
    assert steps("b", start_step=3, end_step=6, max_results=5) == [("b", step, 1) for step in (3, 4, 5, 6)]


@pytest.mark.parametrize(
    ("runs_", "start", "end", "most", "expected"),
    [
        ([], None, None, 5, set()),
        ([[-3, -2, 7]], None, None, 5, {-3, -2, 7}),
        ([list(range(-5, 5))], None, None, 2, {-5, 0, 4}),
        ([list(range(10))], 0, 4, 5, {0, 1, 2, 3, 4}),
        ([list(range(10))], 20, 30, 5, set()),
        ([list(range(1000)), [7]], 5, 500, 1, {5, 7, 500}),
    ],
)
def test_steps_at_intervals(
    runs_: list[list[int]], start: int | None, end: int | None, most: int, expected: set[int]
) -> None:
    ends = {step for steps in runs_ for step in (min(steps), max(steps))}
    assert steps_at_intervals({step for steps in runs_ for step in steps}, ends, start, end, most) == expected


def test_data_sets_of_experiments_are_told_once_with_what_they_were_read_for(ask: Ask, runs: list[str]) -> None:
    dataset = {"name": "stones", "digest": "abc", "source_type": "code", "source": "{}"}
    tags = [{"key": "mlflow.data.context", "value": "training"}]
    for run_id in runs:
        ask("POST", "runs/log-inputs", run_id=run_id, datasets=[{"dataset": dataset, "tags": tags}])
    found = ask("GET", "experiments/get-by-name", query={"experiment_name": "plums"})
    experiment_id = found["experiment"]["experiment_id"]
    search = f"{PAGES}/experiments/search-datasets"
    expected = {"experiment_id": experiment_id, "name": "stones", "digest": "abc", "context": "training"}
    assert ask("POST", search, experiment_ids=[experiment_id]) == {"dataset_summaries": [expected]}

    def names(filter_: str, expected: int = 200) -> Any:
        return ask("POST", "runs/search", expected, experiment_ids=[experiment_id], filter=filter_)

    by_all = "dataset.name = 'stones' AND datasets.digest LIKE 'a%' AND dataset.`context` IN ('training', 'eval')"
    assert {one["info"]["run_id"] for one in names(by_all)["runs"]} == set(runs)
    assert "runs" not in names("dataset.name != 'stones'") or names("dataset.name != 'stones'")["runs"] == []
    for refused in ("dataset.schema = 'a'", "dataset.name = 1", "dataset.name IS NULL", "dataset.name > 'a'"):
        assert names(refused, 400)["error_code"] == "INVALID_PARAMETER_VALUE"
    ask("POST", "runs/search", 400, experiment_ids=[experiment_id], order_by=["dataset.name ASC"])
    for wrong in ([], ["e"] * 21):
        assert ask("POST", search, 400, experiment_ids=wrong)["error_code"] == "INVALID_PARAMETER_VALUE"


@pytest.fixture
def models(ask: Ask, runs: list[str], clock: FakeClock) -> list[str]:
    """Three logged models, the oldest first."""
    found = ask("GET", "experiments/get-by-name", query={"experiment_name": "plums"})
    made = []
    for name in ("first", "second", "third"):
        clock.advance(1)
        said = {"experiment_id": found["experiment"]["experiment_id"], "name": name}
        made.append(ask("POST", "logged-models", **said)["model"]["info"]["model_id"])
    return made


def measure(ask: Ask, model_id: str, value: float, dataset: str | None = None, key: str = "loss") -> None:
    told = {"dataset_name": dataset, "dataset_digest": f"{dataset}-1"} if dataset else {}
    ask("POST", "runs/log-metric", run_id="a", model_id=model_id, key=key, value=value, timestamp=1, step=1, **told)


def test_a_logged_models_metrics_say_the_run_and_the_data_set_of_their_latest_value(
    ask: Ask, models: list[str]
) -> None:
    (model_id, *_) = models
    measure(ask, model_id, 0.5, "stones")
    measure(ask, model_id, 0.25, "kernels")
    measure(ask, model_id, 1.0, key="accuracy")
    model = ask("GET", f"logged-models/{model_id}")["model"]
    told = {one.pop("key"): one for one in model["data"]["metrics"]}
    known = {"timestamp": 1, "step": 1, "model_id": model_id, "run_id": "a"}
    assert told["loss"] == {"value": 0.25, **known, "dataset_name": "kernels", "dataset_digest": "kernels-1"}
    assert told["accuracy"] == {"value": 1.0, **known}
    assert model["info"]["tags"] == []


def test_a_logged_model_that_has_all_the_tags_it_may_have_is_measured_still(
    ask: Ask, models: list[str], server: Server
) -> None:
    (model_id, *_) = models
    has = len(server.services.runs.get(model_id).tags)
    tags = {f"tag{number}": "" for number in range(MAX_TAGS - has)}
    server.services.runs.change(model_id, RunChanges(tags=tags))
    measure(ask, model_id, 0.5, "stones")
    (told,) = ask("GET", f"logged-models/{model_id}")["model"]["data"]["metrics"]
    assert told["value"] == 0.5 and "dataset_name" not in told


def test_of_where_a_logged_models_numbers_are_from_the_latest_are_kept_and_no_more_than_fit(
    ask: Ask, models: list[str], server: Server
) -> None:
    (model_id, *_) = models
    measure(ask, model_id, 0.5, "stones", key="first")
    for number in range(3):
        measure(ask, model_id, 0.5, "s" * 3000, key=f"long{number}")
    measure(ask, model_id, 0.5, "s" * LONGEST_NOTE, key="too long")
    tag = server.services.runs.get(model_id).tags[METRIC_ORIGINS]
    assert list(json.loads(tag)) == ["first", "long1", "long2"] and len(tag) <= LONGEST_NOTE
    model = ask("GET", f"logged-models/{model_id}")["model"]
    assert len(model["data"]["metrics"]) == 5


def test_logged_models_are_searched_by_all_that_they_have_page_by_page(
    ask: Ask, models: list[str], server: Server, clock: FakeClock
) -> None:
    first, second, third = models
    measure(ask, first, 0.5, "stones")
    measure(ask, second, 0.25, "kernels")
    measure(ask, second, 0.9, "stones", key="accuracy")
    measure(ask, third, 0.125)
    ask("PATCH", f"logged-models/{first}", status="LOGGED_MODEL_READY")
    ask("PATCH", f"logged-models/{second}/tags", tags=[{"key": "kind", "value": "round"}])
    ask("POST", f"logged-models/{third}/params", params=[{"key": "lr", "value": "0.1"}])
    experiment_id = server.services.experiments.get("plums").id

    def found(**asked: Any) -> list[str]:
        said = ask("POST", "logged-models/search", experiment_ids=[experiment_id], **asked)
        names = [one["info"]["name"] for one in said["models"]]
        token = said.get("next_page_token")
        return names if token is None else names + found(**{**asked, "page_token": token})

    assert found() == ["third", "second", "first"]
    assert found(max_results=1) == ["third", "second", "first"]
    assert found(filter="metrics.loss < 0.3") == ["third", "second"]
    assert found(filter="tags.kind = 'round'") == ["second"]
    assert found(filter="params.lr LIKE '0.%'") == ["third"]
    assert found(filter="status = 'READY'") == ["first"]
    assert found(filter="status != 'READY'") == ["third", "second"]
    assert found(filter=f"model_id IN ('{first}', '{third}')") == ["third", "first"]
    assert found(filter=f"creation_timestamp <= {round((clock.now() - 1) * 1000)}") == ["second", "first"]
    assert found(order_by=[{"field_name": "metrics.loss"}]) == ["third", "second", "first"]
    assert found(order_by=[{"field_name": "metrics.accuracy"}]) == ["second", "third", "first"]
    assert found(order_by=[{"field_name": "name"}], max_results=2) == ["first", "second", "third"]
    stones = [{"dataset_name": "stones"}]
    assert found(datasets=stones, max_results=1) == ["second", "first"]
    assert found(datasets=stones, filter="metrics.loss < 1") == ["first"]
    assert found(datasets=[{"dataset_name": "stones", "dataset_digest": "stones-2"}]) == []
    for wrong in ({"filter": "datasets.name = 'a'"}, {"filter": "status LIKE 'R%'"}, {"filter": "nothing = 'a'"}):
        ask("POST", "logged-models/search", 400, experiment_ids=[experiment_id], **wrong)
    by_dataset = [{"field_name": "metrics.loss", "dataset_name": "stones"}]
    ask("POST", "logged-models/search", 400, experiment_ids=[experiment_id], order_by=by_dataset)
