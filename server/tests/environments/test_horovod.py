"""Which environment gets Horovod, which one, and what is said about it; nothing is compiled here."""

import importlib
import sys
from pathlib import Path

import pytest

from runyard.errors import EnvironmentException
from runyard.protocol.environments import EnvironmentSpec
from runyard_server.environments import horovod
from runyard_server.environments.frameworks import FRAMEWORKS
from runyard_server.environments.horovod import RECIPES, Wish, choose, recipe_for, recipe_named
from runyard_server.environments.requirements import wanted


def pins(tensorflow: str, project: str = "tensorflow-cpu", **more: str) -> dict[str, str]:
    return {project: tensorflow, "mpich": "5.0.2", **more}


@pytest.mark.parametrize(
    "spec",
    [
        EnvironmentSpec(framework="tensorflow", framework_version="1.13", mpi=True),
        EnvironmentSpec(framework="tensorflow", framework_version="2.15", pip_packages=["horovod"]),
        EnvironmentSpec(pip_packages=["tensorflow==2.15.1", "Horovod[tensorflow]==0.28.1"]),
        EnvironmentSpec(conda_packages=["tensorflow=2.15", "horovod"]),
    ],
)
def test_tensorflow_gets_horovod_in_an_mpi_run_or_when_it_is_named(spec):
    found = wanted(spec)
    assert found.horovod is not None
    assert {"mpich", "cloudpickle", "psutil", "pyyaml"} <= set(found.lines)
    assert {"mpich", "cloudpickle", "psutil", "pyyaml"} <= set(found.undated)
    assert not any(line.lower().startswith("horovod") for line in found.lines), (
        "the resolver could only compile it alone"
    )


@pytest.mark.parametrize(
    "spec",
    [
        EnvironmentSpec(framework="tensorflow", framework_version="2.15"),
        EnvironmentSpec(framework="pytorch", framework_version="1.6", mpi=True),
        EnvironmentSpec(pip_packages=["tensorflow"], mpi=True),
    ],
)
def test_nothing_else_gets_it(spec):
    found = wanted(spec)
    assert found.horovod is None
    assert "cloudpickle" not in found.lines


@pytest.mark.parametrize(
    "line", ["horovod @ file:///wheels/horovod-0.28.1-cp311-cp311-linux_x86_64.whl", "/wheels/horovod-0.28.1.whl"]
)
def test_a_wheel_of_the_users_own_is_taken(line):
    found = wanted(EnvironmentSpec(framework="tensorflow", framework_version="2.15", pip_packages=[line], mpi=True))
    assert found.horovod is None
    assert line in found.lines


def test_horovod_without_tensorflow_is_refused_with_the_cure():
    with pytest.raises(
        EnvironmentException, match=r"names none\. Add the pip package tensorflow.*PyTorch.*torch\.distr"
    ):
        wanted(EnvironmentSpec(framework="pytorch", framework_version="1.6", pip_packages=["horovod==0.19.5"]))


@pytest.mark.parametrize("release", FRAMEWORKS["tensorflow"].releases, ids=lambda release: release.version)
def test_each_tensorflow_of_the_table_has_its_horovod(release):
    recipe = recipe_for(release.version)
    assert recipe is not None
    assert recipe.version == ("0.16.4" if release.version.startswith("1.") else "0.28.1")
    keras_3 = tuple(map(int, release.version.split("."))) >= (2, 16)
    assert bool(recipe.empty_headers) is keras_3


def test_a_recipe_has_a_name_of_its_own_and_everything_pinned():
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)
    for recipe in RECIPES:
        assert recipe_named(recipe.name) is recipe
        assert len(recipe.source_sha256) == 64
        assert all("==" in tool for tool in recipe.tools)
    with pytest.raises(EnvironmentException, match="Submit the script anew"):
        recipe_named("horovod-0.9/1")


def test_what_it_is_compiled_against_is_in_the_lock():
    choice = choose(Wish("", is_named=False), pins("2.15.1"), "3.11.7")
    package = choice.package("setuptools==68.0.0\n")
    assert (package.name, package.version, package.recipe) == ("horovod", "0.28.1", "horovod-0.28.1/1")
    assert package.against == ["python==3.11", "tensorflow-cpu==2.15.1", "mpich==5.0.2"]
    assert choice.warnings == []


