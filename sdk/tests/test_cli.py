"""The command line: how it is read, what it prints, its exit codes; against a server that answers from a table."""

import argparse
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import runyard as runyard_package
from runyard import errors
from runyard.cli import configuration, main, output
from runyard.cli.call import Call
from runyard.cli.output import Column, Output
from runyard.errors import UnknownRunError, UserErrorException
from runyard.transport.base import Answer, Transport

CREATED = 1566000000.0


def run_record(run_id, **values):
    record = {
        "id": run_id,
        "number": 1,
        "experiment": "mnist",
        "type": "azureml.scriptrun",
        "status": "Completed",
        "created_at": CREATED,
        "version": 7,
        "attempt": 1,
        "parent_id": None,
        "display_name": None,
        "description": None,
        "reason": "outputs_collected",
        "message": "",
        "started_at": CREATED + 1,
        "ended_at": CREATED + 126,
        "target": "local",
        "submitted_by": "user",
        "snapshot": "ab" * 32,
        "environment_key": None,
        "spec": None,
        "error": None,
        "warnings": [],
        "tags": {},
        "properties": {},
        "portal_url": "http://127.0.0.1:1/runs/" + run_id,
    }
    return dict(record, **values)


class Server(Transport):
    """Answers ``routes``: (method, path without query) to an answer, or to a function of what was sent."""

    def __init__(self, routes):
        self.routes = routes
        self.asked = []

    def send(self, method, path, body, headers, stream, timeout_s):
        from urllib.parse import parse_qsl

        path, _, query = path[len("/api/v1") :].partition("?")
        sent = json.loads(body.decode("utf-8")) if body else dict(parse_qsl(query))
        self.asked.append((method, path, sent))
        status, answer = 200, self.routes.get((method, path), KeyError(path))
        if callable(answer):
            answer = answer(sent)
        if isinstance(answer, KeyError):
            message = "There is no {}.".format(path)
            status, answer = 404, {"error": {"code": "unknown_run", "message": message}}
        return Answer(status, {}, io.BytesIO(json.dumps(answer).encode("utf-8")))


class Workspace:
    name = "ws"
    folder = None

    def __init__(self, routes):
        self.transport = Server(routes)


@pytest.fixture
def runyard(capsys, monkeypatch):
    """Runs a command line against routes; gives (exit code, standard output, standard error)."""
    monkeypatch.delenv("RUNYARD_DEBUG", raising=False)

    def run(*words, routes=None):
        workspace = Workspace({("GET", "/runs"): [], **(routes or {})})
        code = main.main(words, workspace)
        said = capsys.readouterr()
        run.asked = workspace.transport.asked
        return code, said.out, said.err

    return run


def python(program, stdout=subprocess.PIPE):
    """Runs a program in a fresh interpreter that finds this runyard."""
    environment = dict(os.environ, PYTHONPATH=str(Path(runyard_package.__file__).parents[1]))
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, stdout=stdout, stderr=subprocess.PIPE, encoding="utf-8")


def given(*words):
    return main.parser().parse_args(words)


# How it is read


@pytest.mark.parametrize(
    "words",
    [
        ("--workspace", "vision", "--json", "run", "list"),
        ("run", "--workspace", "vision", "--json", "list"),
        ("run", "list", "--workspace", "vision", "--json"),
    ],
)
def test_common_options_stand_before_or_after_the_noun(words):
    read = given(*words)

    assert (read.workspace, read.json) == ("vision", True)


def test_what_follows_the_script_is_the_scripts_own():
    read = given("submit", "--tag", "a=b", "train.py", "--tag", "c", "--json", "-f", "-1", "--", "x y")

    assert (read.script, read.arguments) == ("train.py", ["--tag", "c", "--json", "-f", "-1", "--", "x y"])
    assert (read.tag, read.json, read.follow) == ([("a", "b")], False, False)


def test_options_are_never_guessed_from_their_beginning():
    with pytest.raises(Exception, match="--work"):
        given("run", "list", "--work", "x")


