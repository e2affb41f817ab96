"""Retention rules: which runs go, which never do, and that an application does what its dry run said."""

import hashlib
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from runyard.errors import (
    LimitReachedError,
    PlanChangedError,
    RetentionException,
    RunException,
    UnknownRetentionRuleError,
    UserErrorException,
)
from runyard.protocol.cleaning import GRACE_S
from runyard.protocol.files import FileEntry
from runyard.protocol.models import ModelRecord
from runyard.protocol.retention import RetentionAction, RetentionOutcome, RetentionRule
from runyard.protocol.runs import DataReferenceSpec, InteractiveRunSpec, RunChanges, RunSpec
from runyard_server.artifacts.store import FolderStore
from runyard_server.domain.run_types import LOGGED_MODEL
from runyard_server.records import files, models
from runyard_server.records.engine import Database
from runyard_server.services.admission import Admitted
from runyard_server.services.cleaning import CleaningService
from runyard_server.services.daily import Daily
from runyard_server.services.deletion import DeletionService
from runyard_server.services.given_runs import GivenRuns
from runyard_server.services.hub import Hub
from runyard_server.services.retention import RetentionService
from runyard_server.services.runs import RunFilter, RunService
from runyard_server.services.uploads import UploadService
from runyard_server.testing.clock import FakeClock

DELETE, FILES, ARCHIVE = RetentionAction.DELETE, RetentionAction.FILES, RetentionAction.ARCHIVE
DAY_MINUTES = 24 * 60


class Yard:
    """Runs without anything that runs them, and rules on them."""

    def __init__(self, database: Database) -> None:
        self.database, self.clock, hub = database, FakeClock(), Hub()
        self.runs = RunService(
            database, self.clock, hub, lambda spec: Admitted(spec, []), lambda run_id, run: None, lambda run_id: None
        )
        self.given = GivenRuns()
        self.deletion = DeletionService(database, self.clock, hub, self.given, lambda run_id: None)
        self.hub = hub
        self.take_at_once(100)

    def take_at_once(self, most: int) -> None:
        self.retention = RetentionService(
            self.database, self.clock, self.hub, self.deletion, self.given, lambda run_id: None, most
        )

    def going_on(
        self, run_id: str, experiment: str = "digits", type: str = "azureml.interactive", **known: object
    ) -> str:
        self.clock.advance(1)
        self.runs.start_interactive(InteractiveRunSpec(experiment, id=run_id, **known), "user", type=type)  # type: ignore[arg-type]
        return run_id

    def ended(self, run_id: str, experiment: str = "digits", **known: object) -> str:
        self.going_on(run_id, experiment, **known)  # type: ignore[arg-type]
        self.runs.complete(run_id, "user")
        return run_id

    def put(self, run_id: str, content: bytes, path: str = "outputs/a") -> None:
        with self.database.write() as connection:
            entry = FileEntry(path, len(content), hashlib.sha256(content).hexdigest())
            files.put_of_run(connection, run_id, [entry], self.clock.now())

    def files(self, run_id: str) -> list[str]:
        with self.database.read() as connection:
            return [entry.path for entry in files.of_run(connection, run_id)]

    def days_pass(self, days: float) -> None:
        self.clock.advance(minutes=days * DAY_MINUTES)

    def rule(self, action: RetentionAction, name: str = "old", older: float | None = 30.0, **said: object) -> None:
        self.retention.add(RetentionRule(name, action, older_than_days=older, **said), "ann")  # type: ignore[arg-type]

    def dry(self) -> RetentionOutcome:
        return self.retention.look(None)

    def apply(self) -> RetentionOutcome:
        return self.retention.apply(None, self.dry().plan, "ann")

    def listed(self, view: str = "all") -> list[str]:
        return sorted(run.id for run in self.runs.list(RunFilter(view=view, include_children=True, limit=1000)))

    def whole(self) -> dict[str, tuple[bool, list[str]]]:
        """Of each run whether it is archived, and its files."""
        return {run_id: (self.runs.get(run_id).archived_at is not None, self.files(run_id)) for run_id in self.listed()}


