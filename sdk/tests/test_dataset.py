"""Datasets of files: what they name, what a run is given of them, what they refuse."""

import functools
import http.server
import os
import threading

import pytest

from runyard.container_registry import ContainerRegistry
from runyard.datapath import DataPath
from runyard.dataset import Dataset
from runyard.dataset_consumption import DatasetConsumptionConfig
from runyard.datastore import Datastore
from runyard.environment import Environment
from runyard.errors import DatastoreException, RunEnvironmentException, UserErrorException
from runyard.file_dataset import FileDataset
from runyard.input_datasets import InputDatasets
from runyard.output_dataset import OutputFileDatasetConfig
from runyard.run_spec import build
from runyard.runconfig import RunConfiguration
from runyard.script_run_config import ScriptRunConfig

FILES = {"mnist/train/a.gz": "1", "mnist/train/b.txt": "2", "mnist/test/a.gz": "3", "other": "4"}


class Workspace:
    name = "tests"

    def __init__(self, transport):
        self.transport = transport


@pytest.fixture
def datastore(transport, tmp_path):
    """A datastore with a few files."""
    folder = tmp_path / "data"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    found = Datastore(Workspace(transport), "workspaceblobstore")
    found.upload(str(folder), show_progress=False)
    return found


@pytest.fixture
def somewhere():
    """A datastore that nobody asks anything."""
    found = Datastore.__new__(Datastore)
    found.name = "somewhere"
    return found


