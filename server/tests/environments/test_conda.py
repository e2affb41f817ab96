import pytest

from runyard.errors import EnvironmentException
from runyard_server.environments.conda import answer


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("numpy", "numpy"),
        ("numpy=1.24", "numpy==1.24.*"),
        ("numpy=1.24.1", "numpy==1.24.1.*"),
        ("numpy==1.24.1", "numpy==1.24.1"),
        ("numpy=1.24.1=py311h1234_0", "numpy==1.24.1"),
        ("numpy=1.24.*", "numpy==1.24.*"),
        ("numpy 1.24.*", "numpy==1.24.*"),
        ("numpy 1.24.1 py311_0", "numpy==1.24.1"),
        ("numpy>=1.20,<2", "numpy>=1.20,<2"),
        ("numpy >=1.20, <2", "numpy>=1.20,<2"),
        ("numpy=*", "numpy"),
        ("conda-forge::numpy=1.24", "numpy==1.24.*"),
        ("NumPy", "numpy"),
        ("scikit-learn=1.2", "scikit-learn==1.2.*"),
        ("pytorch=1.13", "torch==1.13.*"),
        ("ruamel_yaml", "ruamel.yaml"),
    ],
)
def test_a_match_spec_becomes_a_requirement(spec, line):
    assert list(answer([spec]).requirements.values()) == [line]


def test_the_log_says_what_came_from_pip_and_under_which_name():
    (note,) = answer(["numpy=1.24", "pytorch"]).notes
    assert note == "conda packages are taken from pip's registry: numpy==1.24.*, torch (for conda's pytorch)"


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ("python=3.6.2", "3.6.2"),
        ("python==3.11", "3.11"),
        ("python 3.9.*", "3.9"),
        ("python>=3.8", "3.8"),
        ("python", None),
    ],
)
def test_python_sets_the_interpreter(spec, version):
    answered = answer([spec])
    assert (answered.python_version, answered.requirements) == (version, {})


def test_what_comes_with_the_interpreter_is_left_out_and_named():
    answered = answer(["openssl=1.1.1", "libgcc-ng", "pip=21"])
    assert answered.requirements == {}
    assert answered.notes == [
        "conda packages that come with the interpreter or its wheels are left out: openssl, libgcc-ng, pip"
    ]


def test_packages_that_only_conda_has_are_refused_together_with_the_cure():
    with pytest.raises(EnvironmentException) as refused:
        answer(["cudatoolkit=10.0", "numpy", "openmpi", "r-base", "ffmpeg"])
    message = str(refused.value)
    assert "cudatoolkit (the framework's own wheels bring CUDA: remove it and set use_gpu=True)" in message
    assert "openmpi" in message and "r-base" in message and "ffmpeg" in message and "numpy" not in message
    assert "user_managed_dependencies=True" in message


@pytest.mark.parametrize("spec", ["", "  ", "=1.2", "numpy=1.2|1.3", "numpy=>1", "numpy~1.2", "python=three"])
def test_what_cannot_be_read_is_refused_with_an_example(spec):
    with pytest.raises(EnvironmentException, match="cannot be read.*Write"):
        answer([spec])


@pytest.mark.parametrize(
    ("spec", "solver", "to_conda"),
    [
        ("numpy=1.24", "when-needed", False),
        ("numpy=1.24", "always", True),
        ("numpy=1.24=py311_0", "when-needed", True),
        ("numpy 1.24 py311_0", "when-needed", True),
        ("numpy[build=py311_0]", "when-needed", True),
        ("numpy >=1.20, <2", "when-needed", False),
        ("numpy>=1.20,<2 py311*", "when-needed", True),
        ("numpy=1.24|1.26", "when-needed", True),
        ("conda-forge::numpy", "when-needed", True),
        ("https://host/channel::numpy", "when-needed", True),
        ("conda-forge::numpy", "never", False),
        ("ffmpeg", "when-needed", True),
        ("cudatoolkit=10.1", "when-needed", True),
        ("r-base", "when-needed", True),
        ("conda-forge::openmpi", "when-needed", True),
        ("openssl", "when-needed", False),
        ("openssl", "always", True),
        ("python=3.11", "when-needed", False),
        ("python=3.11.4=hab00c5b_0", "when-needed", True),
    ],
)
def test_only_what_conda_alone_can_give_goes_to_its_solver(spec, solver, to_conda):
    assert answer([spec], solver).solver == ([spec] if to_conda else [])


def test_a_version_that_nobody_can_read_is_refused_though_there_is_a_solver():
    with pytest.raises(EnvironmentException, match="cannot be read.*Write"):
        answer(["numpy=>1"], "when-needed")


def test_what_pips_registry_turned_out_to_lack_goes_to_the_solver():
    answered = answer(["bwa=0.7", "numpy"], "when-needed", only_conda={"bwa=0.7"})
    assert (answered.solver, list(answered.requirements)) == (["bwa=0.7"], ["numpy"])
    assert "conda packages are taken from conda channels: bwa=0.7" in answered.notes


@pytest.mark.parametrize("solver", ["when-needed", "always"])
@pytest.mark.parametrize("spec", ["openmpi", "mpich", "openmpi=4.1=h1_0"])
def test_another_starter_of_ranks_is_refused_unless_its_channel_is_named(spec, solver):
    with pytest.raises(EnvironmentException, match="stand in the way of runyard's own.*name the channel"):
        answer([spec], solver)


def test_the_secret_of_a_channel_is_not_in_the_notes():
    (note,) = answer(["https://me:secret@host/t/token/x::tool"], "when-needed").notes
    assert note == "conda packages are taken from conda channels: https://****@host/t/****/x::tool"
