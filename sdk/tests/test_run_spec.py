"""From what a person configured to the spec: what it holds, and every refusal with its message."""

import os

import pytest

from runyard.data_reference import DataReference
from runyard.environment import Environment
from runyard.errors import DatastoreException, ExperimentException, UserErrorException
from runyard.estimators import TensorFlow
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.runs import ALL_GPUS, GPUS_OF_SHAPE, RunSpec
from runyard.run_spec import build
from runyard.runconfig import (
    DEFAULT_CPU_IMAGE,
    DataReferenceConfiguration,
    MpiConfiguration,
    PyTorchConfiguration,
    RunConfiguration,
    TensorflowConfiguration,
)
from runyard.script_run_config import ScriptRunConfig


class Datastore:
    """As much of a datastore as a reference to it needs."""

    def __init__(self, name="workspaceblobstore"):
        self.name = name


@pytest.fixture
def source(tmp_path):
    for name in ("train.py", "helper.py", "lib/model.py", "data.csv", ".hidden/x.py"):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("print('hello')\n")
    return str(tmp_path / "source")


def spec_of(source, **given):
    return build(ScriptRunConfig(source, "train.py", **given), "exp")


def test_a_plain_script_becomes_a_spec_that_survives_the_wire(source):
    spec = build(
        ScriptRunConfig(source, "train.py", arguments=["--epochs", 20, "--rate", 0.01, "--fast", True]),
        "tf-mnist",
        "a" * 64,
        {"kind": "first", "try": 1},
    )
    assert spec.experiment == "tf-mnist"
    assert spec.snapshot == "a" * 64
    assert spec.script == "train.py"
    assert spec.arguments == ["--epochs", "20", "--rate", "0.01", "--fast", "True"]
    assert spec.tags == {"kind": "first", "try": "1"}
    assert spec.target == "local"
    assert spec.node_count == 1
    assert spec.distribution.kind == "none"
    assert spec.gpus_per_node == GPUS_OF_SHAPE
    assert spec.max_run_duration_s == 2592000
    assert spec.source_directory == source
    assert from_json(RunSpec, to_json(spec)) == spec


def test_the_specs_definition_has_azures_keys(source):
    definition = spec_of(source).run_config
    assert definition["framework"] == "Python"
    assert definition["communicator"] == "None"
    assert {"tensorflow", "mpi", "pyTorch", "history", "sourceDirectoryDataStore"} <= set(definition)


def test_arguments_as_one_text_are_split_as_a_shell_would(source):
    assert spec_of(source, arguments="--name 'a b' --n 1").arguments == ["--name", "a b", "--n", "1"]


def test_a_script_in_a_folder_keeps_its_path_with_slashes(source):
    assert build(ScriptRunConfig(source, os.path.join("lib", "model.py")), "e").script == "lib/model.py"
    assert build(ScriptRunConfig(source, os.path.join(source, "lib", "model.py")), "e").script == "lib/model.py"


def test_a_missing_script_is_refused_with_the_scripts_that_are_there(source):
    with pytest.raises(UserErrorException) as refused:
        build(ScriptRunConfig(source, "trian.py"), "exp")
    message = str(refused.value)
    assert "trian.py" in message
    assert "helper.py, train.py, lib/model.py" in message
    assert "x.py" not in message


def test_no_script_at_all_is_refused_with_the_scripts_that_are_there(source):
    with pytest.raises(UserErrorException, match="No script was given.*helper.py, train.py"):
        build(ScriptRunConfig(source), "exp")


def test_an_empty_directory_says_that_it_has_no_script(tmp_path):
    with pytest.raises(UserErrorException, match="no .py file"):
        build(ScriptRunConfig(str(tmp_path), "train.py"), "exp")


def test_many_scripts_are_not_all_listed(tmp_path):
    for number in range(50):
        (tmp_path / "s{:02}.py".format(number)).write_text("")
    with pytest.raises(UserErrorException) as refused:
        build(ScriptRunConfig(str(tmp_path), "train.py"), "exp")
    assert "s19.py, ..." in str(refused.value)
    assert "s20.py" not in str(refused.value)


