"""PyTorch's CPU builds lie beside pip's registry: when they are taken, and that nothing else is taken from there."""

import functools
import http.server
import threading

import pytest

from runyard.protocol.environments import EnvironmentSpec
from runyard_server.environments.provision import Environments


@pytest.fixture
def registry(index):
    """pip's registry: PyTorch with CUDA, and what it needs."""
    for version in ("2.5.0", "2.5.1"):
        index.publish("torch", version, ["numpy"])
    index.publish("torch", "2.1.2", ["numpy"], uploaded_at="2023-12-15T00:00:00Z")
    index.publish("torchvision", "0.20.1", ["torch==2.5.1"])
    index.publish("torchvision", "0.16.2", ["torch==2.1.2"], uploaded_at="2023-12-15T00:00:00Z")
    index.publish("numpy", "1.26.4", uploaded_at="2023-12-01T00:00:00Z")
    index.publish("numpy", "2.0.0")
    return index


@pytest.fixture
def makers(tmp_path, wheel):
    """Address of the makers' own index, pages of links without times; it has a NumPy of its own too."""
    folder = tmp_path / "cpu"
    for name, version, requires in (
        ("torch", "2.5.1+cpu", ["numpy"]),
        ("torch", "2.1.2+cpu", ["numpy"]),
        ("torchvision", "0.20.1+cpu", ["torch==2.5.1"]),
        ("torchvision", "0.16.2+cpu", ["torch==2.1.2"]),
        ("numpy", "9.9", []),
    ):
        wheel(folder / name, name, version, requires)
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def pins(root, registry, place, version, said=None, **more):
    options = [f"--index-url {registry.url}"]
    spec = EnvironmentSpec(framework="pytorch", framework_version=version, pip_options=options, **more)
    environments = Environments(root, pytorch_cpu=place)
    lock = environments.resolve(spec, (said if said is not None else []).append)
    environments.ensure(lock, lambda _: None)
    return sorted(line.split(" ")[0] for line in lock.requirements.splitlines() if "==" in line)


def test_the_cpu_build_is_taken_where_no_gpu_is_wanted_and_nothing_else_from_there(root, registry, makers):
    said = []
    assert pins(root, registry, makers, "2.5", said) == ["numpy==2.0.0", "torch==2.5.1+cpu", "torchvision==0.20.1+cpu"]
    assert f"PyTorch: the build for the CPU alone, if {makers} has it (RUNYARD_PYTORCH_CPU)" in said


def test_the_build_with_cuda_is_taken_where_a_gpu_is_wanted_or_no_place_is_known(root, registry, makers):
    with_cuda = ["numpy==2.0.0", "torch==2.5.1", "torchvision==0.20.1"]
    assert pins(root, registry, makers, "2.5", use_gpu=True) == with_cuda
    assert pins(root, registry, "", "2.5") == with_cuda


def test_an_old_pytorchs_day_holds_for_all_that_is_beside_it(root, registry, makers):
    assert pins(root, registry, makers, "2.1") == ["numpy==1.26.4", "torch==2.1.2+cpu", "torchvision==0.16.2+cpu"]


def test_a_day_that_was_asked_for_is_kept_and_the_log_says_that_the_cpu_builds_have_none(root, registry, makers):
    said = []
    found = pins(root, registry, makers, "2.1", said, packages_as_of="2024-01-01")
    assert found == ["numpy==1.26.4", "torch==2.1.2", "torchvision==0.16.2"]
    assert any("those have no date, and packages_as_of is 2024-01-01" in line for line in said)


def test_a_version_that_the_place_lacks_comes_from_the_registry(root, registry, makers):
    assert pins(root, registry, makers, "2.5.0", pip_packages=["torchvision==0.16.2; python_version<'3'"]) == [
        "numpy==2.0.0",
        "torch==2.5.0",
    ]


def test_a_folder_of_wheels_will_do(root, registry, makers, tmp_path, wheel):
    folder = tmp_path / "mirror"
    wheel(folder, "torch", "2.5.1+cpu", ["numpy"])
    assert pins(root, registry, str(folder), "2.5") == ["numpy==2.0.0", "torch==2.5.1+cpu", "torchvision==0.20.1"]


def test_who_names_torch_himself_gets_what_he_names(root, registry, makers):
    found = pins(
        root, registry, makers, "2.5", pip_packages=["torch==2.5.0", "torchvision==0.16.2; python_version<'3'"]
    )
    assert found == ["numpy==2.0.0", "torch==2.5.0"]


def test_a_password_in_the_address_is_in_no_log(root, registry, makers):
    said = []
    secret = makers.replace("http://", "http://me:hidden@")
    assert "torch==2.5.1+cpu" in pins(root, registry, secret, "2.5", said)
    assert any("http://****@127.0.0.1" in line for line in said)
    assert "hidden" not in "".join(said)
