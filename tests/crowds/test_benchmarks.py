"""Each row of ``make bench`` that needs nothing but a server, in its short form: it runs through, whatever its figures."""

import importlib
from pathlib import Path

import pytest
from benchmarks.measurement import Absent, Bench
from benchmarks.peers import PeerEnvironments
from benchmarks.run import BENCHMARKS, ON_ENGINES

from tests.crowds.crowd import Crowd

# What they need is tested elsewhere: Chromium, MPICH; or they do nothing but start servers, which takes half a minute;
# or they wait for a crowd of browsers that a busy machine does not get through in their time.
ELSEWHERE = ("pages_in_a_browser", "mpi_launch", "load", "server_start", "disk_per_run", *ON_ENGINES)
HERE = [name for name in BENCHMARKS if name not in ELSEWHERE]


@pytest.mark.parametrize("name", HERE)
def test_a_benchmark_gives_each_of_its_figures_and_no_error(name: str, crowd: Crowd, tmp_path: Path) -> None:
    bench = Bench(True, tmp_path, PeerEnvironments(tmp_path / "cache", allowed=False), crowd.workspace)
    module = importlib.import_module(f"benchmarks.{name}")
    figures = [outcome for outcome in module.ours(bench) if not isinstance(outcome, Absent)]
    assert {figure.measure for figure in figures} == {measure.name for measure in module.MEASURES}
    assert all(sample == sample for figure in figures for sample in figure.samples)  # NaN: there was nothing to measure
    wrong = [figure.samples for figure in figures if figure.measure == "errors" and any(figure.samples)]
    assert wrong == []
    assert crowd.complaints() == ""
