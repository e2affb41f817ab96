"""Where nodes on other machines reach a server: configured, or why not."""

from pathlib import Path

import pytest

from runyard_server.settings import Settings, load


@pytest.mark.parametrize(
    ("host", "public_url", "is_reached"),
    [
        ("127.0.0.1", "", False),
        ("0.0.0.0", "", False),
        ("10.0.0.5", "", True),
        ("127.0.0.1", "https://yard.example.org", True),
        ("0.0.0.0", "http://login1:8000", True),
    ],
)
def test_a_server_knows_whether_nodes_are_told_an_address_that_leads_to_it(
    tmp_path: Path, host: str, public_url: str, is_reached: bool
) -> None:
    said = Settings(tmp_path, host=host, public_url=public_url).out_of_reach
    assert (said == "") == is_reached
    assert is_reached or "--public-url URL" in said


def test_the_public_address_is_one_that_the_server_answers_to(tmp_path: Path) -> None:
    settings = load(str(tmp_path), {"RUNYARD_PUBLIC_URL": "https://yard.example.org/"})
    assert settings.public_url == "https://yard.example.org"
    assert "yard.example.org" in settings.hosts
    assert load(str(tmp_path), {}, public_url="http://a:1").hosts == ["127.0.0.1", "localhost", "a"]


def test_who_provides_nodes_by_default_can_be_said(tmp_path: Path) -> None:
    assert load(str(tmp_path), {"RUNYARD_DEFAULT_EXECUTOR": "slurm"}).default_executor == "slurm"
    assert load(str(tmp_path), {}).default_executor == "local"


@pytest.mark.parametrize("place", ["", "https://builds.example.org/cpu/", "/mirror/wheels"])
def test_the_place_of_pytorchs_cpu_builds_is_an_address_or_a_whole_path(tmp_path: Path, place: str) -> None:
    assert load(str(tmp_path), {"RUNYARD_PYTORCH_CPU": place}).pytorch_cpu == place


def test_another_place_of_pytorchs_cpu_builds_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="RUNYARD_PYTORCH_CPU is 'cpu'. Allowed: the http"):
        load(str(tmp_path), {"RUNYARD_PYTORCH_CPU": "cpu"})