@pytest.mark.parametrize(
    ("asked", "tensorflow", "instead"),
    [
        ("==0.16.1", "1.13.1", "0.16.4"),
        ("==0.15.2", "1.13.1", "0.16.4"),
        ("==0.19.5", "2.2.3", "0.28.1"),
        ("==0.18.*", "2.0.4", "0.28.1"),
    ],
)
def test_the_version_that_can_be_compiled_stands_for_another_with_the_same_api_and_says_so(asked, tensorflow, instead):
    choice = choose(Wish(asked, is_named=True), pins(tensorflow, "tensorflow"), "3.7.16")
    assert choice.recipe is not None and choice.recipe.version == instead
    (warning,) = choice.warnings
    assert warning.startswith(f"Horovod {asked} was asked for; {instead} is installed instead")


@pytest.mark.parametrize("asked", ["", "==0.16.4", ">=0.16", "~=0.16.0", "<0.17"])
def test_a_version_that_fits_is_no_news(asked):
    assert choose(Wish(asked, is_named=True), pins("1.13.1", "tensorflow"), "3.7.16").warnings == []


@pytest.mark.parametrize(
    ("asked", "tensorflow"), [("==0.19.5", "1.15.5"), ("==0.29.0", "2.15.1"), ("==0.13.2", "1.13.1")]
)
def test_a_version_with_another_api_is_refused(asked, tensorflow):
    with pytest.raises(
        EnvironmentException, match=r"cannot be had with TensorFlow .*Ask for 'horovod' without a version"
    ):
        choose(Wish(asked, is_named=True), pins(tensorflow, "tensorflow"), "3.7.16")


@pytest.mark.parametrize("found", [pins("2.99.0"), {"mpich": "5.0.2"}])
def test_a_tensorflow_without_a_recipe_is_refused_to_who_names_horovod_and_told_to_others(found):
    with pytest.raises(EnvironmentException, match=r"Ask for a TensorFlow from 1\.13 up to \(not with\) 2\.22"):
        choose(Wish("", is_named=True), found, "3.11.7")
    choice = choose(Wish("", is_named=False), found, "3.11.7")
    assert choice.recipe is None and "so the environment has none" in choice.warnings[0]


def test_keras_3_beside_horovod_is_warned_of_with_the_way_to_keras_2():
    (warning,) = choose(Wish("", is_named=False), pins("2.21.0", keras="3.15.1"), "3.11.7").warnings
    assert warning.startswith("Keras 3.15.1 is in the environment, whose optimizers Horovod cannot average")
    assert "tf-keras" in warning and "TF_USE_LEGACY_KERAS=1" in warning and "2.15" in warning
    assert choose(Wish("", is_named=False), pins("2.15.1", keras="2.15.0"), "3.11.7").warnings == []


@pytest.mark.parametrize(
    ("keras", "module", "refused"),
    [("3.15.1", "keras", True), ("2.15.0", "keras", False), ("3.15.1", "tf_keras", False)],
)
def test_the_compiled_horovod_refuses_an_optimizer_of_keras_3_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keras: str, module: str, refused: bool
) -> None:
    (edit,) = [edit for edit in recipe_named("horovod-0.28.1/1").edits if edit.path.endswith(".py")]
    (tmp_path / "keras.py").write_text(f"__version__ = {keras!r}\nclass SGD: pass\n")
    (tmp_path / "tf_keras.py").write_text("class SGD: pass\n")
    source = f"def wrapped(optimizer):\n{edit.new}{edit.anchor}        pass\n    return _DistributedOptimizer\n"
    (tmp_path / "the_function.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    wrapped = importlib.import_module("the_function").wrapped
    optimizer = type("MyOwn", (importlib.import_module(module).SGD,), {})()
    try:
        if refused:
            with pytest.raises(RuntimeError, match="each rank would train alone.*TF_USE_LEGACY_KERAS=1.*GradientTape"):
                wrapped(optimizer)
        else:
            assert wrapped(optimizer).__name__ == "_DistributedOptimizer"
    finally:
        for name in ("the_function", "keras", "tf_keras"):
            sys.modules.pop(name, None)


def test_it_is_no_one_but_horovod_that_is_meant():
    assert horovod.wished([("horovod-utils", "horovod-utils")], None, mpi=False) is None
