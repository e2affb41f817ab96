"""Follows the log of a Ray job on a head node of its own. Arguments: script, lines, seconds between two of them.

It is the first process of a process namespace, as ``submit_ray.py`` is and for the same reason.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ray.job_submission import JobSubmissionClient
from stopwatch import latencies, report

if os.getpid() != 1:
    sys.exit("This program ends every process that it sees: run it as the first one of a process namespace.")
ray = str(Path(sys.executable).parent / "ray")
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


async def follow(client: JobSubmissionClient, job: str) -> list[tuple[float, str]]:
    return [(time.time(), text) async for text in client.tail_job_logs(job)]


# Not below the working directory: the paths of Ray's sockets may not be long.
with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as sessions:
    head = ["--head", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", "--num-cpus=2"]
    limits = ["--disable-usage-stats", f"--temp-dir={sessions}", "--object-store-memory=100000000"]
    subprocess.run([ray, "start", *head, *limits], check=True)
    try:
        jobs = JobSubmissionClient("http://127.0.0.1:8265")
        job_id = jobs.submit_job(entrypoint=" ".join([sys.executable, *sys.argv[1:]]))
        report(latencies(asyncio.run(follow(jobs, job_id))))
    finally:
        os.kill(-1, signal.SIGKILL)
