import platform
import subprocess
import sys
from pathlib import Path

import pytest

import runyard_server

COUNT = """
import resource, sys
if sys.argv[1] == "keep":
    from runyard_server.artifacts.allocation import keep_large_blocks
    keep_large_blocks()
def move():
    for _ in range(200):
        blocks = [bytes([1]) * (1 << 20) for _ in range(3)]
        joined = b"".join(blocks)
move()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
move()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_large_blocks_are_used_again_without_new_pages() -> None:
    # Processes of their own: the setting is the whole process's and cannot be taken back.
    def faults(how: str) -> int:
        environment = {"PYTHONPATH": ":".join([str(Path(runyard_server.__file__).parent.parent), *sys.path])}
        command = [sys.executable, "-c", COUNT, how]
        return int(subprocess.run(command, check=True, stdout=-1, env=environment).stdout)

    assert faults("keep") < 100
    assert faults("give back") > 1000
