"""Submits to Ray Jobs on a head node of its own. Arguments: script, repetitions.

A head node takes the machine's outside address where it can and leaves a dozen processes, so this
program is the first process of a process namespace, in a network namespace.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ray.job_submission import JobSubmissionClient
from stopwatch import first_lines, report

script, repetitions = sys.argv[1], int(sys.argv[2])
if os.getpid() != 1:
    sys.exit("This program ends every process that it sees: run it as the first one of a process namespace.")
ray = str(Path(sys.executable).parent / "ray")
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def submit(moment: str) -> Callable[[], object]:
    job = client.submit_job(entrypoint=f"{sys.executable} {script} {moment}")

    def wait() -> None:
        while not client.get_job_status(job).is_terminal():
            time.sleep(0.05)

    return wait


# Not below the working directory: the paths of Ray's sockets may not be long.
with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as sessions:
    head = ["--head", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", "--num-cpus=2"]
    limits = ["--disable-usage-stats", f"--temp-dir={sessions}", "--object-store-memory=100000000"]
    subprocess.run([ray, "start", *head, *limits], check=True)
    try:
        client = JobSubmissionClient("http://127.0.0.1:8265")
        report(first_lines(submit, Path.cwd(), repetitions))
    finally:
        os.kill(-1, signal.SIGKILL)