def test_a_script_outside_the_directory_is_refused(source, tmp_path):
    (tmp_path / "other.py").write_text("")
    with pytest.raises(UserErrorException, match="outside the source_directory"):
        build(ScriptRunConfig(source, "../other.py"), "exp")


def test_a_folder_as_script_is_refused(source):
    with pytest.raises(UserErrorException, match="lib is a directory"):
        build(ScriptRunConfig(source, "lib"), "exp")


def test_a_notebook_is_a_script_whose_arguments_have_names(source):
    open(os.path.join(source, "train.ipynb"), "w").close()
    spec = build(ScriptRunConfig(source, "train.ipynb", arguments=["--epochs", 3]), "exp")
    assert (spec.script, spec.arguments) == ("train.ipynb", ["--epochs", "3"])
    with pytest.raises(UserErrorException, match="takes parameters by name, and '3' has none"):
        build(ScriptRunConfig(source, "train.ipynb", arguments=[3]), "exp")


def test_a_notebook_is_no_rank_of_mpi_among_several(source):
    open(os.path.join(source, "train.ipynb"), "w").close()
    assert build(ScriptRunConfig(source, "train.ipynb", distributed_job_config=MpiConfiguration(1, 1)), "exp")
    with pytest.raises(UserErrorException, match="cannot be one rank of several"):
        build(ScriptRunConfig(source, "train.ipynb", distributed_job_config=MpiConfiguration(2, 1)), "exp")


def test_a_missing_source_directory_is_refused(source):
    with pytest.raises(UserErrorException, match="does not exist"):
        build(ScriptRunConfig(source + "-gone", "train.py"), "exp")
    with pytest.raises(UserErrorException, match="is a file, not a directory"):
        build(ScriptRunConfig(os.path.join(source, "train.py"), "train.py"), "exp")


def test_an_experiments_name_against_the_rules_is_refused(source):
    with pytest.raises(ExperimentException):
        build(ScriptRunConfig(source, "train.py"), "tf mnist")


@pytest.mark.parametrize("config", [None, "train.py", {}, object()])
def test_what_cannot_be_submitted_is_refused_with_what_can(config):
    with pytest.raises(UserErrorException, match="Give a ScriptRunConfig or an estimator"):
        build(config, "exp")


def test_a_data_reference_in_the_arguments_is_rendered_and_collected(source):
    reference = DataReference(Datastore())
    spec = spec_of(source, arguments=["--data-folder", reference, "--again", reference])
    assert spec.arguments[1] == spec.arguments[3] == "$AZUREML_DATAREFERENCE_workspaceblobstore"
    assert [(item.name, item.datastore, item.mode) for item in spec.data_references] == [
        ("workspaceblobstore", "workspaceblobstore", "mount")
    ]


def test_two_different_references_of_one_name_are_refused_with_the_cure(source):
    mounted = DataReference(Datastore())
    downloaded = DataReference(Datastore(), mode="download")
    with pytest.raises(UserErrorException, match="both named 'workspaceblobstore'.*data_reference_name"):
        spec_of(source, arguments=[mounted, downloaded])


def test_text_that_mentions_a_reference_needs_it_as_an_input(source):
    reference = DataReference(Datastore(), "mnist")
    with pytest.raises(UserErrorException, match="mentions the data reference 'mnist'.*inputs"):
        spec_of(source, arguments=["--data=" + str(reference)])
    settings = RunConfiguration()
    settings.inputs = [reference]
    spec = spec_of(source, arguments=["--data=" + str(reference)], run_config=settings)
    assert [item.name for item in spec.data_references] == ["mnist"]


