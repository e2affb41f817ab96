"""A node's own environment, built by a uv that notes what it is told."""

import os
import stat

from runyard.job.node_venv import NodeVenv
from runyard.protocol.jobs import EnvironmentToBuild

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
