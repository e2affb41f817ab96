"""The end of a run: its logs become files, once, and nothing of it is left but what was not collected."""

from pathlib import Path

import pytest

from runyard_server.records import files, runs
from runyard_server.testing.played_jobs import Play
from runyard_server.testing.yard import Yard

LOG = "azureml-logs/70_driver_log_0.txt"


@pytest.fixture
def yard(tmp_path: Path):  # type: ignore[no-untyped-def]
    yard = Yard(tmp_path)
    yield yard
    yard.close()


@pytest.fixture
def ended(yard: Yard) -> str:
    """The id of a run that has ended well."""
    run_id = yard.running(Play(lines=2))
    yard.until(yard.has_ended(run_id))
    return run_id


def test_logs_become_files_and_directories_go(yard: Yard, ended: str) -> None:
    assert yard.server.files.open(ended, LOG).location.read_bytes() == b"line 0\nline 1\n"
    assert not (yard.home / "runs" / ended).exists() and not (yard.home / "logs" / ended).exists()


def test_closing_again_changes_nothing(yard: Yard, ended: str) -> None:
    before = yard.server.files.list(ended)
    run = yard.run(ended)
    for _ in range(2):
        yard.server.closing.keep_logs(run)
        yard.server.closing.forget(run)
    assert yard.server.files.list(ended) == before


def test_a_log_that_grew_after_it_was_kept_is_kept_as_it_is_now(yard: Yard) -> None:
    run_id = yard.running(Play(lines=None))
    run = yard.run(run_id)
    yard.server.logs.append(run_id, LOG, 0, b"so far\n")
    yard.server.closing.keep_logs(run)  # a try to close the run that came to nothing
    assert yard.server.files.open(run_id, LOG).location.read_bytes() == b"so far\n"
    yard.server.logs.append(run_id, LOG, 7, b"and more\n")
    yard.server.closing.keep_logs(run)
    assert yard.server.files.open(run_id, LOG).location.read_bytes() == b"so far\nand more\n"


def test_a_file_that_the_job_uploaded_stands_against_its_live_copy(yard: Yard, tmp_path: Path) -> None:
    run_id = yard.running(Play(lines=None))
    whole = tmp_path / "whole"
    whole.write_bytes(b"as the job left it")
    yard.server.files.adopt_file(run_id, "logs/own.txt", whole)
    yard.server.logs.append(run_id, "logs/own.txt", 0, b"as it was while it grew, and longer")
    yard.server.closing.keep_logs(yard.run(run_id))
    assert yard.server.files.open(run_id, "logs/own.txt").location.read_bytes() == b"as the job left it"


def test_what_was_not_collected_is_not_removed(yard: Yard) -> None:
    run_id = yard.running(Play(lines=None))
    run = yard.run(run_id)
    yard.server.closing.forget(run)
    assert (yard.home / "runs" / run_id).is_dir()


def test_the_next_server_closes_what_its_predecessor_had_not(yard: Yard, ended: str) -> None:
    left = yard.home / "logs" / ended / "azureml-logs"
    left.mkdir(parents=True)
    (left / "75_job_post-0.txt").write_bytes(b"the last words\n")
    yard.restart()
    kept = yard.server.files.open(ended, "azureml-logs/75_job_post-0.txt").location.read_bytes()
    assert kept == b"the last words\n"
    assert not (yard.home / "logs" / ended).exists()


def test_the_next_server_brings_back_nothing_of_a_run_whose_files_went_by_a_rule(yard: Yard, ended: str) -> None:
    left = yard.home / "logs" / ended / "azureml-logs"
    left.mkdir(parents=True)
    (left / "75_job_post-0.txt").write_bytes(b"the last words\n")
    with yard.database.write() as connection:
        files.remove_of_run(connection, ended)
        runs.change(connection, ended, files_removed_at=1.0)
    yard.restart()
    assert yard.server.files.list(ended) == []
    assert not (yard.home / "logs" / ended).exists()


def test_a_run_that_cannot_be_closed_keeps_no_other_waiting(yard: Yard, ended: str) -> None:
    damaged = yard.running(Play(lines=1))
    yard.until(yard.has_ended(damaged))
    for run_id, name in ((damaged, "a name\a.txt"), (ended, "75_job_post-0.txt")):
        (yard.home / "logs" / run_id / "azureml-logs").mkdir(parents=True)
        (yard.home / "logs" / run_id / "azureml-logs" / name).write_bytes(b"the last words\n")
    yard.restart()
    assert (yard.home / "logs" / damaged).exists() and not (yard.home / "logs" / ended).exists()


def test_folders_of_runs_that_are_not_known_or_have_not_ended_are_left_alone(yard: Yard) -> None:
    run_id = yard.running(Play(lines=None))
    (yard.home / "runs" / "somebody-elses").mkdir()
    yard.restart()
    assert (yard.home / "runs" / run_id).is_dir() and (yard.home / "runs" / "somebody-elses").is_dir()
