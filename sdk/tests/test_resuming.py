"""Going on from an earlier run: what the script and the server are told, and what is refused."""

import pytest

from runyard.data_reference import DataReference
from runyard.datapath import DataPath
from runyard.datastore import Datastore
from runyard.errors import UserErrorException
from runyard.estimators import TensorFlow
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.runs import DataReferenceSpec, RunSpec
from runyard.resuming import RunOutputs
from runyard.run import Run
from runyard.run_spec import build
from runyard.script_run_config import ScriptRunConfig


@pytest.fixture
def source(tmp_path):
    (tmp_path / "train.py").write_text("")
    return str(tmp_path)


@pytest.fixture
def earlier():
    """A run that nobody asks anything."""
    run = Run.__new__(Run)
    run._id = "exp_1"
    return run


@pytest.fixture
def somewhere():
    """A datastore that nobody asks anything."""
    found = Datastore.__new__(Datastore)
    found.name = "somewhere"
    return found


def test_an_estimator_goes_on_from_the_outputs_of_a_run(source, earlier):
    estimator = TensorFlow(
        source,
        compute_target="local",
        script_params={"--epochs": 20},
        entry_script="train.py",
        resume_from=earlier._get_outputs_datapath(),
    )
    spec = build(estimator, "e")
    assert spec.arguments == ["--epochs", "20", "--resume-from", "$AZUREML_DATAREFERENCE_MODEL_LOCATION"]
    (reference,) = spec.data_references
    assert reference == DataReferenceSpec(
        name="MODEL_LOCATION", datastore="workspaceartifactstore", path="outputs", mode="download", run="exp_1"
    )
    assert from_json(RunSpec, to_json(spec)) == spec
    assert build(estimator.with_overrides(script_params={"--epochs": 5}), "e").arguments[2:] == spec.arguments[2:]


def test_a_run_itself_stands_for_its_outputs(source, earlier):
    spec = build(ScriptRunConfig(source, "train.py", "--fast", resume_from=earlier), "e")
    assert spec.arguments == ["--fast", "--resume-from", "$AZUREML_DATAREFERENCE_MODEL_LOCATION"]
    assert spec.data_references[0].run == "exp_1"


def test_a_place_on_a_datastore_is_mounted_under_azures_name(source, somewhere):
    for place in (
        DataPath(somewhere, "checkpoints"),
        DataReference(somewhere, "mine", "checkpoints"),
        (somewhere, "checkpoints"),
    ):
        (reference,) = build(ScriptRunConfig(source, "train.py", resume_from=place), "e").data_references
        assert (reference.name, reference.datastore, reference.path) == ("MODEL_LOCATION", "somewhere", "checkpoints")
        assert (reference.mode, reference.run) == ("mount", None)


@pytest.mark.parametrize("place", ["outputs", 7, object(), ("text", "outputs")])
def test_what_is_neither_a_run_nor_a_place_is_refused_with_what_is(source, place):
    with pytest.raises(
        UserErrorException, match="resume_from takes the run whose outputs .* or a place on a datastore"
    ):
        ScriptRunConfig(source, "train.py", resume_from=place)


def test_outputs_say_which_they_are():
    assert repr(RunOutputs("exp_1")) == "RunOutputs('exp_1', 'outputs')"
