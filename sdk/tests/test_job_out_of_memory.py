"""What the kernel's counters say of a SIGKILL. The files are those of a kernel; here they lie in a folder."""

import pytest

from runyard.job.out_of_memory import KNOWN, NO, POSSIBLE, MemoryWatch


class Kernel:
    def __init__(self, root):
        self.root = root
        self.watch = None

    def write(self, path, text):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def machine(self, count):
        self.write("proc/vmstat", "nr_free_pages 1\noom_kill {}\nother 3\n".format(count))

    def group(self, count, version=2):
        if version == 2:
            self.write("proc/self/cgroup", "0::/user/app\n")
            self.write("sys/fs/cgroup/user/app/memory.events", "low 0\noom {}\noom_kill {}\n".format(count, count))
        else:
            self.write("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/user/app\n0::/\n")
            self.write("sys/fs/cgroup/memory/user/app/memory.oom_control", "under_oom 0\noom_kill {}\n".format(count))


@pytest.fixture
def kernel(tmp_path):
    return Kernel(tmp_path)


@pytest.mark.parametrize("version", [1, 2])
def test_a_kill_that_the_own_control_group_counted_is_known(kernel, version):
    kernel.machine(0), kernel.group(0, version)
    watch = MemoryWatch(str(kernel.root))
    kernel.machine(1), kernel.group(1, version)
    assert watch.verdict(1) == KNOWN
    assert watch.touched_the_group()


def test_a_kill_that_only_the_machine_counted_may_be_somebody_elses(kernel):
    kernel.machine(4), kernel.group(2)
    watch = MemoryWatch(str(kernel.root))
    kernel.machine(5)
    assert watch.verdict(1) == POSSIBLE
    assert not watch.touched_the_group()


def test_a_sigkill_that_no_counter_saw_has_another_cause(kernel):
    kernel.machine(4), kernel.group(2)
    assert MemoryWatch(str(kernel.root)).verdict(1) == NO


def test_a_kernel_that_tells_nothing_leaves_it_possible(kernel):
    assert MemoryWatch(str(kernel.root)).verdict(1) == POSSIBLE


def test_a_kill_of_long_ago_is_not_taken_for_this_one(kernel):
    kernel.machine(0), kernel.group(0)
    watch = MemoryWatch(str(kernel.root))
    kernel.machine(1), kernel.group(1)
    watch.look()
    assert watch.verdict(1) == KNOWN  # it may have happened just before that look
    watch.look()
    assert watch.verdict(1) == NO


def test_a_container_that_shows_its_group_as_the_root_is_read(kernel):
    kernel.write("proc/self/cgroup", "0::/docker/abc\n")
    kernel.write("sys/fs/cgroup/memory.events", "oom_kill 0\n")
    watch = MemoryWatch(str(kernel.root))
    kernel.write("sys/fs/cgroup/memory.events", "oom_kill 1\n")
    assert watch.verdict(1) == KNOWN
