"""The command line as a person and a script use it: real commands, a real server, exit codes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TRAIN = """\
import os, sys
from runyard import Run
run = Run.get_context()
sys.stdout.write("training with %s\\n" % sys.argv[1:])  # in one piece
for step in range(5):
    run.log("loss", 1 / (step + 1))
os.makedirs("outputs/model", exist_ok=True)
with open("outputs/model/weights.txt", "w") as file:
    file.write("1 2 3")
"""
FAIL = "raise ValueError('the data is not there')\n"
FAMILY = """\
import json, urllib.request
from runyard import Experiment, Workspace

workspace = Workspace.from_config()
run = Experiment(workspace, "family").start_logging()
child = run.child_run()
address, token = workspace.transport.place()

def ask(method, path, **said):
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    url = address + "/api/2.0/mlflow/logged-models" + path
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(said).encode(), headers, method=method)) as answer:
        return json.load(answer)["model"]["info"]

model = ask("POST", "", experiment_id="0", name="net", source_run_id=run.id)["model_id"]
ask("PATCH", "/" + model, status="LOGGED_MODEL_READY")
child.complete()
run.complete()
print(json.dumps([run.id, child.id, model]))
"""
WAIT = "import time\nprint('started', flush=True)\ntime.sleep(600)\n"


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> object:
        """The one JSON document on standard output."""
        return json.loads(self.out)


class Commands:
    """Runs ``runyard`` in a folder, with a ``~/.runyard`` of its own."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        paths = [str(ROOT / "sdk"), str(ROOT / "server"), os.environ.get("PYTHONPATH", "")]
        self.environment = {
            **os.environ,
            "RUNYARD_HOME": str(home),
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        }

    def __call__(self, *words: str) -> Done:
        done = subprocess.run(self.line(*words), cwd=self.folder, env=self.environment, capture_output=True, text=True)
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str) -> str:
        """Standard output of a command that must go well."""
        done = self(*words)
        assert done.code == 0, done.err
        return done.out

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Starts a command and leaves it running."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.line(*words), cwd=self.folder, env=self.environment, stdout=pipe, stderr=pipe, text=True
        )

    def line(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "runyard", *words]


@pytest.fixture(scope="module")
def runyard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    project = tmp_path_factory.mktemp("project") / "digits"
    project.mkdir()
    for name, text in (("train.py", TRAIN), ("fail.py", FAIL), ("wait.py", WAIT)):
        (project / name).write_text(text)
    commands = Commands(project, tmp_path_factory.mktemp("home"))
    yield commands
    commands.ok("down")


@pytest.fixture(scope="module")
def trained(runyard: Commands) -> str:
    """The id of a run of ``train.py`` that completed."""
    return runyard.ok("submit", "--interpreter", sys.executable, "--wait", "train.py", "--epochs", "3").split(":")[0]


Submit = Callable[..., Done]


@pytest.fixture
def submit(runyard: Commands) -> Submit:
    """Submits a script on this interpreter."""
    return lambda *words: runyard("submit", "--interpreter", sys.executable, *words)


def test_a_server_in_the_foreground_serves_until_it_is_told_to_stop(runyard: Commands) -> None:
    assert runyard("status").code == 3
    server = runyard.start("up", "--json")
    assert server.stdout is not None
    place = ""
    while not place.endswith("}\n"):
        place += server.stdout.readline()
    said = json.loads(place)

    status = runyard("status", "--json")
    assert (status.code, status.document["url"], status.document["pid"]) == (0, said["url"], server.pid)
    assert "none unfinished" in runyard.ok("status")
    second = runyard("up")
    assert second.code == 2
    assert said["url"] in second.err
    assert runyard.ok("down") == "Stopped.\n"
    assert server.communicate(timeout=120)[0] == ""
    assert server.returncode == 0
    assert runyard("status").code == 3


def test_a_run_is_followed_from_submission_to_its_end(submit: Submit) -> None:
    done = submit("-f", "--tag", "kind=first", "train.py", "--epochs", "3")

    assert done.code == 0, done.err
    assert "training with ['--epochs', '3']\n" in done.out
    assert done.out.rstrip().endswith("Status: Completed")


def test_a_program_that_follows_gets_one_document(submit: Submit) -> None:
    done = submit("-f", "--json", "train.py")

    assert (done.code, done.document["status"]) == (0, "Completed")
    assert "training with []\n" in done.err


def test_a_run_that_was_submitted_can_be_looked_at(runyard: Commands, trained: str) -> None:
    assert trained.startswith("digits_")  # the experiment is named for the folder
    assert trained in runyard.ok("run", "list", "--status", "completed", "--experiment", "digits")
    shown = runyard.ok("run", "show", trained)
    assert "command      train.py --epochs 3\n" in shown
    assert "outputs_collected" in shown
    assert "http://127.0.0.1:" in shown
    assert runyard.ok("run", "logs", trained).count("training with ['--epochs', '3']\n") == 1
    driver = "azureml-logs/70_driver_log.txt"
    assert runyard.ok("run", "logs", trained, driver, "--tail", "1") == "training with ['--epochs', '3']\n"
    assert driver in runyard.ok("run", "logs", trained, "--list")
    assert "it ended at" in runyard.ok("why", trained)


