"""Models on the client: which local files are registered, where fetched ones are found, what is asked for."""

import io
import json
import os

import pytest

from runyard import model_files, model_search
from runyard.dataset import Dataset
from runyard.errors import ModelException, ModelNotFoundException, ModelPathNotFoundException, UserErrorException
from runyard.model import Model
from runyard.protocol.models import FRAMEWORKS
from runyard.transport.base import Answer, Transport


class Recorder(Transport):
    """Answers each request with the next of the given answers, and keeps what was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def send(self, method, path, body, headers, stream, timeout_s):
        self.asked.append((method, path, json.loads(body) if body else None))
        return Answer(200, {}, io.BytesIO(json.dumps(self.answers.pop(0)).encode("utf-8")))


class Workspace:
    def __init__(self, *answers):
        self.transport = Recorder(*answers)


def record(**changes):
    known = {"id": "m:1", "name": "m", "version": 1, "created_at": 1566000000.0, "root": "m.pkl"}
    known["files"] = [{"path": "m.pkl", "size": 3, "digest": "0" * 64}]
    known.update(changes)
    return known


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AZUREML_RUN_ID", raising=False)
    return tmp_path


def write(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# Which local files are registered


def test_a_file_is_registered_under_its_own_name(here):
    write(here / "m.pkl")
    assert model_files.to_register("m.pkl") == ("m.pkl", [("m.pkl", str(here / "m.pkl"))])


def test_a_folder_is_registered_with_its_name_in_front(here):
    write(here / "outputs/model/b/c")
    write(here / "outputs/model/a")
    root, files = model_files.to_register("outputs/model/")
    assert root == "model"
    assert [name for name, _ in files] == ["model/a", "model/b/c"]


def test_the_working_directory_is_registered_under_its_name(here):
    write(here / "top/a")
    os.chdir(str(here / "top"))
    assert model_files.to_register(".")[0] == "top"


def test_links_are_followed_and_a_circle_ends(here):
    write(here / "other/a")
    (here / "model").mkdir()
    (here / "model/linked").symlink_to(here / "other")
    (here / "model/again").symlink_to(here / "model")
    (here / "model/nowhere").symlink_to(here / "gone")
    assert [name for name, _ in model_files.to_register("model")[1]] == ["model/linked/a"]


def test_what_is_not_there_is_refused(here):
    with pytest.raises(ModelPathNotFoundException, match="does not exist on this machine.*run.register_model"):
        model_files.to_register("outputs/model")


def test_an_empty_folder_is_refused(here):
    (here / "model/sub").mkdir(parents=True)
    with pytest.raises(ModelException, match="holds no file"):
        model_files.to_register("model")


def test_children_are_chosen_inside_a_folder_alone(here):
    write(here / "model/a")
    write(here / "model/b/c")
    write(here / "secret")
    assert [name for name, _ in model_files.to_register("model", ["b"])[1]] == ["model/b/c"]
    with pytest.raises(ModelException, match="leads out of"):
        model_files.to_register("model", ["../secret"])
    with pytest.raises(ModelException, match="leads out of"):
        model_files.to_register("model", [str(here / "secret")])
    with pytest.raises(ModelPathNotFoundException, match="'absent' is not in"):
        model_files.to_register("model", ["absent"])
    with pytest.raises(ModelException, match="is a file"):
        model_files.to_register("secret", ["a"])


# Where a fetched model is found


def test_outside_a_run_the_newest_fetched_version_is_found(here):
    for version in ("2", "10"):
        write(here / "azureml-models/m" / version / "model.pkl")
    assert Model.get_model_path("m") == os.path.join("azureml-models", "m", "10", "model.pkl")
    assert Model.get_model_path("m", version=2) == os.path.join("azureml-models", "m", "2", "model.pkl")


def test_outside_a_run_a_file_of_that_name_is_found(here):
    write(here / "model.pkl")
    assert Model.get_model_path("model.pkl") == "model.pkl"


def test_outside_a_run_a_model_that_is_nowhere_is_refused_with_where_it_was_looked_for(here):
    with pytest.raises(ModelNotFoundException, match=r"ModelNotFound: The model 'm' version 3 is neither in"):
        Model.get_model_path("m", version=3)


def test_a_version_folder_holds_exactly_one_entry(here):
    write(here / "azureml-models/m/1/a")
    write(here / "azureml-models/m/1/b")
    with pytest.raises(ModelException, match="must hold exactly one file or folder.*it holds: a, b"):
        Model.get_model_path("m")


def test_a_models_path_is_not_asked_for_by_a_bad_name(here):
    with pytest.raises(ModelException, match="is no name of a model"):
        Model.get_model_path("../m")


# What is asked of the server


def test_a_name_asks_for_the_newest_and_a_version_for_that_one():
    workspace = Workspace(record(), record(), record())
    Model(workspace, "m")
    Model(workspace, "m", version="3")
    Model(workspace, id="m:4")
    assert [path for _, path, _ in workspace.transport.asked] == [
        "/api/v1/models/m",
        "/api/v1/models/m/3",
        "/api/v1/models/m/4",
    ]


@pytest.mark.parametrize("id", ["m", "m:", "m:x", ":", "m:-1"])
def test_an_id_that_is_none_is_refused(id):
    with pytest.raises(UserErrorException, match="'name:version'"):
        Model(Workspace(), id=id)


@pytest.mark.parametrize("version", ["x", 1.5, "-1"])
def test_a_version_that_is_no_number_is_refused(version):
    with pytest.raises(UserErrorException, match="whole number from 1"):
        Model(Workspace(), "m", version=version)


def test_nothing_to_look_for_is_refused():
    with pytest.raises(UserErrorException, match="needs a name, an id"):
        Model(Workspace())


@pytest.mark.parametrize(
    "given, sent",
    [
        ("final", ["final"]),
        (["final", ["kind", "cnn"]], ["final", ["kind", "cnn"]]),
        ([("kind", 3)], [["kind", "3"]]),
        ({"kind": "cnn"}, [["kind", "cnn"]]),
    ],
)
def test_filters_are_given_as_keys_and_pairs(given, sent):
    asked = model_search.filters(None, None, given, None, None, None)
    assert json.loads(asked["tags"]) == sent


@pytest.mark.parametrize("given", [[["a", "b", "c"]], [["a"]]])
def test_filters_of_another_shape_are_refused(given):
    with pytest.raises(UserErrorException, match="A filter is a list of keys and"):
        model_search.filters(None, None, given, None, None, None)


def test_a_list_is_read_page_by_page():
    workspace = Workspace(
        {"models": [record(id="m:2", version=2)], "next": "mark"}, {"models": [record()], "next": None}
    )
    assert [model.id for model in Model.list(workspace, "m", page_count=1)] == ["m:2", "m:1"]
    assert "after=mark" in workspace.transport.asked[1][1]


def test_each_registration_carries_its_own_mark():
    workspace = Workspace(record(), record())
    Model.register_from_run(workspace, "run", "m")
    Model.register_from_run(workspace, "run", "m", "outputs/m/")
    first, second = [body for _, _, body in workspace.transport.asked]
    assert first["request_id"] != second["request_id"]
    assert (first["model_path"], second["model_path"]) == ("m", "outputs/m")


def test_a_name_against_the_rules_is_refused_before_anything_is_sent(here):
    write(here / "m.pkl")
    workspace = Workspace()
    with pytest.raises(ModelException, match="1 to 255"):
        Model.register(workspace, "m.pkl", "my model")
    assert workspace.transport.asked == []


@pytest.mark.parametrize(
    "given",
    [{"sample_input_dataset": object()}, {"sample_output_dataset": object()}, {"resource_configuration": object()}],
)
def test_what_the_registry_cannot_keep_is_refused(here, given):
    write(here / "m.pkl")
    with pytest.raises(UserErrorException, match="yet"):
        Model.register(Workspace(), "m.pkl", "m", **given)


@pytest.mark.parametrize(
    ("datasets", "said"),
    [
        ([("training", object())], "a list of pairs"),
        (["mnist"], "a list of pairs"),
        (
            [("training", Dataset.File.from_files("https://host/a"))],
            r"Register it first: dataset.register\(workspace, name\)",
        ),
    ],
)
def test_a_model_names_registered_datasets_alone(here, datasets, said):
    write(here / "m.pkl")
    workspace = Workspace()
    with pytest.raises(UserErrorException, match=said):
        Model.register(workspace, "m.pkl", "m", datasets=datasets)
    assert workspace.transport.asked == []


def test_its_time_is_utc_and_its_description_azures():
    model = Model(Workspace(record(tags={"a": "1"}, run_id="run", experiment="exp")), "m")
    assert model.created_time.isoformat() == "2019-08-17T00:00:00+00:00"
    said = model.serialize()
    assert (said["id"], said["runId"], said["experimentName"], said["tags"]) == ("m:1", "run", "exp", {"a": "1"})


def test_every_framework_that_a_model_may_name_is_a_constant():
    constants = {value for name, value in vars(Model.Framework).items() if name.isupper()}
    assert constants == set(FRAMEWORKS)
