"""mpiexec by itself: starts the script's ranks, and keeps nothing. Arguments: script, ranks, repetitions, rest between."""

import subprocess
import sys
from pathlib import Path

from stopwatch import first_lines, report

script, ranks, repetitions, rest_s = sys.argv[1:]
mpiexec = Path(sys.executable).parent / "mpiexec"


def submit(moment):
    return subprocess.Popen([mpiexec, "-n", ranks, sys.executable, script, moment]).wait


report(first_lines(submit, Path.cwd(), int(repetitions), float(rest_s)))
