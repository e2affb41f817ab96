"""Packages that were made to do harm: whatever a channel serves, nothing is written outside of the environment."""

import bz2
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runyard.errors import EnvironmentException, StorageFullError
from runyard.protocol.environments import CondaPackage, EnvironmentSpec
from runyard_server.environments.build import ReadyEnvironment
from runyard_server.environments.conda_channels import CondaSettings
from runyard_server.environments.conda_command import Conda
from runyard_server.environments.provision import Environments
from runyard_server.testing.conda_channel import CondaChannel, Link, Program

EVIL = b"evil\n"


def silent(_line: str) -> None:
    pass


@dataclass
class Hostile:
    """A folder that nobody may touch, and packages that aim at it."""

    folder: Path
    packages: list[CondaPackage] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outside = self.folder / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_text("mine\n")
        self.up = "../" * 20 + str(self.outside)[1:]
        self.channel = self.folder / "evil"

    def package(self, name: str, entries: list[tuple[str, bytes | str]], listed: list[dict[str, object]]) -> None:
        """A package with these entries (bytes: a file, "-> x": a link, "= x": a hard link), which says that it has ``listed``."""
        index = {"name": name, "version": "1.0", "build": "0", "build_number": 0, "depends": [], "subdir": "linux-64"}
        files = {
            "info/index.json": json.dumps(index).encode(),
            "info/paths.json": json.dumps({"paths_version": 1, "paths": listed}).encode(),
            "info/files": "".join(f"{entry['_path']}\n" for entry in listed).encode(),
            "info/about.json": b"{}",
        }
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path, content in [*files.items(), *entries]:
                entry = tarfile.TarInfo(path)
                if isinstance(content, str):
                    kind, _, entry.linkname = content.partition(" ")
                    entry.type = tarfile.SYMTYPE if kind == "->" else tarfile.LNKTYPE
                    archive.addfile(entry)
                else:
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
        self._put(name, bz2.compress(packed.getvalue(), 1))

    def _put(self, name: str, data: bytes) -> None:
        path = self.channel / "linux-64" / f"{name}-1.0-0.tar.bz2"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        channel = self.channel.as_uri()
        known = ("linux-64", path.name, digest, None, len(data))
        self.packages.append(CondaPackage(name, "1.0", "0", channel, *known))

    def install(self) -> Path:
        """Installs them, as the build of an environment does: the prefix."""
        prefix = self.folder / "environments" / "key" / "1" / "venv"
        (prefix / "conda-meta").mkdir(parents=True)
        Conda(self.folder / "environments", CondaSettings()).install(self.packages, prefix, silent, None)
        return prefix

    def is_untouched(self) -> bool:
        found = {path.name: path.read_text() for path in self.outside.rglob("*")}
        home = self.folder / "environments"
        strays = [
            path
            for path in home.rglob("*")
            if path.is_file()
            and path.read_bytes() == EVIL
            and not path.is_relative_to(home / "conda" / "unpacked")
            and not path.is_relative_to(home / "key" / "1" / "venv")
        ]
        return found == {"secret": "mine\n"} and strays == []


@pytest.fixture
def hostile(tmp_path: Path) -> Hostile:
    return Hostile(tmp_path)


def plain(path: str) -> dict[str, object]:
    return {"_path": path, "path_type": "hardlink", "sha256": hashlib.sha256(EVIL).hexdigest(), "size_in_bytes": 5}


@pytest.mark.parametrize(
    ("path", "says"),
    [("{up}/a", "is damaged as its channel has it|is refused"), ("{outside}/a", "is damaged|is refused")],
)
def test_an_entry_that_leaves_its_archive_is_refused(hostile: Hostile, path: str, says: str) -> None:
    place = path.format(up=hostile.up, outside=hostile.outside)
    hostile.package("evil", [(place, EVIL)], [plain(place)])
    with pytest.raises(EnvironmentException, match=f"The conda package evil-1.0-0.tar.bz2 {says}"):
        hostile.install()
    assert hostile.is_untouched()


@pytest.mark.parametrize("path", ["../evil-1.0-0/lib/payload", "{up}/a", "{outside}/a", "lib/../../../a"])
def test_a_list_of_files_that_leads_out_of_the_prefix_is_refused_by_name(hostile: Hostile, path: str) -> None:
    """The first one is a file that there is: the library would link it to beside the environment."""
    place = path.format(up=hostile.up, outside=hostile.outside)
    hostile.package("evil", [("lib/payload", EVIL)], [plain(place)])
    with pytest.raises(
        EnvironmentException, match="evil-1.0-0.tar.bz2 is refused: it has .* outside of the environment"
    ):
        hostile.install()
    assert hostile.is_untouched()


@pytest.mark.parametrize(
    "entries",
    [
        [("lib/out", "-> {outside}"), ("lib/out/a", EVIL)],
        [("lib/out", "-> {up}"), ("lib/out/a", EVIL)],
        [("lib/a", "= {outside}/secret"), ("lib/a", EVIL)],
        [("lib/a", "= {up}/secret"), ("lib/a", EVIL)],
    ],
)
def test_nothing_is_unpacked_through_a_link(hostile: Hostile, entries: list[tuple[str, bytes | str]]) -> None:
    said = [
        (path, each.format(up=hostile.up, outside=hostile.outside) if isinstance(each, str) else each)
        for path, each in entries
    ]
    hostile.package("evil", said, [plain(entries[-1][0])])
    with pytest.raises(EnvironmentException, match="could not be installed: failed to fetch evil-1.0-0.tar.bz2"):
        hostile.install()
    assert hostile.is_untouched()