def ids(verdicts: Sequence[object]) -> list[str]:
    return [each.run_id for each in verdicts]  # type: ignore[attr-defined]


def why(outcome: RetentionOutcome) -> dict[str, str]:
    return {each.run_id: each.reason for each in outcome.kept}


@pytest.fixture
def yard(database: Database) -> Yard:
    return Yard(database)


def test_a_run_goes_by_its_age_since_its_end(yard: Yard) -> None:
    yard.going_on("long")
    yard.ended("old")
    yard.days_pass(25)
    yard.runs.complete("long", "user")
    yard.days_pass(6)
    yard.rule(DELETE)
    said = yard.dry()
    assert ids(said.gone) == ["old"] and yard.listed() == ["long", "old"]
    assert why(said) == {"long": "it ended 6 days ago, which is not more than 30 days"}
    assert ids(yard.apply().gone) == ["old"]
    assert yard.listed() == ["long"]
    (gone,) = yard.deletion.list(10)
    assert (gone.deleted_by, gone.reason) == ("ann", "by the retention rule old")


def test_the_newest_of_each_experiment_stay(yard: Yard) -> None:
    for number in range(4):
        yard.ended(f"a{number}", "a")
        yard.ended(f"b{number}", "b", tags={"kind": "good" if number < 2 else "bad"})
    yard.going_on("a9", "a")
    yard.rule(DELETE, older=None, keep_newest=2, where='experiment = a or tags.kind = "good"')
    assert ids(yard.apply().gone) == ["a0", "a1"]
    assert yard.listed() == ["a2", "a3", "a9", "b0", "b1", "b2", "b3"]


def test_a_rule_with_an_age_and_a_number_takes_what_is_beyond_both(yard: Yard) -> None:
    yard.ended("first")
    yard.ended("second")
    yard.days_pass(40)
    yard.ended("third")
    yard.rule(DELETE, keep_newest=2)
    assert ids(yard.apply().gone) == ["first"]


def test_what_must_not_go_is_kept_and_it_is_said_why(yard: Yard) -> None:
    for run_id in ("plain", "tagged", "above-tagged", "modelled", "above-model", "given", "logged"):
        yard.ended(run_id)
    yard.going_on("going-on")
    yard.runs.change("tagged", RunChanges(tags={"keep": ""}))
    yard.ended("below-tagged", parent="above-tagged", tags={"keep": "for the paper"})
    yard.ended("below-model", parent="above-model")
    for run_id in ("modelled", "below-model"):
        with yard.database.write() as connection:
            models.add(connection, ModelRecord("", "net", 0, 1.0, "outputs", [], run_id=run_id))
    yard.ended("net-run", parent="logged", type=LOGGED_MODEL, display_name="net")
    spec = RunSpec("digits", "ab" * 32, id="user-of-it", data_references=[DataReferenceSpec("d", "", run="given")])
    yard.runs.submit(spec, "user")
    yard.days_pass(31)
    yard.rule(DELETE)
    said = yard.apply()
    assert ids(said.gone) == ["plain"]
    assert why(said) == {
        "tagged": "it has the tag keep",
        "above-tagged": "below-tagged, below it, has the tag keep",
        "modelled": "the model net:1 was registered from it",
        "above-model": "the model net:2 was registered from below-model, below it",
        "given": "user-of-it, which has not ended, was given its files",
        "logged": "it logged the model net with MLflow",
        "going-on": "it has not ended (Running)",
        "user-of-it": "it has not ended (Starting)",
    }


def test_the_runs_below_a_deleted_one_go_with_it_and_count(yard: Yard) -> None:
    yard.ended("top")
    yard.ended("below", parent="top")
    yard.put("top", b"12")
    yard.put("below", b"345")
    yard.days_pass(31)
    yard.rule(DELETE)
    (verdict,) = yard.dry().gone
    assert (verdict.run_id, verdict.below, verdict.size_bytes) == ("top", ["below"], 5)
    yard.apply()
    assert yard.listed() == []


