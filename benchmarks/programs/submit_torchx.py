"""Submits with TorchX to its local_cwd scheduler. Arguments: script, repetitions."""

import sys
from collections.abc import Callable
from pathlib import Path

from stopwatch import first_lines, report
from torchx.runner import get_runner

script, repetitions = sys.argv[1], int(sys.argv[2])

with get_runner() as runner:

    def submit(moment: str) -> Callable[[], object]:
        app = runner.run_component(
            "utils.python", ["--script", script, moment], scheduler="local_cwd", cfg={"prepend_cwd": False}
        )
        return lambda: runner.wait(app, wait_interval=0.05)

    report(first_lines(submit, Path.cwd(), repetitions))
