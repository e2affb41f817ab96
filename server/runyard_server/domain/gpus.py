"""What a GPU looks like to those who decide who gets it."""

from dataclasses import dataclass

FREE_SHARE = 0.8  # a GPU with less of its memory free is filled; a desktop's share stays above it


@dataclass(frozen=True)
class GpuProcess:
    """A process that computes on a GPU. ``memory_bytes`` is None where the driver does not tell."""

    pid: int
    memory_bytes: int | None = None
    job: str | None = None  # "<run id>/<attempt>/<node>" if a runyard server of this user started it


@dataclass(frozen=True)
class Gpu:
    """One GPU of this host. ``index`` counts by bus, as ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` does."""

    index: int
    uuid: str
    name: str
    memory_total_bytes: int
    memory_free_bytes: int
    processes: tuple[GpuProcess, ...] = ()

    @property
    def is_filled(self) -> bool:
        """Whether too little of its memory is free to give it to a run."""
        return self.memory_free_bytes < FREE_SHARE * self.memory_total_bytes

    def filled_by(self) -> str:
        """Why it is not given out, as a sentence."""
        used = self.memory_total_bytes - self.memory_free_bytes
        share = f"{used / 1e9:.1f} of {self.memory_total_bytes / 1e9:.1f} GB"
        if not self.processes:
            return f"GPU {self.index} is filled by another process ({share})"
        pids = ", ".join(f"pid {process.pid}" for process in self.processes[:3])
        which = "another process" if len(self.processes) == 1 else f"{len(self.processes)} other processes"
        return f"GPU {self.index} is filled by {which} ({pids}, {share})"
