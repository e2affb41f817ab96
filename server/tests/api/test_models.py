"""The SDK's Model against the real routes: register, find, download, change, delete, and whose token may."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI, Request

from runyard.errors import (
    ModelException,
    ModelNotFoundException,
    ModelPathNotFoundException,
    PermissionDeniedError,
    UserErrorException,
)
from runyard.model import Model
from runyard.protocol.runs import RunRecord
from runyard.protocol.status import RunStatus
from runyard.transport.memory import MemoryTransport
from runyard_server.api import errors, files, models, objects
from runyard_server.api.roles import TABLE
from runyard_server.artifacts.store import FolderStore
from runyard_server.records import experiments, runs
from runyard_server.records.engine import Database
from runyard_server.services.files import FileService
from runyard_server.services.models import ModelService
from runyard_server.services.objects import ObjectService
from runyard_server.services.tokens import Identity
from runyard_server.testing.clock import FakeClock

RUN = "tf-mnist_1566000000_0a1b2c3d"


class Workspace:
    """As much of a workspace as a model needs."""

    name = "test"

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.transport = MemoryTransport(app)

    def as_run(self, run_id: str | None) -> None:
        """From here on requests come with that run's token."""
        self.app.state.identity = Identity("run", run_id) if run_id else Identity("member")

    def upload(self, run_id: str, *named: tuple[str, Path]) -> None:
        from runyard.transfer import upload_run_files

        upload_run_files(self.transport, run_id, [(name, str(path)) for name, path in named])


