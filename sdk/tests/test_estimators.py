"""Estimators: what each argument becomes, which exclude each other, and that the message says the cure."""

import inspect
import os

import pytest

from runyard.container_registry import ContainerRegistry
from runyard.data_reference import DataReference
from runyard.environment import Environment
from runyard.errors import UserErrorException
from runyard.estimators import Chainer, Estimator, PyTorch, SKLearn, TensorFlow
from runyard.notebook_parameters import parameters
from runyard.protocol.runs import ALL_GPUS
from runyard.run_spec import build
from runyard.runconfig import (
    Gloo,
    Mpi,
    MpiConfiguration,
    Nccl,
    ParameterServer,
    PyTorchConfiguration,
    TensorflowConfiguration,
)

ALL = [Estimator, TensorFlow, PyTorch, Chainer, SKLearn]
FRAMEWORKS = [(TensorFlow, "tensorflow"), (PyTorch, "pytorch"), (Chainer, "chainer"), (SKLearn, "scikit-learn")]


class Datastore:
    name = "workspaceblobstore"


class Cluster:
    name = "gpucluster"


@pytest.fixture
def source(tmp_path):
    (tmp_path / "train.py").write_text("print('hello')\n")
    return str(tmp_path)


def spec_of(estimator):
    return build(estimator, "exp")


def test_the_articles_estimator_becomes_its_spec(source):
    estimator = TensorFlow(
        source_directory=source,
        entry_script="train.py",
        script_params={
            "--data-folder": DataReference(Datastore()),
            "--batch-size": 50,
            "--learning-rate": 0.01,
        },
        compute_target=Cluster(),
        use_gpu=True,
    )
    spec = spec_of(estimator)
    assert spec.script == "train.py"
    assert spec.arguments == [
        "--data-folder",
        "$AZUREML_DATAREFERENCE_workspaceblobstore",
        "--batch-size",
        "50",
        "--learning-rate",
        "0.01",
    ]
    assert spec.target == "gpucluster"
    assert spec.gpus_per_node == ALL_GPUS
    assert (spec.environment.framework, spec.environment.framework_version) == ("tensorflow", None)
    assert spec.environment.use_gpu
    assert [item.name for item in spec.data_references] == ["workspaceblobstore"]
    assert spec.max_run_duration_s == 2592000


@pytest.mark.parametrize("cls, framework", FRAMEWORKS)
def test_each_estimator_asks_for_its_framework_and_version(source, cls, framework):
    environment = spec_of(cls(source, entry_script="train.py", framework_version="1.13")).environment
    assert (environment.framework, environment.framework_version) == (framework, "1.13")


def test_the_plain_estimator_asks_for_no_framework(source):
    assert spec_of(Estimator(source, entry_script="train.py")).environment.framework is None


@pytest.mark.parametrize("cls", ALL)
def test_everything_but_the_source_directory_is_given_by_name(cls):
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    assert parameters[0].name == "source_directory"
    assert {item.kind for item in parameters[1:]} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("cls", ALL)
def test_an_argument_that_azure_has_not_is_refused(source, cls):
    with pytest.raises(TypeError):
        cls(source, entry_script="train.py", epochs=3)


def test_empty_values_make_flags_and_zeros_stay(source):
    estimator = Estimator(
        source, entry_script="train.py", script_params={"--v": "", "--n": 0, "--x": False, "--q": None}
    )
    assert spec_of(estimator).arguments == ["--v", "--n", "0", "--x", "False", "--q"]


@pytest.mark.parametrize("params", [["--a", 1], "--a 1", {1: 2}])
def test_script_params_that_are_no_dict_of_names_are_refused(source, params):
    with pytest.raises(UserErrorException, match="script_params is a dict"):
        Estimator(source, entry_script="train.py", script_params=params)


def test_packages_are_collected_from_lists(source):
    environment = spec_of(
        TensorFlow(source, entry_script="train.py", pip_packages=["keras==2.2.4"], conda_packages=["matplotlib"])
    ).environment
    assert environment.pip_packages == ["keras==2.2.4"]
    assert environment.conda_packages == ["matplotlib"]


@pytest.mark.parametrize("argument", ["pip_requirements_file", "pip_requirements_file_path"])
def test_a_requirements_file_is_read_from_the_source_directory(source, tmp_path, argument):
    (tmp_path / "req.txt").write_text("# ours\nkeras==2.2.4\nmatplotlib\n")
    environment = spec_of(
        Estimator(source, entry_script="train.py", pip_packages=["pandas"], **{argument: "req.txt"})
    ).environment
    assert environment.pip_packages == ["keras==2.2.4", "matplotlib", "pandas"]