def test_a_misspelt_command_is_told_with_what_was_probably_meant(runyard):
    code, out, err = runyard("rnu")

    assert (code, out) == (2, "")
    assert "there is no 'rnu' (did you mean 'run'?). There are: submit," in err


def test_a_usage_error_is_json_for_programs(runyard):
    code, out, err = runyard("run", "show", "--json")

    assert (code, out) == (2, "")
    assert json.loads(err)["error"]["message"] == "the following arguments are required: RUN"


@pytest.mark.parametrize("words", [(), ("run",), ("env", "registered")])
def test_a_noun_alone_shows_its_help(runyard, words):
    code, out, err = runyard(*words)

    assert (code, out) == (2, "")
    assert err.startswith("usage: runyard")
    assert "list" in err


def test_help_names_every_command_and_every_exit_code(runyard):
    code, out, _ = runyard("--help")

    assert code == 0
    for name in ("submit", "run", "model", "compute", "datastore", "env", "up", "down", "status", "why", "rerun"):
        assert "\n  {} ".format(name) in out
    for number, meaning in main.EXIT_CODES:
        assert "{:<4} {}".format(number, meaning) in out


def test_help_loads_nothing_that_speaks_to_a_server():
    done = python("from runyard.cli.main import main; main(['--help']); import sys; print(sorted(sys.modules))")

    assert done.returncode == 0, done.stderr
    loaded = done.stdout.rsplit("\n[", 1)[1]
    assert "'argparse'" in loaded
    for costly in ("http.client", "runyard.workspace", "runyard.run", "subprocess", "email"):
        assert "'{}'".format(costly) not in loaded


# What it prints


def test_a_table_is_aligned_and_never_cuts_an_id():
    out = io.StringIO()
    columns = [
        Column("RUN"),
        Column("TOOK", right=True),
        Column("EXPERIMENT", shrinks=True),
        Column("TAGS", shrinks=True),
    ]
    rows = [("r" * 30, "3 s", "a-long-experiment", "k=v"), ("r2", "12 s", "e", None)]

    Output(out=out, width=46).table(columns, rows)

    assert out.getvalue().split("\n") == [
        "RUN                             TOOK",
        "r" * 30 + "   3 s",
        "r2                              12 s",
        "",
    ]


def test_a_column_that_shrinks_says_that_it_was_cut():
    out = io.StringIO()

    Output(out=out, width=20).table([Column("A"), Column("B", shrinks=True)], [("1", "abcdefghijklmnopqrstuvwxyz")])

    assert out.getvalue().split("\n")[1] == "1  abcdefghijklmnop…"


def test_a_table_in_a_pipe_is_not_cut():
    out = io.StringIO()

    Output(out=out).table([Column("A", shrinks=True)], [("x" * 500,)])

    assert "x" * 500 in out.getvalue()


def test_what_others_wrote_commands_no_terminal():
    out = io.StringIO()

    Output(out=out).table([Column("TAGS")], [("\x1b[2Jhidden\nnext\ttab",)])

    assert out.getvalue().split("\n")[1] == "?[2Jhidden next tab"


def test_wide_letters_take_two_cells():
    out = io.StringIO()

    Output(out=out).table([Column("A"), Column("B")], [("手書き", "x"), ("abcdef", "y")])

    assert out.getvalue().split("\n")[1:3] == ["手書き  x", "abcdef  y"]


def test_json_has_no_numbers_that_json_has_not():
    out = io.StringIO()

    Output(True, out=out).json({"loss": [float("nan"), float("inf"), -float("inf"), 0.5]})

    strict = json.loads(out.getvalue(), parse_constant=pytest.fail)
    assert strict == {"loss": ["NaN", "Infinity", "-Infinity", 0.5]}


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1m 00s"),
        (185, "3m 05s"),
        (8040, "2h 14m"),
        (442800, "5d 03h"),
    ],
)
def test_durations_are_said_in_two_units(seconds, text):
    assert output.duration(seconds) == text