def test_a_package_does_not_write_through_the_link_of_another_one(hostile: Hostile) -> None:
    hostile.package(
        "evil-link", [("lib/out", f"-> {hostile.outside}")], [{"_path": "lib/out", "path_type": "softlink"}]
    )
    hostile.package("evil", [("lib/out/a", EVIL)], [plain("lib/out/a")])
    hostile.install()
    assert hostile.is_untouched()


@pytest.mark.parametrize("folder", ["bin", "lib", "lib/python3.11"])
def test_a_folder_that_pip_will_write_to_does_not_lead_elsewhere(hostile: Hostile, folder: str) -> None:
    hostile.package("evil", [(folder, f"-> {hostile.outside}")], [{"_path": folder, "path_type": "softlink"}])
    with pytest.raises(EnvironmentException, match=f"evil-1.0-0 is refused: it has '{folder}', a link to somewhere"):
        hostile.install()
    assert hostile.is_untouched()


def test_a_program_of_a_package_is_made_in_the_environments_bin_alone(
    with_conda: Callable[..., object], channel: CondaChannel, hostile: Hostile
) -> None:
    channel.publish("python", "3.11.7", files={"bin/python": Program("#!/bin/sh\n"), "bin/python3": Link("python")})
    entry = f"{hostile.up}/a = evil:main"
    channel.publish(
        "evil", "1.0", ["python"], {"site-packages/evil.py": "x = 1\n"}, noarch="python", entry_points=[entry]
    )
    environments = with_conda(channel.url)
    lock = environments.resolve(EnvironmentSpec(conda_packages=["evil=1.0=0"]), silent)  # type: ignore[attr-defined]
    with pytest.raises(EnvironmentException, match="evil-1.0-0.tar.bz2 is refused: it has .*outside/a"):
        environments.ensure(lock, silent)  # type: ignore[attr-defined]
    assert hostile.is_untouched()
    assert environments.is_ready(lock.key) is None  # type: ignore[attr-defined]


# packages that are small until somebody unpacks them


@pytest.mark.parametrize("suffix", [".tar.bz2", ".conda"])
def test_a_package_that_would_fill_the_disk_is_refused_by_name_and_the_next_environment_is_built(
    with_conda: Callable[..., Environments], channel: CondaChannel, root: Path, suffix: str
) -> None:
    path = channel.publish_bomb("bomb", 1 << 30, suffix)
    assert path.stat().st_size < 1_000_000
    environments = with_conda(channel.url)
    says = (
        rf"The conda package bomb-1.0-0{suffix} is refused: it unpacks to more than 1,000 MB. .* nothing of it was unpacked "
        r"or kept. Ask for another .*RUNYARD_CONDA_UNPACKED_MB"
    )
    with pytest.raises(EnvironmentException, match=says):
        build(environments, "bomb=1.0=0")
    assert kept(root) < 1_000_000
    assert not [each for each in root.rglob("*bomb*") if each.is_file()]
    assert build(environments, "tool=1.0=0").directory.is_dir()


@pytest.mark.parametrize("suffix", [".tar.bz2", ".conda"])
def test_a_package_of_more_files_than_a_tree_may_have_is_refused_by_name(
    with_conda: Callable[..., Environments],
    channel: CondaChannel,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
) -> None:
    channel.publish("crowd", "1.0", files={f"share/{number}": "" for number in range(300)}, suffix=suffix)
    environments = with_conda(channel.url)
    monkeypatch.setenv("RUNYARD_CONDA_FILES", "300")
    with pytest.raises(
        EnvironmentException, match=f"crowd-1.0-0{suffix} is refused: it has more than 300 files.*RUNYARD_CONDA_FILES"
    ):
        build(environments, "crowd=1.0=0")
    assert not [each for each in root.rglob("*crowd*") if each.is_file()]
    monkeypatch.setenv("RUNYARD_CONDA_FILES", "304")  # with its four lists of them
    assert build(environments, "crowd=1.0=0").directory.is_dir()


def test_packages_that_need_more_than_the_disk_has_left_are_not_begun(
    with_conda: Callable[..., Environments], channel: CondaChannel, tmp_path: Path
) -> None:
    channel.publish_bomb("large", 128 << 20, ".conda")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m,mode=0700", "runyard-test", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.strip()}")
    try:
        environments = with_conda(channel.url, folder=disk)
        with pytest.raises(StorageFullError, match=r"large-1.0-0.conda .*more than the \d+ MB left"):
            build(environments, "large=1.0=0")
        assert kept(disk) < 1_000_000
        assert build(environments, "tool=1.0=0").directory.is_dir()
        subprocess.run(["mount", "-o", "remount,size=400m", str(disk)], check=True)
        assert build(environments, "large=1.0=0").directory.is_dir()
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_of_a_list_of_files_that_comes_twice_each_is_looked_at(hostile: Hostile) -> None:
    """What is unpacked last is what the library reads; the first one is as it should be."""
    second = json.dumps({"paths_version": 1, "paths": [plain("../evil-1.0-0/lib/payload")]}).encode()
    hostile.package("evil", [("lib/payload", EVIL), ("info/paths.json", second)], [plain("lib/payload")])
    with pytest.raises(EnvironmentException, match="evil-1.0-0.tar.bz2 is refused: it has .*lib/payload"):
        hostile.install()
    assert hostile.is_untouched()


def build(environments: Environments, package: str) -> ReadyEnvironment:
    return environments.ensure(environments.resolve(EnvironmentSpec(conda_packages=[package]), silent), silent)


def kept(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