def test_configured_data_references_are_taken_by_name(source):
    settings = RunConfiguration()
    settings.data_references = {
        "raw": DataReferenceConfiguration("workspaceblobstore", "download", "mnist/", "data", True),
        "other": DataReference(Datastore("more"), "other"),
    }
    spec = spec_of(source, run_config=settings, arguments=["$AZUREML_DATAREFERENCE_raw"])
    other, raw = spec.data_references
    assert (raw.name, raw.datastore, raw.path, raw.mode, raw.path_on_compute, raw.overwrite) == (
        "raw",
        "workspaceblobstore",
        "mnist",
        "download",
        "data",
        True,
    )
    assert other.datastore == "more"


def test_a_configured_reference_of_unknown_mode_or_bad_name_is_refused(source):
    settings = RunConfiguration()
    settings.data_references = {"raw": DataReferenceConfiguration("workspaceblobstore", "link")}
    with pytest.raises(UserErrorException, match="modes are mount, download, upload"):
        spec_of(source, run_config=settings)
    settings.data_references = {"a-b": DataReferenceConfiguration("workspaceblobstore")}
    with pytest.raises(DatastoreException, match="'a-b' is no name of a data reference"):
        spec_of(source, run_config=settings)


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, None, object(), {1}])
def test_a_value_that_cannot_be_an_argument_is_refused(source, value):
    with pytest.raises(UserErrorException, match="cannot be an argument"):
        spec_of(source, arguments=["--layers", value])


def test_a_number_of_numpys_kind_is_an_argument(source):
    class Scalar:
        size = 1

        def item(self):
            return 0.25

    assert spec_of(source, arguments=["--rate", Scalar()]).arguments == ["--rate", "0.25"]


def test_arguments_that_are_no_list_are_refused(source):
    with pytest.raises(UserErrorException, match="arguments is a list"):
        spec_of(source, arguments={"--a": 1})


def test_a_command_as_a_list_is_run_as_it_is(source):
    reference = DataReference(Datastore())
    spec = build(ScriptRunConfig(source, command=["python", "train.py", "--data", reference, 3]), "exp")
    assert spec.script is None
    assert spec.command == ["python", "train.py", "--data", "$AZUREML_DATAREFERENCE_workspaceblobstore", "3"]


@pytest.mark.parametrize(
    "command", ["python train.py && ls", ["python", "train.py", "&&", "ls"], ["python train.py && ls"]]
)
def test_a_command_that_needs_a_shell_gets_one(source, command):
    assert build(ScriptRunConfig(source, command=command), "exp").command == ["bash", "-c", "python train.py && ls"]


def test_a_script_set_after_a_command_is_refused(source):
    config = ScriptRunConfig(source, command="python train.py")
    config.script = "train.py"
    with pytest.raises(UserErrorException, match="not both"):
        build(config, "exp")


def test_variables_of_environment_and_run_are_joined_and_the_runs_win(source):
    environment = Environment("mine")
    environment.environment_variables = {"A": "1", "B": "1"}
    config = ScriptRunConfig(source, "train.py", environment=environment)
    config.run_config.environment_variables = {"B": 2}
    assert build(config, "exp").environment.variables == {"A": "1", "B": "2"}
    config.run_config.environment_variables = {"1B": "2"}
    with pytest.raises(UserErrorException, match="is no name of an environment variable"):
        build(config, "exp")


def test_azures_default_image_asks_for_no_image(source):
    environment = Environment("mine")
    environment.docker.base_image = DEFAULT_CPU_IMAGE
    assert spec_of(source, environment=environment).environment.docker_image is None
    environment.docker.base_image = "example/image:1"
    assert spec_of(source, environment=environment).environment.docker_image == "example/image:1"


def test_mpi_is_told_by_nodes_and_processes(source):
    spec = spec_of(source, compute_target="c", distributed_job_config=MpiConfiguration(2, 3))
    assert spec.node_count == 3
    assert (spec.distribution.kind, spec.distribution.process_count_per_node) == ("mpi", 2)


