"""Datasets that a workspace keeps: names, versions, tags, and what a run is said to have been given."""

import pytest

from runyard.dataset import Dataset
from runyard.datastore import Datastore
from runyard.errors import DatasetException, NotOfferedError, UnknownDatasetError, UserErrorException
from runyard.file_dataset import FileDataset
from runyard.output_dataset import OutputFileDatasetConfig
from runyard.protocol.datasets import DatasetUse
from runyard.run_details import details
from runyard.run_spec import build
from runyard.runconfig import RunConfiguration
from runyard.script_run_config import ScriptRunConfig
from runyard.tabular_dataset import TabularDataset


class Workspace:
    name = "tests"

    def __init__(self, transport):
        self.transport = transport


@pytest.fixture
def workspace(transport):
    return Workspace(transport)


@pytest.fixture
def datastore(workspace, tmp_path):
    """A datastore with a few files."""
    folder = tmp_path / "data"
    for name in ("mnist/train/a.gz", "mnist/test/a.gz", "tables/2019/a.csv", "tables/2020/a.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x,y\n1,2\n")
    found = Datastore(workspace, "workspaceblobstore")
    found.upload(str(folder), show_progress=False)
    return found


@pytest.fixture
def mnist(datastore):
    return Dataset.File.from_files((datastore, "mnist"))


def spec_of(tmp_path, arguments, **more):
    (tmp_path / "train.py").write_text("")
    settings = RunConfiguration()
    settings.inputs = more.pop("inputs", [])
    return build(ScriptRunConfig(str(tmp_path), "train.py", arguments, settings), "tests", **more)


# Names and versions


def test_a_dataset_is_registered_and_found_by_name_and_id(workspace, mnist):
    registered = mnist.register(workspace, "mnist dataset", "digits", {"rows": 7})
    assert (registered.name, registered.version, registered.description) == ("mnist dataset", 1, "digits")
    assert registered.tags == {"rows": "7"}
    for found in (
        Dataset.get_by_name(workspace, "mnist dataset"),
        Dataset.get_by_name(workspace, "mnist dataset", version=1),
        Dataset.get_by_id(workspace, registered.id),
        Dataset.get(workspace, "mnist dataset"),
        Dataset.get(workspace, id=registered.id),
        Dataset.get_all(workspace)["mnist dataset"],
    ):
        assert isinstance(found, FileDataset)
        assert (found.id, found.name, found.version) == (registered.id, "mnist dataset", 1)
        assert found.to_path() == ["/test/a.gz", "/train/a.gz"]


def test_other_data_under_a_name_is_a_new_version_only_if_asked(workspace, datastore, mnist):
    first = mnist.register(workspace, "mnist")
    other = Dataset.File.from_files((datastore, "mnist/train"))
    with pytest.raises(
        DatasetException, match="already a dataset registered under name 'mnist'.*create_new_version=True"
    ):
        other.register(workspace, "mnist")
    second = other.register(workspace, "mnist", create_new_version=True)
    assert (first.version, second.version) == (1, 2)
    assert Dataset.get_by_name(workspace, "mnist").version == 2
    assert Dataset.get_by_name(workspace, "mnist", version="1").id == first.id
    assert [dataset.version for dataset in Dataset.list(workspace)] == [2]


def test_the_same_data_again_is_the_same_version_with_the_new_words(workspace, datastore, mnist):
    first = mnist.register(workspace, "mnist", "one", {"a": 1})
    again = Dataset.File.from_files((datastore, "mnist"))
    again = again.register(workspace, "mnist", "two", {"b": 2}, create_new_version=True)
    assert (again.id, again.version, again.description) == (first.id, 1, "two")
    assert again.tags == {"a": "1", "b": "2"}


def test_a_table_comes_back_with_how_it_is_read_and_what_is_done_with_it(workspace, datastore):
    made = Dataset.Tabular.from_delimited_files((datastore, "tables/*/*.csv"), separator=";", header=False)
    made.take(5).keep_columns(["Column1"]).register(workspace, "table")
    found = Dataset.get_by_name(workspace, "table")
    assert isinstance(found, TabularDataset)
    assert found.to_definition() == made.take(5).keep_columns("Column1").to_definition()