@pytest.mark.parametrize("argument", ["conda_dependencies_file", "conda_dependencies_file_path"])
def test_a_conda_file_is_read_from_the_source_directory(source, tmp_path, argument):
    (tmp_path / "env.yml").write_text("dependencies:\n- python=3.8\n- numpy\n- pip:\n  - keras==2.2.4\n")
    environment = spec_of(Estimator(source, entry_script="train.py", **{argument: "env.yml"})).environment
    assert environment.python_version == "3.8"
    assert environment.conda_packages == ["numpy"]
    assert environment.pip_packages == ["keras==2.2.4"]


def test_a_package_file_that_is_not_there_is_refused(source):
    with pytest.raises(UserErrorException, match="'req.txt' is not in the source_directory"):
        Estimator(source, entry_script="train.py", pip_requirements_file="req.txt")


@pytest.mark.parametrize(
    "given",
    [
        {"pip_packages": ["a"]},
        {"conda_packages": ["a"]},
        {"pip_requirements_file": "req.txt"},
    ],
)
def test_a_conda_file_excludes_package_lists(source, given):
    with pytest.raises(UserErrorException, match="conda_dependencies_file lists all packages"):
        Estimator(source, entry_script="train.py", conda_dependencies_file="env.yml", **given)


@pytest.mark.parametrize(
    "given",
    [
        {"pip_packages": ["a"]},
        {"conda_packages": ["a"]},
        {"pip_requirements_file": "req.txt"},
        {"conda_dependencies_file_path": "env.yml"},
        {"custom_docker_image": "image"},
        {"custom_docker_base_image": "image"},
        {"user_managed": True},
        {"framework_version": "2.15"},
    ],
)
def test_an_environment_definition_excludes_every_package_and_image_parameter(source, given):
    with pytest.raises(UserErrorException, match="cannot be given with it") as refused:
        TensorFlow(source, entry_script="train.py", environment_definition=Environment("mine"), **given)
    assert list(given)[0] in str(refused.value)


def test_an_environment_definition_is_used_as_it_is(source):
    environment = Environment("mine")
    environment.python.conda_dependencies.add_pip_package("torch==2.2")
    spec = spec_of(TensorFlow(source, entry_script="train.py", environment_definition=environment, use_gpu=True))
    assert spec.environment.name == "mine"
    assert spec.environment.framework is None
    assert spec.environment.pip_packages == ["torch==2.2"]
    assert spec.gpus_per_node == ALL_GPUS


@pytest.mark.parametrize("given", [{"pip_packages": ["a"]}, {"conda_packages": ["a"]}, {"framework_version": "2.15"}])
def test_a_user_managed_environment_excludes_packages(source, given):
    with pytest.raises(UserErrorException, match="user_managed=True.*cannot be given with it"):
        TensorFlow(source, entry_script="train.py", user_managed=True, **given)


def test_a_user_managed_environment_asks_for_no_framework(source):
    environment = spec_of(TensorFlow(source, entry_script="train.py", user_managed=True)).environment
    assert environment.user_managed
    assert environment.framework is None


@pytest.mark.parametrize("packages", ["numpy", [""], [3], {"numpy": "1"}])
def test_packages_that_are_no_list_of_names_are_refused(source, packages):
    with pytest.raises(UserErrorException, match="pip_packages is a list of names"):
        Estimator(source, entry_script="train.py", pip_packages=packages)


def test_the_old_and_the_new_name_of_one_argument_exclude_each_other(source):
    with pytest.raises(UserErrorException, match="they mean the same"):
        Estimator(source, entry_script="train.py", pip_requirements_file="a", pip_requirements_file_path="a")


def test_a_custom_image_is_kept_and_use_docker_alone_means_nothing(source):
    assert spec_of(Estimator(source, entry_script="train.py", use_docker=True)).environment.docker_image is None
    spec = spec_of(Estimator(source, entry_script="train.py", custom_docker_image="example/image:1"))
    assert spec.environment.docker_image == "example/image:1"


@pytest.mark.parametrize("given", [{"vm_size": "STANDARD_NC6"}, {"vm_priority": "lowpriority"}])
def test_a_cluster_for_one_run_is_refused_with_the_cure(source, given):
    with pytest.raises(UserErrorException, match="ComputeTarget.create"):
        Estimator(source, entry_script="train.py", **given)


def test_what_cannot_be_resumed_from_is_refused_with_the_cure(source):
    with pytest.raises(UserErrorException, match="resume_from takes the run whose outputs"):
        Estimator(source, entry_script="train.py", resume_from=object())