def test_runs_are_listed_for_people(runyard):
    records = [run_record("mnist_2", tags={"kind": "cnn", "final": ""}), run_record("mnist_1", status="Failed")]

    code, out, err = runyard("run", "list", routes={("GET", "/runs"): records})

    assert (code, err) == (0, "")
    lines = out.split("\n")
    assert lines[0].split() == ["RUN", "STATUS", "CREATED", "TOOK", "EXPERIMENT", "TARGET", "TAGS"]
    assert lines[1].startswith("mnist_2  Completed  2019-08-1")
    assert lines[1].endswith("2m 05s  mnist       local   final, kind=cnn")


def test_runs_are_listed_for_programs_as_the_server_says_them(runyard):
    records = [run_record("mnist_2"), run_record("mnist_1")]

    code, out, err = runyard("run", "list", "--json", routes={("GET", "/runs"): records})

    assert (code, json.loads(out), err) == (0, records, "")


def test_a_list_that_was_cut_says_so(runyard):
    records = [run_record("mnist_2"), run_record("mnist_1")]

    _, out, err = runyard("run", "list", "-n", "1", routes={("GET", "/runs"): records})

    assert ("mnist_2" in out, "mnist_1" in out) == (True, False)
    assert "--limit" in err


def test_filters_go_to_the_server(runyard):
    runyard(
        "run", "list", "--status", "unfinished", "--tag", "final", "--tag", "kind=cnn", routes={("GET", "/runs"): []}
    )

    (_, _, query), *_ = runyard.asked
    assert json.loads(query["tags"]) == {"final": None, "kind": "cnn"}
    assert "Queued" in query["status"].split(",") and "Completed" not in query["status"]


def test_why_tells_what_a_queued_run_waits_for(runyard):
    routes = {
        ("GET", "/runs/mnist_1"): run_record("mnist_1", status="Queued", started_at=None, ended_at=None),
        ("GET", "/runs/mnist_1/why"): {"status": "Queued", "reason": "waits for 1 of 1 node of 'local'", "position": 2},
    }

    code, out, _ = runyard("why", "mnist_1", routes=routes)

    assert (code, out) == (0, "mnist_1 is Queued.\nwaits for 1 of 1 node of 'local'; number 2 in the queue\n")


def test_why_shows_the_traceback_of_a_failed_run(runyard):
    error = {
        "code": "script_failed",
        "message": "The script ended with exit code 1: ValueError: boom",
        "rank": 0,
        "exit_code": 1,
        "signal": None,
        "traceback": 'Traceback (most recent call last):\n  File "train.py", line 2\nValueError: boom\n',
    }
    routes = {
        ("GET", "/runs/mnist_1"): run_record("mnist_1", status="Failed", error=error),
        ("GET", "/runs/mnist_1/why"): {"status": "Failed", "reason": "script_failed", "position": 0},
    }

    _, out, _ = runyard("why", "mnist_1", routes=routes)

    assert "ValueError: boom (rank 0, exit code 1)\n" in out
    assert '\n    Traceback (most recent call last):\n      File "train.py", line 2\n    ValueError: boom\n' in out


def test_metrics_are_a_table_of_their_last_values(runyard):
    metrics = {"loss": [0.5, 0.25], "accuracy": 0.97, "rows": {"x": [1, 2, 3], "y": [1, 4, 9]}}
    routes = {
        ("GET", "/runs/r"): run_record("r"),
        ("GET", "/runs/r/metrics"): {"metrics": metrics, "warnings": []},
    }

    _, out, _ = runyard("run", "metrics", "r", routes=routes)

    assert [line.split() for line in out.split("\n")][:4] == [
        ["METRIC", "LAST", "COUNT"],
        ["accuracy", "0.97", "1"],
        ["loss", "0.25", "2"],
        ["rows", "columns:", "x,", "y", "3"],
    ]


def test_verify_exits_with_1_where_something_is_missing(runyard):
    stream = {"name": "metrics/rank-0", "written": 10, "stored": 7, "records": 2}
    routes = {
        ("GET", "/runs/r"): run_record("r"),
        ("GET", "/runs/r/verify"): {"ok": False, "streams": [stream], "files": {"count": 0, "damaged": []}},
    }

    code, out, _ = runyard("run", "verify", "r", routes=routes)

    assert code == 1
    assert "MISSING" in out


