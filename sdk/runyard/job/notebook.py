"""``python -m runyard.job.notebook x.ipynb [--name value ...]``: a notebook as a run's script.

Run by the interpreter of the run's environment, which has papermill. The kernel is that same interpreter, whatever
kernels the machine's users have installed; what cells print is printed as it comes; the notebook with its outputs
grows at ``outputs/x.output.ipynb``, so that what a failed or cancelled run had done by then is kept.
"""

import importlib
import inspect
import json
import logging
import os
import re
import signal
import sys
import tempfile
from typing import Any, Dict, List

from runyard.errors import UserErrorException
from runyard.notebook_parameters import SUFFIX, parameters

MISSING = (
    "This run's environment has no {}, which runs notebooks. Add the pip packages papermill and ipykernel to it (an "
    "environment that runyard builds has them)."
)
_KERNEL = "runyard"  # not "python3", nor "python", which is taken for it: a user may have installed another one there
_START_S = 600  # a kernel on a busy machine
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def main(notebook: str, arguments: List[str]) -> int:
    sys.path[:] = [path for path in sys.path if path not in ("", os.getcwd())]  # a script's own json.py is the kernel's
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the kernel is told to end, too
    papermill, failures = _needed("papermill"), _needed("papermill.exceptions")
    _needed("ipykernel")
    given = parameters(arguments)
    output = output_path(notebook, os.environ.get("RUNYARD_RUN_RANK", "0"))
    os.makedirs(os.path.dirname(output), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="runyard-notebook-") as folder:
        _install_kernel(folder)
        source = os.path.join(folder, os.path.basename(notebook))
        with open(source, "w", encoding="utf-8") as file:
            json.dump(readied(notebook), file)
        try:
            papermill.execute_notebook(
                source,
                output,
                given,
                kernel_name=_KERNEL,
                progress_bar=False,
                start_timeout=_START_S,
                **_live(papermill),
            )
        except failures.PapermillExecutionError as failed:
            sys.stdout.flush()
            sys.stderr.write(told(notebook, output, failed.exec_count, failed.traceback))
            return 1
    return 0


def _needed(name: str) -> Any:
    """A module of the run's environment; none of ours."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as lacking:
        raise ModuleNotFoundError(MISSING.format(lacking.name)) from None


def output_path(notebook: str, rank: str) -> str:
    """Where the notebook with its outputs goes; ranks after the first have a file of their own."""
    name = os.path.basename(notebook)[: -len(SUFFIX)]
    return os.path.join("outputs", name + (".output" if rank == "0" else ".rank-{}.output".format(rank)) + SUFFIX)


def readied(notebook: str) -> Dict[str, Any]:
    """The notebook, with a kernel named in it where it names none.

    Raises:
        UserErrorException: it is written in another language, or is none.
    """
    with open(notebook, encoding="utf-8") as file:
        try:
            found = json.load(file)
        except ValueError as fault:
            raise UserErrorException("{} is no notebook: {}.".format(notebook, fault)) from None
    metadata = found.setdefault("metadata", {})
    kernel = metadata.setdefault("kernelspec", {"name": "python3", "display_name": "Python 3"})
    language = kernel.get("language") or metadata.get("language_info", {}).get("name") or "python"
    if language.lower() not in ("python", "ipython"):
        raise UserErrorException("{} is written in {}; notebooks in Python are run.".format(notebook, language))
    kernel["language"] = "python"
    return dict(found)


def told(notebook: str, output: str, cell: Any, traceback: List[str]) -> str:
    """A failed cell in words: the traceback as IPython shows it, under the head by which the job knows one."""
    lines = _COLOURS.sub("", "\n".join(traceback)).split("\n")
    while lines and (lines[0].startswith("---") or "Traceback (most recent call last)" in lines[0]):
        del lines[0]
    head = "Cell [{}] of {} has failed. {} shows how far it came.\n\nTraceback (most recent call last):\n"
    return head.format(cell, notebook, output) + "\n".join(lines).rstrip() + "\n"


def _install_kernel(folder: str) -> None:
    """Makes this interpreter the only kernel that is found, with no start files or history of a user's."""
    kernel = os.path.join(folder, "kernels", _KERNEL)
    os.makedirs(kernel)
    said = {
        # Its ports are loopback's and take what is signed with a key that its user alone can read; that they are not encrypted
        # besides is the first line of every log, were it not for the level.
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"],
        "display_name": "Python 3",
        "language": "python",
        "env": {"PYDEVD_DISABLE_FILE_VALIDATION": "1"},  # of its debugger's
    }
    with open(os.path.join(kernel, "kernel.json"), "w", encoding="utf-8") as file:
        json.dump(said, file)
    os.environ["JUPYTER_PATH"] = folder  # searched before any other
    os.environ["JUPYTER_RUNTIME_DIR"] = os.environ["IPYTHONDIR"] = folder


def _live(papermill: Any) -> Dict[str, Any]:
    """The options by which what cells print is printed as it comes."""
    logger = logging.getLogger("papermill")
    if "stdout_file" in inspect.signature(papermill.execute_notebook).parameters:
        logger.setLevel(logging.ERROR)
        return {"stdout_file": sys.stdout, "stderr_file": sys.stderr}
    logger.setLevel(logging.INFO)  # the older way: each piece as a message
    logger.propagate = False
    logger.addHandler(_Printing())
    return {"log_output": True}


class _Printing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