def test_an_archiving_rule_hides_runs_once_and_what_is_hidden_can_be_deleted_later(yard: Yard) -> None:
    yard.ended("first")
    yard.days_pass(31)
    yard.rule(ARCHIVE)
    assert ids(yard.apply().gone) == ["first"]
    assert (yard.listed("active"), yard.listed("archived")) == ([], ["first"])
    assert yard.dry().gone == [] and yard.dry().kept == []
    yard.rule(DELETE, "older", older=60.0)
    yard.days_pass(30)
    assert [(each.run_id, each.rule) for each in yard.apply().gone] == [("first", "older")]


def test_a_rule_on_files_leaves_the_run_and_its_logged_models(yard: Yard) -> None:
    yard.ended("top", tags={"kind": "a"})
    yard.ended("below", parent="top")
    yard.ended("model", parent="top", type=LOGGED_MODEL)
    yard.ended("empty")
    for run_id in ("top", "below", "model"):
        yard.put(run_id, run_id.encode())
    yard.days_pass(31)
    yard.rule(FILES)
    said = yard.apply()
    assert ids(said.gone) == ["top"] and said.freed_bytes == len("top") + len("below")
    assert (yard.files("top"), yard.files("below"), yard.files("model")) == ([], [], ["outputs/a"])
    assert yard.runs.get("top").files_removed_at == yard.clock.now() and yard.runs.get("top").tags == {"kind": "a"}
    assert yard.runs.get("model").files_removed_at is None
    assert yard.dry().gone == []


def test_what_several_rules_take_goes_by_the_strongest_of_them(yard: Yard) -> None:
    yard.ended("first")
    yard.put("first", b"1")
    yard.days_pass(31)
    for action in (ARCHIVE, FILES, DELETE):
        yard.rule(action, f"to-{action}")
    assert [(each.run_id, each.rule) for each in yard.dry().gone] == [("first", "to-delete")]
    assert len(yard.apply().gone) == 1 and yard.listed() == []


def test_contents_that_something_else_has_are_not_counted_as_freed(yard: Yard) -> None:
    for run_id in ("first", "second"):
        yard.ended(run_id)
        yard.put(run_id, b"shared")
    yard.put("first", b"own", "outputs/b")
    yard.days_pass(31)
    yard.rule(DELETE, where="id = first")
    said = yard.dry()
    assert (said.gone[0].size_bytes, said.freed_bytes) == (len(b"shared") + len(b"own"), len(b"own"))


def test_what_is_tagged_between_the_decision_and_the_deed_is_kept(yard: Yard) -> None:
    for run_id in ("first", "second", "third", "fourth"):
        yard.ended(run_id, tags={"draft": "yes"})
    for run_id, content in (("first", b"of first"), ("second", b"of second"), ("third", b"of third")):
        yard.put(run_id, b"of all", "outputs/b")
        yard.put(run_id, content)
    yard.days_pass(31)
    yard.rule(DELETE, where='tags.draft = "yes"')
    plan = yard.retention._plan(None, yard.clock.now())
    assert plan.freed_bytes == len(b"of all" + b"of first" + b"of second" + b"of third")
    yard.runs.change("second", RunChanges(tags={"keep": ""}))
    yard.runs.change("third", RunChanges(remove_tags=["draft"]))
    yard.deletion.delete("fourth", "bob")
    done = yard.retention._carry_out(plan, "ann", lambda: False)
    assert ids(done.gone) == ["first"]
    assert [(each.run_id, each.reason) for each in done.kept] == [
        ("second", "it has the tag keep"),
        ("third", "the filter of old does not hold for it any more"),
    ]
    assert done.freed_bytes == len(b"of first")
    assert yard.listed() == ["second", "third"]