# Which run is meant


def resolve(named, records):
    def search(query):
        return [each for each in records if "id_part" not in query or query["id_part"] in each["id"]]

    routes = {("GET", "/runs/" + each["id"]): each for each in records}
    routes["GET", "/runs"] = search
    call = Call(argparse.Namespace(workspace=None), Output(), Workspace(routes))
    return call.run(named).id


@pytest.mark.parametrize("named", ["mnist_1566_aa11", "mnist_15", "aa11", "@last"])
def test_a_run_is_named_by_its_id_a_part_of_it_or_as_the_last(named):
    assert resolve(named, [run_record("mnist_1566_aa11"), run_record("other_1577_bb22")]) == "mnist_1566_aa11"


def test_a_part_of_an_id_that_several_runs_have_is_refused_with_those_runs():
    with pytest.raises(UserErrorException, match="one of several runs: mnist_2, mnist_1"):
        resolve("mnist", [run_record("mnist_2"), run_record("mnist_1")])


def test_a_middle_of_an_id_names_no_run():
    with pytest.raises(UnknownRunError):
        resolve("1566", [run_record("mnist_1566_aa11")])


def test_the_last_of_no_runs_says_how_to_make_one():
    with pytest.raises(UnknownRunError, match="runyard submit"):
        resolve("@last", [])


# Exit codes


@pytest.mark.parametrize(
    "fault, code",
    [
        (errors.UserErrorException(), 2),
        (errors.SnapshotException(), 2),
        (errors.AuthenticationException(), 2),
        (errors.RunEnvironmentException(), 2),
        (errors.ServerUnavailableError(), 3),
        (errors.ServiceException(), 3),
        (errors.StorageFullError(), 3),
        (errors.UnknownRunError(), 4),
        (errors.UnknownWorkspaceError(), 4),
        (errors.ModelPathNotFoundException(), 4),
        (errors.ActivityFailedException(), 1),
    ],
)
def test_every_kind_of_error_has_an_exit_code_that_is_documented(fault, code):
    assert main.exit_code(fault) == code
    assert code in dict(main.EXIT_CODES)


def test_an_error_is_one_line_for_people(runyard):
    code, out, err = runyard("run", "tag", "nothing")

    assert (code, out, err) == (4, "", "error: There is no /runs/nothing.\n")


def test_an_error_is_an_object_for_programs(runyard):
    code, out, err = runyard("run", "tag", "nothing", "--json")

    assert (code, out) == (4, "")
    said = json.loads(err)["error"]
    assert (said["code"], said["message"]) == ("unknown_run", "There is no /runs/nothing.")


def test_the_traceback_of_an_error_is_there_for_whoever_asks(runyard, monkeypatch):
    monkeypatch.setenv("RUNYARD_DEBUG", "1")

    with pytest.raises(UnknownRunError):
        main.main(["run", "tag", "nothing"], Workspace({("GET", "/runs"): []}))


def raising(fault):
    def answer(_):
        raise fault

    return answer


def test_an_interruption_is_quiet(runyard):
    code, out, err = runyard("experiment", "list", routes={("GET", "/experiments"): raising(KeyboardInterrupt())})

    assert (code, out, err) == (130, "", "\n")


def test_a_fault_of_our_own_is_told_apart_from_a_failed_run(runyard):
    code, out, err = runyard("experiment", "list", routes={("GET", "/experiments"): raising(ZeroDivisionError("ours"))})

    assert (code, out) == (70, "")
    assert "ZeroDivisionError: ours" in err


def test_a_reader_that_goes_away_ends_the_command_quietly(home):
    read, write = os.pipe()
    os.close(read)
    done = python(
        "from runyard.cli.main import main; import sys; sys.exit(main(['workspace', 'list', '--json']))", write
    )
    os.close(write)

    assert (done.returncode, done.stderr) == (main.BROKEN_PIPE, "")