def test_parameter_servers_are_told_by_their_counts(source):
    spec = spec_of(source, compute_target="c", distributed_job_config=TensorflowConfiguration(3, 2))
    assert spec.node_count == 3
    assert (spec.distribution.kind, spec.distribution.worker_count, spec.distribution.parameter_server_count) == (
        "tensorflow",
        3,
        2,
    )
    assert not spec.distribution.chief


def test_a_chief_and_no_parameter_server_can_be_asked_for(source):
    workers = spec_of(source, distributed_job_config=TensorflowConfiguration(2, 0)).distribution
    assert (workers.worker_count, workers.parameter_server_count) == (2, 0)
    assert spec_of(source, distributed_job_config=TensorflowConfiguration(2, 1, chief=True)).distribution.chief


def test_torch_divides_its_processes_over_the_nodes(source):
    spec = spec_of(source, compute_target="c", distributed_job_config=PyTorchConfiguration("Gloo", 8, 2))
    assert (spec.distribution.kind, spec.distribution.process_count_per_node) == ("torch", 4)
    assert (spec.distribution.process_count, spec.distribution.communication_backend) == (8, "gloo")
    spec = spec_of(source, compute_target="c", distributed_job_config=PyTorchConfiguration(node_count=2))
    assert (spec.distribution.process_count_per_node, spec.distribution.communication_backend) == (1, "nccl")
    with pytest.raises(UserErrorException, match="process_count=3 does not divide by node_count=2"):
        spec_of(source, compute_target="c", distributed_job_config=PyTorchConfiguration("Gloo", 3, 2))


def test_several_nodes_without_a_way_to_find_each_other_are_refused(source):
    config = ScriptRunConfig(source, "train.py", compute_target="c")
    config.run_config.node_count = 2
    with pytest.raises(UserErrorException, match="how they find each other.*MpiConfiguration"):
        build(config, "exp")
    config.run_config.communicator = "OpenMpi"
    assert build(config, "exp").distribution.kind == "mpi"
    config.run_config.communicator = "Carrier pigeon"
    with pytest.raises(UserErrorException, match="Communicators are None, ParameterServer"):
        build(config, "exp")


@pytest.mark.parametrize(
    "field, value", [("node_count", 0), ("node_count", "2"), ("node_count", True), ("priority", "high")]
)
def test_numbers_that_are_none_are_refused(source, field, value):
    config = ScriptRunConfig(source, "train.py")
    setattr(config.run_config, field, value)
    with pytest.raises(UserErrorException, match=field):
        build(config, "exp")


def test_a_limit_that_is_no_number_of_seconds_is_refused(source):
    with pytest.raises(UserErrorException, match="max_run_duration_seconds is a whole number"):
        spec_of(source, max_run_duration_seconds=-1)


def test_priority_and_limit_are_carried(source):
    config = ScriptRunConfig(source, "train.py", max_run_duration_seconds=90)
    config.run_config.priority = 7
    spec = build(config, "exp")
    assert (spec.priority, spec.max_run_duration_s) == (7, 90)


def test_gpus_are_those_asked_for_else_those_of_the_compute_target(source):
    assert spec_of(source, compute_target="c").gpus_per_node == GPUS_OF_SHAPE
    config = ScriptRunConfig(source, "train.py")
    config.run_config.gpus_per_node = 2
    assert build(config, "exp").gpus_per_node == 2
    assert build(TensorFlow(source, entry_script="train.py", use_gpu=True), "exp").gpus_per_node == ALL_GPUS
    assert build(TensorFlow(source, entry_script="train.py"), "exp").gpus_per_node == 0


def test_a_cluster_for_one_run_is_refused_with_the_cure(source):
    config = ScriptRunConfig(source, "train.py")
    config.run_config.amlcompute.vm_size = "STANDARD_NC6"
    with pytest.raises(UserErrorException, match=r"provisioning_configuration\(vm_size='STANDARD_NC6'"):
        build(config, "exp")
