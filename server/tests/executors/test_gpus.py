"""GPUs as NVIDIA's library tells them; the library itself is the outside world and is stood in for."""

from types import SimpleNamespace
from typing import Any

import pytest

from runyard_server.domain.gpus import Gpu, GpuProcess
from runyard_server.executors.gpus import GpuInventory

GB = 10**9


class NvmlError(Exception):
    pass


class Library:
    """A driver with some GPUs. ``processes``: (pid, bytes or None) by index."""

    NVMLError = NvmlError

    def __init__(self, count: int = 2, processes: dict[int, list[tuple[int, int | None]]] | None = None) -> None:
        self.count = count
        self.processes = processes or {}
        self.opened = 0

    def nvmlInit(self) -> None:
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, device: int) -> bytes:  # older versions of the library give bytes
        return f"GPU-{device}{device}{device}{device}-aaaa".encode()

    def nvmlDeviceGetName(self, device: int) -> str:
        return "Tesla K80"

    def nvmlDeviceGetMemoryInfo(self, device: int) -> Any:
        used = sum(size or 0 for _, size in self.processes.get(device, []))
        return SimpleNamespace(total=12 * GB, free=12 * GB - used)

    def nvmlDeviceGetComputeRunningProcesses(self, device: int) -> list[Any]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in self.processes.get(device, [])]


def inventory(library: Any, visible: str | None = None) -> GpuInventory:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    return GpuInventory(library, environment, job_of={7: "exp_1/1/0"}.get)


def test_each_gpu_is_told_with_its_memory_and_its_processes() -> None:
    library = Library(processes={1: [(7, 2 * GB), (123, None)]})
    assert inventory(library).read() == [
        Gpu(0, "GPU-0000-aaaa", "Tesla K80", 12 * GB, 12 * GB),
        Gpu(
            1,
            "GPU-1111-aaaa",
            "Tesla K80",
            12 * GB,
            10 * GB,
            (GpuProcess(7, 2 * GB, "exp_1/1/0"), GpuProcess(123, None, None)),
        ),
    ]
    assert library.opened == 0


def test_a_host_without_driver_has_no_gpus() -> None:
    class NoDriver(Library):
        def nvmlInit(self) -> None:
            raise NvmlError("Driver Not Loaded")

    assert inventory(NoDriver()).read() == []


def test_a_gpu_that_fell_off_the_bus_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    class Fallen(Library):
        def nvmlDeviceGetMemoryInfo(self, device: int) -> Any:
            if device == 0:
                raise NvmlError("GPU is lost")
            return super().nvmlDeviceGetMemoryInfo(device)

    library = Fallen()
    assert [gpu.index for gpu in inventory(library).read()] == [1]
    assert "GPU 0 does not answer and is left out: GPU is lost" in caplog.text
    assert library.opened == 0


@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        (None, [0, 1, 2, 3]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("2", [2]),
        ("3,1", [1, 3]),
        ("0,-1,2", [0]),  # as CUDA reads it: nothing counts after an entry that names no GPU
        ("GPU-2222-aaaa", [2]),
        ("GPU-1111, GPU-3333", [1, 3]),
        ("9", []),
    ],
)
def test_a_server_gives_out_only_the_gpus_that_it_was_given(visible: str | None, indices: list[int]) -> None:
    assert [gpu.index for gpu in inventory(Library(count=4), visible).read()] == indices


def test_a_gpu_is_filled_once_a_fifth_of_its_memory_is_used() -> None:
    free, filled = Gpu(0, "", "", 10 * GB, 8 * GB), Gpu(0, "", "", 10 * GB, 8 * GB - 1)
    assert not free.is_filled
    assert filled.is_filled


@pytest.mark.parametrize(
    ("pids", "text"),
    [
        ([], "GPU 0 is filled by another process (11.2 of 12.0 GB)"),
        ([123], "GPU 0 is filled by another process (pid 123, 11.2 of 12.0 GB)"),
        ([1, 2, 3, 4], "GPU 0 is filled by 4 other processes (pid 1, pid 2, pid 3, 11.2 of 12.0 GB)"),
    ],
)
def test_a_filled_gpu_names_who_fills_it(pids: list[int], text: str) -> None:
    gpu = Gpu(0, "", "", 12 * GB, 8 * 10**8, tuple(GpuProcess(pid) for pid in pids))
    assert gpu.filled_by() == text


@pytest.mark.gpu
def test_the_real_driver_tells_its_gpus() -> None:
    found = GpuInventory(environment={}).read()
    if not found:
        pytest.skip("no NVIDIA GPU on this machine")
    assert [gpu.index for gpu in found] == list(range(len(found)))
    assert all(gpu.uuid.startswith("GPU-") and 0 < gpu.memory_free_bytes <= gpu.memory_total_bytes for gpu in found)
