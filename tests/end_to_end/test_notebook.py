"""Runs as a notebook shows them, and datasets in real runs: what only a server, a job and a script together can show."""

import os
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path

import pytest

import azureml.core
from runyard import AmlCompute, ComputeTarget, Datastore, Environment, Experiment, Run, ScriptRunConfig, Workspace
from runyard.dataset import Dataset
from runyard.model import Model
from runyard.notebook.run_details import RunDetails
from runyard.output_dataset import OutputFileDatasetConfig

Submit = Callable[..., Run]

WAITS = """
import sys
from azureml.core import Run
run = Run.get_context()
for loss in (1.0, 0.5, 0.25):
    run.log("loss", loss)
run.log("final", 0.98)
with open("sample.png", "wb") as out:
    out.write(b"\\x89PNG\\r\\n\\x1a\\n")
run.log_image("samples", path="sample.png")
run.log_table("classes", {"class": ["cat", "dog"], "pictures": [90, 110]})
data = {"class_labels": ["cat", "dog"], "matrix": [[81, 9], [11, 99]]}
run.log_confusion_matrix("confusion", {"schema_type": "confusion_matrix", "data": data})
run.flush()
print("trained <b>well</b>", flush=True)
with open(sys.argv[1]) as gate:
    gate.read()
with run.child_run("evaluation") as child:
    child.log("auc", 0.9)
"""

READS = """
import os, sys
from azureml.core import Run
path = Run.get_context().input_datasets["mnist"]
assert path == sys.argv[1] == os.environ["AZUREML_DATAREFERENCE_mnist"]
with open(os.path.join(sys.argv[2], "seen"), "w") as out:
    out.write(" ".join(sorted(os.listdir(path))))
"""


class FrontEnd:
    """Stands for IPython and the notebook behind it: takes what ``display`` is given."""

    def __init__(self) -> None:
        self.pieces: dict[str, dict[str, str]] = {}
        self._came = threading.Condition()

    def display(self, bundle: dict[str, str], raw: bool, display_id: str, update: bool) -> None:
        with self._came:
            self.pieces[display_id] = bundle
            self._came.notify_all()

    def until(self, html: str) -> None:
        def shown() -> bool:
            return html in "".join(bundle["text/html"] for bundle in self.pieces.values())

        with self._came:
            assert self._came.wait_for(shown, 240), [bundle["text/html"] for bundle in self.pieces.values()]


@pytest.fixture
def front_end(monkeypatch: pytest.MonkeyPatch) -> FrontEnd:
    front = FrontEnd()
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    ipython.display = types.ModuleType("IPython.display")  # type: ignore[attr-defined]
    ipython.display.display = front.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)  # type: ignore[attr-defined]
    return front


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def test_a_runs_details_are_shown_while_it_goes_on_and_when_it_is_over(
    submit: Submit, until: Callable[[Run, str], None], front_end: FrontEnd, gate: Path
) -> None:
    run = submit(WAITS, arguments=[str(gate)], tags={"data": "mnist"})
    until(run, "trained")
    RunDetails(run).show()
    for shown in (
        ">Running</span>",
        "trained &lt;b&gt;well&lt;/b&gt;",
        "<b>loss</b>",
        "data: mnist",
        "data:image/svg+xml",
        "data:image/png;base64,iVBORw0KGgo=",
        ">110</td>",
        ">81</td>",
        "90 % right",
    ):
        front_end.until(shown)
    gate.write_text("")
    front_end.until(">Completed</span>")
    front_end.until("evaluation")
    text = next(iter(front_end.pieces.values()))["text/plain"]
    assert "Starting" in text and "> Completed" in text and "█▃▁ 0.25" in text
    assert "samples (image)" in text and "cat          90" in text and "cat   81    9   90 %" in text


def test_outside_a_notebook_the_details_are_printed(submit: Submit, capsys: pytest.CaptureFixture[str]) -> None:
    run = submit("raise ValueError('a <bad> thing')")
    run.wait_for_completion(raise_on_error=False)
    capsys.readouterr()
    RunDetails(run).show()
    said = capsys.readouterr().out
    assert "Failed" in said and "ValueError: a <bad> thing" in said and "Web View: http" in said


def test_a_cell_that_ends_with_an_object_shows_what_it_is(workspace: Workspace, submit: Submit, tmp_path: Path) -> None:
    run = submit("print(1)", experiment="cards")
    run.wait_for_completion()
    assert run.id in run._repr_html_() and "Details Page</a>" in Run.get(workspace, run.id)._repr_html_()
    assert "cards" in run.experiment._repr_html_()
    assert workspace.name in workspace._repr_html_()
    store = Datastore.get_default(workspace)
    assert "workspaceblobstore" in store._repr_html_()
    (tmp_path / "weights").write_text("1 2 3")
    model = Model.register(workspace, str(tmp_path / "weights"), "cards")
    shown = model._repr_html_()
    assert ">cards<" in shown and ">1<" in shown and workspace.name in shown
    target = ComputeTarget(workspace, "local")
    assert all(fact in target._repr_html_() for fact in ("local", target.type, "Succeeded", workspace.name))
    store.upload_files([str(tmp_path / "weights")], target_path="cards/<b>", show_progress=False)
    dataset = Dataset.File.from_files((store, "cards/<b>"))
    assert "workspaceblobstore" in dataset._repr_html_() and "cards/&lt;b&gt;" in dataset._repr_html_()
    dataset.register(workspace, "kept-cards")
    assert "kept-cards" in Dataset.get_by_name(workspace, "kept-cards")._repr_html_()


def test_a_script_reads_a_dataset_and_fills_an_output(workspace: Workspace, submit: Submit, tmp_path: Path) -> None:
    store = workspace.get_default_datastore()
    for name in ("a", "b"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_text(name)
    dataset = Dataset.File.upload_directory(str(tmp_path / "data"), (store, "sets/mnist"), show_progress=False)
    for given in (dataset.as_named_input("mnist").as_mount(), dataset.as_named_input("mnist").as_download()):
        place = "results/" + given.mode
        output = OutputFileDatasetConfig("results", (store, place)).as_upload(overwrite=True)
        submit(READS, arguments=[given, output]).wait_for_completion()
        (path,) = Dataset.File.from_files((store, place)).download(str(tmp_path / given.mode))
        assert Path(path).read_text() == "a b"


def test_an_interactive_run_of_azures_experiment_keeps_what_is_in_outputs(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    run = azureml.core.Experiment(workspace, "interactive").start_logging()
    Path("outputs/model.txt").write_text("weights")
    run.complete()
    assert "outputs/model.txt" in run.get_file_names()
    azureml.core.Experiment(workspace, "interactive").start_logging(outputs=False).complete()


def test_a_compute_target_lists_its_runs_that_have_not_ended(
    workspace: Workspace, this_python: Environment, until: Callable[[Run, str], None], gate: Path, tmp_path: Path
) -> None:
    cluster = ComputeTarget.create(workspace, "two-nodes", AmlCompute.provisioning_configuration(max_nodes=2))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train.py").write_text(WAITS)
    config = ScriptRunConfig(
        str(tmp_path / "source"), "train.py", [str(gate)], compute_target=cluster, environment=this_python
    )
    run = Experiment(workspace, "active").submit(config)
    until(run, "trained")
    assert isinstance(cluster, AmlCompute)
    assert [each.id for each in cluster.get_active_runs()] == [run.id]
    gate.write_text("")
    run.wait_for_completion()
    assert list(cluster.get_active_runs()) == []
