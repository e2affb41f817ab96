"""Runs are archived, restored and deleted; what others need of them stays, and that they were is known."""

from pathlib import Path

import pytest

from runyard.errors import RunException, UnknownRunError
from runyard.protocol.files import FileEntry
from runyard.protocol.models import ModelRecord
from runyard.protocol.runs import DataReferenceSpec, InteractiveRunSpec, RunChanges, RunSpec
from runyard.protocol.status import RunStatus
from runyard_server.domain.filters.parser import parse
from runyard_server.domain.run_types import LOGGED_MODEL
from runyard_server.records import experiments, models, runs
from runyard_server.records.engine import Database
from runyard_server.records.run_table import TableQuery, search
from runyard_server.services.admission import Admitted
from runyard_server.services.deletion import DeletionService
from runyard_server.services.given_runs import GivenRuns
from runyard_server.services.hub import Hub
from runyard_server.services.runs import RunFilter, RunService
from runyard_server.testing.clock import FakeClock


class Yard:
    """Runs without anything that runs them."""

    def __init__(self, database: Database) -> None:
        self.database, self.clock, hub = database, FakeClock(), Hub()
        self.cleared: list[str] = []
        self.runs = RunService(
            database, self.clock, hub, lambda spec: Admitted(spec, []), lambda run_id, run: None, lambda run_id: None
        )
        self.deletion = DeletionService(database, self.clock, hub, GivenRuns(), self.cleared.append)

    def ended(self, run_id: str, parent: str | None = None) -> str:
        self.going_on(run_id, parent)
        self.runs.complete(run_id, "user")
        return run_id

    def logged_model(self, run_id: str, parent: str) -> str:
        """A model as MLflow's client logs it."""
        spec = InteractiveRunSpec("digits", id=run_id, parent=parent, display_name="net", tags={"kind": "a"})
        self.runs.start_interactive(spec, "user", type=LOGGED_MODEL)
        self.runs.complete(run_id, "user")
        return run_id

    def going_on(self, run_id: str, parent: str | None = None) -> str:
        self.clock.advance(1)
        self.runs.start_interactive(InteractiveRunSpec("digits", id=run_id, parent=parent, tags={"kind": "a"}), "user")
        return run_id

    def listed(self, view: str) -> list[str]:
        found = [record.id for record in self.runs.list(RunFilter(view=view))]
        with self.database.read() as connection:
            wanted = TableQuery(parse('tags.kind = "a"'), view=view)
            assert [record.id for record in search(connection, wanted, self.clock.now()).runs] == found
        return found

    def register(self, run_id: str) -> None:
        with self.database.write() as connection:
            file = FileEntry("outputs/model", 1, "ab" * 32)
            models.add(connection, ModelRecord("", "digits", 0, 1.0, "outputs/model", [file], run_id=run_id))


@pytest.fixture
def yard(database: Database) -> Yard:
    return Yard(database)


def test_an_archived_run_is_hidden_from_lists_until_it_is_restored(yard: Yard) -> None:
    first, second = yard.ended("first"), yard.ended("second")
    archived = yard.runs.change(first, RunChanges(archived=True))
    assert archived.archived_at == yard.clock.now()
    assert (yard.listed("active"), yard.listed("archived"), yard.listed("all")) == ([second], [first], [second, first])
    assert yard.runs.get(first).tags == {"kind": "a"}
    assert yard.runs.change(first, RunChanges(archived=False)).archived_at is None
    assert yard.listed("active") == [second, first]


def test_archiving_twice_keeps_the_time_of_the_first(yard: Yard) -> None:
    run_id = yard.ended("first")
    at = yard.runs.change(run_id, RunChanges(archived=True)).archived_at
    yard.clock.advance(60)
    assert yard.runs.change(run_id, RunChanges(archived=True)).archived_at == at


def test_a_deleted_run_is_gone_and_who_deleted_it_is_known(yard: Yard) -> None:
    run_id = yard.ended("first")
    (gone,) = yard.deletion.delete(run_id, "ann")
    assert (gone.id, gone.deleted_by, gone.experiment, gone.status) == (run_id, "ann", "digits", RunStatus.COMPLETED)
    assert yard.listed("all") == []
    assert yard.deletion.list(10) == [gone]
    assert yard.cleared == [run_id]
    with pytest.raises(UnknownRunError, match=r"was deleted by ann at 2019-08-1\d \d\d:\d\d UTC\.$"):
        yard.runs.get(run_id)


def test_the_id_of_a_deleted_run_is_never_used_again(yard: Yard) -> None:
    yard.deletion.delete(yard.ended("first"), "ann")
    with pytest.raises(RunException, match="never used twice"):
        yard.going_on("first")
    assert yard.runs.get(yard.going_on("second")).number == 2


