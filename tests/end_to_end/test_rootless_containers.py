"""A rank's container where the job is a plain user's: podman without root, as that user, with no rights beyond theirs.

The tests are root's, and a plain user may not see what root has installed: so the job's own part alone is run here, with
the machine's Python, under a user that has subordinate ids for as long as the test takes.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard_server.testing.base_image import write_base
from runyard_server.testing.container_host import BASE, ContainerHost, missing

pytestmark = pytest.mark.containers

SDK = Path(__file__).parents[2] / "sdk" / "runyard"
PYTHON = shutil.which("python3", path="/usr/bin:/bin")

# As the job does it: looks for the image, starts a rank in it, hears how that has ended.
JOB = """
import subprocess, sys
from runyard.distributed.topology import Rank
from runyard.job.container import Container
from runyard.protocol.jobs import JobAssignment, JobContainer
folder, image = sys.argv[1:]
own = JobAssignment("run", 1, "e", 0, 1, folder, "http://server", "token", "s", "/usr/local/bin/python", folder + "/sdk")
container = Container(own, JobContainer(image, engine="podman"), folder + "/code")
container.prepare(print)
output = folder + "/output"
argv = container.launch(Rank(0, 0, 0), ["python", "train.py"], {}, output)
with open(output, "ab") as said:
    code = subprocess.call(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
print("ended", container.ended(0, code, output))
"""

TRAIN = """
import os
own = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(os.getuid(), "capabilities", int(own["CapEff"], 16), "new ones", own["NoNewPrivs"].strip() == "0")
open("model.txt", "w").write("weights")
raise SystemExit(3)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the plain user's, whose parents that user may pass."""
    if missing() or os.geteuid() != 0 or shutil.which("newuidmap") is None or PYTHON is None:
        pytest.skip(missing() or "needs root, the system's python3, and newuidmap: apt-get install uidmap")
    with tempfile.TemporaryDirectory(prefix="runyard-rootless-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        shutil.copytree(SDK, folder / "sdk" / "runyard")
        (folder / "code").mkdir()
        (folder / "code" / "train.py").write_text(TRAIN)
        write_base(folder / "base.tar")
        (folder / "job.py").write_text(JOB)
        yield folder


def as_user(user: pwd.struct_passwd, folder: Path, argv: list[str], environment: dict[str, str]) -> str:
    """What a program prints that this user runs, who has subordinate ids meanwhile."""
    ids = folder / "subordinate-ids"
    ids.write_text(f"{user.pw_name}:300000:65536\n")
    given = f"mount --bind {ids} /etc/subuid && mount --bind {ids} /etc/subgid"
    become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    command = ["unshare", "--mount", "sh", "-c", f'{given} && exec "$@"', "sh", *become, *argv]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_a_plain_users_script_runs_as_that_user_with_no_right_that_the_user_lacks(folder: Path) -> None:
    user = pwd.getpwnam("nobody")
    host = ContainerHost(folder, "127.0.0.1:1")
    environment = {
        **host.environment,
        "HOME": str(folder / "home"),
        "XDG_RUNTIME_DIR": str(folder / "home"),
        "PYTHONPATH": str(folder / "sdk"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    (folder / "home").mkdir(mode=0o700)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)
    as_user(user, folder, ["podman", "import", "--quiet", str(folder / "base.tar"), BASE], environment)
    said = as_user(user, folder, [str(PYTHON), str(folder / "job.py"), str(folder), BASE], environment)
    assert said.splitlines()[-1] == "ended (3, '')", said + (folder / "output").read_text()
    assert (folder / "output").read_text() == f"{user.pw_uid} capabilities 0 new ones False\n"
    model = folder / "code" / "model.txt"
    assert model.read_text() == "weights" and model.stat().st_uid == user.pw_uid
