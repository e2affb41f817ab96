"""Datasets of real runs: given by name, put out under a name, read as a table inside the script."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runyard import Dataset, Datastore, OutputFileDatasetConfig, Run, Workspace

Submit = Callable[..., Run]

READS = """
import os, sys
from runyard import Dataset, Run
run = Run.get_context()
workspace = run.experiment.workspace
print(open(os.path.join(run.input_datasets["digits"], "a.txt")).read())
print(sys.argv[1] == run.input_datasets["digits"], sorted(run.input_datasets))
table = run.input_datasets["rows"]
print(type(table).__name__, table.name, Dataset.get_by_id(workspace, sys.argv[2]).id == table.id)
print(Dataset.get_by_name(workspace, "digits").download("here"))
Dataset.File.from_files((workspace.get_default_datastore(), "digits/a.txt")).register(workspace, "one digit")
"""

WRITES = """
import os, sys
with open(os.path.join(sys.argv[1], "weights"), "w") as out:
    out.write("1 2 3")
if len(sys.argv) > 2:
    sys.exit(sys.argv[2])
"""


@pytest.fixture
def store(workspace: Workspace, tmp_path: Path) -> Datastore:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "a.txt").write_text("0123456789")
    (tmp_path / "digits" / "rows.csv").write_text("a,b\n1,2\n")
    found = workspace.get_default_datastore()
    found.upload(str(tmp_path / "digits"), target_path="digits", show_progress=False)
    return found


def log_of(run: Run) -> list[str]:
    run.wait_for_completion()
    return run._read_log("azureml-logs/70_driver_log.txt").splitlines()


def test_a_run_reads_what_it_is_given_and_its_record_names_it(
    workspace: Workspace, store: Datastore, submit: Submit
) -> None:
    digits = Dataset.File.from_files((store, "digits")).register(workspace, "digits")
    table = Dataset.Tabular.from_delimited_files((store, "digits/*.csv"))
    run = submit(READS, arguments=[digits.as_named_input("digits").as_mount(), table.as_named_input("rows")])
    said = log_of(run)
    assert said[0] == "0123456789"
    assert said[1] == "True ['digits', 'rows']"
    assert said[2] == "TabularDataset None True"
    assert "a.txt" in said[3] and "rows.csv" in said[3]
    inputs = {each["consumptionDetails"]["inputName"]: each for each in run.get_details()["inputDatasets"]}
    assert inputs["digits"]["dataset"] == {"id": digits.id, "name": "digits", "version": 1}
    assert inputs["digits"]["consumptionDetails"]["mechanism"] == "Mount"
    assert inputs["rows"]["dataset"] == {"id": table.id}
    assert inputs["rows"]["consumptionDetails"]["mechanism"] == "Direct"
    assert workspace.datasets["one digit"].version == 1, "a script registers datasets too"


@pytest.mark.parametrize("way", ["as_mount", "as_upload"])
def test_what_a_run_puts_out_becomes_a_dataset_when_it_completes(
    workspace: Workspace, store: Datastore, submit: Submit, way: str
) -> None:
    name = way.replace("_", "-")
    output = OutputFileDatasetConfig("model", (store, f"models/{name}"))
    output = getattr(output.register_on_complete(name, "the newest"), way)()
    for version in (1, 2):
        if way == "as_upload":
            output.overwrite = True
        run = submit(WRITES, arguments=[output])
        run.wait_for_completion()
        kept = Dataset.get_by_name(workspace, name)
        assert (kept.version, kept.description, kept.to_path()) == (version, "the newest", ["/weights"])
        (said,) = run.get_details()["outputDatasets"]
        assert said["dataset"] == {"name": name, "id": kept.id, "version": version}
    failed = submit(WRITES, arguments=[output, "no good"])
    failed.wait_for_completion(raise_on_error=False)
    assert Dataset.get_by_name(workspace, name).version == 2, "a run that fails registers nothing"
    assert failed.get_details()["outputDatasets"][0]["dataset"] == {"name": name}


def test_a_model_names_the_dataset_that_it_was_trained_on(
    workspace: Workspace, store: Datastore, submit: Submit
) -> None:
    digits = Dataset.File.from_files((store, "digits")).register(workspace, "digits for a model")
    run = submit("open('outputs/m', 'w').close()\n")
    run.wait_for_completion()
    model = run.register_model("trained", "outputs/m", datasets=[(Dataset.Scenario.TRAINING, digits)])
    assert {purpose: [each.id for each in found] for purpose, found in model.datasets.items()} == {
        "training": [digits.id]
    }
    model.add_dataset_references([("validation", digits)])
    assert list(model.datasets) == ["training", "validation"]
    assert [each.id for each in type(model).list(workspace, dataset_id=digits.id)] == [model.id]
