"""How a run looks in a notebook: as HTML, as text, as a picture; and what is sent to the front end when."""

import io
import json
import re
import sys
import threading
import types
import xml.etree.ElementTree as ElementTree

import pytest

from runyard.errors import ServerUnavailableError, UnknownRunError, UserErrorException
from runyard.experiment import Experiment
from runyard.notebook import as_html, as_text, exhibit_card, markup, picture
from runyard.notebook.cards import card
from runyard.notebook.images import LARGEST_BYTES, Images
from runyard.notebook.run_details import RunDetails
from runyard.notebook.run_view import Curve, RunView, Stage, look, plain
from runyard.notebook.screen import NotebookScreen, TextScreen, screen
from runyard.notebook.wording import duration, number
from runyard.protocol.exhibits import Exhibit, Matrix, MatrixCell, MatrixRow, Picture, Plot, Sheet, Stroke
from runyard.protocol.pictures import picture_type
from runyard.run import Run
from runyard.transport.base import Answer, Transport

NAN, INFINITY = float("nan"), float("inf")
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
SVG = "{http://www.w3.org/2000/svg}"


def view(**other):
    given = {
        "id": "exp_1_abc",
        "experiment": "exp",
        "status": "Running",
        "is_over": False,
        "target": "local",
        "address": "http://127.0.0.1:8000/runs/exp_1_abc?ticket=t",
        "command": "python train.py --epochs 3",
        "waits_for": "",
        "looked_at": 100.0,
        "created_at": 40.0,
        "stages": [Stage("Starting", 40.0, 40.5), Stage("Running", 40.5, None)],
    }
    given.update(other)
    return RunView(**given)


def exhibits(text):
    """One of each kind, all of whose words are this text."""
    return [
        Exhibit(text, text, text, text, pictures=[Picture(text, 9, text, 1.5), Picture("", 0, text, 1.5)]),
        Exhibit(
            text,
            text,
            text,
            plots=[Plot(text, text, [Stroke(text, [0.0, 1.0], [1.0, NAN]), Stroke(text, [0.0, 1.0], [2.0, 3.0])])],
            sheet=Sheet([text, text], [[text, text]], [False, True]),
        ),
        Exhibit(text, text, "", matrix=matrix(2, text)),
        Exhibit(text, text, "", matrix=matrix(25, text)),
    ]


def matrix(classes, label="cat"):
    """Nine tenths of each class are taken for what they are."""
    rows = [
        MatrixRow(
            label,
            [MatrixCell("90", 9, True) if at == of else MatrixCell("1", 1, False) for at in range(classes)],
            "90 %",
        )
        for of in range(classes)
    ]
    return Matrix([label] * classes, rows)


# As HTML


def test_the_head_shows_status_stages_command_and_a_link():
    head = as_html.sections(view())["head"]
    assert ">Running</span>" in head and "python train.py --epochs 3" in head
    assert 'href="http://127.0.0.1:8000/runs/exp_1_abc?ticket=t"' in head
    assert "0.5 s" in head and "1 min 0 s" in head


def test_what_a_script_wrote_is_text_and_never_markup():
    evil = "<script>alert('x')</script>"
    shown = as_html.whole(
        view(
            experiment=evil,
            id=evil,
            command=evil,
            tags={evil: evil},
            warnings=[evil],
            waits_for=evil,
            error={"message": evil, "traceback": evil},
            metrics=[(evil, evil)],
            curves=[Curve(evil + '"', [0.0, 1.0], [1.0, 2.0])],
            children=[(evil, "Completed", evil)],
            exhibits=exhibits(evil + '"'),
            log=(evil, [evil]),
        )
    )
    assert "<script" not in shown and "&lt;script&gt;" in shown
    assert set(re.findall(r"<(\w+)", shown)) <= {"div", "span", "b", "a", "pre", "table", "tr", "th", "td", "img"}


def test_an_address_that_is_none_of_the_web_is_no_link():
    assert "<a" not in as_html.sections(view(address="javascript:alert(1)"))["head"]


