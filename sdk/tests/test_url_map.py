"""The URL map: what it answers, what it leaves to the network, and every refusal with its message."""

import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from runyard.dataset import Dataset
from runyard.errors import UserErrorException
from runyard.run_spec import build
from runyard.runconfig import RunConfiguration
from runyard.script_run_config import ScriptRunConfig
from runyard.url_map import VARIABLE, UrlMap, configured
from runyard.url_opener import MappedAddresses

IMAGES = "http://yann.lecun.com/exdb/mnist/train-images-idx3-ubyte.gz"


@pytest.fixture
def write(tmp_path):
    """Writes a map with these lines; two files and a folder lie beside it."""
    (tmp_path / "images.gz").write_bytes(b"images")
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "labels 1.gz").write_bytes(b"labels")
    (tmp_path / "secret").write_bytes(b"secret")

    def write(*lines):
        path = tmp_path / "urls.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def elsewhere():
    """An address that this process serves itself: what was asked there, and how."""
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.command, self.path))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"from the network")

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield "http://127.0.0.1:{}".format(server.server_port), asked
    server.shutdown()
    thread.join()
    server.server_close()


def opener(path):
    return urllib.request.build_opener(MappedAddresses(UrlMap(path)), urllib.request.ProxyHandler({}))


def test_an_address_is_read_from_its_file(write):
    path = write("# comment", "", "  {} = images.gz  ".format(IMAGES))
    with opener(path).open(IMAGES) as answer:
        assert answer.read() == b"images"
        assert (answer.status if sys.version_info >= (3, 9) else answer.getcode()) == 200
        assert answer.headers["Content-Length"] == "6"
        assert answer.geturl() == IMAGES


def test_an_address_that_ends_with_a_slash_stands_for_all_that_is_below(write, tmp_path):
    path = write("https://host/data/ = {}".format(tmp_path / "mnist"))
    assert opener(path).open("https://host/data/labels%201.gz?download=1").read() == b"labels"
    assert UrlMap(path).file_for("https://host/data/") is None
    assert UrlMap(path).file_for("https://host/database") is None


def test_the_longest_address_that_fits_counts(write, tmp_path):
    path = write(
        "http://host/ = {}".format(tmp_path),
        "http://host/mnist/ = secret-place",
        "http://host/mnist/labels = mnist/labels 1.gz",
    )
    assert UrlMap(path).file_for("http://host/images.gz") == str(tmp_path / "images.gz")
    assert UrlMap(path).file_for("http://host/mnist/labels") == str(tmp_path / "mnist" / "labels 1.gz")
    with pytest.raises(urllib.error.URLError, match="secret-place.images.gz, as line 2 of"):
        UrlMap(path).file_for("http://host/mnist/images.gz")


def test_scheme_and_host_mean_the_same_in_any_case_and_a_fragment_means_nothing(write):
    urls = UrlMap(write("HTTP://Host.Example/A?b=1 = images.gz"))
    assert urls.file_for("http://host.example/A?b=1#part") is not None
    assert urls.file_for("http://host.example/a?b=1") is None
    assert urls.file_for("https://host.example/A?b=1") is None


def test_no_address_leads_out_of_its_folder(write):
    urls = UrlMap(write("http://host/mnist/ = mnist/"))
    for beyond in ("../secret", "%2e%2e/secret", "a/../../secret", "..%2fsecret", "/etc/passwd", "%2fetc%2fpasswd"):
        with pytest.raises(urllib.error.URLError, match="leads out of the folder|no such file"):
            urls.file_for("http://host/mnist/" + beyond)


def test_what_the_map_does_not_name_goes_to_the_network(write, elsewhere):
    address, asked = elsewhere
    path = write("{}/here = images.gz".format(address))
    assert opener(path).open(address + "/there").read() == b"from the network"
    assert opener(path).open(address + "/here").read() == b"images"
    assert asked == [("GET", "/there")]


def test_only_reading_is_answered_from_a_file(write, elsewhere):
    address, asked = elsewhere
    path = write("{}/here = images.gz".format(address))
    assert opener(path).open(address + "/here", data=b"x=1").read() == b"from the network"
    with opener(path).open(urllib.request.Request(address + "/here", method="HEAD")) as answer:
        assert answer.read() == b"" and answer.headers["Content-Length"] == "6"
    assert asked == [("POST", "/here")]


def test_a_file_that_is_not_there_is_told_with_its_line(write):
    path = write("", "http://host/a = nowhere.gz")
    with pytest.raises(
        urllib.error.URLError, match="nowhere.gz, as line 2 of .*no such file.* Put it there, or change"
    ):
        opener(path).open("http://host/a")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("http://host/a", "is not 'address = path'"),
        ("http://host/a=images.gz", "with a space on both sides"),
        ("host/a = images.gz", "is no address: it begins with http://"),
        ("file:///a = images.gz", "is no address"),
        ("http:///a = images.gz", "is no address"),
        ("http://host/a = http://mirror/a", "What stands for one is a file or folder here"),
        ("http://host/a = mnist", "is a folder. End the address with '/'"),
        ("http://host/a/ = images.gz", "is a file. Name the whole address"),
    ],
)
def test_a_line_that_is_wrong_is_refused_with_what_is_right(write, line, said):
    with pytest.raises(UserErrorException) as refused:
        UrlMap(write("# first", line))
    message = str(refused.value)
    assert said in message and "line 2: " in message and "http://host/folder/ = /data/folder/" in message


