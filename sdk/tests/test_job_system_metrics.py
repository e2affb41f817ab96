"""What a job measures of its node, from a machine's files as they stand in a folder."""

import os
import threading

import pytest

from runyard.job.system_metrics import Meter, Watch, pace_s
from runyard.protocol.system_metrics import name_of

STAT = "cpu  {user} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3\n"
NET = "Inter-|\n face |\n    lo: 900 0 0 0 0 0 0 0 900 0\n  eth0: {} 0 0 0 0 0 0 0 {} 0\n"
DISKS = "   8 0 sda 1 0 {read} 0 1 0 {written} 0 0 0 0\n   8 1 sda1 1 0 999 0 1 0 999 0 0 0 0\n   7 0 loop0 1 0 9 0 1 0 9 0\n"


class Machine:
    """A machine's files."""

    def __init__(self, root):
        self.root = str(root)
        self.now = 100.0
        self.write("proc/self/cgroup", "0::/\n")
        self.write("sys/block/sda/device", "")
        self.write("proc/meminfo", "MemTotal:       1000 kB\nMemAvailable:    250 kB\n")
        self.does(user=100, idle=900, received=0, sent=0, read=0, written=0)

    def write(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)

    def does(self, user, idle, received, sent, read, written):
        self.write("proc/stat", STAT.format(user=user, idle=idle))
        self.write("proc/net/dev", NET.format(received, sent))
        self.write("proc/diskstats", DISKS.format(read=read, written=written))

    def meter(self, gpus=(), library=None):
        return Meter(self.root, list(gpus), self.root, library, lambda: self.now)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_rates_are_those_since_the_last_look_and_the_loopback_is_no_network(machine):
    meter = machine.meter()
    assert not [name for name in meter.measure() if name.endswith("_per_s") or name.startswith("cpu")]
    machine.now += 2.0
    machine.does(user=400, idle=1000, received=2000, sent=500, read=8, written=4)
    found = meter.measure()
    assert found["cpu_percent"] == 75.0
    assert (found["network_received_bytes_per_s"], found["network_sent_bytes_per_s"]) == (1000.0, 250.0)
    assert (found["disk_read_bytes_per_s"], found["disk_written_bytes_per_s"]) == (2048.0, 1024.0)
    assert (found["memory_bytes"], found["memory_percent"]) == (750 * 1024.0, 75.0)
    assert 0 < found["disk_percent"] <= 100 and found["disk_bytes"] > 0


def test_what_a_control_group_limits_is_measured_within_it(machine):
    machine.write("proc/self/cgroup", "1:name=systemd:/x\n0::/job\n")
    machine.write("sys/fs/cgroup/job/cpu.max", "200000 100000\n")
    machine.write("sys/fs/cgroup/job/cpu.stat", "usage_usec 5000000\nuser_usec 1\n")
    machine.write("sys/fs/cgroup/job/memory.max", "409600\n")
    machine.write("sys/fs/cgroup/job/memory.current", "300000\n")
    machine.write("sys/fs/cgroup/job/memory.stat", "anon 1\ninactive_file 95200\n")
    meter = machine.meter()
    assert "cpu_percent" not in meter.measure()
    machine.now += 10.0
    machine.write("sys/fs/cgroup/job/cpu.stat", "usage_usec 10000000\n")
    found = meter.measure()
    assert found["cpu_percent"] == 25.0
    assert (found["memory_bytes"], found["memory_percent"]) == (204800.0, 50.0)


def test_a_group_without_limits_is_no_limit(machine):
    machine.write("sys/fs/cgroup/cpu.max", "max 100000\n")
    machine.write("sys/fs/cgroup/memory.max", "max\n")
    machine.write("sys/fs/cgroup/memory.current", "1\n")
    meter = machine.meter()
    meter.measure()
    machine.does(user=200, idle=900, received=0, sent=0, read=0, written=0)
    found = meter.measure()
    assert (found["cpu_percent"], found["memory_percent"]) == (100.0, 75.0)


def test_a_machine_that_tells_nothing_has_no_measures(tmp_path):
    meter = Meter(str(tmp_path / "gone"), [], str(tmp_path))
    assert meter.measure() == meter.measure() == {}


class Library:
    """NVIDIA's management library as its functions look from outside: GPU 1 does not answer."""

    def __init__(self, answer=0):
        self.answer = answer
        self.is_open = False

    def nvmlInit_v2(self):
        self.is_open = self.answer == 0
        return self.answer

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        handle._obj.value = 1000 + index.value
        return 0 if index.value != 1 else 15

    def nvmlDeviceGetUtilizationRates(self, handle, used):
        used._obj[:] = [handle.value - 1000 + 40, 7]
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle, memory):
        memory._obj[:] = [8 << 30, 6 << 30, 2 << 30]
        return 0

    def nvmlShutdown(self):
        self.is_open = False
        return 0


def test_each_gpu_of_the_run_tells_its_use_and_its_memory(machine):
    library = Library()
    meter = machine.meter(gpus=[0, 1, 3], library=library)
    found = {name: value for name, value in meter.measure().items() if name.startswith("gpu")}
    assert found == {
        "gpu0_percent": 40.0,
        "gpu0_memory_bytes": 2.0 * (1 << 30),
        "gpu0_memory_percent": 25.0,
        "gpu3_percent": 43.0,
        "gpu3_memory_bytes": 2.0 * (1 << 30),
        "gpu3_memory_percent": 25.0,
    }
    assert library.is_open
    meter.close()
    assert not library.is_open


def test_gpus_that_an_engine_gave_by_words_are_measured_where_these_are_indices(machine):
    meter = machine.meter(gpus=["0", "GPU-8932f937", "MIG-1", "3"], library=Library())
    assert {name[:4] for name in meter.measure() if name.startswith("gpu")} == {"gpu0", "gpu3"}


def test_a_driver_is_opened_by_who_measures_alone(machine):
    library = Library()
    meter = machine.meter(gpus=[0], library=library)
    assert not library.is_open
    meter.measure()
    assert library.is_open


def test_a_driver_that_does_not_answer_tells_of_no_gpu(machine):
    meter = machine.meter(gpus=[0], library=Library(answer=9))
    assert not [name for name in meter.measure() if name.startswith("gpu")]
    meter.close()


def test_a_look_is_written_to_a_spool_of_the_node(machine, tmp_path):
    spool = tmp_path / "spool"
    spool.mkdir()
    watch = Watch(str(spool), 2, machine.meter(), 3600.0)
    watch.start()
    watch.look()
    watch.stop()
    (file,) = spool.iterdir()
    assert file.name == "system-2.metrics"
    assert '["s","{}",75.0,'.format(name_of(2, "memory_percent")) in file.read_text()
    assert "system-metrics" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(
    ("said", "seconds"), [("", 5.0), ("0", 0.0), ("-1", 0.0), ("2.5", 2.5), ("0.001", 0.5), ("often", 5.0)]
)
def test_how_often_is_said_by_a_variable_of_the_run_and_0_is_never(said, seconds, tmp_path):
    assert pace_s({"RUNYARD_SYSTEM_METRICS": said}) == seconds
    watch = Watch(str(tmp_path), 0, None, 0.0)
    watch.start()
    watch.stop()
    assert list(tmp_path.iterdir()) == []