@pytest.fixture
def workspace(database: Database, tmp_path: Path) -> Iterator[Workspace]:
    app = FastAPI()
    for module in (models, objects, files):
        app.router.routes.extend(module.router.below("/api/v1"))
    errors.install(app)
    app.state.identity = Identity("member")

    @app.middleware("http")
    async def identify(request: Request, call_next: Any) -> Any:
        request.state.identity = app.state.identity
        return await call_next(request)

    clock = FakeClock()
    store = FolderStore(tmp_path / "objects")
    run_files = FileService(database, clock, store)
    app.state.services = SimpleNamespace(
        models=ModelService(database, clock, store, run_files), objects=ObjectService(store), files=run_files
    )
    with database.write() as connection:
        home = experiments.get_or_create(connection, "tf-mnist", clock.now())
        record = RunRecord(RUN, 1, "tf-mnist", "azureml.scriptrun", RunStatus.RUNNING, clock.now(), 1)
        runs.add(connection, record, home.id)
    workspace = Workspace(app)
    yield workspace
    workspace.transport.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "local" / "model"
    (top / "variables").mkdir(parents=True)
    (top / "graph.pb").write_bytes(b"graph")
    (top / "variables" / "data").write_bytes(b"v" * 3_000_000)
    (top / "empty").write_bytes(b"")
    return top


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_local_folder_is_registered_and_comes_back_the_same(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    model = Model.register(
        workspace,
        str(folder),
        "tf-dnn-mnist",
        tags={"kind": "dnn", "layers": 2},
        properties={"rows": 7},
        description="digits",
        model_framework=Model.Framework.TENSORFLOW,
        model_framework_version="1.13",
    )
    assert (model.id, model.name, model.version) == ("tf-dnn-mnist:1", "tf-dnn-mnist", 1)
    assert (model.tags, model.properties) == ({"kind": "dnn", "layers": "2"}, {"rows": "7"})
    assert (model.description, model.model_framework, model.model_framework_version) == ("digits", "TensorFlow", "1.13")
    assert model.run_id is None and model.run is None
    path = model.download(str(tmp_path / "target"))
    assert path == str(tmp_path / "target" / "model")
    assert contents(Path(path)) == contents(folder)


def test_a_local_file_is_registered_and_comes_back_under_its_name(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"pickle")
    path = Model.register(workspace, str(tmp_path / "m.pkl"), "m").download(str(tmp_path / "new"))
    assert path == str(tmp_path / "new" / "m.pkl")
    assert Path(path).read_bytes() == b"pickle"


def test_chosen_children_of_a_folder_are_registered(workspace: Workspace, folder: Path) -> None:
    model = Model.register(workspace, str(folder), "m", child_paths=["variables", "empty"])
    assert model.get_file_names() == ["model/empty", "model/variables/data"]
    assert model.size_bytes == 3_000_000


def test_a_download_replaces_nothing_unless_it_may(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"one")
    model = Model.register(workspace, str(tmp_path / "m.pkl"), "m")
    (tmp_path / "m.pkl").write_bytes(b"mine")
    with pytest.raises(ModelException, match="exist_ok=True"):
        model.download(str(tmp_path))
    assert (tmp_path / "m.pkl").read_bytes() == b"mine"
    model.download(str(tmp_path), exist_ok=True)
    assert (tmp_path / "m.pkl").read_bytes() == b"one"


def test_a_runs_folder_is_registered_and_the_model_knows_its_run(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    workspace.upload(RUN, ("outputs/model/graph.pb", folder / "graph.pb"), ("outputs/model/e", folder / "empty"))
    model = Model.register_from_run(workspace, RUN, "tf-dnn-mnist", "./outputs/model/")
    assert (model.id, model.run_id, model.experiment_name) == ("tf-dnn-mnist:1", RUN, "tf-mnist")
    path = model.download(str(tmp_path / "new"))
    assert contents(Path(path)) == {"graph.pb": b"graph", "e": b""}
    with pytest.raises(ModelPathNotFoundException, match="outputs/model/e, outputs/model/graph.pb"):
        Model.register_from_run(workspace, RUN, "tf-dnn-mnist", "outputs/other")


def test_models_are_found_by_name_version_id_tags_and_run(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"one")
    path = str(tmp_path / "m.pkl")
    workspace.upload(RUN, ("m.pkl", tmp_path / "m.pkl"))
    Model.register(workspace, path, "m", tags={"kind": "cnn"})
    Model.register(workspace, path, "m", tags={"kind": "dnn"}, properties={"rows": "7"})
    Model.register_from_run(workspace, RUN, "other", "m.pkl")
    assert Model(workspace, "m").version == 2
    assert Model(workspace, "m", version=1).version == 1
    assert Model(workspace, id="m:1").version == 1
    assert Model(workspace, tags=["kind"]).id == "m:2"
    assert Model(workspace, "m", tags=[["kind", "cnn"]]).id == "m:1"
    assert Model(workspace, "m", version=1, tags=["kind"]).id == "m:1"
    assert Model(workspace, properties=[["rows", "7"]]).id == "m:2"
    assert Model(workspace, run_id=RUN).id == "other:1"
    assert sorted(model.id for model in Model.list(workspace)) == ["m:1", "m:2", "other:1"]
    assert sorted(model.id for model in Model.list(workspace, page_count=1)) == ["m:1", "m:2", "other:1"]
    assert sorted(model.id for model in Model.list(workspace, latest=True)) == ["m:2", "other:1"]
    assert [model.id for model in Model.list(workspace, "m", tags={"kind": "cnn"})] == ["m:1"]
    with pytest.raises(ModelNotFoundException, match="ModelNotFound: There is no model 'absent'.*There are: m, other"):
        Model(workspace, "absent")
    with pytest.raises(ModelNotFoundException, match="ModelNotFound: No model matches name=m, tags=.*There are: "):
        Model(workspace, "m", tags=["absent"])


def test_a_listed_model_downloads_like_any_other(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"one")
    Model.register(workspace, str(tmp_path / "m.pkl"), "m")
    (model,) = Model.list(workspace)
    assert Path(model.download(str(tmp_path / "new"))).read_bytes() == b"one"


def test_tags_properties_and_description_change_as_azure_says(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"one")
    model = Model.register(workspace, str(tmp_path / "m.pkl"), "m", tags={"a": "1"}, properties={"p": "1"})
    model.add_tags({"b": 2})
    model.remove_tags(["a", "absent"])
    assert model.tags == {"b": "2"}
    model.update(tags={"c": "3"}, description="the best")
    assert (model.tags, model.description) == ({"c": "3"}, "the best")
    model.update(tags={})
    assert (model.tags, model.description) == ({}, "the best")
    model.update_tags_properties(add_tags={"d": "4"}, remove_tags=["d"], add_properties={"q": "2"})
    assert (model.tags, model.properties) == ({"d": "4"}, {"p": "1", "q": "2"})
    with pytest.raises(ModelException, match="properties are written once"):
        model.add_properties({"p": "2"})
    assert Model(workspace, "m").serialize() == model.serialize()
    assert Model.deserialize(workspace, model.serialize()) == model


def test_a_deleted_model_is_gone_and_its_number_stays_given(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"one")
    model = Model.register(workspace, str(tmp_path / "m.pkl"), "m")
    model.delete()
    with pytest.raises(ModelNotFoundException):
        model.delete()
    assert Model.register(workspace, str(tmp_path / "m.pkl"), "m").version == 2


def test_inside_a_run_the_path_of_a_model_is_fetched_once_also_by_several_at_once(
    workspace: Workspace, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Model.register(workspace, str(folder), "m")
    (tmp_path / "job").mkdir()
    monkeypatch.chdir(tmp_path / "job")
    together = threading.Barrier(4)
    found: list[str] = []

    def ask() -> None:
        together.wait()
        found.append(Model.get_model_path("m", _workspace=workspace))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["azureml-models/m/1/model"] * 4
    assert contents(Path(found[0])) == contents(folder)
    assert [path.name for path in Path("azureml-models/m").iterdir()] == ["1"]
    assert Model.get_model_path("m") == "azureml-models/m/1/model"


def test_a_runs_token_registers_for_its_own_run_alone(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"one")
    workspace.upload(RUN, ("m.pkl", tmp_path / "m.pkl"))
    workspace.as_run("another")
    with pytest.raises(PermissionDeniedError, match="registers models of that run alone"):
        Model.register_from_run(workspace, RUN, "m", "m.pkl")
    workspace.as_run(RUN)
    assert Model.register_from_run(workspace, RUN, "m", "m.pkl").run_id == RUN
    assert Model.register(workspace, str(tmp_path / "m.pkl"), "m").run_id == RUN


@pytest.mark.parametrize("text", ["x", "3", '[["a"]]', '[["a", "b", "c"]]', "[1]", '{"a": 1}x'])
def test_a_filter_that_is_none_is_refused(workspace: Workspace, text: str) -> None:
    with pytest.raises(UserErrorException, match="tags is JSON such as"):
        workspace.transport.call("GET", "/models", query={"tags": text})


def test_every_route_of_models_has_its_row_in_the_role_table() -> None:
    for route in models.router.routes:
        for method in route.methods:
            assert (method, "/api/v1" + route.path) in TABLE
