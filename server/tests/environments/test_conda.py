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