@pytest.fixture
def address(tmp_path):
    """Where this process serves the files of a folder."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "t10k images.gz").write_text("served")
    handler = functools.partial(Quiet, directory=str(tmp_path / "web"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield "http://127.0.0.1:{}/".format(server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def spec_of(tmp_path, arguments):
    (tmp_path / "train.py").write_text("")
    return build(ScriptRunConfig(str(tmp_path), "train.py", arguments), "tests")


# As a run's input


def test_a_mounted_dataset_is_an_argument_under_its_name(datastore, tmp_path):
    dataset = Dataset.File.from_files((datastore, "mnist/train"))
    spec = spec_of(tmp_path, ["--data", dataset.as_named_input("mnist").as_mount()])
    (reference,) = spec.data_references
    assert spec.arguments == ["--data", "$AZUREML_DATAREFERENCE_mnist"]
    assert (reference.name, reference.datastore, reference.path, reference.mode) == (
        "mnist",
        "workspaceblobstore",
        "mnist/train",
        "mount",
    )


def test_a_dataset_without_a_name_gets_one_of_its_own(datastore, tmp_path):
    dataset = Dataset.File.from_files(datastore.path("mnist"))
    spec = spec_of(tmp_path, [dataset.as_download("here"), dataset.as_mount()])
    assert len({reference.name for reference in spec.data_references}) == 2
    assert sorted(reference.mode for reference in spec.data_references) == ["download", "mount"]
    assert {reference.path_on_compute for reference in spec.data_references} == {"here", None}


@pytest.mark.parametrize("path", ["mnist", "mnist/", "mnist/**", "mnist/*", "mnist/**/*", "./mnist"])
def test_a_folder_is_named_in_the_ways_that_people_write(somewhere, path):
    dataset = Dataset.File.from_files([(somewhere, path)], validate=False)
    assert dataset.as_mount().to_spec().path == "mnist"


def test_a_dataset_is_an_input_of_a_run_configuration(somewhere, tmp_path):
    (tmp_path / "train.py").write_text("")
    settings = RunConfiguration(script="train.py")
    settings.inputs = [Dataset.File.from_files((somewhere, "mnist"), validate=False).as_named_input("mnist").as_mount()]
    spec = build(ScriptRunConfig(str(tmp_path), run_config=settings), "tests")
    assert [reference.name for reference in spec.data_references] == ["mnist"]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda store: Dataset.File.from_files((store, "a"), validate=False), "Say dataset.as_mount()"),
        (
            lambda store: Dataset.File.from_files((store, "a"), validate=False).as_named_input("a"),
            "as_named_input('a').as_mount()",
        ),
        (
            lambda store: Dataset.File.from_files([(store, "a"), (store, "b")], validate=False).as_mount(),
            "has 2 places",
        ),
        (lambda store: Dataset.File.from_files("https://host/a.gz").as_mount(), "cannot be given the address"),
        (
            lambda store: Dataset.File.from_files((store, "a/*.gz"), validate=False).as_mount(),
            "not the pattern 'a/*.gz'",
        ),
    ],
)
def test_what_a_run_cannot_be_given_is_refused_before_anything_is_sent(somewhere, tmp_path, made, said):
    with pytest.raises(UserErrorException) as refused:
        spec_of(tmp_path, [made(somewhere)])
    assert said in str(refused.value)


def test_a_dataset_has_no_mode_but_azures():
    with pytest.raises(UserErrorException, match="There are: direct, mount, download"):
        DatasetConsumptionConfig("a", FileDataset([]), mode="hosting")
    with pytest.raises(DatastoreException, match="variable"):
        DatasetConsumptionConfig("a name", FileDataset([]))


# What it names


def test_a_dataset_lists_its_files(datastore):
    assert Dataset.File.from_files((datastore, "mnist")).to_path() == ["/test/a.gz", "/train/a.gz", "/train/b.txt"]
    assert Dataset.File.from_files((datastore, "other")).to_path() == ["/other"]
    assert Dataset.File.from_files([(datastore, "mnist/test"), (datastore, "other")]).to_path() == ["/a.gz", "/other"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("mnist/**/*.gz", ["/test/a.gz", "/train/a.gz"]),
        ("mnist/*/b.*", ["/train/b.txt"]),
        ("mnist/train/?.gz", ["/a.gz"]),
        ("**", ["/mnist/test/a.gz", "/mnist/train/a.gz", "/mnist/train/b.txt", "/other"]),
        ("*", ["/other"]),
    ],
)
def test_a_pattern_chooses_files(datastore, pattern, found):
    assert Dataset.File.from_files((datastore, pattern)).to_path() == found


def test_a_place_without_files_is_refused_where_it_is_named(datastore):
    with pytest.raises(UserErrorException, match="holds nothing at 'nothing'"):
        Dataset.File.from_files((datastore, "nothing"))
    assert Dataset.File.from_files((datastore, "nothing"), validate=False).download(ignore_not_found=True) == []


def test_downloads_write_each_file_once_and_replace_none_unasked(datastore, tmp_path):
    dataset = Dataset.File.from_files((datastore, "mnist/train"))
    target = tmp_path / "here"
    assert dataset.download(str(target)) == [str(target / "a.gz"), str(target / "b.txt")]
    (target / "a.gz").write_text("mine")
    with pytest.raises(UserErrorException, match="overwrite=True"):
        dataset.download(str(target))
    assert (target / "a.gz").read_text() == "mine"
    dataset.download(str(target), overwrite=True)
    assert (target / "a.gz").read_text() == "1"


def test_an_address_is_fetched_to_this_machine(address, tmp_path):
    dataset = Dataset.File.from_files([address + "t10k%20images.gz"])
    (path,) = dataset.download(str(tmp_path / "here"))
    assert os.path.basename(path) == "t10k images.gz"
    with open(path) as fetched:
        assert fetched.read() == "served"
    with pytest.raises(OSError):
        Dataset.File.from_files(address + "gone.gz").download(str(tmp_path / "here"))
    assert sorted(os.listdir(str(tmp_path / "here"))) == ["t10k images.gz"]


def test_a_folder_is_uploaded_and_named_in_one_step(datastore, tmp_path):
    folder = tmp_path / "new"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.csv").write_text("1")
    (folder / "b.log").write_text("2")
    dataset = Dataset.File.upload_directory(str(folder), (datastore, "tables"), pattern="*.csv", show_progress=False)
    assert dataset.to_path() == ["/deep/a.csv"]
    with pytest.raises(UserErrorException, match="holds no file that fits"):
        Dataset.File.upload_directory(str(folder), DataPath(datastore, "tables"), pattern="*.gz")
    with pytest.raises(UserErrorException, match="is no folder"):
        Dataset.File.upload_directory(str(tmp_path / "gone"), (datastore, "tables"))


@pytest.mark.parametrize("path", ["data/mnist", 7, [], ("text", "mnist"), None])
def test_what_names_no_place_is_refused(path):
    with pytest.raises(UserErrorException):
        Dataset.File.from_files(path)


def test_a_dataset_is_made_by_its_makers():
    with pytest.raises(UserErrorException, match="Dataset.File.from_files"):
        Dataset(None)
    with pytest.raises(UserErrorException, match="partition_format names columns in braces"):
        Dataset.File.from_files("https://host/a", partition_format="year")
    with pytest.raises(UserErrorException, match="needs a datastore"):
        DataPath(None, "mnist")


# Outputs


def test_an_output_is_a_place_that_the_script_fills(somewhere, tmp_path):
    output = OutputFileDatasetConfig("model", (somewhere, "models/new"), source="out")
    spec = spec_of(tmp_path, ["--out", output.as_upload(overwrite=True)])
    (reference,) = spec.data_references
    assert (reference.name, reference.path, reference.mode) == ("model", "models/new", "upload")
    assert (reference.path_on_compute, reference.overwrite) == ("out", True)
    assert output.as_mount().to_spec().mode == output.to_spec().mode == "mount"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Name the output's place"),
        ({"destination": "folder"}, "destination takes a place on a datastore"),
        ({"destination": ("store", "{run-id}/x")}, "in braces"),
        ({"destination": ("store", "x"), "partition_format": "{a}"}, "Leave it out"),
    ],
)
def test_an_output_without_a_place_of_its_own_is_refused(somewhere, given, said):
    if isinstance(given.get("destination"), tuple):
        given = dict(given, destination=(somewhere, given["destination"][1]))
    with pytest.raises(UserErrorException, match=said):
        OutputFileDatasetConfig("model", **given)


# Inside a script


def test_a_script_finds_its_inputs_by_name(monkeypatch):
    monkeypatch.setenv("AZUREML_DATAREFERENCE_mnist", "/data/mnist")
    inputs = InputDatasets()
    assert inputs["mnist"] == "/data/mnist"
    assert "mnist" in inputs and "other" not in inputs
    assert dict(inputs)["mnist"] == "/data/mnist" and len(inputs) == len(list(inputs))
    with pytest.raises(RunEnvironmentException, match="has no input 'other'. It has: .*mnist"):
        inputs["other"]


# Environments: what notebooks set on them


def test_an_image_is_asked_for_at_its_registry():
    environment = Environment("e")
    environment.docker.base_image = "team/tf:1.13"
    assert environment.to_spec().docker_image == "team/tf:1.13"
    environment.docker.base_image_registry.address = "registry.example:5000/"
    assert environment.to_spec().docker_image == "registry.example:5000/team/tf:1.13"
    assert ContainerRegistry().image("a") == "a"


def test_packages_of_spark_are_refused_and_its_other_settings_taken():
    environment = Environment("e")
    environment.spark.precache_packages = False
    environment.to_spec()
    environment.spark.packages = ["com.microsoft.ml.spark:mmlspark:0.12"]
    with pytest.raises(UserErrorException, match="no Spark runs here"):
        environment.to_spec()
