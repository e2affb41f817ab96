"""Runs from submission to their end, whatever that is."""

import json
import os
import re
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from runyard import Environment, Experiment, Run, Workspace
from runyard.errors import ActivityFailedException, RunException, SnapshotException, UserErrorException
from runyard.job.processes import command_of, processes_of

Submit = Callable[..., Run]
Until = Callable[[Run, str], None]

WAITS = "import signal, sys\nprint('up and running', flush=True)\nsignal.pause()\n"


def story(run: Run) -> list[str]:
    return [event["to_status"] for event in run._call("GET", "events")]


def left_of(run: Run) -> list[list[str] | None]:
    """Commands of the run's processes, but for its job, which may be saying goodbye still."""
    commands = [command_of(pid) for pid in processes_of(f"{run.id}/1/0")]
    return [command for command in commands if command and "runyard.job" not in command]


def log_of(run: Run) -> str:
    return run._read_log("azureml-logs/70_driver_log.txt")


def test_a_run_passes_every_stage_and_keeps_what_its_script_wrote(submit: Submit, tmp_path: Path) -> None:
    run = submit(
        "import os, sys\n"
        "from runyard import Run\n"
        "run = Run.get_context()\n"
        "print('arguments', sys.argv[1:])\n"
        "run.log('accuracy', 0.5)\nrun.log('accuracy', 0.75)\nrun.log('epochs', 2)\n"
        "run.tag('by', 'script')\n"
        "os.makedirs('outputs/model')\n"
        "open('outputs/model/weights', 'w').write('1 2 3')\n"
        "open('logs/own.txt', 'w').write('kept too')\n",
        arguments=["--rate", 0.1],
        tags={"by": "caller", "kind": "test"},
    )
    details = run.wait_for_completion()

    assert story(run) == ["Starting", "Preparing", "Queued", "Running", "Finalizing", "Completed"]
    assert details["status"] == "Completed"
    assert "error" not in details
    assert log_of(run) == "arguments ['--rate', '0.1']\n"
    assert run.get_metrics() == {"accuracy": [0.5, 0.75], "epochs": 2}
    assert run.get_tags() == {"by": "script", "kind": "test"}
    assert {"outputs/model/weights", "logs/own.txt", "azureml-logs/70_driver_log.txt"} <= set(run.get_file_names())
    run.download_file("outputs/model/weights", str(tmp_path / "w"))
    assert (tmp_path / "w").read_text() == "1 2 3"
    assert run.verify()["ok"]


def test_what_its_node_does_is_measured_while_a_run_goes_on(submit: Submit, this_python: Environment) -> None:
    measured = Environment("measured")
    measured.python.user_managed_dependencies = True
    measured.python.interpreter_path = this_python.python.interpreter_path
    measured.environment_variables = {"RUNYARD_SYSTEM_METRICS": "0.5"}
    run = submit(
        "import threading\n"
        "from runyard import Run\n"
        "run = Run.get_context()\n"
        "run.log('loss', 1)\n"
        "while not run.get_system_metrics():\n"
        "    threading.Event().wait(0.2)\n",
        environment=measured,
    )
    run.wait_for_completion()

    (node,) = run.get_system_metrics().values()
    assert {"cpu_percent", "memory_bytes", "memory_percent", "disk_bytes", "disk_percent"} <= set(node)
    record = run._refresh()
    for what, said in node.items():
        assert len(said["times"]) == len(said["values"]) > 0
        assert all(record["started_at"] <= at <= record["ended_at"] for at in said["times"]), what
    assert all(0 <= value <= 100 for what in ("cpu_percent", "memory_percent") for value in node[what]["values"])
    assert all(value > 1 << 20 for value in node["memory_bytes"]["values"])
    assert run.get_metrics() == {"loss": 1}


def test_a_failing_script_leaves_its_traceback_exit_code_and_rank(submit: Submit) -> None:
    run = submit("def f():\n    raise ValueError('no such layer')\nf()\n")
    with pytest.raises(ActivityFailedException) as raised:
        run.wait_for_completion()
    assert "ValueError: no such layer" in str(raised.value)
    (cause,) = run.get_details()["error"]["error"]["details"]
    assert (cause["code"], cause["exit_code"], cause["rank"]) == ("script_failed", 1, 0)
    assert cause["traceback"].startswith("Traceback (most recent call last)")
    assert cause["traceback"].endswith("ValueError: no such layer")


