"""Every benchmark can be run: it imports, says what it measures, and its floor gives figures."""

import importlib
import sys
import threading
import xml.etree.ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from benchmarks.measurement import Absent, Bench, Figure, Measure, Target  # noqa: E402
from benchmarks.peers import PROGRAMS, REQUIREMENTS, PeerEnvironments  # noqa: E402
from benchmarks.picture import svg  # noqa: E402
from benchmarks.report import Row, as_json, markdown  # noqa: E402
from benchmarks.run import BENCHMARKS, ON_ENGINES, outcomes_of  # noqa: E402

from runyard_server.testing import ray_cluster, slurm_cluster  # noqa: E402


@pytest.fixture
def bench(tmp_path):
    return Bench(quick=True, scratch=tmp_path, peers=PeerEnvironments(tmp_path / "cache", allowed=False))


# A Ray takes a minute to start, and TensorFlow to be installed: `make bench` alone measures these.
MINUTES = ("ray_first_line", "horovod_start")
QUICK = [name for name in BENCHMARKS if name not in MINUTES]


@pytest.mark.parametrize("name", QUICK)
def test_a_benchmark_imports_and_measures_its_floor(name, bench):
    module = importlib.import_module("benchmarks." + name)
    figures = module.floor(bench)
    absent = [figure.reason for figure in figures if isinstance(figure, Absent)]
    if name in ON_ENGINES and absent:
        pytest.skip(absent[0])
    assert {figure.measure for figure in figures} <= {measure.name for measure in module.MEASURES}
    assert all(figure.median > 0 for figure in figures)
    targets = [measure for measure in module.MEASURES if measure.target and measure.target.factor]
    assert {measure.name for measure in targets} <= {figure.measure for figure in figures}


@pytest.mark.parametrize("name", MINUTES)
def test_a_benchmark_that_takes_minutes_imports_and_says_what_it_measures(name):
    module = importlib.import_module("benchmarks." + name)
    assert module.TITLE and module.METHOD and module.MEASURES
    assert callable(module.floor) and callable(module.ours)


@pytest.mark.parametrize("name", ON_ENGINES)
def test_a_benchmark_on_an_engine_that_is_not_here_says_so(name, bench, monkeypatch):
    monkeypatch.setenv("PATH", "")
    for module in (slurm_cluster, ray_cluster):
        module.missing.cache_clear()
    (outcome,) = importlib.import_module("benchmarks." + name).floor(bench)
    for module in (slurm_cluster, ray_cluster):
        module.missing.cache_clear()
    assert isinstance(outcome, Absent) and "not found: apt-get install" in outcome.reason


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name not in (*ON_ENGINES, "load")])
def test_a_benchmark_without_peers_says_so_for_each(name, bench):
    outcomes = importlib.import_module("benchmarks." + name).peers(bench)
    assert outcomes
    assert {outcome.reason for outcome in outcomes} == {"not measured: run without peers"}


def test_every_program_is_used_and_every_peer_is_pinned():
    text = "".join(path.read_text() for path in ROOT.glob("benchmarks/**/*.py"))
    programs = PROGRAMS.glob("[a-z]*_*.py")
    unused = [path.name for path in programs if path.name not in text and f"from {path.stem} import" not in text]
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


def test_a_part_that_fails_or_never_ends_costs_only_its_own_figures(bench):
    def failing(_):
        raise RuntimeError("broken")

    def endless(_):
        threading.Event().wait(60)

    assert outcomes_of(failing, bench, "runyard") == [Absent("runyard", "failed with RuntimeError, see the terminal")]
    assert outcomes_of(endless, bench, "the peers", limit_s=0.01) == [
        Absent("the peers", "failed with Overdue, see the terminal")
    ]
    figure = Figure("runyard", "p50", (1.0,))
    assert outcomes_of(lambda _: [figure], bench, "runyard") == [figure]


def test_the_picture_shows_who_is_slower_on_the_right_whichever_way_the_measure_counts():
    measures = (
        Measure("time", "ms", target=Target(factor=5)),
        Measure("rate", "per s", more_is_better=True, target=Target(bound=20)),
    )
    row = Row(
        "row",
        "A row <with> a `word`",
        "",
        measures,
        ours=(Figure("runyard", "time", (2.0,)), Figure("runyard", "rate", (50.0,))),
        floor=(Figure("bare", "time", (1.0,)), Figure("bare", "rate", (100.0,))),
        peers=(Figure("other 1.2.3", "time", (40.0,)), Figure("other 1.2.3", "rate", (1.0,))),
    )
    drawn = xml.etree.ElementTree.fromstring(svg([row], {"date": "2026-01-01"}))
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in drawn.iter(space + "text")]
    assert {"runyard 2×", "other 40×", "other 100×", "A row <with> a word", "floor: bare"} <= set(texts)
    marks = [(mark.get("class"), float(mark.get("cx")), mark.get("cy")) for mark in drawn.iter(space + "circle")]
    lanes = {y: {kind: x for kind, x, other in marks if other == y} for _, _, y in marks[2:]}  # two are the legend's
    assert len(lanes) == 2
    assert all(lane["ours"] < lane["peer"] for lane in lanes.values())
    asked = [float(line.get("x1")) for line in drawn.iter(space + "line") if line.get("class") == "target"][1:]
    assert all(x > lane["ours"] for x, lane in zip(asked, lanes.values(), strict=True))


def test_a_row_without_a_floor_is_no_part_of_the_picture():
    row = Row("row", "Row", "", (Measure("time", "ms"),), (Figure("runyard", "time", (2.0,)),), (), ())
    assert "Nothing here was measured beside a floor" in svg([row], {})
