"""Every page in Debian's Chromium, over real runs: one trains meanwhile, one waits, one has failed, one is done.

With RUNYARD_PICTURES set to a folder, pictures of the pages are written there (`make pictures`).
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from runyard import AmlCompute, ComputeTarget, Environment, Experiment, Run, ScriptRunConfig, Workspace
from tests.end_to_end import browser as browsers
from tests.end_to_end.browser import SCREENS, Visit

pytestmark = pytest.mark.chromium

TRAINS = """
import math, os, sys, threading
from runyard import Run

run = Run.get_context()
print("\\x1b[1mreading\\x1b[0m 60,000 pictures <b>&amp;</b> \\x1b]0;a title\\x07done")
tick, step = threading.Event(), 0
while not os.path.exists(sys.argv[2]):
    run.log("loss", 2.3 * math.exp(-step / 20) + 0.05 * math.sin(step), step=step)
    run.log("accuracy", 1 - 0.9 * math.exp(-step / 15), step=step)
    print("\\x1b[32mepoch %d\\x1b[0m is over" % step)
    for part in (25, 50, 75, 100):
        print("\\r%3d%% of the pictures" % part, end="", flush=True)
    print(flush=True)
    step += 1
    tick.wait(0.2)
"""

WRITES = """
import base64, json, struct, zlib
from runyard import Run

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