def test_a_killed_script_names_the_signal(submit: Submit) -> None:
    run = submit("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    run.wait_for_completion(raise_on_error=False)
    (cause,) = run.get_details()["error"]["error"]["details"]
    assert (cause["code"], cause["signal"]) == ("signaled", "SIGKILL")


def test_the_last_of_many_lines_before_a_hard_exit_is_there(submit: Submit) -> None:
    run = submit("import os\nfor i in range(100_000):\n    print(i)\nprint('last', flush=True)\nos._exit(1)\n")
    run.wait_for_completion(raise_on_error=False)
    text = b"".join(_pieces(run)).decode()
    assert text == "".join(f"{number}\n" for number in range(100_000)) + "last\n"
    assert run.verify()["ok"]


def _pieces(run: Run) -> list[bytes]:
    from runyard.run_files import log_pieces

    return list(log_pieces(run, "azureml-logs/70_driver_log.txt"))


def test_cancelling_gives_the_script_time_to_save(submit: Submit, until: Until) -> None:
    run = submit(
        "import signal, sys\n"
        "def save(*_):\n    open('outputs/saved', 'w').write('yes'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\nprint('up and running', flush=True)\n"
        "while True: signal.pause()\n"
    )
    until(run, "up and running")
    run.cancel()
    run.wait_for_completion()
    assert run.get_status() == "Canceled"
    assert story(run)[-2:] == ["CancelRequested", "Canceled"]
    assert "outputs/saved" in run.get_file_names()
    run.cancel()  # once more is harmless
    assert run.get_status() == "Canceled"


def test_a_run_whose_job_is_killed_fails_truly_and_loses_nothing(
    submit: Submit, until: Until, workspace: Workspace
) -> None:
    run = submit("from runyard import Run\nRun.get_context().log('loss', 0.25)\n" + WAITS)
    until(run, "up and running")
    job = _job_of(workspace, run)
    os.kill(job, signal.SIGKILL)
    run.wait_for_completion(raise_on_error=False)
    assert run.get_status() == "Failed"
    (cause,) = run.get_details()["error"]["error"]["details"]
    assert cause["code"] == "job_lost"
    assert "SIGKILL" in cause["message"]
    assert log_of(run) == "up and running\n"
    assert run.get_metrics() == {"loss": 0.25}
    assert run.verify()["ok"]
    assert left_of(run) == []


def _job_of(workspace: Workspace, run: Run) -> int:
    assert workspace.folder is not None
    (handle,) = Path(workspace.folder, "runs", run.id).glob("attempt-1/node-0/handle.json")
    return int(json.loads(handle.read_text())["handle"]["job_id"].split("/")[0])


def test_daemons_of_a_script_end_with_it(submit: Submit) -> None:
    run = submit(
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=True)\n"
    )
    run.wait_for_completion()
    assert run.get_status() == "Completed"
    assert left_of(run) == []


def test_a_run_is_made_again_from_its_record_alone(submit: Submit) -> None:
    first = submit("import sys\nprint('told', sys.argv[1])\n", arguments=["x"])
    first.wait_for_completion()
    again = first.rerun()
    again.wait_for_completion()
    assert again.id != first.id
    assert log_of(again) == log_of(first) == "told x\n"
    assert again.get_snapshot_id() == first.get_snapshot_id()
    assert again._spec()["rerun_of"] == first.id


def test_the_code_that_ran_can_be_had_back(submit: Submit, tmp_path: Path) -> None:
    run = submit("print('original')\n")
    run.wait_for_completion()
    folder = run.restore_snapshot(path=str(tmp_path / "restored"))
    assert Path(folder, "train.py").read_text() == "print('original')\n"


def test_a_time_limit_ends_a_run(submit: Submit) -> None:
    run = submit(WAITS, max_run_duration_seconds=1)
    run.wait_for_completion(raise_on_error=False)
    (cause,) = run.get_details()["error"]["error"]["details"]
    assert cause["code"] == "time_limit"


