import os
import subprocess

import pytest

from runyard.protocol.environments import EnvironmentSpec

DAY_S = 86400.0


def silent(_):
    pass


@pytest.fixture
def built(environments, packages):
    return environments.ensure(environments.resolve(packages("alpha"), silent), silent)


def used(built, seconds_ago, root):
    """Sets the last use back."""
    path = root / built.key / "used"
    now = path.stat().st_mtime
    os.utime(path, (now - seconds_ago, now - seconds_ago))


def test_a_built_environment_is_listed_with_what_is_in_it(environments, built, root):
    (entry,) = environments.cache.entries()
    assert (entry.key, entry.ready, entry.requirements) == (built.key, True, ["alpha==2.0"])
    assert entry.size_bytes > 0 and entry.file_count > 0 and entry.python_version.startswith("3.")
    assert entry.directory == str(root / built.key)


def test_one_is_found_by_the_beginning_of_its_key(environments, built):
    assert environments.cache.show(built.key[:8]).key == built.key
    assert environments.cache.show("") is None
    assert environments.cache.show("zzz") is None


def test_a_key_that_several_begin_with_is_no_one(environments, built):
    other = environments.resolve(EnvironmentSpec(), silent)
    environments.ensure(other, silent)
    assert environments.cache.show("") is None
    assert {entry.key for entry in environments.cache.entries()} == {built.key, other.key}


def test_prune_removes_what_was_long_unused(environments, built, root):
    used(built, 8 * DAY_S, root)
    pruned = environments.cache.prune(7 * DAY_S, [], False, silent)
    assert [entry.key for entry in pruned.removed] == [built.key]
    assert pruned.freed_bytes > 0
    assert environments.cache.entries() == [] and not (root / built.key).exists()


def test_a_dry_run_removes_nothing(environments, built, root):
    used(built, 8 * DAY_S, root)
    pruned = environments.cache.prune(7 * DAY_S, [], True, silent)
    assert [entry.key for entry in pruned.removed] == [built.key] and pruned.dry_run
    assert environments.is_ready(built.key) == built


@pytest.mark.parametrize(
    ("seconds_ago", "says"), [(0, "it was used just now"), (2 * DAY_S, "it was used 2.0 days ago")]
)
def test_prune_keeps_what_was_used_lately(environments, built, root, seconds_ago, says):
    used(built, seconds_ago, root)
    assert environments.cache.prune(7 * DAY_S, [], False, silent).kept == {built.key: says}


def test_even_a_prune_of_everything_keeps_what_was_used_just_now(environments, built):
    assert environments.cache.prune(0.0, [], False, silent).kept == {built.key: "it was used just now"}


def test_prune_keeps_what_a_waiting_run_needs(environments, built, root):
    used(built, 8 * DAY_S, root)
    kept = environments.cache.prune(0.0, {built.key}, False, silent).kept
    assert kept == {built.key: "a run that has not ended needs it"}


def test_prune_keeps_what_a_process_runs_in(environments, built, root):
    used(built, 8 * DAY_S, root)
    process = subprocess.Popen(
        [built.python, "-c", "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None and process.stdout.readline()
        assert environments.cache.show(built.key).in_use
        assert environments.cache.prune(0.0, [], False, silent).kept == {built.key: "a process runs in it"}
    finally:
        process.communicate(b"\n")


def test_a_use_sets_the_time_of_the_last_use(environments, built, root):
    used(built, 8 * DAY_S, root)
    environments.is_ready(built.key)
    assert environments.cache.prune(7 * DAY_S, [], False, silent).removed == []


def test_what_a_killed_build_left_behind_is_removed_once_it_is_old(environments, built, root):
    (root / built.key / "ready.json").unlink()
    (entry,) = environments.cache.entries()
    assert not entry.ready
    assert environments.cache.prune(0.0, [], False, silent).kept == {built.key: "it may be under construction"}
    used(built, 3600, root)
    assert [each.key for each in environments.cache.prune(7 * DAY_S, [], False, silent).removed] == [built.key]


def test_a_pruned_environment_is_built_again_from_its_lock(environments, packages, root):
    lock = environments.resolve(packages("alpha"), silent)
    built = environments.ensure(lock, silent)
    used(built, 8 * DAY_S, root)
    environments.cache.prune(0.0, [], False, silent)
    assert environments.ensure(lock, silent).key == built.key
