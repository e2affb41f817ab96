"""What a package index may do to an environment: real ``uv`` against an index that misbehaves when told to."""

import hashlib
import re

import pytest

from runyard.errors import EnvironmentException
from runyard_server.environments.provision import Environments


def silent(_):
    pass


@pytest.fixture
def impatient(monkeypatch):
    """One retry instead of several, where not the patience is in question."""
    monkeypatch.setenv("UV_HTTP_RETRIES", "1")


@pytest.fixture
def lock(environments, of_index):
    return environments.resolve(of_index("alpha"), silent)


@pytest.fixture
def another_day(monkeypatch, tmp_path):
    """Nothing is cached any more."""

    def forget(name="another-cache"):
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / name))
        return Environments(tmp_path / f"environments-{name}")

    return forget


def files_of(ready):
    """Each file of an environment, its bytecode apart: its bytes, or where a link leads."""
    return {
        str(path.relative_to(ready.directory)): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in sorted(ready.directory.rglob("*"))
        if path.is_symlink() or (path.is_file() and path.suffix != ".pyc")
    }


def test_a_lock_is_built_into_the_same_files_on_two_days(environments, index, of_index, root, another_day):
    index.publish("beta", "1.0", ["alpha"])
    lock = environments.resolve(of_index("beta"), silent)
    first = files_of(environments.ensure(lock, silent))
    root.rename(root.with_name("the-first-day"))
    another_day("second-day")
    index.publish("alpha", "2.0")
    index.publish("beta", "1.1", ["alpha>=2"])
    second = files_of(Environments(root).ensure(lock, silent))
    assert first.keys() == second.keys() and len(first) > 10
    assert [path for path in first if first[path] != second[path]] == []
    assert environments.resolve(of_index("beta"), silent).key != lock.key, "what is new is there for new locks"


def test_resolving_on_two_days_gives_one_key_while_the_index_says_the_same(environments, index, of_index, another_day):
    first = environments.resolve(of_index("alpha<2"), silent)
    index.publish("alpha", "2.0")
    second = another_day().resolve(of_index("alpha<2"), silent)
    assert second.key == first.key and second.requirements == first.requirements


def test_a_replaced_file_is_refused_with_both_digests(lock, index, another_day):
    replaced = index.publish("alpha", "1.0", content="print('other bytes')\n")
    digest = hashlib.sha256(replaced.read_bytes()).hexdigest()
    (locked,) = re.findall("sha256:([0-9a-f]{64})", lock.requirements)
    with pytest.raises(EnvironmentException, match="other bytes for alpha==1.0") as failed:
        another_day().ensure(lock, silent)
    assert f"expected sha256:{locked}, got sha256:{digest}" in str(failed.value)
    assert another_day().is_ready(lock.key) is None


def test_a_replaced_file_is_noticed_though_the_index_names_the_old_digest(lock, index, another_day):
    page = index.answer("/simple/alpha/")
    index.publish("alpha", "1.0", content="print('other bytes')\n")
    index.keep("/simple/alpha/", page)
    with pytest.raises(EnvironmentException, match="other bytes for alpha==1.0"):
        another_day().ensure(lock, silent)


def test_a_file_that_comes_damaged_is_named_and_not_installed(lock, index, another_day):
    wheel = index.publish("alpha", "1.0")
    index.keep(f"/files/{wheel.name}", (200, "application/octet-stream", wheel.read_bytes()[:-30]))
    with pytest.raises(EnvironmentException, match="a damaged file for alpha==1.0; nothing of it was installed"):
        another_day().ensure(lock, silent)
    assert another_day().is_ready(lock.key) is None


def test_a_yanked_version_is_still_built_from_its_lock_and_the_log_says_so(lock, index, another_day):
    index.yank(index.publish("alpha", "1.0"), "it deletes files")
    lines = []
    assert another_day().ensure(lock, lines.append).key == lock.key
    assert 'warning: `alpha==1.0` is yanked (reason: "it deletes files")' in lines


def test_a_yanked_version_is_not_chosen_for_a_new_lock(environments, index, of_index):
    index.publish("alpha", "1.1")
    index.yank(index.publish("alpha", "1.2"), "it deletes files")
    assert environments.resolve(of_index("alpha"), silent).requirements.startswith("alpha==1.1")


