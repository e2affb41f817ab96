import json

import pytest

from runyard import conda_file, requirements_file
from runyard.conda_dependencies import CondaDependencies
from runyard.environment import Environment
from runyard.errors import EnvironmentException, UserErrorException
from runyard.protocol.codec import to_json
from runyard.protocol.environments import EnvironmentRecord, EnvironmentSpec

AZURES_FILE = """\
# Conda environment specification. The dependencies defined in this file will
# be automatically provisioned for runs with userManagedDependencies=False.

name: project_environment
dependencies:
  # The python interpreter version.
  # Currently Azure ML only supports 3.5.2 and later.
- python=3.6.2

- pip:
    # Required packages for AzureML execution, history, and data preparation.
  - azureml-defaults
  - --extra-index-url https://host/simple  # ours
  - "tensorflow==1.13.1"
- numpy>=1.16,<2 # fast
- 'scikit-learn=0.20.3'
channels: [conda-forge, defaults]
"""


def test_a_cell_that_ends_with_an_environment_shows_what_is_in_it():
    environment = Environment("cards<b>")
    environment.python.conda_dependencies = CondaDependencies.create(
        python_version="3.7", conda_packages=["numpy"], pip_packages=["tensorflow==1.13.1"]
    )
    environment.docker.base_image = "mine:1"
    shown = environment._repr_html_()
    for fact in ("cards&lt;b&gt;", ">3.7<", "numpy, tensorflow==1.13.1", "mine:1"):
        assert fact in shown
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = "/usr/bin/python3"
    assert "/usr/bin/python3" in environment._repr_html_() and "numpy" not in environment._repr_html_()
    environment.python.user_managed_dependencies = False
    environment.python.conda_dependencies_file = "is-not-there.yml"  # it is read when a run needs it
    assert "is-not-there.yml" in environment._repr_html_()


class FakeTransport:
    """Keeps what is sent, gives what was prepared."""

    def __init__(self, answer):
        self.answer = answer
        self.sent = []

    def call(self, method, path, json=None, query=None):
        self.sent.append((method, path, json, query))
        return self.answer


class FakeWorkspace:
    def __init__(self, answer):
        self.transport = FakeTransport(answer)
        self.name = "ws"


def record(name="tf", version="3", **spec):
    return to_json(EnvironmentRecord(name, version, EnvironmentSpec(name=name, version=version, **spec), 1566000000.0))


# conda environment files


def test_azures_own_conda_file_is_read():
    content = conda_file.parse(AZURES_FILE)
    assert content == {
        "name": "project_environment",
        "dependencies": [
            "python=3.6.2",
            {"pip": ["azureml-defaults", "--extra-index-url https://host/simple", "tensorflow==1.13.1"]},
            "numpy>=1.16,<2",
            "scikit-learn=0.20.3",
        ],
        "channels": ["conda-forge", "defaults"],
    }


def test_an_exported_conda_file_is_read():
    text = "---\nname: base\nchannels:\n  - defaults\ndependencies:\n  - _libgcc_mutex=0.1=main\n  - pip:\n    - six==1.16\n"
    text += "variables:\n  A_NAME: 'a: value'\n  EMPTY:\nprefix: /opt/conda\n"
    content = conda_file.parse(text)
    assert content["dependencies"] == ["_libgcc_mutex=0.1=main", {"pip": ["six==1.16"]}]
    assert content["variables"] == {"A_NAME": "a: value", "EMPTY": None}
    assert content["prefix"] == "/opt/conda"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_file_has_nothing(text):
    assert conda_file.parse(text) == {}