def test_an_image_comes_from_the_registry_that_is_given_but_a_login_is_not_taken(source):
    registry = ContainerRegistry()
    registry.address = "registry.example"
    given = {"entry_script": "train.py", "custom_docker_image": "tf:1.13", "image_registry_details": registry}
    assert build(Estimator(source, **given), "exp").environment.docker_image == "registry.example/tf:1.13"
    registry.password = "secret"
    with pytest.raises(UserErrorException, match="cannot hold a login"):
        Estimator(source, **given)
    with pytest.raises(UserErrorException, match="is a ContainerRegistry; this is a str"):
        Estimator(source, entry_script="train.py", image_registry_details="registry.example")


def test_a_notebook_as_entry_script_takes_script_params_as_its_parameters(source):
    open(os.path.join(source, "train.ipynb"), "w").close()
    params = {"--batch-size": 50, "--verbose": ""}
    spec = spec_of(Estimator(source, entry_script="train.ipynb", script_params=params))
    assert spec.script == "train.ipynb"
    assert parameters(spec.arguments) == {"batch_size": 50, "verbose": True}


def test_a_missing_entry_script_is_refused_when_it_is_submitted(source):
    with pytest.raises(UserErrorException, match="It holds: train.py"):
        spec_of(Estimator(source, entry_script="tf_mnist.py"))


@pytest.mark.parametrize("given", [{"node_count": 2}, {"process_count_per_node": 2}])
def test_several_processes_need_a_backend(source, given):
    with pytest.raises(UserErrorException, match=r"distributed_training=MpiConfiguration\(\)"):
        TensorFlow(source, entry_script="train.py", compute_target="c", **given)


@pytest.mark.parametrize("name", ["node_count", "process_count_per_node"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True])
def test_counts_are_whole_numbers_from_one(source, name, value):
    with pytest.raises(UserErrorException, match=name + " is a whole number of at least 1"):
        TensorFlow(source, entry_script="train.py", distributed_training=MpiConfiguration(), **{name: value})


@pytest.mark.parametrize(
    "given",
    [
        {"distributed_training": MpiConfiguration(), "process_count_per_node": 2},
        {"distributed_training": MpiConfiguration(process_count_per_node=2)},
        {"distributed_training": Mpi(2)},
        {"distributed_backend": "mpi", "process_count_per_node": 2},
    ],
)
def test_mpi_is_asked_for_in_four_ways(source, given):
    spec = spec_of(TensorFlow(source, entry_script="train.py", compute_target="c", node_count=3, **given))
    assert spec.node_count == 3
    assert (spec.distribution.kind, spec.distribution.process_count_per_node) == ("mpi", 2)


def counted():
    configuration = TensorflowConfiguration()
    configuration.worker_count = 2
    return configuration


@pytest.mark.parametrize(
    "given",
    [
        {"distributed_training": counted()},
        {"distributed_training": ParameterServer(2)},
        {"distributed_training": TensorflowConfiguration(), "worker_count": 2},
        {"distributed_backend": "ps", "worker_count": 2},
    ],
)
def test_parameter_servers_are_asked_for_in_four_ways(source, given):
    spec = spec_of(TensorFlow(source, entry_script="train.py", compute_target="c", node_count=2, **given))
    assert spec.node_count == 2
    assert spec.distribution.kind == "tensorflow"
    assert (spec.distribution.worker_count, spec.distribution.parameter_server_count) == (2, 1)
    assert spec.run_config["communicator"] == "ParameterServer"


@pytest.mark.parametrize(
    "given, backend",
    [
        ({"distributed_training": PyTorchConfiguration("Gloo")}, "gloo"),
        ({"distributed_training": Gloo()}, "gloo"),
        ({"distributed_backend": "gloo"}, "gloo"),
        ({"distributed_training": PyTorchConfiguration()}, "nccl"),
        ({"distributed_training": Nccl()}, "nccl"),
        ({"distributed_backend": "nccl"}, "nccl"),
    ],
)
def test_torch_counts_its_processes_by_nodes(source, given, backend):
    spec = spec_of(
        PyTorch(source, entry_script="train.py", compute_target="c", node_count=2, process_count_per_node=2, **given)
    )
    assert (spec.distribution.kind, spec.distribution.process_count) == ("torch", 4)
    assert (spec.distribution.process_count_per_node, spec.distribution.communication_backend) == (2, backend)