def test_a_rule_needs_an_age_or_a_number_a_name_of_its_own_and_a_filter_that_is_understood(yard: Yard) -> None:
    with pytest.raises(RetentionException, match="--older-than"):
        yard.rule(DELETE, older=None, where="status = Failed")
    with pytest.raises(RetentionException, match="0 or more, not -1"):
        yard.rule(DELETE, older=-1.0)
    with pytest.raises(RetentionException, match="0 to 1,000,000,000, not -2"):
        yard.rule(DELETE, keep_newest=-2)
    with pytest.raises(RetentionException, match="no name of a retention rule"):
        yard.rule(DELETE, "a rule")
    with pytest.raises(UserErrorException, match="statis"):
        yard.rule(DELETE, where="statis = Failed")
    yard.rule(DELETE)
    with pytest.raises(RetentionException, match="already"):
        yard.rule(ARCHIVE)
    assert [rule.name for rule in yard.retention.list()] == ["old"]


def test_an_unknown_rule_is_told_and_nothing_is_applied(yard: Yard) -> None:
    yard.ended("first")
    yard.days_pass(31)
    yard.rule(DELETE)
    with pytest.raises(UnknownRetentionRuleError, match="There are: old"):
        yard.retention.look(["old", "odl"])
    with pytest.raises(UnknownRetentionRuleError, match="There are: old"):
        yard.retention.apply(["old", "odl"], yard.dry().plan, "ann")
    with pytest.raises(UnknownRetentionRuleError):
        yard.retention.remove("odl")
    yard.retention.remove("old")
    assert yard.listed() == ["first"] and yard.retention.list() == []


def test_more_than_one_application_takes_are_left_for_the_next(yard: Yard) -> None:
    yard.take_at_once(2)
    for number in range(5):
        yard.ended(f"run{number}")
    yard.days_pass(31)
    yard.rule(DELETE)
    assert (ids(yard.dry().gone), yard.dry().more) == (["run0", "run1"], 3)
    assert ids(yard.apply().gone) == ["run0", "run1"]
    assert ids(yard.apply().gone) == ["run2", "run3"]


