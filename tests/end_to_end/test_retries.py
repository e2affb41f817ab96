"""A run whose job is lost is tried again inside itself, from what the lost attempt had left."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runyard import Run, Workspace
from runyard.errors import UserErrorException

Submit = Callable[..., Run]
Until = Callable[[Run, str], None]

# Counts on from its last checkpoint; the first attempt waits to be killed after its second.
COUNTS = """
import os, signal
from runyard import Run

resume, run = os.environ.get("RUNYARD_RESUME_DIR"), Run.get_context()
start = int(open(os.path.join(resume, "checkpoint")).read()) if resume else 0
print("from", start, flush=True)
for epoch in range(start, 4):
    run.log("epoch", epoch)
    os.makedirs("outputs", exist_ok=True)
    open("outputs/checkpoint", "w").write(str(epoch + 1))
    open("outputs/epoch-%d" % epoch, "w").write(os.environ["RUNYARD_RUN_ATTEMPT"])
    open("logs/epoch.txt", "a").write("%d\\n" % epoch)
    if os.environ["RUNYARD_RUN_ATTEMPT"] == "1" and epoch == 1:
        print("two epochs", flush=True)
        signal.pause()
"""


def kill_the_job(workspace: Workspace, run: Run, attempt: int = 1) -> None:
    assert workspace.folder is not None
    handle = Path(workspace.folder, "runs", run.id, f"attempt-{attempt}", "node-0", "handle.json")
    os.kill(int(json.loads(handle.read_text())["handle"]["job_id"].split("/")[0]), signal.SIGKILL)


def read(run: Run, name: str, tmp_path: Path) -> str:
    target = tmp_path / "downloaded"
    run.download_file(name, str(target))
    return target.read_text()


def test_a_lost_job_is_tried_again_from_its_last_checkpoint_and_nothing_is_lost(
    submit: Submit, until: Until, workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = submit(COUNTS, max_attempts=2)
    until(run, "two epochs")
    kill_the_job(workspace, run)
    run.wait_for_completion(show_output=True)
    shown = capsys.readouterr().out
    assert run.get_status() == "Completed"
    # Both attempts' logs, points and outputs are there; of an output that both wrote, the last one counts.
    assert run._read_log("azureml-logs/70_driver_log.txt") == "from 0\ntwo epochs\n"
    assert run._read_log("azureml-logs/attempt-2/70_driver_log.txt") == "from 2\n"
    assert "azureml-logs/attempt-2/70_driver_log.txt" in shown and "from 2\n" in shown
    assert run.get_metrics()["epoch"] == [0, 1, 2, 3]
    assert read(run, "outputs/checkpoint", tmp_path) == "4"
    assert [read(run, f"outputs/epoch-{epoch}", tmp_path) for epoch in range(4)] == ["1", "1", "2", "2"]
    assert read(run, "logs/epoch.txt", tmp_path) == "0\n1\n"
    assert read(run, "logs/attempt-2/epoch.txt", tmp_path) == "2\n3\n"
    assert run.verify()["ok"]
    assert workspace.folder is not None and not Path(workspace.folder, "runs", run.id).exists()
    # The record says what happened.
    record = run._refresh()
    (attempt,) = record["attempts"]
    assert (record["attempt"], attempt["reason"]) == (2, "job_lost")
    assert attempt["saved_at"] is not None and 0 <= attempt["lost_work_s"] < 60
    event = next(event for event in run._call("GET", "events") if event["reason"] == "retried")
    assert "so long ago its last output was written" in event["message"]
    told = shown_by_the_command(workspace, run)
    assert "job_lost" in told and "of work lost since its last output" in told


def shown_by_the_command(workspace: Workspace, run: Run) -> str:
    command = [sys.executable, "-m", "runyard", "--workspace", workspace.name, "run", "show", run.id]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths, "COLUMNS": "400"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


RESUMES = """
import os, signal, sys
place = sys.argv[sys.argv.index("--resume-from") + 1]
assert place == os.environ["RUNYARD_RESUME_DIR"]
number = int(open(os.path.join(place, "checkpoint")).read())
os.makedirs("outputs", exist_ok=True)
open("outputs/checkpoint", "w").write(str(number + 1))
print("from", number, flush=True)
if os.environ["RUNYARD_RUN_ATTEMPT"] == "1":
    signal.pause()
"""


def test_resume_from_leads_to_the_runs_own_outputs_once_there_are_some(
    submit: Submit, until: Until, workspace: Workspace
) -> None:
    first = submit("import os\nos.makedirs('outputs', exist_ok=True)\nopen('outputs/checkpoint', 'w').write('7')\n")
    first.wait_for_completion()
    run = submit(RESUMES, resume_from=first, max_attempts=3)
    until(run, "from 7")
    kill_the_job(workspace, run)
    run.wait_for_completion()
    assert run._read_log("azureml-logs/attempt-2/70_driver_log.txt") == "from 8\n"


def test_a_script_that_fails_is_tried_again_where_that_is_asked_for(submit: Submit) -> None:
    from runyard.runconfig import RunConfiguration

    settings = RunConfiguration()
    settings.max_attempts, settings.retry_on = 3, ["script_failed"]
    run = submit("import os\nprint('tried')\nassert os.environ['RUNYARD_RUN_ATTEMPT'] == '3'\n", run_config=settings)
    run.wait_for_completion()
    record = run._refresh()
    assert [each["reason"] for each in record["attempts"]] == ["script_failed", "script_failed"]
    assert record["error"] is None and record["status"] == "Completed"


@pytest.mark.parametrize(
    ("attempts", "causes", "words"),
    [
        (0, [], "max_attempts is a whole number of at least 1"),
        (2, ["tired"], "not tried again after 'tired'.*node_lost, job_lost, preempted.*script_failed"),
        (1, ["script_failed"], "retry_on needs max_attempts of at least 2"),
        (2, "script_failed", "retry_on is a list of causes"),
        (1000, [], "1 to 100 attempts"),
    ],
)
def test_what_makes_no_sense_is_refused(submit: Submit, attempts: int, causes: Any, words: str) -> None:
    from runyard.runconfig import RunConfiguration

    settings = RunConfiguration()
    settings.max_attempts, settings.retry_on = attempts, causes
    with pytest.raises(UserErrorException, match=words):
        submit("", run_config=settings)