def test_metrics_and_files_come_back(runyard: Commands, trained: str, tmp_path: Path) -> None:
    assert json.loads(runyard.ok("run", "metrics", trained, "--json"))["loss"] == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]
    history = json.loads(runyard.ok("run", "metrics", trained, "--name", "loss", "--last", "2", "--json"))
    assert history["values"] == [1 / 4, 1 / 5]
    assert runyard.ok("run", "metrics", trained).split()[:6] == ["METRIC", "LAST", "COUNT", "loss", "0.2", "5"]
    assert "outputs/model/weights.txt" in runyard.ok("run", "files", trained, "outputs/")
    runyard.ok("run", "download", trained, "outputs/model", "--to", str(tmp_path))
    assert (tmp_path / "outputs" / "model" / "weights.txt").read_text() == "1 2 3"
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_nothing_that_a_run_wrote_is_lost(runyard: Commands, trained: str) -> None:
    assert runyard.ok("run", "verify", trained).rstrip().endswith("What was written is stored.")


def test_tags_are_set_found_and_removed(runyard: Commands, trained: str) -> None:
    runyard.ok("run", "tag", trained, "final", "kind=dnn")

    assert [run["id"] for run in json.loads(runyard.ok("run", "list", "--tag", "final", "--json"))] == [trained]
    assert json.loads(runyard.ok("run", "tag", trained, "--remove", "final", "--json")) == {"kind": "dnn"}


def test_a_run_is_named_by_the_end_of_its_id(runyard: Commands, trained: str) -> None:
    assert json.loads(runyard.ok("run", "show", trained[-8:], "--json"))["id"] == trained


def test_a_failed_run_exits_with_1_and_why_shows_its_traceback(runyard: Commands, submit: Submit) -> None:
    done = submit("--wait", "fail.py")

    assert done.code == 1
    assert "ValueError: the data is not there" in done.out
    assert "fail.py" in runyard.ok("why", "@last")
    assert runyard("run", "wait", "@last").code == 1


def test_a_run_is_followed_looked_into_and_canceled_from_elsewhere(runyard: Commands, submit: Submit) -> None:
    run_id = submit("wait.py").out.strip()
    follower = runyard.start("run", "wait", "-f", run_id)
    assert follower.stdout is not None
    assert any(line == "started\n" for line in follower.stdout)

    assert run_id in runyard.ok("run", "list", "--status", "unfinished")
    assert "1 Running" in runyard.ok("status")
    assert "<module> (wait.py:3)" in runyard.ok("run", "stacks", run_id, "--timeout", "120")
    said = json.loads(runyard.ok("run", "stacks", run_id, "--rank", "0", "--timeout", "120", "--json"))
    assert (said["id"], said["silent"], list(said["stacks"])) == (run_id, [], ["0"])
    assert "<module> (wait.py:3)" in said["stacks"]["0"]
    assert runyard("run", "stacks", run_id, "--rank", "7").code == 1  # nothing came of it
    assert runyard.ok("run", "cancel", run_id, "--wait") == f"{run_id} is Canceled.\n"
    assert follower.communicate(timeout=120)[0].rstrip().endswith("Status: Canceled")
    assert follower.returncode == 5
    ended = runyard("run", "stacks", run_id, "--json")
    assert (ended.code, ended.out) == (2, "")
    assert run_id in json.loads(ended.err)["error"]["message"]
    assert "azureml-logs/stacks/" in runyard.ok("run", "logs", run_id, "--list")


def test_a_rerun_runs_the_same_again(runyard: Commands, trained: str) -> None:
    again = json.loads(runyard.ok("rerun", trained, "--wait", "--json"))

    assert again["id"] != trained
    assert json.loads(runyard.ok("run", "show", again["id"], "--json"))["spec"]["rerun_of"] == trained
    assert "training with ['--epochs', '3']\n" in runyard.ok("run", "logs", again["id"])


def test_a_model_is_registered_from_a_run_and_downloaded(runyard: Commands, trained: str, tmp_path: Path) -> None:
    registered = runyard.ok("model", "register", "digits", "outputs/model", "--run", trained, "--tag", "kind=dnn")

    assert registered == "digits:1\n"
    assert trained in runyard.ok("model", "list")
    assert "model/weights.txt" in runyard.ok("model", "show", "digits:1")
    path = runyard.ok("model", "download", "digits", "--to", str(tmp_path)).strip()
    assert Path(path, "weights.txt").read_text() == "1 2 3"
    assert runyard("model", "download", "digits", "--to", str(tmp_path)).code == 2