@pytest.mark.parametrize("seed", range(8))
def test_an_application_does_exactly_what_its_dry_run_said(yard: Yard, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(30):
        parent = chance.choice([None, None, *(run for run in yard.listed() if chance.random() < 0.2)])
        kind = LOGGED_MODEL if parent and chance.random() < 0.3 else "azureml.interactive"
        tags = {"keep": ""} if chance.random() < 0.1 else {"kind": chance.choice("ab")}
        run_id = yard.going_on(f"run{number}", chance.choice(["x", "y"]), kind, parent=parent, tags=tags)
        for path in range(chance.randrange(3)):
            yard.put(run_id, bytes([chance.randrange(5)]) * 10, f"outputs/{path}")
        if chance.random() < 0.85:
            yard.runs.complete(run_id, "user")
        if chance.random() < 0.1:
            with yard.database.write() as connection:
                models.add(connection, ModelRecord("", "net", 0, 1.0, "outputs", [], run_id=run_id))
        yard.days_pass(chance.random() * 3)
    for place in range(chance.randrange(1, 4)):
        action, where = chance.choice(list(RetentionAction)), chance.choice(["", "tags.kind = a", "experiment = x"])
        older, newest = chance.choice([(10.0, None), (None, 4), (20.0, 2), (0.0, None)])
        yard.rule(action, f"rule{place}", older, keep_newest=newest, where=where)
    before = yard.whole()
    said = yard.dry()
    assert yard.whole() == before
    done = yard.apply()
    assert replace(done, dry_run=True, plan=said.plan) == said
    after, expected = yard.whole(), dict(before)
    for each in said.gone:
        for run_id in (each.run_id, *each.below):
            archived, paths = before[run_id]
            if each.action is DELETE:
                del expected[run_id]
            elif each.action is FILES and yard.runs.get(run_id).type != LOGGED_MODEL:
                expected[run_id] = (archived, [])
            elif each.action is ARCHIVE and run_id == each.run_id:
                expected[run_id] = (True, paths)
    assert after == expected


# By the server itself


@pytest.fixture
def daily(yard: Yard, tmp_path: Path) -> Daily:
    store = FolderStore(tmp_path / "objects")
    cleaning = CleaningService(yard.database, yard.clock, store, lambda: None)
    return Daily(yard.retention, cleaning, UploadService(store, yard.clock))


def test_only_a_rule_that_says_so_is_applied_by_the_server_and_first_a_day_after_it_was_added(
    yard: Yard, daily: Daily
) -> None:
    for run_id in ("first", "second"):
        yard.ended(run_id)
    yard.days_pass(31)
    yard.rule(DELETE, "by-hand", where="id = first")
    yard.rule(DELETE, "by-itself", where="id = second", daily=True)
    daily.do_what_is_due()
    assert yard.listed() == ["first", "second"]
    yard.days_pass(1)
    daily.do_what_is_due()
    assert yard.listed() == ["first"]
    assert yard.deletion.list(1)[0].deleted_by == "server"
    assert yard.retention.due() == []
    yard.days_pass(1)
    assert yard.retention.due() == ["by-itself"]


def test_a_daily_application_takes_all_there_is_and_frees_the_disk(yard: Yard, tmp_path: Path) -> None:
    yard.take_at_once(2)
    store = FolderStore(tmp_path / "objects")
    cleaning = CleaningService(yard.database, yard.clock, store, lambda: None)
    daily = Daily(yard.retention, cleaning, UploadService(store, yard.clock))
    for number in range(5):
        yard.ended(f"run{number}")
    content = tmp_path / "content"
    content.write_bytes(b"weights")
    digest, _ = store.add_file(content)
    os.utime(store.path(digest), (time.time() - 2 * GRACE_S,) * 2)  # it came two days ago
    yard.put("run3", b"weights")
    yard.days_pass(31)
    yard.rule(DELETE, daily=True)
    yard.days_pass(1)
    daily.do_what_is_due()
    assert yard.listed() == [] and store.missing([digest]) == [digest]


@pytest.mark.parametrize("is_restarted", [True, False])
def test_a_clean_up_is_owed_after_a_restart_and_where_an_application_failed_halfway(
    yard: Yard, tmp_path: Path, is_restarted: bool
) -> None:
    store = FolderStore(tmp_path / "objects")
    cleaning = CleaningService(yard.database, yard.clock, store, lambda: None)
    content = tmp_path / "content"
    content.write_bytes(b"weights")
    digest, _ = store.add_file(content)
    place = store.path(digest)
    os.utime(place, (time.time() - 2 * GRACE_S,) * 2)
    for run_id in ("first", "second"):
        yard.ended(run_id)
    yard.put("first", b"weights")
    yard.days_pass(31)
    yard.rule(FILES, daily=True)
    yard.days_pass(1)
    if is_restarted:  # between the application and the clean-up
        yard.retention.apply_now(["old"], "server", lambda: False)
    full = [not is_restarted]

    def clear(run_id: str) -> None:
        if full.pop():
            raise OSError("the disk does not answer")

    retention = RetentionService(yard.database, yard.clock, yard.hub, yard.deletion, yard.given, clear)
    daily = Daily(retention, cleaning, UploadService(store, yard.clock))
    if not is_restarted:
        with pytest.raises(OSError, match="does not answer"):
            daily.do_what_is_due()
        assert yard.files("first") == [] and place.exists()
    daily.do_what_is_due()
    assert not place.exists()


def test_an_application_that_the_servers_end_cut_off_is_due_still(yard: Yard, daily: Daily) -> None:
    yard.ended("first")
    yard.days_pass(31)
    yard.rule(DELETE, daily=True)
    yard.days_pass(1)
    said = yard.retention.apply_now(["old"], "server", lambda: True)
    assert (said.gone, yard.listed()) == ([], ["first"])
    assert yard.retention.due() == ["old"]


def test_the_servers_end_comes_between_two_runs(yard: Yard) -> None:
    for number in range(3):
        yard.ended(f"run{number}")
    yard.days_pass(31)
    yard.rule(DELETE, daily=True)
    yard.days_pass(1)
    said = yard.retention.apply_now(["old"], "server", lambda: len(yard.listed()) < 3)
    assert (ids(said.gone), said.more, yard.listed()) == (["run0"], 2, ["run1", "run2"])
    assert yard.retention.due() == ["old"]


def test_a_clean_up_ends_between_two_objects(yard: Yard, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "objects")
    places = []
    for number in range(3):
        content = tmp_path / "content"
        content.write_bytes(b"%d" % number)
        places.append(store.path(store.add_file(content)[0]))
        os.utime(places[-1], (time.time() - 2 * GRACE_S,) * 2)
    cleaning = CleaningService(yard.database, yard.clock, store, lambda: None)
    stopped = lambda: not all(place.exists() for place in places)  # noqa: E731
    assert cleaning.clean(GRACE_S, False, stopped).objects == 1
    assert [place.exists() for place in places].count(False) == 1


# Asked for twice


def test_an_application_that_is_sent_again_takes_no_further_runs(yard: Yard) -> None:
    yard.take_at_once(2)
    for number in range(5):
        yard.ended(f"run{number}")
    yard.days_pass(31)
    yard.rule(DELETE)
    plan = yard.dry().plan
    first = yard.retention.apply(None, plan, "ann")
    assert yard.retention.apply(None, plan, "ann") == first and ids(first.gone) == ["run0", "run1"]
    yard.take_at_once(2)  # a server that was started between knows of no application
    with pytest.raises(PlanChangedError, match="by this very plan"):
        yard.retention.apply(None, plan, "ann")
    assert yard.listed() == ["run2", "run3", "run4"]


def test_whoever_asks_for_a_plan_that_is_under_way_gets_its_outcome(yard: Yard) -> None:
    yard.ended("first")
    yard.ended("second")
    yard.days_pass(31)
    yard.rule(DELETE)
    plan = yard.dry().plan
    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(lambda _: yard.retention.apply(None, plan, "ann"), range(8)))
    assert [ids(each.gone) for each in said] == [["first", "second"]] * 8
    assert len(yard.deletion.list(10)) == 2


