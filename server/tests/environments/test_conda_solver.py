"""Conda packages from a real channel, with the real solver, beside real wheels."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from runyard.errors import EnvironmentException, StorageFullError
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.environments import EnvironmentLock, EnvironmentSpec
from runyard_server.environments.requirements import Wanted
from runyard_server.environments.resolve import lock_of
from runyard_server.services.environments import spec_digest
from runyard_server.testing.conda_channel import CondaChannel, ServedChannel

OWN = "{}.{}.{}".format(*sys.version_info)
OWN_MINOR = "{}.{}".format(*sys.version_info)

ENSURE = """
import json, sys
from pathlib import Path
from runyard.protocol.codec import from_json
from runyard.protocol.environments import EnvironmentLock
from runyard_server.environments.provision import Environments
Environments(Path(sys.argv[1])).ensure(from_json(EnvironmentLock, json.loads(sys.argv[2])), print)
"""


def silent(_):
    pass


def pins(lock):
    return [f"{each.name}={each.version}" for each in lock.conda]


def said(ready, *command):
    """What a program of the environment prints."""
    program = ready.directory / "bin" / command[0]
    return subprocess.run([program, *command[1:]], capture_output=True, text=True, check=True).stdout


def tree(ready):
    """Each file of an environment with its bytes; what the interpreter makes of its modules is no part of it."""
    return {
        str(path.relative_to(ready.directory)): path.read_bytes()
        for path in sorted(ready.directory.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.suffix != ".pyc"
    }


# which packages come from where


def test_what_only_conda_has_comes_from_its_channel_into_the_same_prefix_as_pips_packages(
    with_conda, channel, packages
):
    environments = with_conda(channel.url)
    lines = []
    lock = environments.resolve(packages("alpha==1.0", conda_packages=["tool"]), lines.append)
    assert pins(lock) == ["libtool=1.0", "tool=1.0"]
    assert lock.requirements.startswith("alpha==1.0 ")
    assert lock.python_version == OWN_MINOR, "no Python was asked of conda"
    assert "pip's registry has no 'tool'. Asking conda channels for it" in lines
    assert f"Solving tool with conda channels {channel.url}" in lines
    ready = environments.ensure(lock, lines.append)
    assert " + tool=1.0=0 (conda)" in lines and " + alpha==1.0" in lines
    assert said(ready, "tool") == f"tool 1.0 of {ready.directory}\none\n"
    assert said(ready, "python", "-c", "import alpha; print(alpha.version)") == "1.0\n"
    assert environments.is_ready(lock.key) == ready


def test_a_package_that_pip_has_is_taken_from_there_and_no_channel_is_asked(with_conda, packages, tmp_path):
    environments = with_conda((tmp_path / "no-such-channel").as_uri())
    lock = environments.resolve(packages(conda_packages=["alpha=1"]), silent)
    assert (lock.conda, lock.requirements.split()[0]) == ([], "alpha==1.0")


def test_a_version_that_pip_lacks_is_asked_of_conda(with_conda, channel, packages):
    channel.publish("alpha", "3.0", files={"share/alpha": "three"})
    lock = with_conda(channel.url).resolve(packages(conda_packages=["alpha=3"]), silent)
    assert pins(lock) == ["alpha=3.0"] and lock.requirements == ""


def test_a_package_of_a_named_channel_comes_from_it_though_pip_has_it(with_conda, channel, packages):
    channel.publish("alpha", "1.0", files={"share/alpha": "one"})
    lock = with_conda("nowhere").resolve(
        packages(conda_packages=[f"{channel.url}::alpha"], conda_channels=[channel.url]), silent
    )
    assert pins(lock) == ["alpha=1.0"] and lock.conda[0].channel == channel.url


def test_condas_packages_are_taken_as_of_the_day_that_was_asked_for_too(with_conda, channel, packages):
    environments = with_conda(channel.url)  # whose packages are of November 2023
    spec = packages(conda_packages=["tool"], python_version=OWN_MINOR)
    assert pins(environments.resolve(replace(spec, packages_as_of="2023-12-01"), silent)) == ["libtool=1.0", "tool=1.0"]
    with pytest.raises(EnvironmentException, match="as of 2023-11-01, as packages_as_of .* Give a later day, or none"):
        environments.resolve(replace(spec, packages_as_of="2023-11-01"), silent)


def test_a_build_is_had_as_it_was_asked_for(with_conda, channel, packages):
    channel.publish("tool", "1.0", build="other_1", files={"bin/other": "x"})
    lock = with_conda(channel.url).resolve(packages(conda_packages=["tool=1.0=other_1"]), silent)
    assert [(each.name, each.build) for each in lock.conda] == [("tool", "other_1")]


def test_with_always_python_is_condas_too_and_pips_packages_are_built_on_it(
    with_conda, channel, python_channel, packages
):
    environments = with_conda(channel.url, python_channel.url)
    spec = packages("beta", conda_packages=["tool"], conda_solver="always", python_version=OWN_MINOR)
    lines = []
    lock = environments.resolve(spec, lines.append)
    assert pins(lock) == ["libtool=1.0", f"python={OWN}", "tool=1.0"] and lock.python_version == OWN
    ready = environments.ensure(lock, lines.append)
    assert f"Building environment {lock.key[:12]}: Python {OWN} of conda, 5 packages" in lines
    code = "import sys, os, alpha, beta; print(sys.prefix, os.path.dirname(os.__file__), alpha.version)"
    inside = ready.directory / "lib" / f"python{OWN_MINOR}"
    assert said(ready, "python", "-c", code) == f"{ready.directory} {inside} 1.0\n"
    assert not (ready.directory / "pyvenv.cfg").exists()
    assert environments.is_ready(lock.key) == ready
    (shown,) = environments.cache.entries()
    assert f"python={OWN}=0_cpython" in shown.requirements and "alpha==1.0" in shown.requirements


def test_pips_packages_are_resolved_given_what_conda_installs(with_conda, channel, python_channel, wheels, packages):
    channel.publish_python("alpha", "1.5", entry_points=["say-alpha = alpha:main"])
    channel.publish_python("needs-alpha", "1.0", ["alpha"])
    environments = with_conda(channel.url, python_channel.url)
    lock = environments.resolve(packages("beta", conda_packages=["needs-alpha"]), silent)
    assert f"python={OWN}" in pins(lock) and "alpha=1.5" in pins(lock)
    assert re.findall(r"^\w+==\S+", lock.requirements, re.MULTILINE) == ["beta==1.0"], "alpha is conda's"
    ready = environments.ensure(lock, silent)
    assert said(ready, "python", "-c", "import beta, alpha; print(alpha.version)") == "1.5\n"
    assert said(ready, "say-alpha") == "1.5\n"


def test_pip_and_conda_that_cannot_agree_are_named_with_the_cure(with_conda, channel, python_channel, packages):
    channel.publish_python("alpha", "2.5")
    channel.publish_python("needs-alpha", "1.0", ["alpha >=2.5"])
    with pytest.raises(EnvironmentException, match=r"beta.* depend on alpha<2 .*From conda come alpha 2\.5\. Ask for"):
        with_conda(channel.url, python_channel.url).resolve(packages("beta", conda_packages=["needs-alpha"]), silent)


def test_what_pip_is_asked_for_holds_for_what_comes_along_from_conda(with_conda, channel, python_channel, packages):
    channel.publish_python("alpha", "1.0")
    channel.publish_python("alpha", "2.5")
    channel.publish_python("needs-alpha", "1.0", ["alpha"])
    environments = with_conda(channel.url, python_channel.url)
    for asked in (
        packages("alpha<2", conda_packages=["needs-alpha"]),
        packages(conda_packages=["alpha=1", "needs-alpha"]),
    ):
        lock = environments.resolve(asked, silent)
        assert "alpha=1.0" in pins(lock) and lock.requirements == ""


def test_without_a_solver_the_message_has_the_command_that_installs_it(tmp_path):
    # A process of its own: the package cannot be taken from this one.
    code = (
        "import sys; sys.modules['rattler'] = None\n"
        "from pathlib import Path\n"
        "from runyard.protocol.environments import EnvironmentSpec\n"
        "from runyard_server.environments.provision import Environments\n"
        f"Environments(Path({str(tmp_path)!r})).check(EnvironmentSpec(conda_packages=['ffmpeg']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert f"{sys.executable} -m pip install 'runyard-server[conda]'" in done.stderr
    assert "Only conda has these packages, and the conda solver is not installed on this server" in done.stderr


def test_a_server_that_says_never_refuses_and_says_so(with_conda, packages):
    with pytest.raises(EnvironmentException, match=r"switched off on this server \(RUNYARD_CONDA=never\).*ffmpeg"):
        with_conda(solver="never").check(packages(conda_packages=["ffmpeg"], conda_solver="always"))


# Python


@pytest.fixture
def pythons(channel):
    """Pythons that can be chosen, though not run."""
    for version in ("3.7.16", f"{OWN_MINOR}.0", "3.99.1"):
        channel.publish("python", version)
    channel.publish("on-any", "1.0", ["python"])
    channel.publish("on-new", "1.0", ["python >=3.99"])
    return channel


@pytest.mark.parametrize(
    ("asked", "given"), [("3.7", "3.7.16"), ("3.7.16", "3.7.16"), ("3.6.2", "3.7.16"), ("3.99", "3.99.1")]
)
def test_the_python_that_was_asked_for_is_had_from_conda(with_conda, pythons, asked, given):
    lines = []
    spec = EnvironmentSpec(python_version=asked, conda_packages=["on-any=1.0=0"])
    assert with_conda(pythons.url).resolve(spec, lines.append).python_version == given
    assert any("3.7 is the oldest that runs here" in line for line in lines) == (asked == "3.6.2")


def test_a_python_that_no_channel_has_is_refused_with_those_there_are(with_conda, pythons):
    with pytest.raises(EnvironmentException, match=r"(?s)do not fit together.*python 3\.8\.\* cannot be fulfilled"):
        with_conda(pythons.url).resolve(EnvironmentSpec(python_version="3.8", conda_packages=["on-any=1.0=0"]), silent)


def test_where_no_python_was_asked_for_it_is_the_servers_version_if_that_fits(with_conda, pythons):
    environments = with_conda(pythons.url)
    for package, version in (("on-any", f"{OWN_MINOR}.0"), ("on-new", "3.99.1")):
        lock = environments.resolve(EnvironmentSpec(conda_packages=[f"{package}=1.0=0"]), silent)
        assert lock.python_version == version


# what the solver refuses


def test_packages_that_do_not_fit_together_are_named(with_conda, channel):
    channel.publish("clash", "1.0", ["libtool >=2"])
    with pytest.raises(EnvironmentException, match="(?s)do not fit together.*clash 1.0.*libtool >=2.*tool 1.0"):
        with_conda(channel.url, solver="always").resolve(
            EnvironmentSpec(conda_packages=["tool=1.0=0", "clash=1.0=0"], conda_solver="when-needed"), silent
        )


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("no-such-tool", r"no package 'no-such-tool' for this platform\. Channels asked: file://"),
        ("tool=7", r"no package 'tool' in the version '7\.\*' for this platform"),
        ("tool=1.0=cuda_7", r"no package 'tool' in the version '==1\.0 cuda_7'"),
    ],
)
def test_what_no_channel_has_is_named_with_the_channels_asked(with_conda, channel, packages, spec, says):
    with pytest.raises(EnvironmentException, match=says + ".*Check its spelling"):
        with_conda(channel.url).resolve(packages(conda_packages=[spec]), silent)


def test_a_spec_that_cannot_be_read_is_named(with_conda, channel):
    spec = EnvironmentSpec(conda_packages=["tool=>1"], conda_solver="always")
    with pytest.raises(EnvironmentException, match="The conda package 'tool=>1' cannot be read.*Write a name"):
        with_conda(channel.url).resolve(spec, silent)


def test_what_this_machine_has_is_known_to_the_solver(with_conda, channel, monkeypatch):
    channel.publish("needs-glibc", "1.0", ["__glibc >=2.17", "__linux"])
    channel.publish("needs-cuda", "1.0", ["__cuda >=99"])
    environments = with_conda(channel.url)
    lock = environments.resolve(EnvironmentSpec(conda_packages=["needs-glibc=1.0=0"]), silent)
    assert pins(lock) == ["needs-glibc=1.0"]
    with pytest.raises(EnvironmentException, match="need __cuda as this machine does not have it. It has: .*__glibc="):
        environments.resolve(EnvironmentSpec(conda_packages=["needs-cuda=1.0=0"]), silent)
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "99.1")
    lock = environments.resolve(EnvironmentSpec(conda_packages=["needs-cuda=1.0=0"]), silent)
    assert pins(lock) == ["needs-cuda=1.0"]


def test_a_package_comes_from_the_first_channel_that_has_it(with_conda, channel, tmp_path):
    newer = CondaChannel(tmp_path / "newer")
    newer.publish("tool", "2.0")
    for first, second, version in ((channel, newer, "1.0"), (newer, channel, "2.0")):
        spec = EnvironmentSpec(conda_packages=["tool"], conda_solver="always", conda_channels=[first.url, second.url])
        spec = replace(spec, conda_packages=[f"{first.url}::tool"], conda_solver=None)
        lock = with_conda("nowhere").resolve(spec, silent)
        assert [(each.name, each.version, each.channel) for each in lock.conda if each.name == "tool"] == [
            ("tool", version, first.url)
        ]


# the lock


def test_a_lock_is_built_into_the_same_files_on_two_days(with_conda, channel, packages, root, monkeypatch, tmp_path):
    spec = packages("alpha", conda_packages=["tool"])
    lock = with_conda(channel.url).resolve(spec, silent)
    first = tree(with_conda(channel.url).ensure(lock, silent))
    root.rename(root.with_name("the-first-day"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "second-day"))
    assert with_conda(channel.url).resolve(spec, silent).key == lock.key
    channel.publish("libtool", "1.9", files={"lib/libtool.txt": "newer\n"})
    ready = with_conda(channel.url).ensure(lock, silent)
    second = tree(ready)
    assert first.keys() == second.keys()
    assert [path for path in first if first[path] != second[path]] == []
    assert said(ready, "tool").endswith("\none\n")
    assert with_conda(channel.url).resolve(spec, silent).key != lock.key, "what is new is there for new locks"


def test_a_lock_without_conda_packages_has_the_key_that_it_always_had():
    text = "\n".join(["1", sysconfig.get_platform(), "3.11", "alpha==1.0"])
    lock = lock_of("alpha==1.0", "3.11", Wanted())
    assert lock.key == hashlib.sha256(text.encode()).hexdigest()[:40]
    kept = {name: value for name, value in to_json(lock).items() if name != "conda"}
    assert from_json(EnvironmentLock, kept) == lock, "as an older version kept it"


def test_a_spec_that_leaves_the_solver_to_the_server_keeps_its_lock():
    spec = EnvironmentSpec(pip_packages=["six"])
    later = {"mpi", "notebook", "packages_as_of", "conda_solver"}  # an older version knew no such things
    later |= {"docker_wanted", "docker_shm_size", "docker_arguments"}
    content = {name: value for name, value in to_json(spec).items() if name not in later}
    assert spec_digest(spec) == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    assert spec_digest(spec) != spec_digest(replace(spec, conda_solver="always"))


# what a channel may do


@pytest.fixture
def served_lock(with_conda, served):
    return with_conda(served.url).resolve(EnvironmentSpec(conda_packages=["tool=1.0=0"]), silent)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setenv("RUNYARD_CONDA_RETRIES", "1")


def test_a_channel_that_is_down_is_named_with_the_cure_and_was_asked_again(with_conda, served, impatient):
    served.stop()
    lines = []
    with pytest.raises(
        EnvironmentException, match=rf"channel at {served.url} cannot be reached \(.*refused.*\)"
    ) as down:
        with_conda(served.url).resolve(EnvironmentSpec(conda_packages=["ffmpeg"]), lines.append)
    assert "RUNYARD_CONDA_CHANNELS" in str(down.value) and "add_channel" in str(down.value)
    assert "That is not all that is needed; asking the channel again, with more patience" in lines


def test_a_channel_that_is_down_is_answered_from_what_is_known_of_it(with_conda, served, served_lock):
    served.stop()
    lines = []
    again = with_conda(served.url).resolve(EnvironmentSpec(conda_packages=["tool=1.0=0"]), lines.append)
    assert again == served_lock
    assert "A conda channel cannot be reached; trying with what is known of it on this machine" in lines


def test_a_channel_that_cannot_answer_for_a_while_is_asked_until_it_can(with_conda, served):
    served.refuse(503, 5)
    lock = with_conda(served.url).resolve(EnvironmentSpec(conda_packages=["tool=1.0=0"]), silent)
    served.refuse(503, 2, "tool-1.0")
    lines = []
    assert with_conda(served.url).ensure(lock, lines.append).key == lock.key
    assert sum("did not come" in line and "503" in line for line in lines) == 2
    assert served.asked.count("/channel/linux-64/tool-1.0-0.conda") >= 2


def test_a_channel_that_goes_away_before_the_build_is_named(with_conda, served, served_lock, impatient):
    served.stop()
    with pytest.raises(
        EnvironmentException, match=rf"channel at {served.url}/linux-64/.* cannot be reached \(error sending request\)"
    ):
        with_conda(served.url).ensure(served_lock, silent)
    served.start()
    assert said(with_conda(served.url).ensure(served_lock, silent), "tool").startswith("tool 1.0")


def test_with_everything_cached_no_channel_is_asked(with_conda, served, served_lock, root):
    environments = with_conda(served.url)
    environments.ensure(served_lock, silent)
    served.stop()
    (root / served_lock.key).rename(root / "away")
    assert said(environments.ensure(served_lock, silent), "tool").startswith("tool 1.0")


def test_other_bytes_than_the_locks_are_refused_with_both_digests(with_conda, served, channel, served_lock):
    replaced = channel.publish("libtool", "1.0", files={"lib/libtool.txt": "evil\n"})
    digest = hashlib.sha256(replaced.read_bytes()).hexdigest()
    (locked,) = (each.sha256 for each in served_lock.conda if each.name == "libtool")
    with pytest.raises(EnvironmentException, match="other bytes for libtool-1.0-0.tar.bz2 than the lock") as refused:
        with_conda(served.url).ensure(served_lock, silent)
    assert f"expected sha256:{locked}, got sha256:{digest}" in str(refused.value)
    assert with_conda(served.url).is_ready(served_lock.key) is None


def test_a_package_that_is_damaged_in_its_channel_is_named_and_not_installed(with_conda, channel):
    damaged = channel.publish("damaged", "1.0", files={"share/x": "x" * 5000})
    damaged.write_bytes(damaged.read_bytes()[:300])
    channel.list_as_it_is(damaged)
    environments = with_conda(channel.url)
    lock = environments.resolve(EnvironmentSpec(conda_packages=["damaged=1.0=0"]), silent)
    with pytest.raises(EnvironmentException, match="damaged-1.0-0.tar.bz2 is damaged as its channel has it"):
        environments.ensure(lock, silent)
    assert environments.is_ready(lock.key) is None


def test_a_package_that_its_channel_lost_is_named_with_the_cure(with_conda, channel, served, served_lock):
    channel.withdraw(channel.folder / "linux-64" / "tool-1.0-0.conda")
    with pytest.raises(EnvironmentException, match="tool-1.0-0.conda, which is no longer at http.*makes a new lock"):
        with_conda(served.url).ensure(served_lock, silent)


@pytest.mark.parametrize("status", [401, 403])
def test_a_channel_that_wants_credentials_is_named_with_the_cure(with_conda, served, served_lock, status, tmp_path):
    served.refuse(status, 100)
    match = rf"channel at {served.url}.*refuses this server \({status}.*user:password@host"
    with pytest.raises(EnvironmentException, match=match):
        with_conda(served.url).ensure(served_lock, silent)
    with pytest.raises(EnvironmentException, match=match):
        with_conda(served.url, folder=tmp_path / "elsewhere").resolve(
            EnvironmentSpec(conda_packages=["tool=1.0=0"]), silent
        )


def test_a_channel_that_does_not_exist_is_named(with_conda, served):
    with pytest.raises(EnvironmentException, match=rf"There is no conda channel at {served.address}/nothing.*Check"):
        with_conda(f"{served.address}/nothing").resolve(EnvironmentSpec(conda_packages=["ffmpeg"]), silent)


def test_a_named_channel_lies_below_the_alias(with_conda, served):
    environments = with_conda("channel", alias=served.address)
    lock = environments.resolve(EnvironmentSpec(conda_packages=["channel::tool"]), silent)
    assert [each.channel for each in lock.conda] == ["channel", "channel"]
    assert said(environments.ensure(lock, silent), "tool").startswith("tool 1.0")


def test_secrets_in_a_channels_address_are_sent_to_it_and_shown_nowhere(with_conda, served, root, impatient):
    address = served.url.replace("http://", "http://me:the-password@").replace("/channel", "/t/the-token/channel")
    lines = []
    environments = with_conda(address)
    lock = environments.resolve(EnvironmentSpec(conda_packages=["tool=1.0=0"]), lines.append)
    ready = environments.ensure(lock, lines.append)
    assert "Basic bWU6dGhlLXBhc3N3b3Jk" in served.credentials
    assert "/t/the-token/channel/linux-64/tool-1.0-0.conda" in served.asked
    served.stop()
    for failing in (lambda: environments.resolve(EnvironmentSpec(conda_packages=["ffmpeg"]), lines.append),):
        with pytest.raises(EnvironmentException) as failed:
            failing()
        lines.append(str(failed.value))
    assert len(lines) > 5
    written = [
        *lines,
        *(path.read_text(errors="replace") for path in root.rglob("*.json") if "channels" not in path.parts),
    ]
    assert not [text for text in written if "the-password" in text or "the-token" in text]
    assert environments.is_ready(lock.key) == ready


# building


def test_what_a_script_writes_into_a_package_reaches_no_other_environment(with_conda, channel):
    environments = with_conda(channel.url)
    one = environments.resolve(EnvironmentSpec(conda_packages=["tool=1.0=0"]), silent)
    other = environments.resolve(EnvironmentSpec(conda_packages=["libtool=1.0=0"]), silent)
    written = environments.ensure(one, silent).directory / "lib" / "libtool.txt"
    written.write_text("666\n")  # as many bytes as before
    assert environments.is_ready(one.key) is None
    lines = []
    text = (environments.ensure(other, lines.append).directory / "lib" / "libtool.txt").read_text()
    assert text == "one\n"
    assert "The package cache holds a damaged copy of libtool; unpacking afresh" in lines
    assert said(environments.ensure(one, silent), "tool").endswith("\none\n")


def test_packages_of_one_name_version_and_build_from_two_channels_are_not_mixed_up(with_conda, channel, tmp_path):
    other = CondaChannel(tmp_path / "other")
    other.publish("libtool", "1.0", files={"lib/libtool.txt": "other\n"})
    for each, text in ((channel, "one\n"), (other, "other\n"), (channel, "one\n")):
        environments = with_conda(each.url, folder=tmp_path / "both")
        lock = environments.resolve(EnvironmentSpec(conda_packages=["libtool=1.0=0"]), silent)
        assert (environments.ensure(lock, silent).directory / "lib" / "libtool.txt").read_text() == text


def test_a_conda_package_installed_afterwards_is_noticed(with_conda, channel):
    environments = with_conda(channel.url)
    lock = environments.resolve(EnvironmentSpec(conda_packages=["tool=1.0=0"]), silent)
    ready = environments.ensure(lock, silent)
    (ready.directory / "conda-meta" / "stranger-1.0-0.json").write_text("{}")
    lines = []
    environments.ensure(lock, lines.append)
    assert "stranger-1.0-0 was installed into it afterwards" in lines[0]


def test_ten_runs_with_one_new_environment_build_it_once(with_conda, served, served_lock):
    environments = with_conda(served.url)
    logs = [[] for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        ready = list(pool.map(lambda log: environments.ensure(served_lock, log.append), logs))
    assert len(set(ready)) == 1
    assert sum(any(line.startswith("Building") for line in log) for log in logs) == 1
    assert served.asked.count("/channel/linux-64/tool-1.0-0.conda") == 1


class Stuck(ServedChannel):
    """A channel that never gives its packages; ``reached`` says that somebody waits for one."""

    def __init__(self, channel: CondaChannel) -> None:
        self.reached, self.free = threading.Event(), threading.Event()
        super().__init__(channel)

    def content(self, path):
        if path.endswith((".conda", ".bz2")) and "repodata" not in path:
            self.reached.set()
            self.free.wait(60)
        return super().content(path)


@pytest.fixture
def stuck(channel):
    stuck = Stuck(channel)
    yield stuck
    stuck.free.set()
    stuck.stop()


def test_a_build_can_be_cancelled(with_conda, stuck):
    environments = with_conda(stuck.url)
    lock = environments.resolve(EnvironmentSpec(conda_packages=["tool=1.0=0"]), silent)
    cancel = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        build = pool.submit(environments.ensure, lock, silent, cancel)
        assert stuck.reached.wait(60)
        cancel.set()
        with pytest.raises(EnvironmentException, match="cancelled"):
            build.result()
    stuck.free.set()
    assert said(environments.ensure(lock, silent), "tool").startswith("tool 1.0")


def test_a_build_killed_halfway_is_rebuilt_and_its_solver_is_ended(with_conda, stuck, root):
    environments = with_conda(stuck.url)
    lock = environments.resolve(EnvironmentSpec(conda_packages=["tool=1.0=0"]), silent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [sys.executable, "-c", ENSURE, str(root), json.dumps(to_json(lock))]
    server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, env=environment)
    assert stuck.reached.wait(60)
    server.send_signal(signal.SIGKILL)
    server.wait()
    assert environments.is_ready(lock.key) is None
    stuck.free.set()
    lines = []
    assert said(environments.ensure(lock, lines.append), "tool").startswith("tool 1.0")
    assert lines[0].startswith("Building environment")
    assert not (root / lock.key / "1").exists(), "what the killed build left is removed"


def test_a_full_disk_is_named_with_the_cure_and_the_environment_is_built_once_there_is_room(
    with_conda, channel, tmp_path
):
    channel.publish("large", "1.0", files={"share/large": os.urandom(3 << 20)}, suffix=".conda")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=5m,mode=0700", "runyard-test", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.strip()}")
    try:
        environments = with_conda(channel.url, folder=disk)
        lock = environments.resolve(EnvironmentSpec(conda_packages=["large=1.0=0"]), silent)
        with pytest.raises(StorageFullError, match="no room for the environment.*runyard env prune"):
            environments.ensure(lock, silent)
        assert environments.is_ready(lock.key) is None
        subprocess.run(["mount", "-o", "remount,size=40m", str(disk)], check=True)
        assert environments.ensure(lock, silent).key == lock.key
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_prune_gives_back_the_packages_that_no_environment_has(with_conda, channel, root):
    environments = with_conda(channel.url)
    one = environments.resolve(EnvironmentSpec(conda_packages=["tool=1.0=0"]), silent)
    other = environments.resolve(EnvironmentSpec(conda_packages=["libtool=1.0=0"]), silent)
    for lock in (one, other):
        environments.ensure(lock, silent)
    long_ago = time.time() - 3600
    (next((root / "conda" / "packages").glob("*/libtool*")).parent / ".1.libtool").write_text(
        "of a fetch that was killed"
    )
    for path in [root / one.key / "used", *(root / "conda" / "packages").glob("*/*")]:
        os.utime(path, (long_ago, long_ago))
    assert [entry.key for entry in environments.cache.prune(0, [], False, silent).removed] == [one.key]
    assert [path.name for path in (root / "conda" / "packages").glob("*/*")] == ["libtool-1.0-0.tar.bz2"]
    assert [path.name for path in (root / "conda" / "unpacked").iterdir() if path.is_dir()] == ["libtool-1.0-0"]
    assert environments.is_ready(other.key) is not None
    assert said(environments.ensure(one, silent), "tool").startswith("tool 1.0")


def test_a_script_that_a_package_would_run_is_not_run_and_the_log_says_so(with_conda, channel, tmp_path):
    ran = tmp_path / "ran"
    channel.publish("eager", "1.0", files={"bin/.eager-post-link.sh": f"touch {ran}\n"})
    environments = with_conda(channel.url)
    lines = []
    environments.ensure(environments.resolve(EnvironmentSpec(conda_packages=["eager=1.0=0"]), silent), lines.append)
    assert "The scripts that eager would run after installing are not run" in lines
    assert not ran.exists()
