"""The MLflow server that an import starts: what ends it, and what it may not import."""

import os
import signal
import subprocess
import sys

import pytest

from runyard import beside, mlflow_serving


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_ends_an_import_in_order(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        with beside.ended_in_order():
            os.kill(os.getpid(), number)
            signal.pause()
    assert signal.getsignal(number) is before


def test_what_lies_beside_the_data_is_not_imported(tmp_path):
    packages, data = tmp_path / "packages", tmp_path / "data"
    (packages / "mlflow").mkdir(parents=True)
    (packages / "mlflow" / "__init__.py").write_text("")
    (packages / "mlflow" / "__main__.py").write_text("import sys, wave\nprint(wave.__file__, sys.argv)\n")
    data.mkdir()
    (data / "wave.py").write_text("raise SystemExit('imported from beside the data')\n")
    command = mlflow_serving._program(sys.executable)
    done = subprocess.run(
        [*command, "server"], cwd=data, env={**os.environ, "PYTHONPATH": str(packages)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert str(data) not in done.stdout and "'server']" in done.stdout