def test_a_plan_takes_what_was_shown_though_more_has_come_of_age(yard: Yard) -> None:
    yard.ended("old")
    yard.days_pass(30)
    yard.ended("young")
    yard.days_pass(1)
    yard.rule(DELETE)
    plan = yard.dry().plan
    yard.days_pass(0.9)
    yard.ended("new")
    yard.days_pass(0.05)
    assert ids(yard.retention.apply(None, plan, "ann").gone) == ["old"]


def test_a_plan_is_of_its_moment_though_runs_have_ended_since(yard: Yard) -> None:
    yard.ended("old")
    yard.ended("above")
    yard.going_on("long")
    yard.going_on("below", parent="above")
    yard.ended("newest")
    yard.rule(DELETE, older=None, keep_newest=1)
    plan = yard.dry().plan
    yard.clock.advance(60)
    yard.runs.complete("long", "user")
    yard.runs.complete("below", "user")
    yard.ended("newer")
    done = yard.retention.apply(None, plan, "ann")
    assert ids(done.gone) == ["old"]
    assert why(done)["long"] == "it has ended only after the plan was made"
    assert why(done)["above"] == "below, below it, has ended only after the plan was made"
    assert ids(yard.dry().gone) == ["above", "newest", "long"]


def test_whoever_waits_for_a_plan_for_long_is_told_to_ask_again(yard: Yard) -> None:
    retention = RetentionService(
        yard.database, yard.clock, yard.hub, yard.deletion, yard.given, lambda run_id: None, wait_s=0.01
    )
    with retention._turn_of("a plan"):
        with pytest.raises(LimitReachedError, match="under way already. Ask for it again") as refused:
            retention.apply(None, "a plan", "ann")
        assert refused.value.details == {"retry_after_s": 5}
        with pytest.raises(RetentionException, match="applied already"):
            retention.apply(None, "another plan", "ann")