@pytest.mark.parametrize(
    "cls, given, allowed",
    [
        (TensorFlow, {"distributed_backend": "nccl"}, "TensorflowConfiguration"),
        (PyTorch, {"distributed_backend": "ps"}, "PyTorchConfiguration"),
        (PyTorch, {"distributed_training": TensorflowConfiguration()}, "PyTorchConfiguration"),
        (Chainer, {"distributed_training": PyTorchConfiguration()}, "MpiConfiguration"),
        (Estimator, {"distributed_backend": "smoke signals"}, "MpiConfiguration"),
    ],
)
def test_a_backend_that_the_framework_has_not_is_refused_with_those_it_has(source, cls, given, allowed):
    with pytest.raises(UserErrorException, match="does not run with the backend") as refused:
        cls(source, entry_script="train.py", **given)
    assert allowed in str(refused.value)


def test_a_backend_of_another_kind_is_refused(source):
    with pytest.raises(UserErrorException, match="distributed_training is MpiConfiguration"):
        Estimator(source, entry_script="train.py", distributed_training=3)
    with pytest.raises(UserErrorException, match="not both"):
        Estimator(source, entry_script="train.py", distributed_training=Mpi(), distributed_backend="mpi")


@pytest.mark.parametrize(
    "cls, given",
    [
        (TensorFlow, {"distributed_training": MpiConfiguration(3), "process_count_per_node": 2}),
        (TensorFlow, {"distributed_training": MpiConfiguration(1, 3), "node_count": 2}),
        (TensorFlow, {"distributed_training": TensorflowConfiguration(3), "worker_count": 2}),
        (PyTorch, {"distributed_training": PyTorchConfiguration("Gloo", 3), "process_count_per_node": 2}),
    ],
)
def test_two_counts_that_differ_are_refused(source, cls, given):
    with pytest.raises(UserErrorException, match="differ"):
        cls(source, entry_script="train.py", compute_target="c", **given)


def test_parameter_servers_are_not_counted_per_node(source):
    with pytest.raises(UserErrorException, match="leave process_count_per_node at 1"):
        TensorFlow(source, distributed_training=TensorflowConfiguration(2), process_count_per_node=2)


def test_a_configuration_that_is_used_twice_is_not_changed(source):
    shared = MpiConfiguration()
    TensorFlow(source, entry_script="train.py", distributed_training=shared, process_count_per_node=4)
    assert shared.process_count_per_node == 1


def test_overrides_join_parameters_and_leave_the_estimator_as_it_was(source):
    estimator = Estimator(source, entry_script="train.py", script_params={"--a": 1, "--b": 2})
    reference = DataReference(Datastore(), "mnist")
    changed = estimator.with_overrides({"--b": 3, "--c": reference}, [DataReference(Datastore(), "more")], "other")
    spec = spec_of(changed)
    assert spec.arguments == ["--a", "1", "--b", "3", "--c", "$AZUREML_DATAREFERENCE_mnist"]
    assert [item.name for item in spec.data_references] == ["mnist", "more"]
    assert spec.run_config["sourceDirectoryDataStore"] == "other"
    untouched = spec_of(estimator)
    assert untouched.arguments == ["--a", "1", "--b", "2"]
    assert untouched.data_references == []


def test_no_override_keeps_what_was_changed_by_hand(source):
    estimator = Estimator(source, entry_script="train.py", script_params={"--a": 1})
    estimator.run_config.arguments = ["--z"]
    assert spec_of(estimator.with_overrides()).arguments == ["--z"]


def test_inputs_are_data_references(source):
    with pytest.raises(UserErrorException, match="inputs is a list"):
        Estimator(source, entry_script="train.py", inputs=DataReference(Datastore()))
    with pytest.raises(UserErrorException, match="inputs takes data references"):
        spec_of(Estimator(source, entry_script="train.py", inputs=["data"]))


def test_the_run_config_may_be_changed_until_it_is_submitted(source):
    estimator = TensorFlow(source, entry_script="train.py")
    estimator.run_config.priority = 5
    estimator.conda_dependencies.add_pip_package("numpy")
    spec = spec_of(estimator)
    assert spec.priority == 5
    assert spec.environment.pip_packages == ["numpy"]


def test_variables_and_limit_are_carried(source):
    estimator = Estimator(
        source, entry_script="train.py", environment_variables={"A": 1}, max_run_duration_seconds=60, shm_size="4g"
    )
    spec = spec_of(estimator)
    assert spec.environment.variables == {"A": "1"}
    assert spec.max_run_duration_s == 60


def test_a_source_directory_that_is_no_path_is_refused():
    with pytest.raises(UserErrorException, match="source_directory is the path"):
        Estimator(None, entry_script="train.py")
