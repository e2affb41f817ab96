"""Data references in real runs: what a script sees of a datastore, and what the datastore keeps of a script."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runyard import Datastore, Environment, Experiment, Run, RunConfiguration, ScriptRunConfig, Workspace
from runyard.errors import ActivityFailedException, UserErrorException
from runyard.runconfig import DataReferenceConfiguration

Submit = Callable[..., Run]

# Prints where each argument is, relative to the working directory if it is below it, and the files that it holds.
SHOW = """
import os, sys
for path in sys.argv[1:]:
    below = os.path.relpath(path)
    print("elsewhere" if below.startswith("..") else below)
    files = [path] if os.path.isfile(path) else [os.path.join(here, n) for here, _, names in os.walk(path) for n in names]
    for file in sorted(files):
        print(" ", os.path.relpath(file, path) if file != path else os.path.basename(file), open(file).read())
"""


@pytest.fixture(scope="module")
def datastore(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Datastore:
    folder = tmp_path_factory.mktemp("data")
    for name, text in {"sets/a": "1", "sets/deep/b": "2", "settings": "3"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    store = workspace.get_default_datastore()
    store.upload(str(folder), show_progress=False)
    return store


def said(run: Run) -> list[str]:
    run.wait_for_completion()
    return run._read_log("azureml-logs/70_driver_log.txt").splitlines()


def held(datastore: Datastore, prefix: str, folder: Path) -> dict[str, str]:
    """The datastore's files below ``prefix`` and what they hold, as a client fetches them."""
    datastore.download(str(folder), prefix=prefix, overwrite=True, show_progress=False)
    below = folder / prefix
    return {str(path.relative_to(below)): path.read_text() for path in below.rglob("*") if path.is_file()}


def test_a_mounted_datastore_is_read_where_it_lies(submit: Submit, datastore: Datastore) -> None:
    run = submit(SHOW, arguments=[datastore.as_mount(), datastore.path("sets").as_mount()])
    lines = said(run)
    assert lines[0] == "elsewhere"
    assert {"  sets/a 1", "  sets/deep/b 2", "  settings 3"} <= set(lines)
    assert lines[-3:] == ["elsewhere", "  a 1", "  deep/b 2"]


def test_a_script_writes_to_what_is_mounted(submit: Submit, datastore: Datastore, tmp_path: Path) -> None:
    place = datastore.path("written/by/mount").as_mount()
    run = submit("import sys\nopen(sys.argv[1] + '/result', 'w').write('mine')\n", arguments=[place])
    run.wait_for_completion()
    assert held(datastore, "written/by/mount", tmp_path / "got") == {"result": "mine"}


def test_a_reference_is_a_variable_too_and_may_be_part_of_an_argument(submit: Submit, datastore: Datastore) -> None:
    sets = datastore.path("sets", data_reference_name="sets").as_mount()
    assert str(sets) == "$AZUREML_DATAREFERENCE_sets"
    assert str(datastore.as_mount()) == "$AZUREML_DATAREFERENCE_workspaceblobstore"
    assert len(datastore.path("sets").data_reference_name) == 32
    run = submit(
        "import os, sys\nprint(sys.argv[1] == os.environ['AZUREML_DATAREFERENCE_sets'], open(sys.argv[2]).read())\n"
        "print(os.environ['AZUREML_DATAREFERENCE_other'] == os.environ['AZUREML_DATAREFERENCE_sets'])\n",
        arguments=[sets, "$AZUREML_DATAREFERENCE_sets/deep/b"],
        run_config=with_inputs(datastore.path("sets", data_reference_name="other").as_mount()),
    )
    assert said(run) == ["True 2", "True"]
    definition = run.get_details()["runDefinition"]
    assert definition["arguments"] == ["$AZUREML_DATAREFERENCE_sets", "$AZUREML_DATAREFERENCE_sets/deep/b"]
    assert definition["dataReferences"]["sets"] == {
        "dataStoreName": "workspaceblobstore",
        "pathOnDataStore": "sets",
        "mode": "Mount",
        "overwrite": False,
        "pathOnCompute": None,
    }


def with_inputs(*inputs: object) -> RunConfiguration:
    config = RunConfiguration()
    config.inputs = list(inputs)
    return config


def test_a_configured_reference_is_found_by_its_variable(submit: Submit, datastore: Datastore) -> None:
    config = RunConfiguration()
    config.data_references = {
        "mine": DataReferenceConfiguration(datastore.name, "download", "sets/deep", path_on_compute="here")
    }
    run = submit(SHOW, arguments=["$AZUREML_DATAREFERENCE_mine"], run_config=config)
    assert said(run) == ["here", "  b 2"]


