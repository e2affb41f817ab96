"""Programs of other packages that run beside this one for as long as it needs them: MLflow's server, TensorBoard."""

import contextlib
import importlib.util
import shutil
import signal
import sys
import threading
from typing import Iterator, List, Optional


def uv_program() -> Optional[List[str]]:
    """How uv is called, which fetches what this Python lacks; None where there is none."""
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    return [found] if found else None


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """A closed terminal and SIGTERM end what is inside as Ctrl+C does: no program is left behind."""
    numbers = (signal.SIGTERM, signal.SIGHUP) if threading.current_thread() is threading.main_thread() else ()
    # What nohup has set stays, and what was not set from Python could not be put back.
    told = [number for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = [(number, signal.signal(number, signal.default_int_handler)) for number in told]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
