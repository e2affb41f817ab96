"""What a node has to do while a run is on it: processor, memory, disk, network and GPUs, measured now and then.

What a control group limits is measured within it, the rest of the whole machine. What a node does not tell is left
out: nothing here raises, and nothing waits.
"""

import os
import sys
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from runyard.protocol.system_metrics import name_of
from runyard.spool import Spool

VARIABLE = "RUNYARD_SYSTEM_METRICS"  # seconds between two looks; 0 for none
USUAL_S = 5.0
_LEAST_S = 0.5
_PATIENCE_S = 5.0
_SECTOR_BYTES = 512  # of /proc/diskstats, whatever the disk has
_UNLIMITED = 1 << 60
_LIBRARY = "libnvidia-ml.so.1"


def pace_s(variables: Mapping[str, str]) -> float:
    """How often to look, as the run's or the job's own variables say; 0 for never."""
    said = variables.get(VARIABLE, os.environ.get(VARIABLE, ""))
    try:
        seconds = float(said) if said else USUAL_S
    except ValueError:
        return USUAL_S
    return max(seconds, _LEAST_S) if seconds > 0 else 0.0


class Watch:
    """Looks at the node every few seconds, in a thread of its own, and writes to a spool.

    Args:
        spool: where the job's spools are.
        meter: what it looks with.
    """

    def __init__(self, spool: str, node: int, meter: "Meter", every_s: float) -> None:
        self._spool = Spool(spool, "system-{}".format(node))
        self._node = node
        self._meter = meter
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system-metrics", daemon=True)

    def start(self) -> None:
        if self._every_s > 0:
            self._thread.start()

    def stop(self) -> None:
        """Ends; what was measured is in the spool."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_S)
        if not self._thread.is_alive():  # else a driver or a disk hangs, which must not keep the run
            self._spool.close()

    def look(self) -> None:
        """Writes down what is measured now."""
        for what, value in sorted(self._meter.measure().items()):
            self._spool.scalar(name_of(self._node, what), value)

    def _run(self) -> None:
        self._meter.measure()  # rates are those since the look before
        while not self._over.wait(self._every_s):
            self.look()
        self._meter.close()


class Meter:
    """Measures a node. Rates are those since the last time.

    Args:
        folder: on the disk whose space is told.
        gpus: the indices of those that the run was given; empty for none. What is no index, as engines give some their
            names, is not measured.
        root: where ``proc`` and ``sys`` are.
        library: NVIDIA's management library; None loads it where there are GPUs.
        monotonic: tells the time.
    """

    def __init__(
        self,
        folder: str,
        gpus: Sequence[Union[int, str]],
        root: str = "/",
        library: Any = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._root = root
        self._monotonic = monotonic
        self._group = _group(root)
        self._wanted = [int(gpu) for gpu in gpus if str(gpu).isdigit()]
        self._library = library
        self._gpus: Optional[Gpus] = None
        self._before: Dict[str, float] = {}
        self._at = monotonic()

    def measure(self) -> Dict[str, float]:
        """What is known now, by name."""
        found: Dict[str, float] = {}
        now = self._monotonic()
        passed = now - self._at
        counts = {**self._disk_counts(), **self._network_counts()}
        for name, count in counts.items():
            if name in self._before and passed > 0:
                found[name] = max(0.0, count - self._before[name]) / passed
        found.update(self._processor(passed, counts))
        found.update(self._memory())
        found.update(self._disk())
        if self._wanted:
            if self._gpus is None:  # opened by who measures: a driver may hang, and nobody waits for this thread
                self._gpus = Gpus(self._wanted, self._library)
            found.update(self._gpus.measure())
        self._before, self._at = counts, now
        return found

    def close(self) -> None:
        """Lets go of the GPUs' library."""
        if self._gpus is not None:
            self._gpus.close()

    def _processor(self, passed: float, counts: Dict[str, float]) -> Dict[str, float]:
        """The busy share: of the processors that the control group may use, else of the machine."""
        cores = self._cores()
        used = _pairs(self._read(self._group, "cpu.stat")).get("usage_usec") if cores else None
        if cores and used is not None:
            counts["busy"], counts["all"] = used / 1e6, 0.0
            before = self._before.get("busy")
            if before is None or passed <= 0:
                return {}
            return {"cpu_percent": _share(counts["busy"] - before, passed * cores)}
        line = self._read("proc", "stat").partition("\n")[0].split()
        if len(line) < 6:
            return {}
        ticks = [float(each) for each in line[1:9]]  # guests are counted among the users already
        counts["all"] = sum(ticks)
        counts["busy"] = counts["all"] - ticks[3] - ticks[4]
        if "all" not in self._before:
            return {}
        whole = counts["all"] - self._before["all"]
        return {"cpu_percent": _share(counts["busy"] - self._before["busy"], whole)} if whole > 0 else {}

    def _cores(self) -> float:
        """How many processors the control group may use; 0 where it is not limited."""
        quota, _, period = self._read(self._group, "cpu.max").strip().partition(" ")
        return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else 0.0

    def _memory(self) -> Dict[str, float]:
        known = _pairs(self._read("proc", "meminfo").replace(":", ""))
        whole = known.get("MemTotal", 0.0) * 1024
        used = whole - known.get("MemAvailable", 0.0) * 1024
        limit, held = self._read(self._group, "memory.max").strip(), self._read(self._group, "memory.current").strip()
        if limit.isdigit() and held.isdigit() and int(limit) < min(whole or _UNLIMITED, _UNLIMITED):
            cached = _pairs(self._read(self._group, "memory.stat")).get("inactive_file", 0.0)
            whole, used = float(limit), max(0.0, float(held) - cached)  # files that are kept only while there is room
        return {"memory_bytes": used, "memory_percent": _share(used, whole)} if whole else {}

    def _disk(self) -> Dict[str, float]:
        try:
            told = os.statvfs(self._folder)
        except OSError:
            return {}
        whole = told.f_blocks * told.f_frsize
        used = whole - told.f_bfree * told.f_frsize
        usable = used + told.f_bavail * told.f_frsize  # what is kept for root is nobody's
        return {"disk_bytes": float(used), "disk_percent": _share(used, usable)} if usable else {}

    def _disk_counts(self) -> Dict[str, float]:
        read = written = 0.0
        disks = self._disks()
        for line in self._read("proc", "diskstats").splitlines():
            words = line.split()
            if len(words) > 9 and words[2] in disks:
                read += int(words[5]) * _SECTOR_BYTES
                written += int(words[9]) * _SECTOR_BYTES
        return {"disk_read_bytes_per_s": read, "disk_written_bytes_per_s": written} if disks else {}

    def _disks(self) -> List[str]:
        """Whole disks that have a device of their own: neither parts of them nor what is made of them."""
        folder = os.path.join(self._root, "sys", "block")
        try:
            return [name for name in os.listdir(folder) if os.path.exists(os.path.join(folder, name, "device"))]
        except OSError:
            return []

    def _network_counts(self) -> Dict[str, float]:
        received = sent = 0.0
        lines = self._read("proc", "net", "dev").splitlines()[2:]
        for line in lines:
            name, _, rest = line.partition(":")
            words = rest.split()
            if name.strip() != "lo" and len(words) > 8:
                received += int(words[0])
                sent += int(words[8])
        return {"network_received_bytes_per_s": received, "network_sent_bytes_per_s": sent} if lines else {}

    def _read(self, *path: str) -> str:
        if not all(path):
            return ""
        try:
            with open(os.path.join(self._root, *path), encoding="ascii", errors="replace") as file:
                return file.read()
        except OSError:
            return ""