def test_variables_of_the_environment_reach_the_script_and_the_servers_own_do_not(
    submit: Submit, this_python: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = this_python.clone("with-variables")  # type: ignore[attr-defined]
    environment.environment_variables["GREETING"] = "good day"
    run = submit(
        "import os\nprint(os.environ['GREETING'], os.environ['AZUREML_RUN_ID'], 'RUNYARD_HOME' in os.environ, "
        "os.environ['CUDA_VISIBLE_DEVICES'] == '')\n",
        environment=environment,
    )
    run.wait_for_completion()
    assert log_of(run) == f"good day {run.id} False True\n"


def test_files_are_uploaded_from_inside_and_from_outside(submit: Submit, tmp_path: Path) -> None:
    run = submit(
        "from runyard import Run\nimport os\n"
        "os.makedirs('many/deep')\nopen('many/deep/a', 'w').write('a')\nopen('b', 'w').write('b')\n"
        "run = Run.get_context()\nrun.upload_folder('folder', 'many')\nrun.upload_file('single', 'b')\n"
        "print(run.get_file_names())\n"
    )
    run.wait_for_completion()
    assert "'folder/deep/a'" in log_of(run)
    assert "'single'" in log_of(run)
    (tmp_path / "c").write_text("c")
    run.upload_files(["x/c1", "x/c2"], [str(tmp_path / "c")] * 2)
    run.download_files(prefix="x/", output_directory=str(tmp_path / "got"), append_prefix=False)
    assert sorted(path.name for path in (tmp_path / "got").iterdir()) == ["c1", "c2"]
    (tmp_path / "c").write_text("other")
    with pytest.raises(RunException, match="has x/c1 already"):
        run.upload_file("x/c1", str(tmp_path / "c"))


def test_children_are_runs_of_their_own(submit: Submit) -> None:
    run = submit(
        "from runyard import Run\n"
        "parent = Run.get_context()\n"
        "for child in parent.create_children(tag_key='fold', tag_values=[1, 2]):\n"
        "    with child:\n        child.log('score', len(child.get_tags()))\n"
    )
    run.wait_for_completion()
    children = sorted(run.get_children(), key=lambda child: child.get_tags()["fold"])
    assert [child.get_tags()["fold"] for child in children] == ["1", "2"]
    assert [child.get_status() for child in children] == ["Completed", "Completed"]
    assert [child.get_metrics() for child in children] == [{"score": 1}, {"score": 1}]
    assert children[0].parent == run
    assert set(run.get_metrics(recursive=True)) >= {child.id for child in children}


def test_an_interactive_run_logs_ends_and_is_listed(workspace: Workspace, tmp_path: Path) -> None:
    experiment = Experiment(workspace, "interactive")
    (tmp_path / "report.txt").write_text("fine")
    with experiment.start_logging(snapshot_directory=None, outputs=str(tmp_path)) as run:
        run.log("loss", 1.5)
        run.log_row("table", x=1, y=2)
        run.log_list("list", [1, 2, 3])
        run.tag("kind", "interactive")
        assert run.get_status() == "Running"
    assert run.get_status() == "Completed"
    assert run.get_metrics() == {"loss": 1.5, "table": {"x": 1, "y": 2}, "list": [1, 2, 3]}
    assert run.get_tags() == {"kind": "interactive"}
    assert "outputs/report.txt" in run.get_file_names()
    assert [found.id for found in experiment.get_runs()] == [run.id]
    assert run.verify()["ok"]
    assert run.get_snapshot_id() is None
    with pytest.raises(SnapshotException, match="No code was kept"):
        run.restore_snapshot(path=str(tmp_path / "code"))


def test_an_interactive_run_that_raises_has_failed(workspace: Workspace) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        Experiment(workspace, "interactive-2").start_logging(snapshot_directory=None) as run,
    ):
        1 / 0  # noqa: B018
    assert run.get_status() == "Failed"
    assert "ZeroDivisionError" in run.get_details()["error"]["error"]["message"]


def test_outside_a_job_the_context_is_an_offline_run_that_prints(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run.get_context()
    run.log("loss", 0.5)
    assert run.id.startswith("OfflineRun_")
    assert "Attempted to log scalar metric loss:\n0.5" in capsys.readouterr().out


def test_runs_are_found_by_tag_property_status_and_page_by_page(submit: Submit, workspace: Workspace) -> None:
    experiment = Experiment(workspace, "many")
    runs = [experiment.start_logging(snapshot_directory=None, tags={"n": str(n)}) for n in range(5)]
    for run in runs:
        run.complete()
    runs[2].add_properties({"source": "test"})
    assert [run.id for run in experiment.get_runs()] == [run.id for run in reversed(runs)]
    assert [run.id for run in experiment.get_runs(tags={"n": "3"})] == [runs[3].id]
    assert len(list(experiment.get_runs(tags="n"))) == 5
    assert [run.id for run in experiment.get_runs(properties={"source": "test"})] == [runs[2].id]
    assert list(experiment.get_runs(status="Failed")) == []
    with pytest.raises(UserErrorException, match="written once"):
        runs[2].add_properties({"source": "other"})


def test_the_printed_stream_is_the_log_once_and_in_order(submit: Submit, capsys: pytest.CaptureFixture[str]) -> None:
    run = submit("for i in range(200): print('line', i, 'ü')\n")
    run.wait_for_completion(show_output=True)
    said = capsys.readouterr().out
    _, *parts = re.split(r"\nStreaming (\S+)\n=+\n\n", said)
    titles, texts = parts[::2], parts[1::2]
    assert all(title != last for title, last in pairwise(titles))  # one title each time another log has its say
    own = "".join(text for title, text in zip(titles, texts, strict=True) if title.endswith("70_driver_log.txt"))
    assert own.startswith("".join(f"line {i} ü\n" for i in range(200)))
    assert f"RunId: {run.id}" in said
    assert "Execution Summary" in said