rows = b"".join(b"\\0" + bytes(v for x in range(160) for v in (x, y * 2, 200 - x)) for y in range(90))
picture = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 160, 90, 8, 2, 0, 0, 0))
picture += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
open("outputs/picture.png", "wb").write(picture)
open("outputs/table.csv", "w").write("epoch,loss\\n" + "".join("%d,%.3f\\n" % (n, 1 / (n + 1)) for n in range(20)))
json.dump({"layers": [784, 128, 10], "classes": {"zero": 0}}, open("outputs/network.json", "w"))
open("outputs/notes.txt", "w").write("<script>alert('notes')</script>\\nplain words\\n")
cells = [
    {"cell_type": "markdown", "metadata": {}, "source": ["# What was tried\\n", "Three rates."]},
    {"cell_type": "code", "metadata": {}, "execution_count": 1, "source": ["plot(losses)"], "outputs": [
        {"output_type": "stream", "name": "stdout", "text": ["drawn\\n"]},
        {"output_type": "display_data", "metadata": {}, "data": {
            "image/png": base64.b64encode(picture).decode(), "text/plain": ["<Figure>"]}},
        {"output_type": "execute_result", "metadata": {}, "execution_count": 1, "data": {
            "text/html": ["<script>alert('cell')</script>"], "text/plain": ["a table of 3 rows"]}}]},
]
json.dump({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, open("outputs/report.ipynb", "w"))
run = Run.get_context()
for n in range(30):
    run.log("loss", 1 / (n + 1))
    print("epoch", n)
"""


@dataclass(frozen=True)
class Yard:
    """What the pages show. ``stop`` is the file that ends the training run."""

    workspace: Workspace
    trains: Run
    waits: Run
    done: Run
    done_again: Run
    failed: Run
    stop: Path

    @property
    def portal_url(self) -> str:
        return self.trains.get_portal_url()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browsers.started_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def axe() -> str:
    return browsers.axe_script()


@pytest.fixture(scope="module")
def yard(
    workspace: Workspace, this_python: Environment, tmp_path_factory: pytest.TempPathFactory, chromium: Browser
) -> Iterator[Yard]:
    folder = tmp_path_factory.mktemp("pages")
    stop = folder / "stop"

    def submit(name: str, text: str, *arguments: object, target: str = "local", experiment: str = "digits") -> Run:
        source = folder / name
        source.mkdir(exist_ok=True)
        (source / "train.py").write_text(text)
        (source / "README.md").write_text("How the digits are learnt.\n")
        config = ScriptRunConfig(
            str(source),
            "train.py",
            arguments=list(arguments),
            compute_target=target,
            environment=this_python,
        )
        return Experiment(workspace, experiment).submit(config, tags={"optimizer": "adam"})

    ComputeTarget.create(workspace, "one-node", AmlCompute.provisioning_configuration(max_nodes=1))
    (folder / "data").mkdir()
    (folder / "data" / "labels.csv").write_text("name,label\nfirst.png,3\nsecond.png,5\n")
    workspace.get_default_datastore().upload(str(folder / "data"), target_path="digits/raw", show_progress=False)
    done = submit("done", WRITES, "--rate", 0.1)
    done.wait_for_completion()
    done.register_model("digits", "outputs/network.json", tags={"stage": "trial"})
    done_again = submit("again", WRITES.replace("range(30)", "range(40)"), "--rate", 0.2)
    done_again.wait_for_completion()
    done_again.register_model("digits", "outputs/network.json", description="The better one.")
    failed = submit("failed", "raise ValueError('the <rate> is too high')\n", experiment="rates")
    failed.wait_for_completion(raise_on_error=False)
    trains = submit("trains", TRAINS, "--stop", stop, target="one-node")
    waits = submit("done", WRITES, target="one-node")
    yield Yard(workspace, trains, waits, done, done_again, failed, stop)
    stop.touch()
    for run in (trains, waits):
        run.cancel()
        run.wait_for_completion(raise_on_error=False)


@dataclass(frozen=True)
class View:
    """A page: its picture's name, its address, and what stands on it."""

    name: str
    address: Callable[[Yard], str]
    texts: tuple[str, ...]


VIEWS = [
    View("runs", lambda yard: "/runs", ("digits", "Running", "Queued", "Failed", "Columns")),
    View("runs-filtered", lambda yard: "/runs?filter=status%20=%20Failed", ("rates",)),
    View("run", lambda yard: f"/runs/{yard.trains.id}", ("Running", "loss", "epoch", "Details")),
    View("run-done", lambda yard: f"/runs/{yard.done.id}", ("Completed", "outputs/picture.png", "optimizer")),
    View("run-failed", lambda yard: f"/runs/{yard.failed.id}", ("Script failed", "the <rate> is too high")),
    View("run-waits", lambda yard: f"/runs/{yard.waits.id}", ("Queued", "one-node")),
    View("compare", lambda yard: f"/compare?run={yard.done.id}&run={yard.done_again.id}", ("What differs", "rate")),
    View("experiments", lambda yard: "/experiments", ("digits", "rates")),
    View("models", lambda yard: "/models", ("digits", "The better one.")),
    View("compute", lambda yard: "/compute", ("one-node", "1 of 1")),
    View("notice", lambda yard: "/no-such-page", ("Nothing here by that name",)),
]


@pytest.mark.parametrize("screen", SCREENS)
def test_every_page_can_be_read_and_used_on_every_screen(chromium: Browser, yard: Yard, axe: str, screen: str) -> None:
    wrong = []
    with browsers.visiting(chromium, yard.portal_url, screen) as visit:
        for view in VIEWS:
            visit.go(view.address(yard))
            visit.sees(*view.texts)
            if (wide_by := visit.wide_by()) > 0:
                wrong.append(f"{view.name} is {wide_by} px wider than the {screen}")
            wrong += [f"{view.name} in {screen}: {said}" for said in visit.hard_to_use(axe)]
            _take_picture(visit, view.name, screen)
        expected = [said for said in visit.complaints if "/no-such-page" in said]
        wrong += [said for said in visit.complaints if said not in expected]
    assert wrong == []


def _take_picture(visit: Visit, name: str, screen: str) -> None:
    folder = os.environ.get("RUNYARD_PICTURES")
    if folder:
        file = f"{name}.png" if screen == "light" else f"{name}-{screen}.png"
        visit.page.screenshot(path=str(Path(folder) / file), full_page=screen == "phone")