def test_data_goes_to_the_datastore_and_to_the_script(runyard: Commands, submit: Submit, tmp_path: Path) -> None:
    (tmp_path / "numbers.txt").write_text("1 2 3")
    (runyard.folder / "read.py").write_text("import sys\nprint(open(sys.argv[1] + '/numbers.txt').read())\n")

    sent = json.loads(runyard.ok("datastore", "upload", str(tmp_path), "--path", "numbers", "--json"))
    assert (sent["uploaded"], sent["skipped"]) == (1, 0)
    assert "numbers/numbers.txt" in runyard.ok("datastore", "files", "numbers")
    done = submit("-f", "--data", "n=workspaceblobstore/numbers", "read.py", "$AZUREML_DATAREFERENCE_n")

    assert done.code == 0, done.err
    assert "\n1 2 3\n" in done.out


def test_a_dry_run_checks_everything_and_submits_nothing(runyard: Commands, submit: Submit) -> None:
    before = json.loads(runyard.ok("run", "list", "--json"))

    done = submit("--dry-run", "--gpu", "train.py")
    refused = submit("--dry-run", "--target", "nowhere", "train.py")

    assert done.code == 0, done.err
    assert done.out.rstrip().endswith("It could be submitted. Nothing was.")
    assert (refused.code, "nowhere" in refused.err) == (4, True)
    assert json.loads(runyard.ok("run", "list", "--json")) == before


@pytest.mark.parametrize(
    "words",
    [
        "run show nothing",
        "model show nothing",
        "compute show nothing",
        "experiment show nothing",
        "datastore show nothing",
    ],
)
def test_what_is_not_there_exits_with_4(runyard: Commands, words: str) -> None:
    done = runyard(*words.split(), "--json")

    assert (done.code, done.out) == (4, "")
    assert "nothing" in json.loads(done.err)["error"]["message"]


def test_compute_targets_are_created_changed_and_deleted(runyard: Commands) -> None:
    assert runyard.ok("compute", "create", "cluster", "--max-nodes", "2") == "cluster is ready: up to 2 nodes.\n"
    assert runyard.ok("compute", "update", "cluster", "--max-nodes", "3") == "cluster has up to 3 nodes.\n"
    assert runyard.ok("compute", "list").count("cluster") == 1
    runyard.ok("compute", "delete", "cluster")
    assert runyard("compute", "delete", "cluster").code == 4


def test_what_would_go_with_a_run_is_told_before_it_is_deleted(runyard: Commands) -> None:
    made = subprocess.run(
        [sys.executable, "-c", FAMILY], cwd=runyard.folder, env=runyard.environment, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    run_id, child, model = json.loads(made.stdout.splitlines()[-1])

    asked = runyard("run", "delete", run_id)
    assert asked.code == 2
    assert f"files of {run_id} and, below, of 1 run ({child}) and 1 logged model ({model}) for good" in asked.err
    refused = runyard("run", "delete", run_id, "--yes", "--keep-models")
    assert refused.code != 0 and model in refused.err and "--with-logged-models" in refused.err
    gone = json.loads(runyard.ok("run", "delete", run_id, "--yes", "--with-logged-models", "--json"))["deleted"]
    assert sorted(gone) == sorted([run_id, child, model])


def test_a_workspace_is_backed_up_while_its_server_runs_and_restored_and_verified(
    runyard: Commands, trained: str, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    server = runyard("status", "--json").document["pid"]
    assert "were copied now" in runyard.ok("backup", str(backup))
    again = json.loads(runyard.ok("backup", str(backup), "--json"))
    assert again["objects"] > 0 and again["copied_objects"] == 0
    assert runyard("status", "--json").document["pid"] == server

    assert "Everything is as it was stored." in runyard.ok("--workspace", "again", "restore", str(backup), "--verify")
    try:
        assert "What was written is stored." in runyard.ok("--workspace", "again", "run", "verify", trained)
    finally:
        runyard.ok("--workspace", "again", "down")
    assert runyard("--workspace", "again", "restore", str(backup)).code == 2  # it is there, and stays as it is

    (weights,) = [path for path in (backup / "objects").rglob("*") if path.is_file() and path.read_bytes() == b"1 2 3"]
    weights.chmod(0o600)
    weights.write_bytes(b"1 2 4")
    damaged = runyard("--workspace", "damaged", "restore", str(backup), "--verify", "--json")
    assert damaged.code == 1 and any(trained in fault for fault in damaged.document["faults"])


def test_every_list_is_one_document(runyard: Commands) -> None:
    for words in (
        ["run", "list"],
        ["experiment", "list"],
        ["model", "list"],
        ["compute", "list"],
        ["datastore", "list"],
        ["env", "list"],
        ["env", "registered", "list"],
        ["workspace", "list"],
    ):
        assert isinstance(runyard(*words, "--json").document, list), words
