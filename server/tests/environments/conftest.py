"""A folder of hand-made wheels, so that environments are resolved and built without a network."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runyard.protocol.environments import EnvironmentSpec
from runyard_server.environments.conda_channels import CondaSettings
from runyard_server.environments.provision import Environments
from runyard_server.testing.conda_channel import PLACEHOLDER, CondaChannel, Program, ServedChannel
from runyard_server.testing.package_index import PackageIndex
from runyard_server.testing.wheels import make_wheel


@pytest.fixture
def wheel() -> Callable[..., Path]:
    """Writes a wheel: ``wheel(folder, name, version, requires, content)``."""
    return make_wheel


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """alpha 1.0 and 2.0; beta 1.0, which needs alpha<2; gamma 1.0, which needs what does not exist."""
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "alpha", "1.0")
    make_wheel(folder, "alpha", "2.0")
    make_wheel(folder, "beta", "1.0", ["alpha<2"])
    make_wheel(folder, "gamma", "1.0", ["no-such-package-anywhere"])
    return folder


@pytest.fixture
def packages(wheels: Path) -> Callable[..., EnvironmentSpec]:
    """An environment's spec with pip packages from the folder of wheels alone."""

    def spec(*lines: str, **more: object) -> EnvironmentSpec:
        options = ["--no-index", f"--find-links {wheels}"]
        return EnvironmentSpec(pip_packages=list(lines), pip_options=options, **more)  # type: ignore[arg-type]

    return spec


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    """An index that listens, with alpha 1.0 on it."""
    index = PackageIndex(tmp_path / "index")
    index.publish("alpha", "1.0")
    yield index
    index.stop()


@pytest.fixture
def of_index(index: PackageIndex) -> Callable[..., EnvironmentSpec]:
    """An environment's spec with pip packages from the index alone."""

    def spec(*lines: str) -> EnvironmentSpec:
        return EnvironmentSpec(pip_packages=list(lines), pip_options=[f"--index-url {index.url}"])

    return spec


@pytest.fixture(autouse=True)
def package_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """uv's cache, fresh for each test; no settings of the machine's own."""
    for name in list(os.environ):
        if name.startswith("UV_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    return tmp_path / "uv-cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "environments"


@pytest.fixture
def environments(root: Path) -> Environments:
    return Environments(root)


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[str], str]:
    """Writes a shell script that stands in for uv; ``REAL`` in it is the real one."""
    from runyard_server.environments.uv_command import Uv

    real = Uv(None, tmp_path).path

    def write(body: str) -> str:
        path = tmp_path / "stand-in-uv"
        version = 'if [ "$1" = --version ]; then echo "uv 0.9.9"; exit 0; fi\n'
        path.write_text("#!/bin/sh\n" + version + body.replace("REAL", real) + "\n")
        path.chmod(0o755)
        return str(path)

    return write


@pytest.fixture(scope="session")
def python_channel(tmp_path_factory: pytest.TempPathFactory) -> CondaChannel:
    """A conda channel with this very Python as a conda package, and nothing else."""
    channel = CondaChannel(tmp_path_factory.mktemp("python-channel"))
    channel.publish_interpreter()
    return channel


@pytest.fixture
def channel(tmp_path: Path) -> CondaChannel:
    """A conda channel: ``tool`` 1.0, which needs ``libtool`` below 2, knows its prefix and says its version."""
    channel = CondaChannel(tmp_path / "channel")
    channel.publish("libtool", "1.0", files={"lib/libtool.txt": "one\n"})
    channel.publish("libtool", "2.0", files={"lib/libtool.txt": "two\n"})
    says = Program(f"#!/bin/sh\necho tool 1.0 of {PLACEHOLDER}\nexec cat {PLACEHOLDER}/lib/libtool.txt\n")
    channel.publish("tool", "1.0", ["libtool >=1,<2"], {"bin/tool": says}, suffix=".conda")
    return channel


@pytest.fixture
def served(channel: CondaChannel) -> Iterator[ServedChannel]:
    """The same channel over HTTP."""
    served = ServedChannel(channel)
    yield served
    served.stop()


@pytest.fixture
def with_conda(root: Path) -> Callable[..., Environments]:
    """Environments with these conda channels as the server's own: ``with_conda(channel.url, solver="always")``."""

    def with_conda(*channels: str, folder: Path = root, **settings: str) -> Environments:
        return Environments(folder, conda=CondaSettings(channels=channels, **settings))  # type: ignore[arg-type]

    return with_conda
