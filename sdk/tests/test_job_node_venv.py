"""A node's own environment, built by a uv that notes what it is told."""

import hashlib
import os
import stat
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from runyard.errors import ServerUnavailableError
from runyard.job.node_venv import NodeVenv
from runyard.protocol.jobs import EnvironmentToBuild
from runyard.transport.http import HttpTransport

UV = """\
#!/bin/sh
echo "$@" >>"{said}"
case "$1" in
venv) for last; do :; done; mkdir -p "$last/bin"; touch "$last/bin/python";;
pip) cat "{home}/requirements.txt" >>"{read}";;
esac
"""


def test_addresses_of_indexes_stand_in_a_file_and_not_among_a_commands_words(tmp_path):
    home = tmp_path / "environments" / "key"
    uv = tmp_path / "uv"
    uv.write_text(UV.format(said=tmp_path / "said", home=home, read=tmp_path / "read"))
    uv.chmod(uv.stat().st_mode | stat.S_IXUSR)
    secret = "https://user:secret@packages.example/simple"
    options = ["--extra-index-url", secret, "--only-binary", ":all:", "--index-url=" + secret]
    wanted = EnvironmentToBuild(
        key="key",
        python_version="3.11.7",
        requirements="colours==1.2 --hash=sha256:00\n",
        options=options,
        uv=str(uv),
        folder=str(tmp_path / "environments"),
    )
    python = NodeVenv(wanted, None, lambda line: None, lambda: True).python()
    assert python == str(home / "venv" / "bin" / "python") and os.path.exists(python)
    said = (tmp_path / "said").read_text()
    assert "secret" not in said and "--only-binary :all:" in said
    lines = ["--extra-index-url " + secret, "--index-url=" + secret, "colours==1.2 --hash=sha256:00"]
    assert (tmp_path / "read").read_text().splitlines() == lines


@pytest.fixture
def server():
    """A server that gives each wheel these bytes; ``asked`` are the paths that were asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            listening.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"wheel")

        def log_message(self, *_):
            pass

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    listening.asked = []
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield listening
    listening.shutdown()
    listening.server_close()


def test_what_the_server_has_compiled_is_fetched_once_checked_and_installed_by_its_digest(tmp_path, server):
    uv = tmp_path / "uv"
    folder = tmp_path / "environments"
    transport = HttpTransport(lambda: "http://127.0.0.1:{}".format(server.server_port), lambda: "token")
    name, digest = "horovod-0.28.1-cp311-cp311-linux_x86_64.whl", hashlib.sha256(b"wheel").hexdigest()

    def python(key, wheels):
        uv.write_text(UV.format(said=tmp_path / "said", home=folder / key, read=tmp_path / key))
        uv.chmod(uv.stat().st_mode | stat.S_IXUSR)
        wanted = EnvironmentToBuild(
            key=key,
            python_version="3.11.7",
            requirements="mpich==5.0.2 --hash=sha256:00\n",
            uv=str(uv),
            folder=str(folder),
            wheels=wheels,
        )
        return NodeVenv(wanted, transport, lambda line: None, lambda: True).python()

    for key in ("one", "other"):
        python(key, {name: digest})
        path = folder / "wheels" / digest / name
        line = "horovod @ {} --hash=sha256:{}".format(path.as_uri(), digest)
        assert (tmp_path / key).read_text().splitlines() == [line, "mpich==5.0.2 --hash=sha256:00"]
    assert path.read_bytes() == b"wheel" and server.asked == ["/api/v1/job-wheels/" + digest]
    with pytest.raises(ServerUnavailableError, match="did not come whole"):
        python("damaged", {name: "0" * 64})
