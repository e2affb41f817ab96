"""The demo's MNIST: from ``MNIST_DIR``, from a mirror (a web server of ours stands in), or scikit-learn's digits."""

import gzip
import hashlib
import http.server
import importlib.util
import struct
import threading
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist"
CONTENTS = {"train-images": b"pixels" * 1000, "test-labels": b"labels"}


@pytest.fixture(scope="module")
def handwriting():
    spec = importlib.util.spec_from_file_location("handwriting", EXAMPLE / "handwriting.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def files():
    """Two small files in the place of MNIST's four."""
    return [(f"{name}.gz", f"{name}-ubyte.gz", hashlib.sha256(bytes_).hexdigest()) for name, bytes_ in CONTENTS.items()]


class Mirror:
    """A web server that answers with ``contents`` ({path: bytes}) and remembers what it was asked."""

    def __init__(self, contents):
        asked = self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                body = contents.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_):
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def start_mirror():
    started = []

    def start(contents):
        started.append(Mirror(contents))
        return started[-1]

    yield start
    for mirror in started:
        mirror.close()


@pytest.fixture
def whole(start_mirror):
    return start_mirror({f"/{name}-ubyte.gz": gzip.compress(bytes_) for name, bytes_ in CONTENTS.items()})


@pytest.fixture(autouse=True)
def no_mnist_dir(monkeypatch):
    monkeypatch.delenv("MNIST_DIR", raising=False)


def unzipped(folder):
    return {path.name[: -len(".gz")]: gzip.decompress(path.read_bytes()) for path in Path(folder).iterdir()}


def test_the_files_come_from_a_mirror_and_only_once(handwriting, files, whole, tmp_path):
    for _ in range(2):
        folder, is_mnist = handwriting.prepare(str(tmp_path / "mnist"), str(tmp_path / "digits"), files, [whole.url])

    assert (is_mnist, unzipped(folder)) == (True, CONTENTS)
    assert whole.asked == ["/train-images-ubyte.gz", "/test-labels-ubyte.gz"]


def test_a_mirror_with_other_bytes_or_none_is_passed_over(handwriting, files, whole, start_mirror, tmp_path):
    forged = start_mirror({f"/{name}-ubyte.gz": gzip.compress(b"other") for name in CONTENTS})
    page = start_mirror({f"/{name}-ubyte.gz": b"<html>moved</html>" for name in CONTENTS})
    empty = start_mirror({})

    folder, _ = handwriting.prepare(
        str(tmp_path / "mnist"), str(tmp_path / "digits"), files, [forged.url, page.url, empty.url, whole.url]
    )

    assert {name: bytes_ for name, bytes_ in unzipped(folder).items() if name in CONTENTS} == CONTENTS


def test_a_broken_file_of_an_earlier_download_is_fetched_again(handwriting, files, whole, tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    (folder / "train-images.gz").write_bytes(gzip.compress(CONTENTS["train-images"])[:-10])

    handwriting.prepare(str(folder), str(tmp_path / "digits"), files, [whole.url])

    assert unzipped(folder) == CONTENTS


@pytest.mark.parametrize("name", ["{}.gz", "{}-ubyte.gz"])
def test_mnist_dir_is_taken_under_either_name_and_nothing_is_fetched(
    handwriting, files, whole, tmp_path, monkeypatch, name
):
    given = tmp_path / "given"
    given.mkdir()
    for stem, bytes_ in CONTENTS.items():
        (given / name.format(stem)).write_bytes(gzip.compress(bytes_))
    monkeypatch.setenv("MNIST_DIR", str(given))

    folder, is_mnist = handwriting.prepare(str(tmp_path / "mnist"), str(tmp_path / "digits"), files, [whole.url])

    assert (is_mnist, unzipped(folder), whole.asked) == (True, CONTENTS, [])


def test_mnist_dir_without_the_files_says_which_and_what_to_do(handwriting, files, tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_DIR", str(tmp_path))

    with pytest.raises(FileNotFoundError, match=r"neither train-images\.gz nor .* Unset it to download"):
        handwriting.prepare(str(tmp_path / "mnist"), str(tmp_path / "digits"), files, [])


def test_mnist_dir_with_other_bytes_is_refused(handwriting, files, tmp_path, monkeypatch):
    (tmp_path / "train-images.gz").write_bytes(gzip.compress(b"something else"))
    monkeypatch.setenv("MNIST_DIR", str(tmp_path))

    with pytest.raises(handwriting.WrongBytesError, match="its bytes differ"):
        handwriting.prepare(str(tmp_path / "mnist"), str(tmp_path / "digits"), files, [])


@pytest.mark.network
def test_without_a_mirror_the_digits_of_scikit_learn_come_in_the_same_files(handwriting, tmp_path, capsys):
    folder, is_mnist = handwriting.prepare(str(tmp_path / "mnist"), str(tmp_path / "digits"), mirrors=[])

    assert not is_mnist
    assert "This is not MNIST" in capsys.readouterr().out
    shapes = {}
    for name, _, _ in handwriting.FILES:
        content = gzip.decompress((Path(folder) / name).read_bytes())
        dimensions = content[3]
        shapes[name] = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
        assert len(set(content[4 + 4 * dimensions :])) >= 10
    assert shapes == {
        "train-images.gz": (1437, 28, 28),
        "train-labels.gz": (1437,),
        "test-images.gz": (360, 28, 28),
        "test-labels.gz": (360,),
    }