@pytest.mark.parametrize(
    "text, line, says",
    [
        ("name: &a b\n", 1, "an anchor"),
        ("name: x\nchannels: *a\n", 2, "an alias"),
        ("name: !!python/object:os.system x\n", 1, "a tag"),
        ("name: |\n  text\n", 1, "block text"),
        ("variables: {a: b}\n", 1, "a mapping on one line"),
        ("name: x\n\n\tchannels: []\n", 3, "a tab"),
        ("name: x\n---\nname: y\n", 2, "a second document"),
        ("name: x\nname: y\n", 2, "'name' is there twice"),
        ("dependencies:\n- a\n   - b\n", 3, "cannot read '- b'"),
        ("dependencies:\n- - a\n", 2, "a list directly in a list"),
        ("dependencies:\n-a\n", 2, "'-a'"),
        ("just text\n", 1, "expected 'key: value'"),
        ("name: 'open\n", 1, "a quote that is not closed"),
        ('name: "a\\nb"\n', 1, "escapes"),
        ("channels: [a, [b]]\n", 1, "brackets within brackets"),
        ("channels: [a\n", 1, "does not end on its line"),
        ("name: a: b\n", 1, "more than one"),
        ("name: a\n  b: c\n", 2, "look at its indentation"),
    ],
)
def test_yaml_beyond_these_files_is_refused_with_its_line(text, line, says):
    with pytest.raises(UserErrorException) as refused:
        conda_file.parse(text, "env.yml")
    assert str(refused.value).startswith("env.yml, line {}: ".format(line))
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "text, says",
    [
        ("dependancies:\n- numpy\n", "the key 'dependancies'"),
        ("dependencies: numpy\n", "dependencies is a list"),
        ("dependencies:\n- conda:\n  - numpy\n", "at most one '- pip:'"),
        ("dependencies:\n- pip:\n  - a\n- pip:\n  - b\n", "at most one '- pip:'"),
        ("channels: defaults\n", "channels is a list"),
        ("variables: x\n", "variables is a mapping"),
        ("name: [a]\n", "name is one text"),
    ],
)
def test_a_shape_that_conda_files_do_not_have_is_refused(text, says):
    with pytest.raises(UserErrorException) as refused:
        conda_file.parse(text, "env.yml")
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "a: b",
        "# hash",
        "x #y",
        "it's",
        '"q"',
        "- dash",
        "[b]",
        "*",
        "null",
        "yes",
        " ",
        "%x",
        "a,b",
        "--pre",
        "-e .",
        "{",
        "\\",
    ],
)
def test_what_is_written_is_read_back(value):
    content = {"name": "n", "channels": [value], "dependencies": [value, {"pip": [value]}], "variables": {"A": value}}
    assert conda_file.parse(conda_file.dump(content)) == content


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserErrorException) as refused:
        conda_file.read(str(tmp_path / "none.yml"))
    assert "none.yml cannot be read" in str(refused.value)


# requirements files


def test_a_requirements_file_is_read_with_its_nested_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("A_TOKEN", "secret")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("six==1.16  # why\n./local.whl\n")
    (tmp_path / "requirements.txt").write_text(
        "# all\n--index-url https://${A_TOKEN}@host/simple\n-r more/base.txt\n\nnumpy>=1.20, \\\n  <2 ; python_version > '3.6'\n"
        "a @ https://host/a.zip#egg=a\n"
    )
    packages, options = requirements_file.read(str(tmp_path / "requirements.txt"))
    assert packages == [
        "six==1.16",
        str(tmp_path / "more" / "local.whl"),
        "numpy>=1.20,   <2 ; python_version > '3.6'",
        "a @ https://host/a.zip#egg=a",
    ]
    assert options == ["--index-url https://secret@host/simple"]


@pytest.mark.parametrize(
    "line, says", [("-e .", "editable"), ("--editable=.", "editable"), ("-c c.txt", "constraints")]
)
def test_a_requirements_line_that_cannot_be_served_is_refused_with_its_number(tmp_path, line, says):
    path = tmp_path / "requirements.txt"
    path.write_text("six\n\n{}\n".format(line))
    with pytest.raises(UserErrorException) as refused:
        requirements_file.read(str(path))
    assert "line 3" in str(refused.value) and says in str(refused.value)


