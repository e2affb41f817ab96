import sys
from dataclasses import replace

import pytest

from runyard.errors import EnvironmentException
from runyard.protocol.environments import EnvironmentSpec
from runyard_server.environments.provision import Environments
from runyard_server.environments.resolve import without_doubled_tensorflow

OWN_PYTHON = ".".join(str(part) for part in sys.version_info[:2])


def silent(_):
    pass


def test_a_lock_has_exact_pins_with_hashes_of_all_that_is_needed(environments, packages):
    lock = environments.resolve(packages("beta"), silent)
    pins = [line.rstrip(" \\") for line in lock.requirements.splitlines() if not line.startswith(" ")]
    assert pins == ["alpha==1.0", "beta==1.0"]
    assert lock.requirements.count("--hash=sha256:") == 2


def test_the_same_wishes_have_the_same_key_in_any_order(environments, packages):
    one = environments.resolve(packages("alpha==1.0", "beta"), silent)
    other = environments.resolve(packages("beta", "alpha<2"), silent)
    assert one.key == other.key and len(one.key) == 40


def test_other_pins_have_another_key(environments, packages):
    assert (
        environments.resolve(packages("alpha==1.0"), silent).key != environments.resolve(packages("alpha"), silent).key
    )


def test_no_packages_need_no_resolver(root):
    lock = Environments(root, uv="/nowhere/uv").resolve(EnvironmentSpec(variables={"A": "b"}), silent)
    assert lock.requirements == ""


def test_a_package_that_does_not_exist_is_named(environments, packages):
    with pytest.raises(EnvironmentException, match="has no package 'alpa'. Check its spelling"):
        environments.resolve(packages("alpa", "beta"), silent)


def test_a_missing_package_of_a_package_is_named(environments, packages):
    with pytest.raises(EnvironmentException, match="has no package 'no-such-package-anywhere'"):
        environments.resolve(packages("gamma"), silent)


def test_a_conda_package_that_pip_does_not_have_is_refused_with_the_cure_where_no_solver_is_wanted(
    environments, packages
):
    with pytest.raises(
        EnvironmentException, match="The conda package 'delta=1.2' is not in pip's registry.*user_managed"
    ):
        environments.resolve(packages("alpha", conda_packages=["delta=1.2"], conda_solver="never"), silent)


def test_a_version_that_does_not_exist_is_named(environments, packages):
    with pytest.raises(EnvironmentException, match="'alpha' has no version '==7'"):
        environments.resolve(packages("alpha==7"), silent)


def test_packages_that_exclude_each_other_are_both_named(environments, packages):
    with pytest.raises(EnvironmentException, match="cannot be installed together.*alpha.*beta|beta.*alpha"):
        environments.resolve(packages("alpha==2.0", "beta"), silent)


def test_the_log_is_live_and_notes_come_first(environments, packages):
    lines = []
    environments.resolve(packages("alpha", "azureml-sdk"), lines.append)
    assert lines[0] == "azureml-sdk: answered by runyard"
    assert lines[1].startswith("Resolving alpha for Python 3.")
    assert any(line.startswith("Resolved 1 package") for line in lines[2:])


def test_passwords_in_addresses_are_neither_logged_nor_told(root, stand_in):
    said = 'echo "error: Failed to fetch: https://me:hunter2@host/simple/six/?token=abc" >&2; exit 2'
    lines = []
    spec = EnvironmentSpec(pip_packages=["six"], pip_options=["--index-url https://me:hunter2@host/simple"])
    with pytest.raises(EnvironmentException) as failed:
        Environments(root, uv=stand_in(said)).resolve(spec, lines.append)
    told = "\n".join([*lines, str(failed.value)])
    assert "hunter2" not in told and "abc" not in told
    assert "https://****@host/simple/six/?token=****" in told


def test_without_a_network_what_is_cached_is_taken(root, stand_in, packages):
    uv = stand_in('case "$*" in *--offline*) exec REAL "$@";; esac; echo "error: dns error" >&2; exit 2')
    lines = []
    lock = Environments(root, uv=uv).resolve(packages("alpha"), lines.append)
    assert "alpha==2.0" in lock.requirements
    assert "The package registry cannot be reached; trying with what is cached on this machine" in lines


def test_without_a_network_and_a_cache_the_message_says_both(root, stand_in):
    uv = stand_in('echo "error: error sending request for url" >&2; exit 2')
    with pytest.raises(EnvironmentException, match=r"cannot be reached \(.*\), and the packages are not all cached"):
        Environments(root, uv=uv).resolve(EnvironmentSpec(pip_packages=["six"]), silent)


def test_a_framework_of_its_own_date_says_so_when_a_package_is_too_new(root, stand_in):
    uv = stand_in(
        'case "$1" in python) exec REAL "$@";; esac\n'
        'echo "error: No solution found" >&2; echo "  cause: Because there is no version of six==99 and you require '
        'six==99, we can conclude that your requirements are unsatisfiable." >&2; exit 1'
    )
    spec = EnvironmentSpec(pip_packages=["six==99"], framework="tensorflow", framework_version="2.15")
    with pytest.raises(EnvironmentException, match=r"'six' has no version '==99'.*takes packages as of 2024-06-28"):
        Environments(root, uv=uv).resolve(spec, silent)


def test_tensorflow_and_its_cpu_build_are_never_installed_into_one_folder():
    lock = "tensorflow==2.15.1\ntensorflow-cpu==2.15.1\nhub==1.0\n"
    assert without_doubled_tensorflow(["tensorflow-cpu==2.15.*", "hub"], lock) == ["tensorflow==2.15.*", "hub"]
    assert without_doubled_tensorflow(["tensorflow-cpu==2.15.*"], "tensorflow-cpu==2.15.1\n") is None


@pytest.mark.network
def test_packages_come_from_the_registry(environments):
    try:
        lock = environments.resolve(EnvironmentSpec(pip_packages=["six==1.16.0"]), silent)
    except EnvironmentException as error:
        if "cannot be reached" in str(error):
            pytest.skip(f"needs a package registry: {error}")
        raise
    assert lock.requirements.startswith("six==1.16.0") and "--hash=sha256:" in lock.requirements


def test_nothing_newer_than_the_day_is_taken_from_the_index(environments, index, of_index):
    index.publish("omega", "1.0", uploaded_at="2019-08-12T23:59:59Z")
    index.publish("omega", "2.0", uploaded_at="2019-08-13T00:00:01Z")
    spec = replace(of_index("omega"), python_version=OWN_PYTHON)
    assert "omega==2.0" in environments.resolve(spec, silent).requirements
    lock = environments.resolve(replace(spec, packages_as_of="2019-08-13"), silent)
    assert "omega==1.0" in lock.requirements and lock.exclude_newer == "2019-08-13"


def test_what_did_not_exist_on_the_day_is_refused_with_the_day_and_the_cure(environments, index, of_index):
    index.publish("omega", "2.0", uploaded_at="2026-01-01T00:00:00Z")
    spec = replace(of_index("omega==2.0"), python_version=OWN_PYTHON, packages_as_of="2019-08-13")
    with pytest.raises(EnvironmentException, match="as of 2019-08-13, as packages_as_of .* Give a later day, or none"):
        environments.resolve(spec, silent)