def test_a_failed_run_shows_its_cause_and_traceback():
    head = as_html.sections(
        view(
            status="Failed", error={"message": "exit code 1", "traceback": "line 1\nValueError: no"}, waits_for="twice"
        )
    )["head"]
    assert "exit code 1" in head and "ValueError: no" in head and "twice" not in head


def test_a_section_without_anything_to_say_is_empty():
    assert as_html.sections(view())["metrics"] == as_html.sections(view())["log"] == ""


def test_a_server_that_is_away_is_said_with_the_time_of_the_last_look():
    assert (
        "No server answers. It is asked again."
        in as_html.sections(view(), "No server answers. It is asked again.")["head"]
    )


def test_what_is_left_out_is_counted():
    shown = as_html.sections(view(metrics=[("a", "1")], more={"curves": 2, "metrics": 3}))["metrics"]
    assert "5 more metrics" in shown


def everything():
    """A view that has all there is to show."""
    return view(
        status="Failed",
        tags={"data": "mnist"},
        warnings=["no GPU"],
        error={"message": "exit code 1", "traceback": "ValueError: no"},
        metrics=[("final", "1")],
        more={"curves": 1, "children": 1},
        curves=[Curve("loss", [0.0, 1.0], [1.0, 2.0]), Curve("lost", [0.0], [NAN])],
        children=[("c", "Canceled", "")],
        exhibits=exhibits("samples"),
        images={"samples": "data:image/png;base64,iVBO"},
        log=("70_driver_log.txt", ["epoch 1"]),
    )


