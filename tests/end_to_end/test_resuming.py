"""A run that goes on from what an earlier one left."""

from collections.abc import Callable

import pytest

from runyard import Experiment, Run, ScriptRunConfig, Workspace
from runyard.environment import Environment
from runyard.errors import UserErrorException
from runyard.resuming import RunOutputs

Submit = Callable[..., Run]

DRIVER_LOG = "azureml-logs/70_driver_log.txt"

TRAIN = """
import argparse, os

parser = argparse.ArgumentParser()
parser.add_argument("--resume-from")
place = parser.parse_args().resume_from
start = 0
if place:
    assert place == os.environ["AZUREML_DATAREFERENCE_MODEL_LOCATION"], place
    start = int(open(os.path.join(place, "deep", "checkpoint")).read())
os.makedirs("outputs/deep", exist_ok=True)
with open("outputs/deep/checkpoint", "w") as out:
    out.write(str(start + 10))
print("from", start, sorted(os.listdir("outputs")))
"""


def said(run: Run) -> str:
    run.wait_for_completion()
    return run._read_log(DRIVER_LOG).strip()


def test_a_run_goes_on_from_the_outputs_of_another_and_so_does_its_rerun(submit: Submit, workspace: Workspace) -> None:
    first = submit(TRAIN)
    assert said(first) == "from 0 ['deep']"
    second = submit(TRAIN, resume_from=first._get_outputs_datapath())
    assert said(second) == "from 10 ['deep']"
    reference = second.get_details()["runDefinition"]["dataReferences"]["MODEL_LOCATION"]
    assert reference["pathOnDataStore"] == f"ExperimentRun/dcid.{first.id}/outputs"
    third = submit(TRAIN, resume_from=second)
    assert said(third) == "from 20 ['deep']"
    assert first.get_file_names() == [name for name in third.get_file_names() if "image_build" not in name]


def test_a_run_without_outputs_to_go_on_from_fails_before_its_script_and_says_so(submit: Submit) -> None:
    first = submit("print(1)")
    first.wait_for_completion()
    second = submit(TRAIN, resume_from=first)
    second.wait_for_completion(raise_on_error=False)
    assert second.get_status() == "Failed"
    message = second.get_details()["error"]["error"]["message"]
    assert message.startswith(f"Run {first.id} has no files in 'outputs'")


def test_a_job_reads_what_its_run_was_given_and_nothing_else_of_that_run(submit: Submit) -> None:
    first = submit(TRAIN)
    first.wait_for_completion()
    script = """
import json, os, urllib.error, urllib.request

def ask(path, body=None):
    address = os.environ["AZUREML_SERVICE_ENDPOINT"].rstrip("/") + "/api/v1/runs/" + path
    headers = {"Authorization": "Bearer " + os.environ["AZUREML_RUN_TOKEN"], "Content-Type": "application/json"}
    try:
        return urllib.request.urlopen(urllib.request.Request(address, body, headers)).status
    except urllib.error.HTTPError as refused:
        return refused.code

own = os.environ["AZUREML_RUN_ID"]
log = json.dumps({"paths": ["azureml-logs/70_driver_log.txt"]}).encode()
given = json.dumps({"paths": ["outputs/deep/checkpoint"]}).encode()
print(ask(own + "/given/MODEL_LOCATION"), ask(own + "/given/MODEL_LOCATION/pack", given))
print(ask(own + "/given/MODEL_LOCATION/pack", log), ask(own + "/given/other"))
print(ask("FIRST/files"), ask("FIRST/given/MODEL_LOCATION"))
"""
    second = submit(script.replace("FIRST", first.id), resume_from=first)
    assert said(second).splitlines() == ["200 200", "404 404", "403 403"]


def test_a_run_that_is_not_there_cannot_be_gone_on_from(submit: Submit) -> None:
    with pytest.raises(UserErrorException, match="nobody_1"):
        submit(TRAIN, resume_from=RunOutputs("nobody_1"))


def test_a_runs_files_cannot_be_written_to(
    workspace: Workspace, this_python: Environment, tmp_path: object, submit: Submit
) -> None:
    first = submit(TRAIN)
    first.wait_for_completion()

    class Upload(RunOutputs):
        def to_spec(self):  # type: ignore[no-untyped-def]
            from dataclasses import replace

            return replace(super().to_spec(), mode="upload")

    with pytest.raises(UserErrorException, match="can be downloaded; they have no 'upload'"):
        submit(TRAIN, resume_from=Upload(first.id))
    with pytest.raises(UserErrorException, match="path"):
        submit(TRAIN, resume_from=RunOutputs(first.id, "../outputs"))
    assert [run.id for run in Experiment(workspace, "tests").get_runs()][0] == first.id
    assert ScriptRunConfig(str(tmp_path), "train.py", resume_from=first).resume_from.run_id == first.id


def test_a_script_gives_its_children_its_own_files_and_nobody_elses(submit: Submit) -> None:
    stranger = submit(TRAIN)
    stranger.wait_for_completion()
    script = """
import sys
from azureml.core import Run, ScriptRunConfig
from runyard.errors import RunyardError
from runyard.resuming import RunOutputs

for run_id in sys.argv[1:]:
    try:
        child = Run.get_context().submit_child(ScriptRunConfig(".", "train.py", resume_from=RunOutputs(run_id)))
        print("accepted")
        child.cancel()
    except RunyardError as refused:
        print(type(refused).__name__)
"""
    assert said(submit(script, arguments=[stranger.id])) == "PermissionDeniedError"
    assert said(submit(script, arguments=[stranger.id], resume_from=stranger)).splitlines()[:1] == ["accepted"]