def test_a_yanked_version_that_alone_fits_is_refused_with_the_reason(environments, index, of_index):
    index.yank(index.publish("alpha", "2.0"), "it deletes files")
    with pytest.raises(
        EnvironmentException, match=r"alpha==2\.0 was yanked by its makers \(it deletes files\).*exactly"
    ):
        environments.resolve(of_index("alpha>1"), silent)
    lines = []
    assert environments.resolve(of_index("alpha==2.0"), lines.append).requirements.startswith("alpha==2.0")
    assert any("is yanked" in line for line in lines)


def test_a_version_that_the_index_lost_is_named_with_the_cure(lock, index, another_day):
    index.withdraw(index.publish("alpha", "1.0"))
    index.publish("alpha", "2.0")
    with pytest.raises(EnvironmentException, match="names alpha==1.0, which the package index does not have any more"):
        another_day().ensure(lock, silent)


def test_a_package_that_the_index_lost_is_named_with_the_cure(lock, index, another_day):
    index.withdraw(index.publish("alpha", "1.0"))
    with pytest.raises(EnvironmentException, match="names alpha==1.0, which the package index does not have any more"):
        another_day().ensure(lock, silent)


def test_a_file_that_is_gone_though_the_index_lists_it_is_no_fault_of_the_network(lock, index, another_day):
    index.refuse(404, 100, "alpha-1.0")
    with pytest.raises(EnvironmentException, match="alpha==1.0 is no longer where .*answers 404 Not Found") as failed:
        another_day().ensure(lock, silent)
    assert index.url.replace("simple/", "files/") in str(failed.value)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("part", ["/simple/", "/files/"])
def test_an_index_that_wants_credentials_is_named_with_the_cure(lock, index, another_day, of_index, status, part):
    index.refuse(status, 100, part)
    with pytest.raises(EnvironmentException, match=rf"{index.url[:-8]}.*refuses this server \({status}.*user:token@"):
        another_day().ensure(lock, silent)
    with pytest.raises(EnvironmentException, match=rf"{index.url[:-8]}.*refuses this server \({status}.*user:token@"):
        another_day("resolving").resolve(of_index("alpha"), silent)


def test_an_index_that_is_down_is_named_and_asked_again(lock, index, another_day, of_index, impatient):
    index.stop()
    with pytest.raises(EnvironmentException, match=rf"index at {index.url}alpha/ cannot be reached \(.*refused.*\)"):
        another_day().ensure(lock, silent)
    lines = []
    with pytest.raises(EnvironmentException, match=rf"index at {index.url}alpha/ cannot be reached \(.*refused.*\)"):
        another_day("resolving").resolve(of_index("alpha"), lines.append)
    assert any("Request failed after 1 retry" in line for line in lines)
    assert "Not all is cached; asking the package registry again, with more patience" in lines


def test_an_index_that_cannot_answer_for_a_while_is_asked_until_it_can(lock, index, another_day, of_index):
    asked = len(index.asked)
    index.refuse(503, 2)
    assert another_day().ensure(lock, silent).key == lock.key
    assert index.asked[asked:].count("/simple/alpha/") == 3
    index.refuse(503, 1)
    assert another_day("resolving").resolve(of_index("alpha"), silent).key == lock.key


def test_an_index_that_comes_back_after_uv_has_given_up_is_asked_with_patience(index, another_day, of_index, impatient):
    index.refuse(503, 2)  # as many as uv asks before it gives up
    lines = []
    assert "alpha==1.0" in another_day().resolve(of_index("alpha"), lines.append).requirements
    assert "Not all is cached; asking the package registry again, with more patience" in lines


def test_with_everything_cached_no_index_is_asked(lock, environments, index, of_index, tmp_path, impatient):
    environments.ensure(lock, silent)
    index.stop()
    elsewhere = Environments(tmp_path / "elsewhere")
    assert elsewhere.ensure(lock, silent).key == lock.key
    assert elsewhere.resolve(of_index("alpha"), silent).key == lock.key


def test_a_build_asks_no_index_for_what_is_cached(lock, environments, index, tmp_path):
    environments.ensure(lock, silent)
    asked = len(index.asked)
    Environments(tmp_path / "elsewhere").ensure(lock, silent)
    assert index.asked[asked:] == []
