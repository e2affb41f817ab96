"""Brings the four IDX files of MNIST into a folder: from ``$MNIST_DIR``, from a mirror, or a small stand-in for them."""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import urllib.request

# Our name, the mirrors' name, and the SHA-256 of the unzipped bytes: the mirrors zip them each in their own way.
FILES = [
    (
        "train-images.gz",
        "train-images-idx3-ubyte.gz",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    (
        "train-labels.gz",
        "train-labels-idx1-ubyte.gz",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    (
        "test-images.gz",
        "t10k-images-idx3-ubyte.gz",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    (
        "test-labels.gz",
        "t10k-labels-idx1-ubyte.gz",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
]
MIRRORS = [
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
]
TIMEOUT_S = 15
BLOCK_BYTES = 64 * 1024
BAR_WIDTH = 30
HERE = os.path.dirname(os.path.abspath(__file__))


class WrongBytesError(Exception):
    """A file that is not the one of MNIST that its name promises."""


def prepare(folder, stand_in_folder, files=FILES, mirrors=MIRRORS):
    """Makes sure that the four files lie in one of the two folders; returns (that folder, whether it is MNIST).

    ``stand_in_folder`` gets scikit-learn's digits where no mirror can be reached. Raises FileNotFoundError or
    WrongBytesError where ``MNIST_DIR`` names a folder without them.
    """
    os.makedirs(folder, exist_ok=True)
    given = os.environ.get("MNIST_DIR")
    if given:
        _take_from(given, folder, files)
        return folder, True
    try:
        for ours, theirs, digest in files:
            path = os.path.join(folder, ours)
            if not (os.path.exists(path) and sha256_unzipped(path) == digest):
                _download(theirs, path, digest, mirrors)
        return folder, True
    except OSError as error:
        print("MNIST cannot be downloaded:\n  {}".format(error))
    print("Using the 1,797 handwritten digits that scikit-learn carries, enlarged to 28x28. This is not MNIST.")
    _write_digits(stand_in_folder)
    return stand_in_folder, False


def sha256_unzipped(path):
    """The digest of what is in a gzip file; "" where it is no whole gzip file."""
    content = hashlib.sha256()
    try:
        with gzip.open(path, "rb") as source:
            for block in iter(lambda: source.read(BLOCK_BYTES), b""):
                content.update(block)
    except (gzip.BadGzipFile, EOFError):
        return ""
    return content.hexdigest()


def _take_from(given, folder, files):
    for ours, theirs, digest in files:
        found = [path for path in (os.path.join(given, ours), os.path.join(given, theirs)) if os.path.isfile(path)]
        if not found:
            raise FileNotFoundError(
                "MNIST_DIR is {}, which holds neither {} nor {}. Unset it to download MNIST.".format(
                    given, ours, theirs
                )
            )
        if sha256_unzipped(found[0]) != digest:
            raise WrongBytesError("{} is not MNIST's {}: its bytes differ.".format(found[0], theirs))
        shutil.copyfile(found[0], os.path.join(folder, ours))


def _download(name, path, digest, mirrors):
    problems = []
    for mirror in mirrors:
        try:
            _fetch(mirror + name, path + ".part")
        except OSError as error:
            problems.append("{}: {}".format(mirror, error))
            continue
        if sha256_unzipped(path + ".part") == digest:
            os.replace(path + ".part", path)
            return
        problems.append("{}: other bytes than MNIST's".format(mirror))
    raise OSError("\n  ".join(problems))


def _fetch(url, path):
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, open(path, "wb") as target:
        size = int(answer.headers.get("Content-Length") or 0)
        done = 0
        for block in iter(lambda: answer.read(BLOCK_BYTES), b""):
            target.write(block)
            done += len(block)
            _show(url, done, size)
    print("{}{}  {:,} bytes".format("\r" if sys.stdout.isatty() else "", url, done).ljust(BAR_WIDTH + len(url) + 8))


def _show(url, done, size):
    if not (sys.stdout.isatty() and size):
        return
    filled = BAR_WIDTH * done // size
    bar = "#" * filled + "." * (BAR_WIDTH - filled)
    print("\r{} [{}] {:3d}%".format(url, bar, 100 * done // size), end="", flush=True)


def _write_digits(folder):
    os.makedirs(folder, exist_ok=True)
    if all(os.path.exists(os.path.join(folder, ours)) for ours, _, _ in FILES):
        return
    uv = [sys.executable, "-m", "uv", "run", "--quiet", "--no-project", "--isolated", "--with", "scikit-learn"]
    subprocess.run(uv + ["python", os.path.join(HERE, "digits.py"), folder], check=True)