def test_an_address_is_registered_too(workspace):
    Dataset.File.from_files("https://host/a.csv").register(workspace, "far")
    assert "https://host/a.csv" in repr(Dataset.get_by_name(workspace, "far"))


def test_tags_and_description_of_a_version_change(workspace, mnist):
    dataset = mnist.register(workspace, "mnist", "one", {"a": 1})
    dataset.add_tags({"b": 2}).remove_tags(["a"])
    assert dataset.tags == {"b": "2"}
    dataset.update("two", {"c": 3})
    found = Dataset.get_by_name(workspace, "mnist")
    assert (found.description, found.tags) == ("two", {"c": "3"})


def test_an_unregistered_name_is_free_and_its_numbers_are_not_given_again(workspace, datastore, mnist):
    first = mnist.register(workspace, "mnist")
    first.unregister_all_versions()
    assert first.name is None
    with pytest.raises(UnknownDatasetError, match="No dataset 'mnist' is registered in this workspace. None is."):
        Dataset.get_by_name(workspace, "mnist")
    assert Dataset.get_all(workspace) == {}
    assert Dataset.get_by_id(workspace, mnist.id).name == "mnist", "a run that used it can still say what it was"
    assert Dataset.File.from_files((datastore, "mnist/test")).register(workspace, "mnist").version == 2


def test_what_is_not_there_is_said_with_what_is(workspace, mnist):
    mnist.register(workspace, "mnist")
    with pytest.raises(UnknownDatasetError, match="No dataset 'minst' is registered.*There are: mnist"):
        Dataset.get_by_name(workspace, "minst")
    with pytest.raises(UnknownDatasetError, match="no version 7. It has the versions: 1"):
        Dataset.get_by_name(workspace, "mnist", 7)
    with pytest.raises(UnknownDatasetError, match="keeps no dataset with the id"):
        Dataset.get_by_id(workspace, "00000000-0000-0000-0000-000000000000")
    with pytest.raises(UserErrorException, match="whole number from 1, or 'latest'"):
        Dataset.get_by_name(workspace, "mnist", version="newest")


@pytest.mark.parametrize("name", ["", " mnist", "mnist ", "a/b", "a:1", "-a", "a" * 256, None])
def test_a_name_against_the_rule_is_refused(workspace, mnist, name):
    with pytest.raises(DatasetException, match="letters, digits|is text"):
        mnist.register(workspace, name)


def test_a_dataset_is_kept_where_its_data_is(mnist, transport):
    other = Workspace(transport)
    other.name = "another"
    with pytest.raises(UserErrorException, match="belongs to the workspace 'tests'.*Keep it where its data is"):
        mnist.register(other, "mnist")


def test_what_is_not_registered_has_no_tags_to_change(mnist):
    assert (mnist.id, mnist.name, mnist.version, mnist.tags) == (None, None, None, {})
    for change in (lambda: mnist.add_tags({"a": "b"}), mnist.unregister_all_versions):
        with pytest.raises(UserErrorException, match=r"not registered. dataset.register\(workspace, name\) does that"):
            change()


def test_members_of_the_preview_of_2019_say_what_to_use(mnist):
    for member in ("get_definition", "generate_profile", "to_pandas_dataframe"):
        with pytest.raises(NotOfferedError, match="the preview of datasets of 2019"):
            getattr(mnist, member)


def test_values_of_partition_keys_come_from_the_paths(workspace, datastore):
    dataset = Dataset.File.from_files((datastore, "tables/**"), partition_format="{year}/{file}.csv")
    dataset.register(workspace, "by year")
    found = Dataset.get_by_name(workspace, "by year")
    assert found.partition_keys == ["year", "file"]
    assert found.get_partition_key_values(["year"]) == [{"year": "2019"}, {"year": "2020"}]
    with pytest.raises(UserErrorException, match="month is no partition key of this dataset. It has: year, file"):
        found.get_partition_key_values(["month"])


# Lineage


def test_a_run_names_the_registered_dataset_that_it_is_given(workspace, mnist, tmp_path):
    mnist.register(workspace, "mnist")
    spec = spec_of(tmp_path, ["--data", mnist.as_named_input("digits").as_mount("data")])
    assert spec.input_datasets == [DatasetUse("digits", mnist.id, "mnist", 1, "Mount", "data")]
    assert spec.arguments == ["--data", "$AZUREML_DATAREFERENCE_digits"]