# What is submitted


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder ``work/`` with ``train.py`` and ``model/fit.py``, and one beside it; ``work`` is the working directory."""
    for name in ("work/train.py", "work/model/fit.py", "beside/other.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("print('hi')\n")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.mark.parametrize(
    "script, source, folder, path",
    [
        ("train.py", None, "work", "train.py"),
        ("model/fit.py", None, "work", "model/fit.py"),
        ("../beside/other.py", None, "beside", "other.py"),
        ("model/fit.py", "model", "work/model", "fit.py"),
        ("fit.py", "model", "work/model", "fit.py"),
    ],
)
def test_the_folder_that_is_sent_is_this_one_if_the_script_lies_in_it(project, script, source, folder, path):
    assert configuration.source_and_script(script, source) == (str(project / folder), path)


@pytest.mark.parametrize(
    "folder, name",
    [("mnist", "mnist"), ("my project (2)", "my-project-2"), ("_x", "x"), ("日本", "runs"), ("/", "runs")],
)
def test_an_experiment_is_named_for_the_folder(folder, name):
    assert configuration.experiment_name(folder) == name


def spec_of(*words):
    from runyard.run_spec import build

    read = given("submit", *words)
    call = Call(
        read,
        Output(),
        Workspace({("GET", "/datastores/data"): {"name": "data", "is_default": False, "kind": "folder"}}),
    )
    source, script = configuration.source_and_script(read.script, read.source)
    return build(configuration.config(call, source, script), "e", tags=dict(read.tag))


def test_options_become_a_spec(project):
    spec = spec_of(
        *"--framework tf==2.15 --pip keras --pip six --python 3.11 --gpu --target big --priority 3 --env A=1=2 --tag t "
        "--max-seconds 60 --data mnist=data/mnist/raw train.py --data $AZUREML_DATAREFERENCE_mnist".split()
    )

    environment = spec.environment
    assert (environment.framework, environment.framework_version, environment.use_gpu) == ("tensorflow", "2.15", True)
    assert (environment.pip_packages, environment.python_version) == (["keras", "six"], "3.11")
    assert environment.variables == {"A": "1=2"}
    assert (spec.script, spec.arguments) == ("train.py", ["--data", "$AZUREML_DATAREFERENCE_mnist"])
    assert (spec.target, spec.priority, spec.max_run_duration_s, spec.tags) == ("big", 3, 60, {"t": ""})
    (reference,) = spec.data_references
    assert (reference.name, reference.datastore, reference.path) == ("mnist", "data", "mnist/raw")


def test_an_interpreter_is_found_from_here_and_left_untouched(project):
    environment = spec_of("--interpreter", "venv/bin/python", "train.py").environment

    assert (environment.user_managed, environment.interpreter) == (
        True,
        str(project / "work" / "venv" / "bin" / "python"),
    )


@pytest.mark.parametrize("gpu, backend", [([], "gloo"), (["--gpu"], "nccl")])
def test_several_processes_are_counted_over_all_nodes_and_speak_through_nccl_where_they_have_gpus(
    project, gpu, backend
):
    spec = spec_of("--nodes", "2", "--processes", "3", "--distributed", "pytorch", *gpu, "train.py")

    assert (spec.node_count, spec.distribution.kind) == (2, "torch")
    assert (spec.distribution.process_count, spec.distribution.communication_backend) == (6, backend)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--interpreter", "p", "--pip", "six"], "--interpreter says all of the environment, so --pip cannot"),
        (["--environment", "e", "--framework", "tf"], "--environment says all of the environment, so --framework"),
        (["--conda-file", "c", "--requirements", "r"], "--conda-file says all of the environment"),
        (["--nodes", "2"], "give --distributed pytorch"),
    ],
)
def test_options_that_exclude_each_other_are_refused(project, words, message):
    with pytest.raises(UserErrorException, match=message):
        spec_of(*words + ["train.py"])


@pytest.mark.parametrize(
    "words, message",
    [
        (["--framework", "theano"], "'theano' is no framework: write tensorflow"),
        (["--nodes", "0"], "'0' is no whole number of at least 1"),
        (["--data", "mnist"], "is not NAME=DATASTORE/PATH"),
        (["--tag", "=v"], "has no key: write KEY=VALUE"),
    ],
)
def test_an_argument_that_cannot_be_read_says_how_it_is_written(words, message):
    with pytest.raises(Exception, match=message):
        given("submit", *words + ["train.py"])


def test_a_run_that_was_submitted_prints_its_id_alone(runyard, project):
    sent = []

    def store(snapshot):
        return {"id": "ab" * 32, "missing": []}

    def accept(spec):
        sent.append(spec)
        return run_record("work_1")

    routes = {("POST", "/snapshots"): store, ("POST", "/runs"): accept, ("GET", "/runs/work_1"): run_record("work_1")}

    code, out, err = runyard("submit", "train.py", "--epochs", "3", routes=routes)

    assert (code, out) == (0, "work_1\n")
    assert "http://127.0.0.1:1/runs/work_1" in err
    assert [(each["experiment"], each["script"], each["arguments"]) for each in sent] == [
        ("work", "train.py", ["--epochs", "3"])
    ]


def test_a_dry_run_submits_nothing(runyard, project):
    routes = {
        ("POST", "/snapshots"): {"id": "ab" * 32, "missing": []},
        ("POST", "/runs/check"): {"warnings": ["this host has no GPU"]},
    }

    code, out, _ = runyard("submit", "--json", "--dry-run", "train.py", routes=routes)

    said = json.loads(out)
    assert (code, said["warnings"], said["spec"]["script"]) == (0, ["this host has no GPU"], "train.py")
    assert [path for _, path, _ in runyard.asked] == ["/snapshots", "/runs/check"]


# Workspaces


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RUNYARD_SERVER", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(capsys, *words):
    code = main.main(words)
    return code, capsys.readouterr()


def test_status_starts_nothing(home, capsys):
    code, said = ask(capsys, "status", "--json")

    assert code == 3
    found = json.loads(said.out)
    assert (found["workspace"], found["running"], found["exists"]) == ("default", False, False)
    assert not (home / "home").exists()


def test_a_config_file_says_which_workspace_is_meant(home, capsys):
    (home / ".azureml").mkdir()
    said = {"subscription_id": "s", "resource_group": "g", "workspace_name": "vision"}
    (home / ".azureml" / "config.json").write_text(json.dumps(said))

    _, said = ask(capsys, "status", "--json")

    assert json.loads(said.out)["workspace"] == "vision"


def test_a_config_file_that_is_not_json_is_an_error_with_its_name(home, capsys):
    (home / "config.json").write_text("{oops")

    code, said = ask(capsys, "run", "list")

    assert code == 2
    assert "config.json is not JSON" in said.err


def test_an_unknown_workspace_is_not_made_by_naming_it(home, capsys):
    code, said = ask(capsys, "--workspace", "visoin", "run", "list")

    assert code == 4
    assert "There is no workspace named 'visoin'" in said.err
    assert not (home / "home").exists()


def test_a_workspace_is_deleted_only_with_yes(home, capsys):
    from runyard import home as places
    from runyard.workspace import keep_identity

    folder = places.workspace_folder("vision")
    keep_identity(folder, "vision")

    refused, said = ask(capsys, "workspace", "delete", "vision")
    assert (refused, os.path.isdir(folder)) == (2, True)
    assert "--yes" in said.err
    done, said = ask(capsys, "workspace", "delete", "vision", "--yes")
    assert (done, os.path.isdir(folder)) == (0, False)
    assert os.listdir(os.path.join(places.root(), "deleted"))


def test_a_teams_server_is_not_started_or_stopped_from_here(home, capsys, monkeypatch):
    monkeypatch.setenv("RUNYARD_SERVER", "http://team:8000")

    for verb in ("up", "down"):
        code, said = ask(capsys, verb)
        assert code == 2
        assert "http://team:8000" in said.err