class Gpus:
    """GPUs through NVIDIA's management library, as the driver brings it; a node without one tells nothing."""

    def __init__(self, indices: List[int], library: Any = None) -> None:
        import ctypes  # few nodes need it

        self._ctypes = ctypes
        self._library = library if library is not None else self._load()
        self._devices: List[Tuple[int, Any]] = []
        if self._library is None or self._library.nvmlInit_v2() != 0:
            self._library = None
            return
        for index in indices:
            handle = ctypes.c_void_p()
            if self._library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) == 0:
                self._devices.append((index, handle))

    def measure(self) -> Dict[str, float]:
        """Use and memory of each."""
        ctypes = self._ctypes
        found: Dict[str, float] = {}
        for index, handle in self._devices:
            used = (ctypes.c_uint * 2)()  # nvmlUtilization_t: of the processors and of the memory's wires
            if self._library.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(used)) == 0:
                found["gpu{}_percent".format(index)] = float(used[0])
            memory = (ctypes.c_ulonglong * 3)()  # nvmlMemory_t: total, free, used
            if self._library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0:
                found["gpu{}_memory_bytes".format(index)] = float(memory[2])
                found["gpu{}_memory_percent".format(index)] = _share(memory[2], memory[0])
        return found

    def close(self) -> None:
        if self._library is not None:
            self._library.nvmlShutdown()
            self._library, self._devices = None, []

    def _load(self) -> Any:
        try:
            return self._ctypes.CDLL(_LIBRARY)
        except OSError as fault:
            sys.stderr.write("The use of GPUs is not told: {}\n".format(fault))
            return None


def _group(root: str) -> str:
    """The folder of this process's control group (version 2), "" where there is none."""
    try:
        with open(os.path.join(root, "proc", "self", "cgroup"), encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    own = next((line[3:].lstrip("/") for line in lines if line.startswith("0::")), None)
    if own is None:
        return ""
    folder = os.path.join("sys", "fs", "cgroup", own)
    return folder if os.path.isdir(os.path.join(root, folder)) else os.path.join("sys", "fs", "cgroup")


def _pairs(text: str) -> Dict[str, float]:
    """Lines of a name and a number."""
    found: Dict[str, float] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[1].isdigit():
            found[words[0]] = float(words[1])
    return found


def _share(part: float, whole: float) -> float:
    """In percent, with one digit: more would only take room."""
    return round(min(100.0, max(0.0, 100.0 * part / whole)), 1) if whole else 0.0