def test_a_dataset_that_is_not_registered_is_given_all_the_same(mnist, tmp_path):
    spec = spec_of(tmp_path, [mnist.as_named_input("digits").as_mount()])
    assert spec.input_datasets == []
    assert [reference.name for reference in spec.data_references] == ["digits"]


def test_a_table_is_given_by_its_id_and_needs_no_path(workspace, datastore, tmp_path):
    table = Dataset.Tabular.from_delimited_files((datastore, "tables/*/*.csv"))
    table.register(workspace, "table")
    spec = spec_of(tmp_path, ["--input", table.as_named_input("rows")], inputs=[table.as_named_input("other")])
    assert spec.arguments == ["--input", table.id]
    assert spec.data_references == []
    assert [(use.input_name, use.id, use.mechanism) for use in spec.input_datasets] == [
        ("other", table.id, "Direct"),
        ("rows", table.id, "Direct"),
    ]


def test_a_table_that_is_not_registered_is_kept_when_a_run_is_given_it(datastore, tmp_path, workspace):
    from runyard.dataset_registration import keep

    def kept(dataset):
        dataset._bind(workspace, keep(workspace, dataset))

    table = Dataset.Tabular.from_delimited_files((datastore, "tables/*/*.csv"))
    spec = spec_of(tmp_path, [table.as_named_input("rows")], keep=kept)
    assert Dataset.get_by_id(workspace, spec.arguments[0]).to_definition() == table.to_definition()
    assert Dataset.get_all(workspace) == {}


def test_a_table_has_no_path(datastore):
    table = Dataset.Tabular.from_delimited_files((datastore, "tables/*/*.csv"))
    with pytest.raises(UserErrorException, match="A table comes to a run without as_mount()"):
        table.as_named_input("rows").as_mount()


def test_two_datasets_of_one_name_are_refused(workspace, datastore, tmp_path):
    one = Dataset.Tabular.from_delimited_files((datastore, "tables/2019/a.csv"))
    other = Dataset.Tabular.from_delimited_files((datastore, "tables/2020/a.csv"))
    one.register(workspace, "one")
    other.register(workspace, "other")
    with pytest.raises(UserErrorException, match="both named 'rows'"):
        spec_of(tmp_path, [one.as_named_input("rows"), other.as_named_input("rows")])


def test_an_output_says_which_dataset_it_becomes(datastore, tmp_path):
    output = OutputFileDatasetConfig("model", (datastore, "models/new"))
    registering = output.register_on_complete("models", "the newest", {"a": 1}).as_upload(overwrite=True)
    spec = spec_of(tmp_path, [registering])
    (said,) = spec.output_datasets
    assert (said.output_name, said.name, said.datastore, said.path) == ("model", "models", datastore.name, "models/new")
    assert (said.description, said.tags) == ("the newest", {"a": "1"})
    assert spec_of(tmp_path, [output]).output_datasets == []
    with pytest.raises(DatasetException, match="no name of a dataset"):
        output.register_on_complete("a/b")


def test_an_output_is_the_input_of_a_later_run(datastore, tmp_path):
    output = OutputFileDatasetConfig("model", (datastore, "mnist/train"))
    (reference,) = spec_of(tmp_path, [output.as_input("trained").as_download()]).data_references
    assert (reference.name, reference.path, reference.mode) == ("trained", "mnist/train", "download")
    assert output.as_input().name == "model"


def test_details_have_azures_shape():
    use = {
        "input_name": "digits",
        "id": "1-2",
        "name": "mnist",
        "version": 3,
        "mechanism": "Mount",
        "path_on_compute": None,
    }
    record = {"id": "r", "target": "local", "status": "Running", "properties": {}}
    assert details(record, {})["inputDatasets"] == []
    from runyard.run_details import _input_dataset

    assert _input_dataset(use) == {
        "dataset": {"id": "1-2", "name": "mnist", "version": 3},
        "consumptionDetails": {"type": "RunInput", "inputName": "digits", "mechanism": "Mount"},
    }
