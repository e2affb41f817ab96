"""The OpenAPI document is complete and true: what any request is answered, the document has declared."""

import itertools
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks

from runyard.protocol.version import API_PREFIX
from runyard_server.api import answers, roles
from runyard_server.api.errors import ADDRESSES

from .conftest import ADDRESS, MEMBER, Yard

ROUTES = sorted(answers.TABLE)
DOCUMENT = f"{API_PREFIX}/openapi.json"
EXAMPLES = 8


@pytest.fixture(scope="module")
def document(yard: Yard) -> Any:
    return yard.client().get(DOCUMENT).json()


@pytest.fixture(scope="module")
def api(yard: Yard, document: Any) -> Any:
    """The document as schemathesis understands it, in front of the application."""
    config = SchemathesisConfig(seed=1)
    # Parameters and fields that a route does not know are passed over, so that a newer client is understood.
    config.projects.default.generation.update(
        deterministic=True, with_security_parameters=False, allow_extra_parameters=False
    )
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.app = yard.server.app
    return schema


def test_every_route_of_the_role_table_is_in_the_document_and_has_its_answers(document: Any) -> None:
    declared = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    served = {(method, path.replace(":path}", "}")) for method, path in roles.TABLE if path.startswith(ADDRESSES)}

    assert declared == served == set(answers.TABLE)


def test_the_document_is_no_stranger_s(yard: Yard) -> None:
    assert yard.client(token=None).get(DOCUMENT).status_code == 401


def known(case: Case, yard: Yard) -> Case:
    """The case with names that are there in its path: what lies behind an unknown name is reached by no request."""
    part = case.path.removeprefix(API_PREFIX).split("/")[1]
    if case.path.startswith("/api/2.0/"):
        return known_to_mlflow(case, yard)
    names = {
        "runs": {"run_id": yard.run_id, "path": "outputs/model/weights.bin", "name": "azureml-logs/70_driver_log.txt"},
        "experiments": {"name": "mnist"},
        "models": {"name": "mnist", "version": 1},
        "datasets": {"name": "mnist", "version": 1},
        "snapshots": {"snapshot_id": yard.snapshot_id},
        "datastores": {"name": "workspacefilestore"},
    }
    for name in case.path_parameters or {}:
        if name in names.get(part, {}):
            case.path_parameters[name] = names[part][name]
    return case


def known_to_mlflow(case: Case, yard: Yard) -> Case:
    """The same for MLflow's routes, which name most things in the query or the body."""
    held = yard.server.services
    experiment_id = held.experiments.get(held.runs.get(yard.run_id).experiment).id  # whatever it is called by now
    names = {
        "run_id": yard.run_id,
        "run_ids": [yard.run_id],
        "experiment_id": experiment_id,
        "experiment_ids": [experiment_id],
        "metric_key": "loss",
        "name": "mnist",
        "version": "1",
        "path": f"{experiment_id}/{yard.run_id}/artifacts/outputs/model/weights.bin",
        "artifact_path": f"{experiment_id}/{yard.run_id}/artifacts/outputs/model/weights.bin",
    }
    for held in (case.path_parameters, case.query, case.body):
        if isinstance(held, dict):
            held.update({name: value for name, value in names.items() if name in held})
    return case


def left_out(case: Case) -> list[Any]:
    """Checks that would refuse what is right here.

    A request of the right form may name what is not here, and is refused. A body in which ``true`` stands for 1 or
    "1" for a number says what it means, and is taken.
    """
    lenient = [checks.negative_data_rejection] if case.operation.body else []
    return [checks.positive_data_acceptance, *lenient]


def ask(case: Case, token: str = MEMBER) -> None:
    case.call_and_validate(
        base_url=ADDRESS, headers={"Authorization": f"Bearer {token}"}, excluded_checks=left_out(case)
    )


def each(cases: Any) -> Any:
    """Some cases, the same ones in every run of the tests."""
    seeded = settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    return lambda asked: seeded(given(case=cases)(asked))


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_a_request_of_the_right_form_is_answered_as_the_document_says(
    api: Any, yard: Yard, route: tuple[str, str]
) -> None:
    method, path = route
    turns = itertools.count()

    @each(api[path][method].as_strategy(generation_mode=GenerationMode.POSITIVE))
    def asked(case: Case) -> None:
        named = next(turns) % 3 and method != "DELETE" and not path.endswith("/delete")
        ask(known(case, yard) if named else case)

    asked()


def can_be_wrong(operation: dict[str, Any]) -> bool:
    """Whether a request can be of a form that the document rules out."""
    limited = [parameter["schema"].keys() - {"title", "default"} for parameter in operation.get("parameters", [])]
    return "application/json" in operation.get("requestBody", {}).get("content", {}) or any(
        limits not in ({"type"}, {"anyOf"}) for limits in limited
    )


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_a_request_of_a_wrong_form_is_refused_as_the_document_says(
    api: Any, document: Any, route: tuple[str, str]
) -> None:
    method, path = route
    if not can_be_wrong(document["paths"][path][method.lower()]):
        return  # every request that reaches this route is of the right form

    @each(api[path][method].as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def asked(case: Case) -> None:
        ask(case)

    asked()
