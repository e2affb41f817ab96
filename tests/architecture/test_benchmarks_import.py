"""Every benchmark can be run: it imports, says what it measures, and its floor gives figures."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from benchmarks.measurement import Bench, Figure  # noqa: E402
from benchmarks.peers import PROGRAMS, REQUIREMENTS, PeerEnvironments  # noqa: E402
from benchmarks.report import Row, as_json, markdown  # noqa: E402
from benchmarks.run import BENCHMARKS  # noqa: E402


@pytest.fixture
def bench(tmp_path):
    return Bench(quick=True, scratch=tmp_path, peers=PeerEnvironments(tmp_path / "cache", allowed=False))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_imports_and_measures_its_floor(name, bench):
    module = importlib.import_module("benchmarks." + name)
    figures = module.floor(bench)
    assert {figure.measure for figure in figures} <= {measure.name for measure in module.MEASURES}
    assert all(figure.median > 0 for figure in figures)
    targets = [measure for measure in module.MEASURES if measure.target and measure.target.factor]
    assert {measure.name for measure in targets} <= {figure.measure for figure in figures}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_without_peers_says_so_for_each(name, bench):
    outcomes = importlib.import_module("benchmarks." + name).peers(bench)
    assert outcomes
    assert {outcome.reason for outcome in outcomes} == {"not measured: run without peers"}


def test_every_program_is_used_and_every_peer_is_pinned():
    text = "".join(path.read_text() for path in ROOT.glob("benchmarks/*.py"))
    unused = [path.name for path in PROGRAMS.glob("[a-z]*_*.py") if path.name not in text]
    assert unused == []
    for requirements in REQUIREMENTS.values():
        assert "==" in requirements[0]


def test_a_report_shows_figures_ratios_and_targets():
    module = importlib.import_module("benchmarks.run_log")
    row = Row(
        "run_log",
        module.TITLE,
        module.METHOD,
        module.MEASURES,
        ours=(Figure("runyard", "p50", (4.0, 5.0, 6.0)),),
        floor=(Figure("os.write", "p50", (2.0,)),),
        peers=(Figure("other 1.0", "p50", (50.0,)),),
    )
    report = markdown([row], {"memory": "1 GiB"})
    assert "runyard, p50: ≤ 5× the floor asked, 2.5× reached: met." in report
    ours, other = (next(line for line in report.splitlines() if name in line) for name in ("**runyard**", "other 1.0"))
    assert [cell.strip() for cell in ours.split("|")][2:5] == ["5 [4–6]", "2.5", ""]
    assert [cell.strip() for cell in other.split("|")][2:5] == ["50 [50–50]", "25", "10"]
    outcomes = as_json([row], {})["benchmarks"][0]["outcomes"]
    assert [(entry["role"], entry["median"]) for entry in outcomes] == [
        ("runyard", 5.0),
        ("floor", 2.0),
        ("peer", 50.0),
    ]
