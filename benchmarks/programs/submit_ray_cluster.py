"""Submits to Ray Jobs of a cluster that runs. Arguments: address, script, folder of the moments, repetitions, rest between."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from ray.job_submission import JobSubmissionClient
from stopwatch import first_lines, report

address, script, folder, repetitions, rest_s = sys.argv[1:]
client = JobSubmissionClient(address)


def submit(moment: str) -> Callable[[], object]:
    job = client.submit_job(entrypoint=f"{sys.executable} {script} {moment}", entrypoint_num_cpus=2)

    def wait() -> None:
        while not client.get_job_status(job).is_terminal():
            time.sleep(0.05)

    return wait


report(first_lines(submit, Path(folder), int(repetitions), float(rest_s)))
