import re

import pytest
from packaging.requirements import Requirement

from runyard.errors import EnvironmentException
from runyard_server.environments import frameworks
from runyard_server.environments.frameworks import FRAMEWORKS, choose


def test_the_default_is_a_row_of_its_table():
    for name, table in FRAMEWORKS.items():
        assert choose(name, None, False).version == table.default
        assert table.default in [release.version for release in table.releases]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_row_of_the_table_can_be_chosen_for_cpu_and_gpu(name):
    for release in FRAMEWORKS[name].releases:
        for use_gpu in (False, True):
            choice = choose(name, release.version, use_gpu)
            assert choice.requirements and choice.pythons
            assert all(re.fullmatch(r"3\.\d+", python) for python in choice.pythons)
            assert choice.as_of is None or re.fullmatch(r"20\d\d-\d\d-\d\d", choice.as_of)


def test_a_release_for_python_37_alone_has_a_date_as_of_which_it_is_resolved():
    for table in FRAMEWORKS.values():
        assert all(release.as_of for release in table.releases if release.pythons[0] in ("3.7", "3.8"))


def test_each_scikit_learn_but_the_newest_is_taken_as_of_the_day_before_the_next():
    days = [release.as_of for release in FRAMEWORKS["scikit-learn"].releases]
    assert days[-1] is None
    assert None not in days[:-1] and days[:-1] == sorted(days[:-1])


def test_tensorflow_1_13_is_azures_patch_on_python_37_as_of_its_own_date():
    choice = choose("tensorflow", "1.13", False)
    assert (choice.requirements, choice.pythons, choice.as_of) == (("tensorflow==1.13.1",), ("3.7",), "2019-08-13")
    assert choose("tensorflow", "1.13", True).requirements == ("tensorflow-gpu==1.13.1",)


@pytest.mark.parametrize(
    ("version", "use_gpu", "requirement"),
    [
        ("2.15", False, "tensorflow-cpu==2.15.*"),
        ("2.15.1", False, "tensorflow-cpu==2.15.1"),
        ("2.0", False, "tensorflow==2.0.*"),  # has no CPU build
        ("1.15", False, "tensorflow-cpu==1.15.*"),
        ("1.15.5", False, "tensorflow==1.15.5"),  # only 1.15.0 has a CPU build
        ("2.4", True, "tensorflow==2.4.*"),
        ("2.0", True, "tensorflow-gpu==2.0.*"),
        ("2.21", True, "tensorflow[and-cuda]==2.21.*"),
    ],
)
def test_tensorflow_has_a_cpu_build_where_one_was_made(monkeypatch, version, use_gpu, requirement):
    monkeypatch.setattr(frameworks.sys, "platform", "linux")
    monkeypatch.setattr(frameworks.platform, "machine", lambda: "x86_64")
    assert choose("tensorflow", version, use_gpu).requirements == (requirement,)


def test_tensorflow_has_no_cpu_build_of_its_own_on_other_machines(monkeypatch):
    monkeypatch.setattr(frameworks.platform, "machine", lambda: "arm64")
    assert choose("tensorflow", "2.15", False).requirements == ("tensorflow==2.15.*",)


def test_scikit_learn_0_20_3_brings_azures_companions():
    assert "scipy==1.2.1" in choose("scikit-learn", "0.20.3", False).requirements


def test_an_unknown_version_is_refused_with_those_there_are():
    with pytest.raises(
        EnvironmentException, match=r"'9\.9' is not known here\. Allowed: 1\.10, .*2\.21 \(default 2\.21\)"
    ):
        choose("tensorflow", "9.9", False)


@pytest.mark.parametrize("version", ["", "2", "2.x", "2.15.1.1", "latest", "2.15; rm"])
def test_what_is_no_version_is_refused(version):
    if version:
        with pytest.raises(EnvironmentException, match="Allowed"):
            choose("tensorflow", version, False)
    else:
        assert choose("tensorflow", version, False).version == "2.21"


@pytest.mark.parametrize("version", ["1.10", "1.11", "1.12", "1.10.0", "1.12.3"])
@pytest.mark.parametrize(("use_gpu", "requirement"), [(False, "tensorflow==1.13.1"), (True, "tensorflow-gpu==1.13.1")])
def test_a_tensorflow_older_than_the_oldest_python_becomes_the_nearest_and_says_so(version, use_gpu, requirement):
    choice = choose("tensorflow", version, use_gpu)
    assert (choice.version, choice.requirements, choice.pythons) == ("1.13.1", (requirement,), ("3.7",))
    (warning,) = choice.warnings
    assert warning.startswith(f"TensorFlow {version} was never built for Python 3.7")
    assert "1.13.1 is installed instead" in warning


@pytest.mark.parametrize("version", ["1.9", "1.10.0.1", "1.1"])
def test_a_tensorflow_that_azure_never_offered_is_refused(version):
    with pytest.raises(EnvironmentException, match="is not known here. Allowed: 1.10, 1.11, 1.12, 1.13, "):
        choose("tensorflow", version, False)


# framework_version -> what Azure ML installed for it, from its SDK's own scenarios (1.0.57 and 1.62.0)
AZURES = {
    "tensorflow": {
        "1.10": "1.10.0",
        "1.12": "1.12.0",
        "1.13": "1.13.1",
        "2.0": "2.0.0",
        "2.1": "2.1.0",
        "2.2": "2.2.0",
        "2.3": "2.3.0",
    },
    "pytorch": {
        "1.0": "1.0",
        "1.1": "1.1",
        "1.2": "1.2",
        "1.3": "1.3.1",
        "1.4": "1.4.0",
        "1.5": "1.5.0",
        "1.6": "1.6.0",
    },
    "scikit-learn": {"0.20.3": "0.20.3"},
    "chainer": {"5.1.0": "5.1.0", "7.0.0": "7.0.0"},
}


@pytest.mark.parametrize(("name", "version"), [(name, version) for name in AZURES for version in AZURES[name]])
@pytest.mark.parametrize("use_gpu", [False, True])
def test_each_version_that_azure_offered_can_be_asked_for_and_is_that_version(name, version, use_gpu):
    choice = choose(name, version, use_gpu)
    allowed = Requirement(choice.requirements[0]).specifier
    assert choice.warnings or allowed.contains(AZURES[name][version])
    assert choice.pythons[-1] == "3.7" and choice.as_of, "what ran on Azure's Python 3.6 has its own time's packages"


def test_an_unknown_framework_is_refused_with_those_there_are():
    with pytest.raises(
        EnvironmentException, match="'cntk' is not known. Allowed: tensorflow, pytorch, scikit-learn, chainer"
    ):
        choose("cntk", None, False)
