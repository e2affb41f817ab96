"""Retention rules from Python and on the command line, over the whole application."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard import Run, Workspace
from runyard.cli import main
from runyard.errors import (
    FileNotInRunError,
    PlanChangedError,
    RetentionException,
    RunException,
    UnknownRetentionRuleError,
    UserErrorException,
)
from runyard.protocol.runs import InteractiveRunSpec, RunChanges
from runyard.transport.base import Answer
from runyard.transport.memory import MemoryTransport
from runyard_server.app import Server, build
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.fresh_home import fresh_home


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    clock = FakeClock()
    settings = Settings(home=tmp_path / "home", environments=tmp_path / "environments", public_url="http://memory")
    fresh_home(settings.home)
    made = build(settings, Secrets("member", b"k" * 32), lambda: "http://memory", clock)
    content = tmp_path / "weights"
    content.write_bytes(b"weights")
    for run_id, tags in (("first", {}), ("kept", {"keep": "for the paper"})):
        made.services.runs.start_interactive(InteractiveRunSpec("digits", id=run_id, tags=tags), "user")
        made.services.files.adopt_file(run_id, "outputs/weights", content)
        made.services.logs.append(run_id, "azureml-logs/70_driver_log.txt", 0, b"step 1\n")
        line = b'["s", "loss", 0.5, 1.0, 1]\n'
        made.services.metrics.take(run_id, "client", 0, line)
        made.services.runs.complete(run_id, "user")
    clock.advance(minutes=31 * 24 * 60)
    yield made
    made.close()


@pytest.fixture
def workspace(server: Server) -> Workspace:
    return Workspace(transport=MemoryTransport(server.app, "member"))


def test_rules_are_kept_shown_applied_and_removed_from_python(workspace: Workspace) -> None:
    made = workspace.retention.add("old", "delete", "experiment = digits", older_than_days=30)
    assert workspace.retention.rules() == [made]
    assert made.takes == "runs with experiment = digits that ended more than 30 days ago"
    said = workspace.retention.apply(dry_run=True)
    assert [(each.run_id, each.size_bytes) for each in said.gone] == [("first", 7)]
    assert [(each.run_id, each.reason) for each in said.kept] == [("kept", "it has the tag keep")]
    assert (said.freed_bytes, said.dry_run) == (0, True)  # the other run has the same bytes
    with pytest.raises(RetentionException, match="names the plan"):
        workspace.transport.call("POST", "/retention", json={"rules": ["old"], "dry_run": False, "plan": None})
    done = workspace.retention.apply("old", plan=workspace.retention.apply("old", dry_run=True).plan)
    assert (done.gone, done.kept, done.dry_run) == (said.gone, said.kept, False)
    assert [run.id for run in workspace.search_runs()] == ["kept"]
    workspace.retention.remove("old")
    assert workspace.retention.rules() == []


class Busy(MemoryTransport):
    """In a workspace in which a run is tagged, or is so no more, between each two requests about retention."""

    def __init__(self, server: Server, changes: int) -> None:
        super().__init__(server.app, "member")
        self._runs, self._changes = server.services.runs, changes

    def send(self, method: str, path: str, *rest: Any) -> Answer:
        answer = super().send(method, path, *rest)
        if path.endswith("/retention") and self._changes:
            self._changes -= 1
            tagged = "keep" in self._runs.get("kept").tags
            self._runs.change("kept", RunChanges(remove_tags=["keep"]) if tagged else RunChanges(tags={"keep": ""}))
        return answer


def test_rules_are_applied_though_runs_change_between_the_look_and_the_deed(server: Server) -> None:
    busy = Workspace(transport=Busy(server, changes=3))
    busy.retention.add("old", "delete", older_than_days=30)
    assert [each.run_id for each in busy.retention.apply().gone] == ["first", "kept"]


def test_in_a_workspace_that_changes_all_the_time_no_more_than_some_looks_are_tried(server: Server) -> None:
    busy = Workspace(transport=Busy(server, changes=1000))
    busy.retention.add("old", "delete", older_than_days=30)
    with pytest.raises(PlanChangedError):
        busy.retention.apply()


def test_an_empty_plan_and_one_of_a_dry_run_are_refused(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.retention.add("old", "delete", older_than_days=30)
    with pytest.raises(RetentionException, match="carries none out"):
        workspace.retention.apply(dry_run=True, plan="")
    assert main.main(["retention", "apply", "--plan", "", "--yes"], workspace) == 2  # of a variable that is not set
    assert "names the plan" in capsys.readouterr().err
    assert len(list(workspace.search_runs())) == 2


def test_what_is_wrong_with_a_rule_is_raised_as_what_it_is(workspace: Workspace) -> None:
    with pytest.raises(RetentionException, match="archive, files, delete, not 'burn'"):
        workspace.retention.add("old", "burn", older_than_days=1)
    with pytest.raises(RetentionException, match="--keep-newest"):
        workspace.retention.add("old", "delete")
    with pytest.raises(UserErrorException, match="statis"):
        workspace.retention.add("old", "delete", "statis = Failed", older_than_days=1)
    with pytest.raises(UnknownRetentionRuleError, match="There are: none"):
        workspace.retention.apply("old")
    with pytest.raises(UnknownRetentionRuleError):
        workspace.retention.remove("old")


def test_a_run_whose_files_went_is_whole_otherwise_and_says_why_they_are_not_there(workspace: Workspace) -> None:
    workspace.retention.add("files", "files", older_than_days=30)
    workspace.retention.apply()
    run = Run.get(workspace, "first")
    assert run.get_file_names() == [] and run.get_metrics() == {"loss": 0.5}
    assert run.verify()["ok"] is True
    with pytest.raises(FileNotInRunError, match="a retention rule removed its files"):
        run.download_file("outputs/weights")


def test_a_log_that_comes_after_a_rule_took_the_files_is_refused_and_a_file_is_kept(
    workspace: Workspace, server: Server, tmp_path: Path
) -> None:
    workspace.retention.add("files", "files", older_than_days=30)
    workspace.retention.apply()
    for name, offset in (("azureml-logs/70_driver_log.txt", 7), ("logs/late.txt", 0)):
        with pytest.raises(RunException, match="a retention rule removed its files and logs"):
            server.services.logs.append("first", name, offset, b"late\n")
    (tmp_path / "late").write_bytes(b"late")
    run = Run.get(workspace, "first")
    run.upload_file("outputs/late", str(tmp_path / "late"))
    run.download_file("outputs/late", str(tmp_path / "back"))
    assert run.get_file_names() == ["outputs/late"] and server.services.reading.list("first") == []
    assert run.verify()["ok"] is True and (tmp_path / "back").read_bytes() == b"late"


def test_the_command_line_shows_before_it_does(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    def runyard(*words: str) -> tuple[int, str, str]:
        code = main.main(["retention", *words], workspace)
        return code, *capsys.readouterr()

    code, out, _ = runyard("add", "old", "delete", "--where", "experiment = digits", "--older-than", "30d", "--daily")
    assert code == 0 and "old: delete runs with experiment = digits that ended more than 30 days ago." in out
    assert "for the first time a day from now" in out
    assert [rule["daily"] for rule in json.loads(runyard("list", "--json")[1])] == [True]
    assert "daily" in runyard("list")[1]
    code, out, _ = runyard("apply", "--dry-run")
    assert code == 0 and "Would be: 1 run deleted; 1 run kept." in out and "it has the tag keep" in out
    (said,) = re.findall("To do just this: runyard retention apply (.*)", out)
    assert runyard("apply", *said.replace("-", "-0", 1).split())[0] == 2  # --plan
    code, _, err = runyard("apply")
    assert code == 2 and "--dry-run to see it" in err
    code, out, _ = runyard("apply", *said.split(), "--json")
    assert [each["run_id"] for each in json.loads(out)["gone"]] == ["first"]
    assert "no run goes; 1 run kept." in runyard("apply", "--dry-run")[1]
    assert runyard("remove", "old")[0] == 0
    assert "No retention rules" in runyard("list")[2]
    assert runyard("add", "old", "delete", "--older-than", "soon")[0] == 2
