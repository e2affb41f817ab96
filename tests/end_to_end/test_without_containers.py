"""A server without a container engine: Azure's habit of asking for docker means nothing, a named image is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard import Environment, Estimator, Experiment, ScriptRunConfig, Workspace, embedded, home
from runyard.errors import EnvironmentException
from runyard.runconfig import DockerConfiguration


@pytest.fixture(scope="module")
def workspace(runyard_home: Path) -> Iterator[Workspace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNYARD_CONTAINER_ENGINE", "none")
        opened = Workspace.create(
            "without-engine", container_registry="registry.example/team", exist_ok=True, show_output=False
        )
        yield opened
    assert opened.folder is not None
    embedded.stop(opened.folder)


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "train.py").write_text("print('trained')\n")
    return str(tmp_path)


def test_asking_for_docker_alone_runs_outside_of_any(
    workspace: Workspace, source: str, this_python: Environment
) -> None:
    estimator = Estimator(source, entry_script="train.py", environment_definition=this_python, use_docker=True)
    config = ScriptRunConfig(
        source, "train.py", environment=this_python, docker_runtime_config=DockerConfiguration(use_docker=True)
    )
    for asked in (estimator, config):
        run = Experiment(workspace, "tests").submit(asked)
        assert run.wait_for_completion()["status"] == "Completed"


def test_a_custom_image_is_refused_at_submission_with_the_cure(workspace: Workspace, source: str) -> None:
    estimator = Estimator(
        source, entry_script="train.py", custom_docker_image="continuumio/miniconda3", user_managed=True
    )
    before = len(list(Experiment(workspace, "refused").get_runs()))
    with pytest.raises(
        EnvironmentException, match="'continuumio/miniconda3'.*Install podman.*a run needs no container"
    ):
        Experiment(workspace, "refused").submit(estimator)
    assert len(list(Experiment(workspace, "refused").get_runs())) == before


def test_the_registry_that_a_workspace_names_is_kept_with_it(workspace: Workspace) -> None:
    assert workspace.folder is not None
    assert (home.read_json(home.identity_file(workspace.folder)) or {})["container_registry"] == "registry.example/team"
