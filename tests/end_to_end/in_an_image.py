"""Environments that are built into an image, of packages that need no index."""

from pathlib import Path

from runyard import Environment
from runyard_server.testing.container_host import BASE


def in_an_image(wheels: Path, *packages: str) -> Environment:
    """These pip packages, from the folder ``wheels`` alone, in the tests' base image."""
    environment = Environment("in-an-image")
    environment.docker.base_image = BASE
    options = ["--no-index", f"--find-links {wheels}"]
    environment.python.conda_dependencies.set_pip_requirements([*options, *packages])
    return environment