def test_a_requirements_file_that_names_itself_is_refused(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("-r requirements.txt\n")
    with pytest.raises(UserErrorException) as refused:
        requirements_file.read(str(path))
    assert "names itself" in str(refused.value)


# CondaDependencies


def test_packages_are_given_as_azure_takes_them():
    made = CondaDependencies.create(
        pip_packages=["six", "azureml-sdk"],
        conda_packages=["numpy=1.16"],
        python_version="3.6.2",
        pip_indexurl="https://h/s",
    )
    assert made.conda_packages == ["python=3.6.2", "numpy=1.16"]
    assert made.pip_packages == ["six", "azureml-sdk"]
    assert made.pip_options == ["--index-url https://h/s"]
    assert made.get_python_version() == "3.6.2"
    assert made.get_default_number_of_packages() == 0


def test_without_a_wish_there_is_no_python_version():
    assert CondaDependencies().get_python_version() is None
    assert CondaDependencies().conda_packages == []


def test_the_same_package_again_takes_the_place_of_the_first():
    made = CondaDependencies.create(pip_packages=["Scikit_Learn==0.20"], conda_packages=["numpy=1.16"])
    made.add_pip_package("scikit-learn==0.21")
    made.add_conda_package("numpy=1.17")
    made.set_python_version("3.8")
    made.set_python_version("3.9")
    assert made.pip_packages == ["scikit-learn==0.21"]
    assert made.conda_packages == ["python=3.9", "numpy=1.17"]


def test_packages_channels_and_options_are_removed_by_name():
    made = CondaDependencies.create(pip_packages=["six==1.16", "numpy[extra]>=1"], conda_packages=["scipy=1"])
    made.add_channel("conda-forge")
    made.add_channel("conda-forge")
    made.set_pip_option("--extra-index-url https://a")
    made.set_pip_option("--extra-index-url https://b")
    made.set_pip_index_url("https://c")
    made.set_pip_index_url("https://d")
    assert made.conda_channels == ["conda-forge"]
    assert made.pip_options == ["--extra-index-url https://a", "--extra-index-url https://b", "--index-url https://d"]
    made.remove_pip_package("NumPy")
    made.remove_conda_package("scipy")
    made.remove_channel("conda-forge")
    made.remove_pip_option("--extra-index-url")
    made.set_python_version(None)
    assert (made.pip_packages, made.conda_packages, made.conda_channels) == (["six==1.16"], [], [])
    assert made.pip_options == ["--index-url https://d"]


def test_requirements_replace_all_pip_packages():
    made = CondaDependencies.create(pip_packages=["six"])
    made.set_pip_requirements(["--pre", "numpy"])
    assert (made.pip_packages, made.pip_options) == (["numpy"], ["--pre"])


def test_tensorflow_is_one_build_at_a_time():
    made = CondaDependencies()
    made.add_tensorflow_pip_package("cpu", "1.13.1")
    made.add_tensorflow_pip_package(core_type="gpu", version="1.13.1")
    assert made.pip_packages == ["tensorflow-gpu==1.13.1"]
    made.add_tensorflow_conda_package()
    assert made.conda_packages == ["tensorflow"]
    with pytest.raises(UserErrorException):
        made.add_tensorflow_pip_package("tpu")


def test_requirements_of_one_package_are_merged():
    assert CondaDependencies.merge_requirements(["a>=1", "b", "A<2", "a>=1"]) == ["a>=1,<2", "b"]


def test_the_file_that_is_written_is_read_back(tmp_path):
    made = CondaDependencies.create(pip_packages=["six"], conda_packages=["numpy>=1,<2"], python_version="3.7")
    made.add_channel("conda-forge")
    path = made.save(str(tmp_path))
    assert path == str(tmp_path / "conda_dependencies.yml")
    assert CondaDependencies(path).as_dict() == made.as_dict()
    assert made.save_to_file(str(tmp_path), "aml_config/conda.yml") == "aml_config/conda.yml"
    assert (tmp_path / "aml_config" / "conda.yml").read_text() == made.serialize_to_string()
    assert CondaDependencies(_underlying_structure=made.as_dict()).as_dict() == made.as_dict()


@pytest.mark.parametrize(
    "packages", [{"pip_packages": "six"}, {"pip_packages": [1]}, {"conda_packages": [""]}, {"python_version": "newest"}]
)
def test_packages_that_are_no_list_of_texts_are_refused(packages):
    with pytest.raises(UserErrorException):
        CondaDependencies.create(**packages)


# Environment


def test_an_environment_that_says_nothing_leaves_everything_to_the_server():
    assert Environment("e").to_spec() == EnvironmentSpec(name="e")


def test_the_spec_has_what_was_said(tmp_path):
    environment = Environment("e")
    environment.python.conda_dependencies = CondaDependencies(_underlying_structure=conda_file.parse(AZURES_FILE))
    environment.environment_variables = {"OMP_NUM_THREADS": 2}
    environment.docker.enabled = True
    assert environment.to_spec() == EnvironmentSpec(
        name="e",
        python_version="3.6.2",
        pip_packages=["azureml-defaults", "tensorflow==1.13.1"],
        conda_packages=["numpy>=1.16,<2", "scikit-learn=0.20.3"],
        conda_channels=["conda-forge", "defaults"],
        pip_options=["--extra-index-url https://host/simple"],
        variables={"OMP_NUM_THREADS": "2"},
        docker_wanted=True,
        docker_shm_size="2g",
    )


def test_where_conda_packages_come_from_is_said_by_the_environment():
    environment = Environment("e")
    assert environment.to_spec().conda_solver is None
    environment.python.conda_solver = "always"
    assert environment.to_spec().conda_solver == "always"
    assert Environment.from_spec(environment.to_spec()).python.conda_solver == "always"
    environment.python.conda_solver = "sometimes"
    with pytest.raises(
        EnvironmentException, match="conda_solver is 'sometimes'. Allowed: 'when-needed', 'always', 'never'"
    ):
        environment.to_spec()


def test_a_conda_package_of_a_channels_address_takes_the_place_of_the_same_package():
    made = CondaDependencies.create(conda_packages=["tool=1.0"])
    made.add_conda_package("file:///a/channel::tool=2.0")
    assert made.conda_packages == ["file:///a/channel::tool=2.0"]
    made.add_conda_package("conda-forge::tool")
    assert made.conda_packages == ["conda-forge::tool"]


def test_a_conda_file_takes_the_place_of_the_packages(tmp_path):
    (tmp_path / "env.yml").write_text(AZURES_FILE)
    environment = Environment("e")
    environment.python.conda_dependencies_file = str(tmp_path / "env.yml")
    assert environment.to_spec().python_version == "3.6.2"


def test_a_user_managed_environment_has_an_interpreter_and_no_packages():
    environment = Environment("e")
    environment.python.user_managed_dependencies = True
    environment.python.conda_dependencies.add_pip_package("six")
    assert environment.to_spec() == EnvironmentSpec(name="e", user_managed=True)
    environment.python.interpreter_path = "/opt/python3"
    assert environment.to_spec().interpreter == "/opt/python3"


def test_environments_come_from_files(tmp_path):
    (tmp_path / "env.yml").write_text(AZURES_FILE + "variables:\n  A: b\n")
    (tmp_path / "requirements.txt").write_text("--pre\nsix==1.16\n")
    conda = Environment.from_conda_specification("c", str(tmp_path / "env.yml"))
    assert conda.environment_variables == {"A": "b"}
    assert "numpy>=1.16,<2" in conda.to_spec().conda_packages
    pip = Environment.from_pip_requirements("p", str(tmp_path / "requirements.txt"))
    assert (pip.to_spec().pip_packages, pip.to_spec().pip_options) == (["six==1.16"], ["--pre"])


def test_a_container_image_is_kept_in_the_spec(tmp_path):
    (tmp_path / "requirements.txt").write_text("six\n")
    spec = Environment.from_docker_image(
        "d", "ubuntu:22.04", pip_requirements=str(tmp_path / "requirements.txt")
    ).to_spec()
    assert (spec.docker_image, spec.pip_packages, spec.user_managed) == ("ubuntu:22.04", ["six"], False)


def _with_dockerfile():
    environment = Environment("e")
    environment.docker.base_dockerfile = "FROM x"
    return environment.to_spec()


def _with_base_environment():
    environment = Environment("e")
    environment.python.base_conda_environment = "base"
    return environment.to_spec()


@pytest.mark.parametrize(
    "ask, says",
    [
        (lambda: Environment.from_existing_conda_environment("e", "base"), "conda env export"),
        (lambda: Environment.from_dockerfile("e", "Dockerfile"), "Dockerfiles are not built"),
        (_with_dockerfile, "Dockerfiles are not built"),
        (_with_base_environment, "cannot be built upon"),
        (lambda: Environment().register(FakeWorkspace(None)), "needs a name"),
        (lambda: Environment.get(FakeWorkspace(None), "e", label="prod"), "no label 'prod'"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_cure(ask, says):
    with pytest.raises(EnvironmentException) as refused:
        ask()
    assert says in str(refused.value)


@pytest.mark.parametrize("value", [["A=b"], {"": "x"}, {1: "x"}, None])
def test_variables_that_are_no_dict_of_names_are_refused(value):
    environment = Environment("e")
    environment.environment_variables = value
    with pytest.raises(UserErrorException):
        environment.to_spec()


def test_conda_dependencies_of_another_kind_are_refused():
    environment = Environment("e")
    environment.python.conda_dependencies = "numpy"
    with pytest.raises(UserErrorException) as refused:
        environment.to_spec()
    assert "CondaDependencies.create" in str(refused.value)


def test_register_gives_the_registered_version():
    workspace = FakeWorkspace(record("tf", "3", pip_packages=["six"]))
    environment = Environment("tf")
    environment.python.conda_dependencies.add_pip_package("six")
    registered = environment.register(workspace)
    assert (registered.name, registered.version) == ("tf", "3")
    ((method, path, sent, _),) = workspace.transport.sent
    assert (method, path, sent) == ("POST", "/environments", to_json(environment.to_spec()))


def test_get_asks_for_a_name_and_version():
    workspace = FakeWorkspace(record("tf", "3", pip_packages=["six"]))
    assert Environment.get(workspace, "tf").version == "3"
    Environment.get(workspace, "tf", version=3)
    assert [(path, query) for _, path, _, query in workspace.transport.sent] == [
        ("/environments/tf", None),
        ("/environments/tf", {"version": 3}),
    ]


def test_list_has_the_environments_by_name():
    workspace = FakeWorkspace({"environments": [record("a", "1"), record("b", "2")]})
    assert {name: each.version for name, each in Environment.list(workspace).items()} == {"a": "1", "b": "2"}
    assert [each.version for each in Environment.versions(workspace, "b")] == ["1", "2"]


def test_a_spec_comes_back_from_its_environment():
    spec = EnvironmentSpec(
        name="e",
        version="7",
        python_version="3.8",
        pip_packages=["six"],
        conda_packages=["numpy=1"],
        conda_channels=["conda-forge"],
        pip_options=["--pre"],
        framework="tensorflow",
        framework_version="2.15",
        use_gpu=True,
        variables={"A": "b"},
        docker_image="ubuntu",
    )
    assert Environment.from_spec(spec).to_spec() == spec
    managed = EnvironmentSpec(name="m", user_managed=True, interpreter="/opt/python")
    assert Environment.from_spec(managed).to_spec() == managed


def test_a_clone_shares_nothing_with_its_original():
    environment = Environment("e")
    environment.version = "4"
    twin = environment.clone("f")
    twin.python.conda_dependencies.add_pip_package("six")
    assert (twin.name, twin.version, environment.python.conda_dependencies.pip_packages) == ("f", None, [])


def test_an_environment_is_kept_in_a_directory(tmp_path):
    environment = Environment.from_spec(EnvironmentSpec(name="e", pip_packages=["six"], variables={"A": "b"}))
    target = str(tmp_path / "kept")
    environment.save_to_directory(target)
    assert Environment.load_from_directory(target).to_spec() == environment.to_spec()
    with pytest.raises(UserErrorException):
        environment.save_to_directory(target)
    environment.save_to_directory(target, overwrite=True)
    (tmp_path / "kept" / "environment.json").write_text(json.dumps([]))
    with pytest.raises(UserErrorException):
        Environment.load_from_directory(target)
