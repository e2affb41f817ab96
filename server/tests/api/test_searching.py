"""Runs are found from Python, on the command line and by MLflow's client, over the whole application."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from sqlalchemy import event, select

from runyard import Experiment, Workspace
from runyard.cli import main
from runyard.errors import UserErrorException
from runyard.protocol.runs import InteractiveRunSpec
from runyard.transport.memory import MemoryTransport
from runyard_server.app import Server, build
from runyard_server.domain.run_types import LOGGED_MODEL
from runyard_server.records.tables import metric_chunks
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.fresh_home import fresh_home

MLFLOW = "/api/2.0/mlflow"
SEALED = {"D", "Q", "M"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    settings = Settings(home=tmp_path / "home", environments=tmp_path / "environments", public_url="http://memory")
    fresh_home(settings.home)
    made = build(settings, Secrets("member", b"k" * 32), lambda: "http://memory", FakeClock())
    yield made
    made.close()


@pytest.fixture
def workspace(server: Server) -> Workspace:
    return Workspace(transport=MemoryTransport(server.app, "member"))


@pytest.fixture
def post(server: Server) -> Callable[..., Any]:
    """MLflow's client, as far as it is needed here."""
    client = Client(server.app, "http://memory", {"Authorization": "Bearer member"})

    def post(path: str, token: str = "member", **said: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        answer: Response = client.post(f"{MLFLOW}/{path}", json=said, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return post


def start(server: Server, run_id: str, experiment: str = "digits", loss: float | None = None, **known: Any) -> str:
    kind = known.pop("type", "azureml.interactive")
    server.services.runs.start_interactive(InteractiveRunSpec(experiment, id=run_id, **known), "user", type=kind)
    if loss is not None:
        server.services.metrics.take(run_id, "client", 0, json.dumps(["s", "loss", loss, 1.0, 1]).encode() + b"\n")
    return run_id


@pytest.fixture
def runs(server: Server) -> None:
    start(server, "first", loss=0.5, tags={"team": "a"})
    start(server, "second", loss=0.05, tags={"team": "a"})
    start(server, "third", loss=0.01, tags={"team": "b"})
    start(server, "below", loss=0.02, tags={"team": "a"}, parent="first")
    start(server, "elsewhere", experiment="letters", tags={"team": "a"})


def test_a_workspace_finds_runs_by_a_filter_in_an_order(workspace: Workspace, runs: None) -> None:
    def found(*args: Any, **more: Any) -> list[str]:
        return [run.id for run in workspace.search_runs(*args, **more)]

    assert set(found()) == {"first", "second", "third", "elsewhere"}
    assert found('tags.team = "a" and metrics.loss < 1', "metrics.loss") == ["second", "first"]
    assert found("metrics.loss < 1", "-metrics.loss") == ["first", "second", "third"]
    assert found("metrics.loss < 1", "metrics.loss", include_children=True)[1] == "below"
    assert found('tags.team = "a"', "id", experiment="letters") == ["elsewhere"]
    assert found("metrics.loss < 1", "metrics.loss", limit=1) == ["third"]
    with pytest.raises(UserErrorException, match="statis"):
        found("statis = Failed")


def test_a_search_of_many_runs_reads_them_page_by_page_and_each_once(server: Server, workspace: Workspace) -> None:
    for number in range(250):
        start(server, f"run{number:03d}", tags={"n": str(number)})
    found = [run.id for run in workspace.search_runs("id like 'run%'", "id")]
    assert found == [f"run{number:03d}" for number in range(250)]


def test_the_command_line_finds_runs_by_where(
    workspace: Workspace, runs: None, capsys: pytest.CaptureFixture[str]
) -> None:
    def runyard(*words: str) -> tuple[int, str, str]:
        code = main.main(["run", "list", *words], workspace)
        return code, *capsys.readouterr()

    code, out, _ = runyard(
        "--where", "metrics.loss < 0.1", "--sort", "metrics.loss", "--columns", "metrics.loss,tags.team"
    )
    lines = [line.split() for line in out.splitlines()]
    assert code == 0 and [line[0] for line in lines[1:]] == ["third", "second"]
    assert ("0.01" in lines[1], "b" in lines[1]) == (True, True)
    code, out, _ = runyard("--where", "metrics.loss < 0.1", "--json", "--all", "--experiment", "digits")
    assert code == 0 and {each["id"] for each in json.loads(out)} == {"second", "third"}
    code, _, err = runyard("--where", "statis = Failed")
    assert code == 2 and "statis" in err


def test_an_experiment_finds_runs_by_their_tags(workspace: Workspace, runs: None) -> None:
    digits = Experiment(workspace, "digits")
    assert [run.id for run in digits.get_runs(tags={"team": "a"})] == ["second", "first"]
    assert [run.id for run in digits.get_runs(tags=("team", "b"))] == ["third"]
    everything = {run.id for run in digits.get_runs(tags="team", include_children=True)}
    assert everything == {"first", "second", "third", "below"}
    assert list(digits.get_runs(tags={"team": "c"})) == []


def test_an_experiment_finds_its_runs_by_a_filter_beside_azures_arguments(
    workspace: Workspace, server: Server, runs: None
) -> None:
    digits = Experiment(workspace, "digits")
    start(server, "of-letters", "letters", 0.001)

    def found(**asked: Any) -> list[str]:
        return [run.id for run in digits.get_runs(**asked)]

    assert found(filter="metrics.loss < 0.1", order_by="metrics.loss") == ["third", "second"]
    assert found(filter="metrics.loss < 0.1", tags={"team": "a"}) == ["second"]
    assert found(filter="metrics.loss < 0.1 or metrics.loss > 0", tags=("team", "b")) == ["third"]
    assert found(filter="metrics.loss < 0.1", tags="team", status="Running,Completed", order_by="-metrics.loss") == [
        "second",
        "third",
    ]
    assert found(filter="metrics.loss < 0.1", status="Failed") == []
    assert found(filter="metrics.loss < 0.1", view_type="ArchivedOnly") == []
    workspace.get_run("third").set_tags({'a "key"': 'it said "so"', "a `tick`": ""})
    assert found(order_by="id", tags={'a "key"': 'it said "so"', "a `tick`": None}) == ["third"]
    with pytest.raises(UserErrorException, match="both kinds of quotes"):
        found(order_by="id", tags={'`"': None})
    assert "below" in found(order_by="id", include_children=True)
    with pytest.raises(UserErrorException, match="statis"):
        found(filter="statis = Failed")


# MLflow's searches


@contextmanager
def counted(server: Server) -> Iterator[list[str]]:
    """The statements that the database gets meanwhile."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        asked.append(statement)

    event.listen(server.database.engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(server.database.engine, "before_cursor_execute", note)


def experiment_ids(server: Server, count: int) -> list[str]:
    return [server.services.experiments.get(f"e{number}").id for number in range(count)]


@pytest.fixture
def eight(server: Server) -> None:
    """Experiments e0 to e7, each with a run and a logged model below it."""
    for number in range(8):
        start(server, f"run{number}", f"e{number}", loss=0.1)
        start(server, f"m{number}", f"e{number}", parent=f"run{number}", type=LOGGED_MODEL, display_name="net")


@pytest.mark.parametrize(("path", "key"), [("runs/search", "runs"), ("logged-models/search", "models")])
def test_a_search_of_mlflows_asks_the_database_as_often_for_eight_experiments_as_for_two(
    server: Server, post: Callable[..., Any], eight: None, path: str, key: str
) -> None:
    numbers = []
    for count in (2, 8):
        wanted = experiment_ids(server, count)
        with counted(server) as asked:
            found = post(path, experiment_ids=wanted)[key]
        assert len(found) == count
        assert {one["info"]["experiment_id"] for one in found} == set(wanted)
        numbers.append(len([statement for statement in asked if statement.startswith("SELECT")]))
    assert numbers[0] == numbers[1], asked


def test_a_search_in_an_experiment_that_is_not_here_is_refused_and_the_default_one_may_be_missing(
    server: Server, post: Callable[..., Any], eight: None
) -> None:
    for path in ("runs/search", "logged-models/search"):
        with pytest.raises(AssertionError, match="No Experiment with id=no-such"):
            post(path, experiment_ids=["no-such", *experiment_ids(server, 1)])
        assert not any(post(path, experiment_ids=["0"]).values())
    start(server, "of-default", "Default")
    assert [one["info"]["experiment_id"] for one in post("runs/search", experiment_ids=["0"])["runs"]] == ["0"]


def test_a_runs_own_token_finds_the_logged_models_below_it_alone(
    server: Server, post: Callable[..., Any], eight: None
) -> None:
    start(server, "deeper", "e0", parent="run0")
    start(server, "m-deeper", "e0", parent="deeper", type=LOGGED_MODEL)
    token = server.services.tokens.for_run("run0")
    found = post("logged-models/search", token, experiment_ids=experiment_ids(server, 8))["models"]
    assert {one["info"]["model_id"] for one in found} == {"m0", "m-deeper"}


def test_what_a_run_logged_that_was_imported_as_ended_is_sealed_when_all_of_it_is_here(
    server: Server, post: Callable[..., Any]
) -> None:
    experiment = post("imports/experiments", experiment_id="77", name="plums")["experiment_id"]
    post(
        "imports/runs",
        run_id="old",
        experiment_id=experiment,
        mark="m",
        status="FINISHED",
        start_time=1000,
        end_time=2000,
    )
    metrics = [{"key": "loss", "step": step, "value": step / 7, "timestamp": 1000 + step} for step in range(200)]
    post("runs/log-batch", run_id="old", metrics=metrics)
    assert not kinds(server) <= SEALED
    post("runs/set-tag", run_id="old", key="mlflow.imported", value="m")
    assert kinds(server) <= SEALED
    assert server.services.metrics.history("old", "loss")["values"] == [step / 7 for step in range(200)]


def kinds(server: Server) -> set[str]:
    with server.database.read() as connection:
        return set(connection.execute(select(metric_chunks.c.kind)).scalars())
