"""Runs a Metaflow flow as its documentation does, by the command line. Arguments: flow, repetitions."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from stopwatch import first_lines, report

flow, repetitions = sys.argv[1], int(sys.argv[2])


def submit(moment: str) -> Callable[[], object]:
    return subprocess.Popen([sys.executable, flow, "run", "--moment", moment]).wait


report(first_lines(submit, Path.cwd(), repetitions))
