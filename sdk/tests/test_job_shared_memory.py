"""What MPICH's ranks leave in memory when they are killed. The files are MPICH's by name; here they lie on a disk."""

import ctypes
import mmap
import os
import time
from contextlib import contextmanager

import pytest

from runyard.job import processes
from runyard.job.shared_memory import remove_left

pytestmark = pytest.mark.skipif(not processes.has_process_table(), reason="this system shows no /proc")
OLD = 1500000000


@pytest.fixture
def folder(tmp_path):
    for name in ("mpich_shm_1f_0", "mpich_shm_1f_1", "mpich_shar_tmpAbCdEf", "mpich_shm_old_0", "sem.other"):
        (tmp_path / name).write_bytes(bytes(4096))
    os.utime(str(tmp_path / "mpich_shm_old_0"), (OLD, OLD))
    return tmp_path


def test_what_no_process_has_any_more_is_removed_and_nothing_else_of_the_folder(folder):
    remove_left(time.time() - 60, str(folder))
    assert sorted(os.listdir(str(folder))) == ["mpich_shm_old_0", "sem.other"]


@contextmanager
def mapped(path):
    """The file is in this process's memory, and not open. Python's own ``mmap`` would keep it open."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype, number = ctypes.c_void_p, ctypes.c_size_t
    with open(str(path), "rb") as file:
        at = libc.mmap(None, number(4096), mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), ctypes.c_long(0))
    try:
        yield
    finally:
        libc.munmap(ctypes.c_void_p(at), number(4096))


def test_what_a_process_has_mapped_or_open_stays(folder):
    with mapped(folder / "mpich_shm_1f_0"), open(str(folder / "mpich_shm_1f_1"), "rb"):
        remove_left(OLD, str(folder))
        assert sorted(os.listdir(str(folder))) == ["mpich_shm_1f_0", "mpich_shm_1f_1", "sem.other"]
    remove_left(OLD, str(folder))
    assert os.listdir(str(folder)) == ["sem.other"]


def test_a_folder_may_go_by_another_name_than_the_kernels(folder, tmp_path_factory):
    link = tmp_path_factory.mktemp("dev") / "shm"
    link.symlink_to(folder)
    with mapped(folder / "mpich_shm_1f_0"), open(str(folder / "mpich_shm_1f_1"), "rb"):
        remove_left(OLD, str(link))
        assert sorted(os.listdir(str(folder))) == ["mpich_shm_1f_0", "mpich_shm_1f_1", "sem.other"]


def test_a_machine_without_that_folder_has_nothing_to_remove(tmp_path):
    remove_left(OLD, str(tmp_path / "shm"))