def test_an_address_that_stands_there_twice_is_refused(write):
    with pytest.raises(UserErrorException, match="line 2: http://host/a stands in line 1 already"):
        UrlMap(write("http://host/a = images.gz", "http://HOST/a = secret"))


def test_a_map_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("absent.txt", "bytes", "."):
        monkeypatch.setenv(VARIABLE, str(tmp_path / name))
        with pytest.raises(UserErrorException, match="RUNYARD_URL_MAP names .* cannot be read.*or unset"):
            configured()


def test_nothing_is_mapped_where_nothing_is_configured(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert configured() is None
    monkeypatch.setenv(VARIABLE, "")
    assert configured() is None


# In a process of its own, for urllib's opener is the whole process's


def program(text, **variables):
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    environment.update(variables)
    return subprocess.run(
        [sys.executable, "-c", text],
        env=environment,
        text=True,
        capture_output=True,
        timeout=120,
    )


FETCH = "import urllib.request; print(open(urllib.request.urlretrieve({!r})[0]).read())".format(IMAGES)


@pytest.mark.parametrize("opened", ["import azureml.core", "from runyard import Workspace"])
def test_importing_us_makes_urllib_read_mapped_addresses_and_says_so_once(write, opened):
    path = write("{} = images.gz".format(IMAGES))
    done = program("{0}\n{0}\n{1}".format(opened, FETCH), RUNYARD_URL_MAP=path)
    assert done.stdout == "images\n"
    assert done.stderr == (
        "runyard: urllib reads the addresses in {} from this machine's files, as RUNYARD_URL_MAP says.\n".format(path)
    )


def test_importing_us_leaves_urllib_alone_where_nothing_is_configured():
    told = "import azureml.core, runyard, urllib.request; runyard.Workspace; print(urllib.request._opener)"
    done = program(told)
    assert (done.stdout, done.stderr) == ("None\n", "")


def test_an_opener_that_the_program_has_installed_stays(write):
    path = write("{} = images.gz".format(IMAGES))
    lines = [
        "import urllib.request",
        "own = urllib.request.build_opener()",
        "own.addheaders = [('User-agent', 'mine')]",
        "urllib.request.install_opener(own)",
        "import azureml.core",
        "assert urllib.request._opener is own and own.addheaders == [('User-agent', 'mine')]",
        FETCH,
    ]
    assert program("\n".join(lines), RUNYARD_URL_MAP=path).stdout == "images\n"


def test_a_bad_map_stops_the_import_and_names_the_cure(write):
    done = program("import azureml.core", RUNYARD_URL_MAP=write("nonsense"))
    assert done.returncode == 1
    assert "line 1: 'nonsense' is not 'address = path'" in done.stderr


def test_a_dataset_of_the_web_is_fetched_from_the_mapped_file(write, tmp_path):
    path = write("{} = images.gz".format(IMAGES))
    lines = [
        "from runyard.dataset import Dataset",
        "print(open(Dataset.File.from_files({!r}).download({!r})[0]).read())".format(IMAGES, str(tmp_path / "new")),
    ]
    done = program("\n".join(lines), RUNYARD_URL_MAP=path)
    assert done.stdout == "images\n", done.stderr


# What a run is told


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train.py").write_text("")
    return str(tmp_path / "source")


def test_a_run_is_told_of_the_map_by_its_whole_path(write, source, monkeypatch):
    path = write("http://host/a = images.gz")
    monkeypatch.chdir(os.path.dirname(path))
    monkeypatch.setenv(VARIABLE, "urls.txt")
    assert build(ScriptRunConfig(source, "train.py"), "e").environment.variables == {VARIABLE: path}
    monkeypatch.delenv(VARIABLE)
    assert build(ScriptRunConfig(source, "train.py"), "e").environment.variables == {}


def test_a_run_may_have_another_map_or_none(write, source, monkeypatch):
    monkeypatch.setenv(VARIABLE, write("http://host/a = images.gz"))
    settings = RunConfiguration()
    settings.environment_variables = {VARIABLE: ""}
    config = ScriptRunConfig(source, "train.py")
    config.run_config.environment_variables = {VARIABLE: ""}
    assert build(config, "e").environment.variables == {VARIABLE: ""}


def test_a_run_with_a_bad_map_is_refused_before_anything_is_sent(write, source, monkeypatch):
    monkeypatch.setenv(VARIABLE, write("nonsense"))
    with pytest.raises(UserErrorException, match="line 1: 'nonsense'"):
        build(ScriptRunConfig(source, "train.py"), "e")


def test_a_dataset_of_an_address_needs_no_map():
    assert Dataset.File.from_files(IMAGES).to_path() == ["/train-images-idx3-ubyte.gz"]
