"""The rules of names: what is taken, what is refused, and that the refusal says the rule."""

import pytest

from runyard import errors, names


@pytest.mark.parametrize("name", ["abc", "my-workspace_2", "0ab", "a" * 33])
def test_a_workspace_name_within_the_rule_is_given_back(name):
    assert names.check_workspace_name(name) == name


@pytest.mark.parametrize("name", ["", "ab", "a" * 34, "-ab", "_ab", "a b", "a.b", "äbc", "abc\n", None, 3])
def test_a_workspace_name_against_the_rule_is_refused_with_the_rule(name):
    with pytest.raises(errors.WorkspaceException) as refused:
        names.check_workspace_name(name)
    assert "3 to 33" in str(refused.value) or "is text" in str(refused.value)


@pytest.mark.parametrize("name", ["t", "tf-mnist", "TF_mnist-2", "9x", "a" * 255])
def test_an_experiment_name_within_the_rule_is_given_back(name):
    assert names.check_experiment_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "_a", "a.b", "a b", "a/b", "a:b", "ä", "a" * 256, "a\n"])
def test_an_experiment_name_against_the_rule_is_refused_with_the_rule(name):
    with pytest.raises(errors.ExperimentException, match="1 to 255 letters, digits, '_' and '-'"):
        names.check_experiment_name(name)


@pytest.mark.parametrize("name", ["m", "tf-dnn-mnist", "model.v2_final", "a" * 255])
def test_a_model_name_within_the_rule_is_given_back(name):
    assert names.check_model_name(name) == name


@pytest.mark.parametrize("name", ["", ".m", "-m", "a/b", "a:1", "a b", "..", "a" * 256])
def test_a_model_name_against_the_rule_is_refused_with_the_rule(name):
    with pytest.raises(errors.ModelException, match="1 to 255 letters"):
        names.check_model_name(name)


def test_a_long_name_is_shortened_in_the_message():
    with pytest.raises(errors.ModelException) as refused:
        names.check_model_name("x" * 100_000)
    assert "(100000 characters)" in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "check, good, bad, error",
    [
        (names.check_compute_name, "gpucluster", "1gpu", errors.ComputeTargetException),
        (names.check_compute_name, "gpu-cluster_2", "gpu.cluster", errors.ComputeTargetException),
        (names.check_datastore_name, "workspaceblobstore", "my-data", errors.DatastoreException),
        (names.check_data_reference_name, "train_2", "my-data", errors.DatastoreException),
        (names.check_environment_name, "tf-1.13-cpu", "-tf", errors.EnvironmentException),
        (names.check_variable_name, "OMP_NUM_THREADS", "1X", errors.UserErrorException),
        (names.check_variable_name, "_a", "A-B", errors.UserErrorException),
    ],
)
def test_each_kind_of_name_has_its_rule_and_its_error_class(check, good, bad, error):
    assert check(good) == good
    with pytest.raises(error):
        check(bad)


def test_pairs_are_sent_as_text():
    assert names.checked_pairs({"epochs": 20, "final": True, "note": None}) == {
        "epochs": "20",
        "final": "True",
        "note": "",
    }
    assert names.checked_pairs(None) == {}


@pytest.mark.parametrize("values", [["a"], "a", {"": 1}, {"a\nb": 1}, {1: 1}, {"k" * 256: 1}, {"a": "x\x00y"}])
def test_pairs_that_are_no_dict_of_plain_keys_are_refused(values):
    with pytest.raises(errors.UserErrorException):
        names.checked_pairs(values)