def test_a_plan_of_other_runs_of_another_rule_or_of_another_day_does_nothing(yard: Yard) -> None:
    yard.ended("first")
    yard.ended("second")
    yard.days_pass(31)
    yard.rule(DELETE)
    plan = yard.dry().plan
    yard.runs.change("second", RunChanges(tags={"keep": ""}))
    with pytest.raises(PlanChangedError, match="other runs would go"):
        yard.retention.apply(None, plan, "ann")
    plan = yard.dry().plan
    yard.rule(ARCHIVE, "other", where="id = third")
    with pytest.raises(PlanChangedError, match="or the plan is of other rules"):
        yard.retention.apply(None, plan, "ann")
    yard.retention.remove("other")
    yard.retention.remove("old")
    yard.clock.advance(1)
    yard.rule(DELETE, older=0.0)
    with pytest.raises(PlanChangedError):
        yard.retention.apply(None, plan, "ann")
    plan = yard.dry().plan
    yard.days_pass(1.1)
    tomorrow = f"{yard.clock.now() + 1000.0!r}-{plan.rpartition('-')[2]}"
    for wrong in (plan, tomorrow, "", "nan-1", "inf-1", "a plan"):
        with pytest.raises(PlanChangedError, match="the last 24 hours"):
            yard.retention.apply(None, wrong, "ann")
    assert yard.listed() == ["first", "second"]


def test_a_preview_is_made_once_for_all_who_look_and_anew_once_something_went(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        yard.ended(f"run{number}")
    yard.days_pass(31)
    yard.rule(ARCHIVE)

    class SlowClock(FakeClock):
        def now(self) -> float:
            self.advance(1)  # each look at it: a plan takes a second at least
            return super().now()

    slow = SlowClock()
    slow.advance(yard.clock.now() - slow.now())
    yard.retention._clock = slow
    first = yard.retention.preview("old")
    assert (first.gone_count, ids(first.gone), first.more) == (3, ["run0", "run1", "run2"], 0)
    yard.runs.change("run0", RunChanges(tags={"keep": ""}))
    assert yard.retention.preview("old") is first
    with pytest.raises(PlanChangedError):
        yard.retention.apply(["old"], first.plan, "ann")
    second = yard.retention.preview("old")
    assert (second.gone_count, second.kept_count) == (2, 1)
    yard.retention.apply(["old"], second.plan, "ann")
    assert yard.retention.preview("old").gone_count == 0
    slow.advance(100)
    yard.runs.change("run0", RunChanges(remove_tags=["keep"]))
    assert yard.retention.preview("old").gone_count == 1


def test_each_spec_of_an_unfinished_run_is_read_once_however_many_runs_go(yard: Yard) -> None:
    for number in range(5):
        yard.ended(f"run{number}")
    yard.ended("given")
    spec = RunSpec("digits", "ab" * 32, id="user-of-it", data_references=[DataReferenceSpec("d", "", run="given")])
    yard.runs.submit(spec, "user")
    yard.days_pass(31)
    yard.rule(DELETE)
    read = 0

    def count(connection: object, cursor: object, statement: str, *rest: object) -> None:
        nonlocal read
        read += "runs.spec" in statement and "user-of-it" in str(rest[0])

    event.listen(yard.database.engine, "before_cursor_execute", count)
    assert len(yard.apply().gone) == 5
    assert read == 1 and yard.listed() == ["given", "user-of-it"]
    late = RunSpec("digits", "ab" * 32, id="late", data_references=[DataReferenceSpec("d", "", run="run9")])
    yard.ended("run9")
    yard.runs.submit(late, "user")
    with pytest.raises(RunException, match="late is Starting and was given files of run9"):
        yard.deletion.delete("run9", "ann")