def contrast(colour, ground):
    """How well one colour stands out from another, as WCAG 2 reckons it; colours as #rrggbb."""

    def light(hexadecimal):
        shares = [int(hexadecimal[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05

    pair = sorted((light(colour), light(ground)))
    return pair[1] / pair[0]


STATUSES = sorted(as_html._COLOURS) + ["Preparing"]


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_white_on_a_colour_that_is_read(status):
    assert "background:{};color:#ffffff".format(as_html.colour(status)) in as_html.pill(status)
    assert contrast("#ffffff", as_html.colour(status)) >= 4.5


@pytest.mark.parametrize("colour", [as_html.colour(status) for status in STATUSES] + list(picture.COLOURS))
@pytest.mark.parametrize("ground", ["#ffffff", "#f8f8f8", "#1f1f1f", "#111111", "#000000"])
def test_every_stroke_is_seen_on_light_and_dark_grounds(colour, ground):
    assert contrast(colour, ground) >= 3


def test_text_and_grounds_are_the_notebooks_own():
    shown = as_html.whole(everything())
    for pill in (as_html.pill("Failed"), as_html.pill("Canceled")):
        assert pill in shown
        shown = shown.replace(pill, "")
    styles = ";".join(re.findall("style=[\"']([^\"']*)", shown)).split(";")
    grounds = [style.split(":")[1] for style in styles if style.startswith("background:")]
    named = dict(style.split(":") for style in styles if re.match("(color|fill)", style.strip()))
    veils = {"rgba(128,128,128,0.12)"} | {
        exhibit_card._VEIL.format(share) for share in (0.05, exhibit_card._MOST_VEILED)
    }
    assert {named.pop("color")} == {"inherit"}
    assert set(grounds) == veils | {"none"} and not named
    assert shown.count("<tr") == shown.count('<tr style="background:none"') > 1
    assert "style" not in markup.link("http://host/", "Page")


def test_a_notebooks_own_margins_push_no_table_and_no_curve_away_from_its_words():
    boxes = re.findall(r"<(?:table|img|pre)\b[^>]*>", as_html.whole(everything()))
    assert len(boxes) > 3
    assert [box for box in boxes if not re.search(r"\bmargin:0[;\"]", box)] == []


def test_nothing_has_to_be_run_or_fetched_for_the_display():
    shown = as_html.whole(everything())
    assert not re.search(r"<(script|style|link|iframe|object)\b|\son\w+=|url\(|javascript:|<svg", shown)
    assert all(source.startswith("data:") for source in re.findall('src="([^"]*)', shown))
    assert "<text" not in picture.svg([Curve("loss", [0.0, 1.0], [1.0, 2.0])])


def test_a_curve_stands_between_its_ends():
    shown = as_html.sections(view(curves=[Curve("loss", [0.0, 5.0, 10.0], [2.0, 0.25, 0.5])]))["metrics"]
    assert re.findall(r"<span>([^<]*)</span>", shown) == ["2", "0.25", "0", "10"]
    assert 'alt="loss: 3 points, last 0.5"' in shown
    assert "no finite number" in as_html.sections(view(curves=[Curve("loss", [0.0, 1.0], [NAN, NAN])]))["metrics"]


@pytest.mark.parametrize(("text", "ground"), [("#000000", "#ffffff"), ("#ffffff", "#000000"), ("#cccccc", "#111111")])
def test_the_number_of_a_cell_is_read_through_its_shade(text, ground):
    red, green, blue, share = map(float, re.findall(r"[\d.]+", exhibit_card._VEIL.format(exhibit_card._MOST_VEILED)))
    under = [int(ground[at : at + 2], 16) for at in (1, 3, 5)]
    mixed = [round(below + (above - below) * share) for below, above in zip(under, (red, green, blue))]
    assert contrast(text, "#{:02x}{:02x}{:02x}".format(*mixed)) >= 4.5


def test_a_picture_stands_in_the_output_itself_and_a_large_one_is_a_link():
    seen = Exhibit(
        "samples", "image", "", pictures=[Picture("a.png", 9, "no. 1", 1.5), Picture("b.png", 1 << 30, "no. 2", 1.5)]
    )
    shown = as_html.sections(view(exhibits=[seen], images={"a.png": "data:image/png;base64,iVBO"}))["exhibits"]
    assert '<img alt="samples, no. 1" src="data:image/png;base64,iVBO"' in shown
    assert re.search('<a href="http://[^"]*"[^>]*>b.png</a>', shown)


def test_of_a_table_that_grows_the_last_rows_are_shown():
    rows = [[str(row), "x" * 50] for row in range(100)]
    sheet = Sheet(["epoch", "text"], rows, [True, False], "the last 100 of 150 rows", from_end=True)
    shown = as_html.sections(view(exhibits=[Exhibit("rows", "table", "", sheet.note, sheet=sheet)]))["exhibits"]
    assert ">99</td>" in shown and ">92</td>" in shown and ">91</td>" not in shown
    assert re.search("the last 8 rows; <a [^>]*>more on the run&#x27;s page</a>", shown) and "the last 100" not in shown
    assert "x" * 39 + "…" in shown


def test_a_matrix_has_its_numbers_and_one_of_many_classes_its_shades_alone():
    few = as_html.sections(view(exhibits=[Exhibit("m", "confusion matrix", "", "90 % right", matrix=matrix(3))]))[
        "exhibits"
    ]
    assert few.count(">90</td>") == 3 and few.count("outline:1px") == 3 and "90 % right" in few
    many = as_html.sections(view(exhibits=[Exhibit("m", "confusion matrix", "", matrix=matrix(25))]))["exhibits"]
    assert ">90</td>" not in many and many.count('title="90"') == 25


def test_lines_of_one_picture_have_names_in_their_colours():
    lines = [Stroke(name, [0.0, 1.0], [at, at + 1.0]) for at, name in enumerate(("train", "test"))]
    shown = as_html.sections(view(exhibits=[Exhibit("loss", "table", "", plots=[Plot("loss", "epoch", lines)])]))[
        "exhibits"
    ]
    names = re.findall("border-bottom:2px solid (#\\w+)[^>]*>(\\w+)<", shown)
    assert names == [(picture.COLOURS[0], "train"), (picture.COLOURS[1], "test")]
    drawn = ElementTree.fromstring(picture.svg([Curve(line.label, line.xs, line.ys) for line in lines]))
    assert [line.get("stroke") for line in drawn.findall(SVG + "polyline")] == list(picture.COLOURS[:2])


# As a picture


def test_a_curve_is_a_picture_of_its_line():
    curve = Curve("loss", [0.0, 5.0, 10.0], [2.0, 1.0, 0.5])
    drawn = ElementTree.fromstring(picture.svg([curve]))
    (line,) = drawn.findall(SVG + "polyline")
    points = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
    assert len(points) == 3
    assert [y for _, y in points] == sorted(y for _, y in points)  # the loss falls: down is more in SVG
    assert len(drawn.findall(SVG + "circle")) == 1
    assert picture.address([curve]).startswith("data:image/svg+xml;base64,")


def test_a_value_that_is_no_finite_number_breaks_the_line():
    drawn = ElementTree.fromstring(picture.svg([Curve("a", [0, 1, 2, 3, 4], [1.0, 2.0, NAN, 1.0, INFINITY])]))
    assert [len(line.get("points").split()) for line in drawn.findall(SVG + "polyline")] == [2, 1]


@pytest.mark.parametrize(
    "values", [[NAN, NAN], [3.0, 3.0], [-1.7e308, 1.7e308], [5e-324, 0.0], [1.0], [INFINITY, -INFINITY, NAN]]
)
def test_a_strange_curve_is_drawn_within_its_frame(values):
    drawn = ElementTree.fromstring(picture.svg([Curve("a", [float(at) for at in range(len(values))], values)]))
    for line in drawn.findall(SVG + "polyline"):
        for point in line.get("points").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= picture.WIDTH and 0 <= y <= picture.HEIGHT
    as_text.bars(Curve("a", [float(at) for at in range(len(values))], values))


# As text


def test_the_text_has_the_stages_the_metrics_and_the_end_of_the_log():
    shown = as_text.text(
        view(
            curves=[Curve("loss", [0, 1, 2, 3], [4.0, 3.0, 2.0, 1.0])],
            metrics=[("final", "0.98")],
            log=("azureml-logs/70_driver_log.txt", ["epoch {}".format(at) for at in range(30)]),
            children=[("c1", "Completed", "evaluation")],
        )
    )
    assert "Starting 0.5 s > Running" in shown
    assert "█▆▃▁ 1" in shown and "final" in shown and "child c1 Completed evaluation" in shown
    assert "epoch 29" in shown and "epoch 19" not in shown
    assert "Web View: http://127.0.0.1:8000/" in shown


def test_what_is_no_number_is_text_where_there_is_no_html():
    rows = [["1", "0.5"], ["2", "0.25"]]
    shown = as_text.text(
        view(
            exhibits=[
                Exhibit(
                    "samples", "image", "", pictures=[Picture("a.png", 9, "no. 1", 1.5), Picture("", 0, "no. 2", 1.5)]
                ),
                Exhibit(
                    "epochs",
                    "table",
                    "",
                    plots=[Plot("loss", "epoch", [Stroke("loss", [1.0, 2.0], [0.5, 0.25])])],
                    sheet=Sheet(["epoch", "loss"], rows, [True, True]),
                ),
                Exhibit("confusion", "confusion matrix", "", "90 % right", matrix=matrix(2)),
                Exhibit("large", "confusion matrix", "", matrix=matrix(25)),
            ]
        )
    )
    assert "samples (image)\n    no. 1: a.png\n    no. 2: its file is not here\n" in shown
    assert "█▁ 0.25" in shown and "    epoch  loss\n        1   0.5\n        2  0.25\n" in shown
    assert "confusion (confusion matrix): 90 % right\n         cat  cat  found\n    cat   90    1   90 %\n" in shown
    assert "large (confusion matrix): drawn on the run's page" in shown


def test_a_long_curve_has_as_many_bars_as_fit():
    assert len(as_text.bars(Curve("a", list(range(1000)), [float(at) for at in range(1000)]))) == 40
    assert as_text.bars(Curve("a", [0, 1, 2], [NAN, 1.0, INFINITY])) == " ▅ "


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("\x1b[32mgreen\x1b[0m", "green"),
        ("10%\r20%\r30%", "30%"),
        ("100%\r", "100%"),
        ("\x1b]0;title\x07text\x00", "text"),
        ("a\tb", "a\tb"),
    ],
)
def test_a_log_line_is_what_a_terminal_would_end_with(line, seen):
    assert plain(line) == seen


@pytest.mark.parametrize(
    ("seconds", "said"), [(-1, "0.0 s"), (0.44, "0.4 s"), (9.96, "10 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_a_time_is_said_as_people_say_it(seconds, said):
    assert duration(seconds) == said


def test_a_number_has_six_digits_at_most():
    assert [number(value) for value in (0.1234567, 3.0, 1e-9, NAN)] == ["0.123457", "3", "1e-09", "nan"]


# Where it is shown


class FrontEnd:
    """Takes what IPython's ``display`` is given."""

    def __init__(self):
        self.pieces = {}
        self.sent = []
        self._came = threading.Condition()

    def display(self, bundle, raw, display_id, update):
        assert raw and update == (display_id in self.pieces)
        with self._came:
            self.pieces[display_id] = bundle
            self.sent.append(bundle["text/html"])
            self._came.notify_all()

    def until(self, html, timeout_s=120.0):
        """Whether a piece on show holds ``html``, waited for."""

        def there():
            return any(html in bundle["text/html"] for bundle in self.pieces.values())

        with self._came:
            return self._came.wait_for(there, timeout_s)


def test_only_a_section_that_has_changed_is_sent_again():
    front = FrontEnd()
    there = NotebookScreen(front.display)
    there.show({"head": "a", "metrics": "", "log": "x"}, "text")
    there.show({"head": "a", "metrics": "m", "log": "x"}, "text")
    there.show({"head": "b", "metrics": "m", "log": "x"}, "text 2")
    assert front.sent == ["a", "", "x", "", "m", "b"]
    assert [bundle["text/html"] for bundle in front.pieces.values()] == ["b", "m", "x", ""]
    assert [bundle["text/plain"] for bundle in front.pieces.values()] == ["text 2", "", "", ""]


def test_the_piece_that_comes_last_is_never_updated():
    front = FrontEnd()
    there = NotebookScreen(front.display)
    for time in range(3):
        there.show({"head": "head {}".format(time), "log": "log {}".format(time)}, "text")
        if time == 0:
            *_, last = front.pieces
            del front.pieces[last]  # an update of it would be taken for one of a piece that nobody knows
    assert sorted(bundle["text/html"] for bundle in front.pieces.values()) == ["head 2", "log 2"]


def test_without_a_notebook_the_text_is_printed(capsys):
    there = screen()
    assert isinstance(there, TextScreen) and not there.updates
    there.show({"head": "<b>html</b>"}, "the text")
    assert capsys.readouterr().out == "the text\n"


class Server(Transport):
    """Answers what a display asks of one run; ``coming`` holds what it does at the next looks."""

    def __init__(self):
        self.coming = []
        self.exhibits = []
        self.read = []
        self.logs = [
            {"name": "azureml-logs/65_job_prep-0.txt", "size": 9},
            {"name": "azureml-logs/70_driver_log.txt", "size": 9},
            {"name": "logs/other", "size": 9},
        ]
        self.record = {
            "id": "exp_1_abc",
            "experiment": "exp",
            "status": "Running",
            "created_at": 40.0,
            "portal_url": "http://127.0.0.1:1/runs/exp_1_abc",
            "target": "local",
            "spec": {"command": [], "script": "train.py", "arguments": ["--data", "a b"]},
        }

    def send(self, method, path, body, headers, stream, timeout_s):
        route = path.partition("?")[0][len("/api/v1/") :]
        if route == "runs/exp_1_abc" and self.coming:
            happens = self.coming.pop(0)
            if isinstance(happens, Exception):
                raise happens
            self.record = dict(self.record, **happens)
        answer = {
            "runs/exp_1_abc": self.record,
            "runs/exp_1_abc/why": {"status": "Queued", "reason": "waits for 1 node behind exp_1_old", "position": 2},
            "runs/exp_1_abc/events": [
                {"to_status": "Starting", "at": 40.0},
                {"to_status": "Running", "at": 41.0},
            ],
            "runs/exp_1_abc/metrics/summaries": {
                "metrics": [
                    {"name": "loss", "type": "azureml.v1.scalar", "count": 3, "last": 1.0, "max": 2.0, "glance": None},
                    {"name": "once", "type": "azureml.v1.scalar", "count": 1, "last": 7.0, "max": 7.0, "glance": None},
                    {
                        "name": "rows",
                        "type": "azureml.v1.table",
                        "count": 1,
                        "last": None,
                        "max": None,
                        "glance": "columns: x, y",
                    },
                ],
                "count": 3,
                "next": None,
            }
            if "drawable" not in path
            else {"metrics": [{"name": "loss"}], "count": 1, "next": None},
            "runs/exp_1_abc/metrics/exhibits": {"shown": self.exhibits, "more": 0},
            "metrics/curves": {"curves": [{"name": "loss", "xs": [1, 2, 3], "values": [2.0, "NaN", 1.0]}]},
            "runs/exp_1_abc/logs": self.logs,
            "runs": [{"id": "c{}".format(at), "status": "Canceled", "display_name": None} for at in range(21)],
        }.get(route)
        if route.startswith("runs/exp_1_abc/files/"):
            self.read.append(route.rpartition("/")[2])
            return Answer(200, {}, io.BytesIO(PNG))
        content = b"\x1b[1mepoch 1\x1b[0m\n" if answer is None else json.dumps(answer).encode("utf-8")
        return Answer(200, {}, io.BytesIO(content))


class Workspace:
    """What a run needs of a workspace."""

    name = "tests"

    def __init__(self):
        self.transport = Server()


def logged_picture(path, size_bytes):
    return {"path": path, "size_bytes": size_bytes, "caption": path, "at": 1.5}


@pytest.fixture
def run():
    return Run(Experiment(Workspace(), "exp"), "exp_1_abc")


class QuickDetails(RunDetails):
    refresh_s = 0.01


@pytest.fixture
def front_end(monkeypatch):
    """A stand-in for IPython in a kernel, with a front end that listens."""
    front = FrontEnd()
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.display = front.display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    return front


def test_a_look_gathers_what_there_is_to_see(run):
    seen = look(run, 50.0)
    assert (seen.status, seen.is_over, seen.target, seen.command) == (
        "Running",
        False,
        "local",
        "python train.py --data 'a b'",
    )
    assert [(stage.status, stage.ended_at) for stage in seen.stages] == [("Starting", 41.0), ("Running", None)]
    (curve,) = seen.curves
    assert (curve.name, curve.places, repr(curve.values)) == ("loss", [1.0, 2.0, 3.0], "[2.0, nan, 1.0]")
    assert seen.metrics == [("once", "7"), ("rows", "columns: x, y")]
    assert seen.log == ("azureml-logs/70_driver_log.txt", ["epoch 1"])
    assert (len(seen.children), seen.more) == (20, {"children": 1})


def test_a_picture_is_fetched_once_however_often_one_looks(run):
    there = run.experiment.workspace.transport
    small = [logged_picture("{}.png".format(at), 28) for at in range(4)]
    there.exhibits = [
        {
            "name": "rows",
            "kind": "table",
            "description": "",
            "sheet": {"titles": ["x"], "rows": [["1"]], "numeric": [True]},
        },
        {"name": "samples", "kind": "image", "description": "", "pictures": small},
        {"name": "large", "kind": "image", "description": "", "pictures": [logged_picture("l.png", LARGEST_BYTES + 1)]},
    ]
    images = Images()
    for _ in range(3):
        seen = look(run, 50.0, images)
    assert there.read == ["1.png", "2.png", "3.png"] == sorted(seen.images)  # the newest three
    assert all(address.startswith("data:image/png;base64,iVBORw0KGgo") for address in seen.images.values())
    assert seen.metrics == [("once", "7")]  # what is drawn is not told a second time
    assert look(run, 50.0).images == {} and len(there.read) == 3


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF0000WEBPVP8 ", "image/webp"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", None),
        (b"RIFF0000WAVE", None),
        (b"", None),
    ],
)
def test_what_a_picture_is_its_bytes_say_and_not_its_name(content, kind):
    assert picture_type(content) == kind


def test_of_several_ranks_a_look_shows_the_end_of_each_with_its_name(run):
    run._experiment.workspace.transport.logs = [
        {"name": "azureml-logs/70_driver_log_{}.txt".format(rank), "size": 9} for rank in (0, 1, 10)
    ]
    assert look(run, 50.0).log == ("azureml-logs/70_driver_log_*.txt", ["[0] epoch 1", "[1] epoch 1", "[10] epoch 1"])


def test_a_queued_run_says_what_it_waits_for(run):
    run.experiment.workspace.transport.record["status"] = "Queued"
    assert look(run, 50.0).waits_for == "waits for 1 node behind exp_1_old"


def test_a_display_follows_the_run_to_its_end(run, front_end):
    run.experiment.workspace.transport.coming = [{}, {}, {}, {"status": "Completed", "ended_at": 60.0}]
    QuickDetails(run).show()
    assert front_end.until("Completed</span>")
    assert not front_end.until("Running</span>", timeout_s=0.0)


def test_a_server_that_is_away_is_waited_for(run, front_end):
    away = ServerUnavailableError("No server answers at http://127.0.0.1:1.")
    run.experiment.workspace.transport.coming = [
        {},
        away,
        away,
        {"status": "Failed", "error": {"message": "exit code 1"}},
    ]
    QuickDetails(run).show()
    assert front_end.until("exit code 1")
    assert any("No server answers at http://127.0.0.1:1. It is asked again." in html for html in front_end.sent)


def test_a_run_that_is_gone_is_said_and_not_asked_for_again(run, front_end):
    coming = run.experiment.workspace.transport.coming = [{}, UnknownRunError("There is no run exp_1_abc."), {}]
    QuickDetails(run).show()
    assert front_end.until("There is no run exp_1_abc.")
    wait_for_threads("runyard-run-details")
    assert len(coming) == 1


def test_a_second_display_takes_the_place_of_the_first(run, front_end):
    details = QuickDetails(run)
    details.show()
    details.show()
    run.experiment.workspace.transport.coming = [{"status": "Completed", "ended_at": 60.0}]
    assert front_end.until("Completed</span>")
    wait_for_threads("runyard-run-details")


def test_the_data_of_the_display_has_azures_keys(run):
    found = RunDetails(run).get_widget_data()
    assert (found["status"], found["run_id"], found["run_logs"]) == ("Running", "exp_1_abc", "epoch 1")
    assert repr(found["run_metrics"][0]["series"]) == "[{'data': [2.0, nan, 1.0]}]"
    assert found["run_properties"]["created_utc"].startswith("1970-01-01T00:00:40")


def wait_for_threads(name):
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(120)
            assert not thread.is_alive()


def test_only_runs_have_details():
    with pytest.raises(UserErrorException, match="RunDetails shows a run, .* this is a str"):
        RunDetails("exp_1_abc")


def test_a_card_has_the_facts_that_are_known_and_escapes_them():
    shown = card([("Name", "<b>"), ("Folder", None), ("Page", "https://host/a?b&c")])
    assert "&lt;b&gt;" in shown and "Folder" not in shown
    assert '<a href="https://host/a?b&amp;c"' in shown