def test_downloaded_data_lies_on_the_node_and_a_change_stays_there(
    submit: Submit, datastore: Datastore, tmp_path: Path
) -> None:
    sets = datastore.path("sets").as_download()
    run = submit("import sys\nopen(sys.argv[1] + '/a', 'w').write('changed')\n" + SHOW, arguments=[sets])
    assert said(run)[1:] == ["  a changed", "  deep/b 2"]
    assert held(datastore, "sets", tmp_path / "got") == {"a": "1", "deep/b": "2"}


def test_data_is_downloaded_to_where_the_script_wants_it(submit: Submit, datastore: Datastore) -> None:
    sets = datastore.path("sets").as_download(path_on_compute="data/sets")
    one = datastore.path("settings").as_download(path_on_compute="data/config")
    run = submit(SHOW + "print(open('data/sets/a').read())\n", arguments=[sets, one])
    assert said(run) == ["data/sets", "  a 1", "  deep/b 2", "data/config/settings", "  settings 3", "1"]


@pytest.mark.parametrize(("overwrite", "there"), [(False, "from the snapshot"), (True, "1")])
def test_a_file_that_the_snapshot_has_is_replaced_only_if_asked(
    workspace: Workspace, this_python: Environment, datastore: Datastore, tmp_path: Path, overwrite: bool, there: str
) -> None:
    source = tmp_path / "project"
    (source / "data").mkdir(parents=True)
    (source / "train.py").write_text(SHOW)
    (source / "data" / "a").write_text("from the snapshot")
    (source / "data" / "own").write_text("stays")
    sets = datastore.path("sets").as_download(path_on_compute="data", overwrite=overwrite)
    config = ScriptRunConfig(str(source), "train.py", arguments=[sets], environment=this_python)
    run = Experiment(workspace, "data").submit(config)
    assert said(run) == ["data", f"  a {there}", "  deep/b 2", "  own stays"]


def test_what_the_script_leaves_for_upload_is_on_the_datastore(
    submit: Submit, datastore: Datastore, tmp_path: Path
) -> None:
    results = datastore.path("results").as_upload(path_on_compute="made")
    unnamed = datastore.path("more").as_upload()
    run = submit(
        "import os, sys\n"
        "os.makedirs('made/deep')\nopen('made/deep/file', 'w').write('x')\nopen(sys.argv[1] + '/top', 'w').write('y')\n"
        "open(sys.argv[2] + '/other', 'w').write('z')\n",
        arguments=[results, unnamed],
    )
    run.wait_for_completion()
    assert held(datastore, "results", tmp_path / "got") == {"deep/file": "x", "top": "y"}
    assert held(datastore, "more", tmp_path / "got") == {"other": "z"}


@pytest.mark.parametrize(("overwrite", "there"), [(False, "old"), (True, "new")])
def test_an_uploaded_file_replaces_another_only_if_asked(
    submit: Submit, datastore: Datastore, tmp_path: Path, overwrite: bool, there: str
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("old")
    where = f"again-{overwrite}"
    datastore.upload(str(tmp_path / "old"), target_path=where, show_progress=False)
    place = datastore.path(where).as_upload(overwrite=overwrite)
    script = "import sys\nfor name in ('file', 'file2'): open(sys.argv[1] + '/' + name, 'w').write('new')\n"
    submit(script, arguments=[place]).wait_for_completion()
    assert held(datastore, where, tmp_path / "got") == {"file": there, "file2": "new"}


def test_what_a_failing_script_left_for_upload_is_kept(submit: Submit, datastore: Datastore, tmp_path: Path) -> None:
    place = datastore.path("failed").as_upload()
    run = submit("import sys\nopen(sys.argv[1] + '/part', 'w').write('1')\nsys.exit(3)\n", arguments=[place])
    with pytest.raises(ActivityFailedException):
        run.wait_for_completion()
    assert held(datastore, "failed", tmp_path / "got") == {"part": "1"}


def test_downloading_what_is_not_there_fails_with_its_name(submit: Submit, datastore: Datastore) -> None:
    run = submit("print('never')\n", arguments=[datastore.path("no/such").as_download()])
    run.wait_for_completion(raise_on_error=False)
    assert "Datastore 'workspaceblobstore' holds nothing at 'no/such'" in run.get_details()["error"]["error"]["message"]


def test_a_reference_that_the_run_does_not_have_is_refused_at_once(submit: Submit, datastore: Datastore) -> None:
    with pytest.raises(UserErrorException, match="mentions the data reference 'sets', which this run does not have"):
        submit(SHOW, arguments=["$AZUREML_DATAREFERENCE_sets"])
