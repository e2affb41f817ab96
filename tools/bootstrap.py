#!/usr/bin/env python3
"""Makes ``.venv`` from nothing but Python 3: finds or fetches uv, then installs the pins and the three wheels.

Standard library only, for any Python 3.6 or later. Run by ``make``; returns at once when nothing changed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
TOOLS = os.path.join(ROOT, ".tools")
STAMP = os.path.join(VENV, "runyard-installed")
PINS = ["requirements/server.txt", "requirements/dev.txt"]
WHEELS = ["sdk", "server", "azureml"]
PYTHON_VERSION = ">=3.11"
INSTALLER = "https://astral.sh/uv/install.sh"


def digest():
    """Of everything that decides what ``.venv`` holds, and of where it lies."""
    content = hashlib.sha256(ROOT.encode())
    for name in PINS + [wheel + "/pyproject.toml" for wheel in WHEELS] + ["tools/bootstrap.py"]:
        with open(os.path.join(ROOT, name), "rb") as source:
            content.update(source.read())
    return content.hexdigest()


def is_ready(wanted):
    """Whether ``.venv`` was finished from the same content, and its Python still starts."""
    try:
        with open(STAMP) as stamp:
            if stamp.read() != wanted:
                return False
    except OSError:
        return False
    return os.access(os.path.join(VENV, "bin", "python"), os.X_OK)


def works(command):
    """Whether ``command --version`` is uv."""
    try:
        answer = subprocess.run(
            command + ["--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
    except OSError:
        return False
    return answer.returncode == 0 and answer.stdout.startswith(b"uv ")


def quietly(command, environment=None):
    """Runs ``command``; None where it went well, else the last lines that it said."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
        )
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return None
    return "\n".join(done.stdout.decode(errors="replace").strip().splitlines()[-3:])


def find_uv():
    """The command that runs a uv that is already here, or None."""
    on_path = shutil.which("uv")
    places = [[on_path]] if on_path else []
    places += [[os.path.join(TOOLS, folder, "bin", "uv")] for folder in ("uv-venv", "uv-target", "uv-own")]
    places.append([sys.executable, "-m", "uv"])
    for command in places:
        if works(command):
            return command
    return None


def fetch_by_venv():
    """uv in a virtual environment of its own: the usual case."""
    folder = os.path.join(TOOLS, "uv-venv")
    return quietly([sys.executable, "-m", "venv", "--clear", folder]) or quietly(
        [os.path.join(folder, "bin", "python"), "-m", "pip", "install", "--quiet", "uv"]
    )


def fetch_by_pip():
    """uv in a plain folder: where Debian's python3-venv is missing but pip is there."""
    folder = os.path.join(TOOLS, "uv-target")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", folder]
    return quietly(install + ["uv"]) and quietly(install + ["--break-system-packages", "uv"])


def fetch_by_pip_for_user():
    """uv among the user's own packages: where --target is refused."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--user"]
    return quietly(install + ["uv"]) and quietly(install + ["--break-system-packages", "uv"])


def fetch_by_its_own_installer():
    """uv by the script that its makers publish: where Python came without pip."""
    script = os.path.join(TOOLS, "uv-install.sh")
    try:
        with urllib.request.urlopen(INSTALLER, timeout=30) as answer, open(script, "wb") as target:
            shutil.copyfileobj(answer, target)
    except OSError as error:
        return "{}: {}".format(INSTALLER, error)
    own = os.path.join(TOOLS, "uv-own", "bin")
    return quietly(
        ["sh", script], dict(os.environ, UV_INSTALL_DIR=own, UV_NO_MODIFY_PATH="1", INSTALLER_NO_MODIFY_PATH="1")
    )


def get_uv():
    """The command that runs uv; fetched into ``.tools`` where there is none."""
    command = find_uv()
    if command:
        return command
    print("uv is not here; fetching it into .tools (once)", flush=True)
    os.makedirs(TOOLS, exist_ok=True)
    said = []
    for fetch in (fetch_by_venv, fetch_by_pip, fetch_by_pip_for_user, fetch_by_its_own_installer):
        problem = fetch()
        command = find_uv()
        if command:
            return command
        said.append("{}: {}".format(fetch.__doc__.split(":")[0], problem or "ended well, yet it does not start"))
    sys.exit(
        "uv could not be fetched. Tried, in this order:\n  "
        + "\n  ".join(said)
        + "\nInstall uv in any way you like (for example: python3 -m pip install uv), so that `uv --version` answers,"
        " and call make again."
    )


def run(command):
    """Runs ``command`` in the repository, showing what it says; ends with its exit code where it fails."""
    environment = dict(os.environ, VIRTUAL_ENV=VENV)
    code = subprocess.call(command, cwd=ROOT, env=environment)
    if code != 0:
        sys.exit(code)


def install(uv):
    python = os.path.join(VENV, "bin", "python")
    into = ["--quiet", "--python", python]
    shutil.rmtree(VENV, ignore_errors=True)
    run(uv + ["venv", "--quiet", "--python", PYTHON_VERSION, VENV])
    pins = [argument for name in PINS for argument in ("-r", os.path.join(ROOT, name))]
    run(uv + ["pip", "install", "--require-hashes"] + into + pins)
    editable = [argument for wheel in WHEELS for argument in ("--editable", os.path.join(ROOT, wheel))]
    run(uv + ["pip", "install", "--no-deps", "--no-build-isolation"] + into + editable)


def main():
    wanted = digest()
    if is_ready(wanted):
        return
    uv = get_uv()
    print("installing the pinned packages into .venv", flush=True)
    install(uv)
    with open(STAMP, "w") as stamp:
        stamp.write(wanted)


if __name__ == "__main__":
    main()
