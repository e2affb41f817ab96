"""The GPUs of this host, read through NVIDIA's management library."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from runyard.job.processes import marker_in
from runyard_server.domain.gpus import Gpu, GpuProcess

_log = logging.getLogger(__name__)


class GpuInventory:
    """Lists the GPUs. A host without NVIDIA's driver has none, quietly.

    Args:
        library: a module with ``pynvml``'s functions; None loads ``pynvml`` itself.
        environment: where ``CUDA_VISIBLE_DEVICES`` is looked up: a server that was itself given
            some GPUs (by Slurm, by a container) gives out those alone.
        job_of: the ``RUNYARD_JOB`` of a process, None if it has none.
    """

    def __init__(
        self,
        library: Any = None,
        environment: Mapping[str, str] | None = None,
        job_of: Callable[[int], str | None] = marker_in,
    ) -> None:
        self._library = library
        self._environment = os.environ if environment is None else environment
        self._job_of = job_of

    def read(self) -> list[Gpu]:
        """The GPUs by index, with their memory and processes as they are now."""
        library = self._library or _load()
        if library is None:
            return []
        with _opened(library) as is_open:
            if not is_open:
                return []
            found = [self._describe(library, index) for index in range(library.nvmlDeviceGetCount())]
        return [gpu for gpu in found if gpu is not None and self._is_ours(gpu)]

    def _describe(self, library: Any, index: int) -> Gpu | None:
        """One GPU; None for one that does not answer: it has fallen off the bus and cannot be given out."""
        try:
            device = library.nvmlDeviceGetHandleByIndex(index)
            memory = library.nvmlDeviceGetMemoryInfo(device)
            running = library.nvmlDeviceGetComputeRunningProcesses(device)
        except library.NVMLError as error:
            _log.warning("GPU %d does not answer and is left out: %s", index, error)
            return None
        processes = []
        for process in running:
            used = getattr(process, "usedGpuMemory", None)
            processes.append(
                GpuProcess(int(process.pid), None if used is None else int(used), self._job_of(process.pid))
            )
        return Gpu(
            index=index,
            uuid=_text(library.nvmlDeviceGetUUID(device)),
            name=_text(library.nvmlDeviceGetName(device)),
            memory_total_bytes=int(memory.total),
            memory_free_bytes=int(memory.free),
            processes=tuple(processes),
        )

    def _is_ours(self, gpu: Gpu) -> bool:
        visible = self._environment.get("CUDA_VISIBLE_DEVICES")
        if visible is None:
            return True
        # As CUDA reads it: what follows an entry that names nothing ("-1", "NoDevFiles") does not count.
        for entry in visible.split(","):
            entry = entry.strip()
            if entry.startswith("GPU-"):
                if gpu.uuid.startswith(entry):
                    return True
            elif not entry.isdigit():
                return False
            elif int(entry) == gpu.index:
                return True
        return False


def _load() -> Any:
    try:
        return import_module("pynvml")  # loads nothing of NVIDIA's before nvmlInit
    except ImportError:
        return None


@contextmanager
def _opened(library: Any) -> Iterator[bool]:
    try:
        library.nvmlInit()
    except library.NVMLError:  # no driver, no library, no permission: no GPU that we could give out
        yield False
        return
    try:
        yield True
    finally:
        library.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