def test_a_run_that_has_not_ended_is_not_deleted(yard: Yard) -> None:
    run_id = yard.going_on("first")
    with pytest.raises(RunException, match="runyard run cancel first"):
        yard.deletion.delete(run_id, "ann")
    assert yard.listed("all") == [run_id]


def test_the_runs_below_a_deleted_one_go_with_it(yard: Yard) -> None:
    top = yard.ended("top")
    yard.ended("below", parent=top)
    yard.ended("lowest", parent="below")
    other = yard.ended("other")
    assert [gone.id for gone in yard.deletion.delete(top, "ann")] == ["top", "below", "lowest"]
    assert yard.listed("all") == [other]
    assert {gone.id: gone.parent_id for gone in yard.deletion.list(10)} == {
        "top": None,
        "below": "top",
        "lowest": "below",
    }


def test_a_run_below_which_one_goes_on_is_not_deleted(yard: Yard) -> None:
    top = yard.going_on("top")
    yard.going_on("below", parent=top)
    yard.runs.complete(top, "user")
    with pytest.raises(RunException, match=r"below \(Running\) has not ended"):
        yard.deletion.delete(top, "ann")
    assert yard.deletion.list(10) == []


def test_a_run_that_made_a_model_is_kept_unless_the_model_may_stay_without_it(yard: Yard) -> None:
    run_id = yard.ended("first")
    yard.register(run_id)
    with pytest.raises(RunException, match="made the models digits:1"):
        yard.deletion.delete(run_id, "ann")
    yard.deletion.delete(run_id, "ann", keep_models=True)
    with yard.database.read() as connection:
        kept = models.get(connection, "digits")
    assert kept is not None and kept.run_id == run_id and len(kept.files) == 1


@pytest.mark.parametrize("keep_models", [False, True])
def test_a_run_that_logged_models_is_kept_unless_they_may_go_with_it(yard: Yard, keep_models: bool) -> None:
    top = yard.ended("top")
    yard.logged_model("m-1", yard.ended("below", parent=top))
    with pytest.raises(RunException, match=r"logged models with MLflow: m-1 \(net\)\..*--with-logged-models"):
        yard.deletion.delete(top, "ann", keep_models)
    assert yard.runs.get("m-1").status is RunStatus.COMPLETED and yard.cleared == []
    gone = yard.deletion.delete(top, "ann", keep_models, with_logged_models=True)
    assert [each.id for each in gone] == ["top", "below", "m-1"]


def test_a_logged_model_that_is_asked_for_or_hidden_is_deleted_without_more(yard: Yard) -> None:
    top = yard.ended("top")
    yard.deletion.delete(yard.logged_model("m-1", top), "ann")
    yard.runs.change(yard.logged_model("m-2", top), RunChanges(archived=True))
    assert [each.id for each in yard.deletion.delete(top, "ann")] == ["top", "m-2"]


def test_a_run_whose_files_an_unfinished_one_was_given_is_kept_until_that_one_ends(yard: Yard) -> None:
    run_id = yard.ended("first")
    reference = DataReferenceSpec(name="before", datastore="", run=run_id, path="outputs")
    spec = RunSpec("digits", "ab" * 32, id="next", data_references=[reference])
    yard.runs.submit(spec, "user")
    with pytest.raises(RunException, match="The run next is Starting and was given files of first"):
        yard.deletion.delete(run_id, "ann")
    yard.deletion.delete(yard.ended("unrelated"), "ann")


def test_deleted_runs_are_listed_by_pages(yard: Yard) -> None:
    for name in ("a", "b", "c"):
        yard.deletion.delete(yard.ended(name), "ann")
    first = yard.deletion.list(2)
    assert [gone.id for gone in [*first, *yard.deletion.list(2, first[-1].id)]] == ["c", "b", "a"]


def test_an_experiment_whose_runs_are_deleted_can_be_deleted(yard: Yard) -> None:
    yard.deletion.delete(yard.ended("first"), "ann")
    with yard.database.write() as connection:
        found = experiments.get_by_name(connection, "digits")
        assert found is not None
        experiments.remove(connection, found.id)
        assert runs.find(connection, "first") is None


def test_what_a_killed_server_left_of_a_deleted_run_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    from runyard_server.testing.played_jobs import Play
    from runyard_server.testing.yard import Yard as WholeYard

    yard = WholeYard(tmp_path)
    try:
        run_id = yard.running(Play(lines=2))
        yard.until(yard.has_ended(run_id))
        deletion = DeletionService(yard.database, yard.clock, Hub(), GivenRuns(), lambda run_id: None)
        left = yard.home / "logs" / run_id / "azureml-logs" / "late.txt"
        left.parent.mkdir(parents=True)
        left.write_text("left")
        deletion.delete(run_id, "ann")
        assert left.exists()
        yard.server.closing.sweep()
        assert not left.parent.parent.exists()
    finally:
        yard.close()
