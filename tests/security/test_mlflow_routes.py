"""Known attacks on MLflow's server, replayed on the routes that speak its words."""

from typing import Any

import httpx
import pytest

from runyard.protocol.runs import InteractiveRunSpec
from runyard_server.testing.client import Client

from .attacks import attack
from .conftest import CONTENT, Yard
from .test_paths import CLIMBING, UNIT_LIST, URLS, WINDOWS, disk

MLFLOW = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts"


@pytest.fixture(scope="module")
def name(yard: Yard) -> str:
    answer = yard.client().post(f"{MLFLOW}/registered-models/create", json={"name": "registered"})
    assert answer.status_code == 200
    return "registered"


def experiment_of(yard: Yard) -> str:
    return yard.server.services.experiments.get("mnist").id


def root(yard: Yard) -> str:
    return f"{experiment_of(yard)}/{yard.run_id}/artifacts"


def refused(answer: httpx.Response, status: int = 400) -> None:
    assert answer.status_code == status, answer.text
    assert answer.json()["error_code"]
    assert b"root:" not in answer.content


def source(yard: Yard, name: str, place: str, **more: Any) -> httpx.Response:
    before = disk(yard.root)
    said = {"name": name, "source": place, **more}
    answer = yard.client().post(f"{MLFLOW}/model-versions/create", json=said)
    assert disk(yard.root) == before
    return answer


@attack(1, "CVE-2023-1177", "a model version whose source is `file:///etc/`", "400: no source is a place")
def test_attack_1_a_source_is_no_file_uri(yard: Yard, name: str) -> None:
    refused(source(yard, name, "file:///etc/"))
    twin = yard.client().get("/model-versions/get-artifact?path=passwd&name=registered&version=1")
    assert twin.status_code == 404 and b"root:" not in twin.content


@attack(2, "CVE-2023-2780", "the same, `file://./etc`", "400: no source is a place")
def test_attack_2_nor_a_relative_one(yard: Yard, name: str) -> None:
    refused(source(yard, name, "file://./etc"))


@attack(3, "CVE-2023-6977", "the same, `//proc/self/root`", "400: no source is a place")
def test_attack_3_nor_a_path_with_two_slashes(yard: Yard, name: str) -> None:
    refused(source(yard, name, "//proc/self/root"))


@pytest.mark.parametrize("place", ["http://h/x/../../../etc", "s3://b/../../etc", "mlflow-artifacts:/../../etc"])
@attack(4, "CVE-2023-2356", "a source that climbs, of any scheme", "400: no source is a place")
def test_attack_4_nor_one_that_climbs(yard: Yard, name: str, place: str) -> None:
    refused(source(yard, name, place))


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/api/2.0/mlflow-artifacts/artifacts/", "models:/registered/1"])
@attack(5, "CVE-2023-6018", "a source at another server, then a version of that", "400; the server calls nobody")
def test_attack_5_nor_another_server(yard: Yard, name: str, place: str) -> None:
    refused(source(yard, name, place))


@attack(6, "CVE-2026-2614", "a tag that says that it is a prompt, to skip the check", "400: no tag changes the check")
def test_attack_6_no_tag_skips_the_check(yard: Yard, name: str) -> None:
    tags = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    refused(source(yard, name, "file:///etc/passwd", tags=tags))
    refused(source(yard, name, "prompt-template", tags=tags))


@pytest.mark.parametrize("path", [*CLIMBING, *WINDOWS, *URLS])
@attack(7, "CVE-2025-11201", "traversal behind the address of a run's files, to write", "400: nothing is written")
def test_attack_7_a_source_below_a_run_does_not_climb(yard: Yard, name: str, path: str) -> None:
    for place in (f"runs:/{yard.run_id}/{path}", f"mlflow-artifacts:/{root(yard)}/{path}", f"models:/{path}"):
        refused(source(yard, name, place))


@pytest.mark.parametrize("path", [*CLIMBING, *WINDOWS, *(path for path in UNIT_LIST if "\x00" not in path)])
@pytest.mark.parametrize("door", ["list", "list files", "read", "write"])
@attack(8, "mlflow#7166", "", "")
def test_attack_8_a_path_that_is_not_plain_opens_none_of_mlflows_doors(yard: Yard, door: str, path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        return  # no address has it
    client, before = yard.client(), disk(yard.root)
    quoted = httpx.QueryParams({"path": path})
    if door == "list":
        answer = client.get(f"{MLFLOW}/artifacts/list?run_id={yard.run_id}&{quoted}")
    elif door == "list files":
        answer = client.get(f"{FILES}/artifacts?{httpx.QueryParams({'path': f'{root(yard)}/{path}'})}")
    else:
        address = f"{FILES}/artifacts/{root(yard)}/{_encoded(path)}"
        answer = client.request("GET" if door == "read" else "PUT", address, content=b"x" if door == "write" else None)
    assert answer.status_code in (400, 404), (path, answer.status_code, answer.text)
    assert b"root:" not in answer.content
    assert disk(yard.root) == before


def _encoded(path: str) -> str:
    return "".join(f"%{byte:02X}" for byte in path.encode())


@pytest.mark.parametrize("path", ["C:/", "\\\\host\\share", "..\\..\\x"])
@attack(9, "CVE-2023-3765", "", "")
def test_attack_9_verbatim(yard: Yard, path: str) -> None:
    refused(yard.client().get(f"{FILES}/artifacts?{httpx.QueryParams({'path': path})}"))


@pytest.mark.parametrize("path", ["%252E%252E%252F%252E%252E%252Fetc%252fpasswd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@attack(10, "CVE-2023-6831, CVE-2024-1560", "", "")
def test_attack_10_encoded_once_and_twice(yard: Yard, path: str, method: str) -> None:
    before = disk(yard.root)
    for address in (f"{FILES}/artifacts/{path}", f"{FILES}/artifacts/{root(yard)}/{path}"):
        answer = yard.client().request(method, address, content=b"x")
        refused(answer, 405 if method == "DELETE" else 400)
    assert disk(yard.root) == before


LOCATIONS = {
    11: ("CVE-2023-6909", "http:///?/../../../../etc/"),
    12: ("CVE-2024-2928", "http:///#/../../../etc/"),
    13: ("CVE-2024-3848", "http://host#/../../../etc/"),
}


def _location_is_refused(yard: Yard, location: str) -> None:
    client = yard.client()
    said = {"name": "planted", "artifact_location": location}
    refused(client.post(f"{MLFLOW}/experiments/create", json=said))
    assert client.get(f"{MLFLOW}/experiments/get-by-name?experiment_name=planted").status_code == 404


@attack(11, LOCATIONS[11][0], "an experiment whose artifacts lie at a location with `?`", "400: it is never taken")
def test_attack_11_a_location_is_never_taken(yard: Yard) -> None:
    _location_is_refused(yard, LOCATIONS[11][1])


@attack(12, LOCATIONS[12][0], "the same with `#`", "400: it is never taken")
def test_attack_12_nor_with_a_fragment(yard: Yard) -> None:
    _location_is_refused(yard, LOCATIONS[12][1])


@attack(13, LOCATIONS[13][0], "the same with `#` behind a host, and an upload with `?` in its path", "400; 404")
def test_attack_13_nor_behind_a_host(yard: Yard) -> None:
    _location_is_refused(yard, LOCATIONS[13][1])
    answer = yard.client().post(f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={yard.run_id}&path=a?/a", content=b"x")
    assert answer.status_code in (404, 405)


@pytest.mark.parametrize("location", [*URLS, "file:///etc#x", "file:///etc?x", "/etc", "relative/place"])
@attack(14, "CVE-2024-1593", "", "")
def test_attack_14_and_15_one_check_for_locations_and_sources(yard: Yard, name: str, location: str) -> None:
    _location_is_refused(yard, location)
    refused(source(yard, name, location))


@pytest.fixture(scope="module")
def stranger(yard: Yard) -> Client:
    """Who holds the token of another run."""
    other = yard.server.services.runs.start_interactive(InteractiveRunSpec(experiment="mnist", id="other_1"), by="user")
    return yard.client(yard.server.services.tokens.for_run(other.id))


@attack(17, "CVE-2026-2651", "files put into another's run by a route that the check forgot", "403 on each")
def test_attack_17_a_runs_token_puts_nothing_into_another_run(yard: Yard, stranger: Client) -> None:
    before = disk(yard.root)
    place = f"{FILES}/artifacts/{root(yard)}/model"
    refused(stranger.request("PUT", place, content=b"x"), 403)
    for noun, said in [
        ("update", {"status": "FAILED"}),
        ("log-metric", {"key": "loss", "value": 0, "timestamp": 1}),
        ("log-parameter", {"key": "a", "value": "b"}),
        ("log-batch", {}),
        ("set-tag", {"key": "a", "value": "b"}),
        ("delete-tag", {"key": "a"}),
        ("log-model", {"model_json": "{}"}),
        ("log-inputs", {}),
        ("outputs", {"models": []}),
    ]:
        refused(stranger.post(f"{MLFLOW}/runs/{noun}", json={"run_id": yard.run_id, **said}), 403)
    for noun in ("delete", "restore"):
        refused(stranger.post(f"{MLFLOW}/runs/{noun}", json={"run_id": yard.run_id}), 403)
    assert disk(yard.root) == before


@attack(18, "CVE-2026-33866", "another's files read by the twin of a guarded route", "403 on each; there are no twins")
def test_attack_18_a_runs_token_reads_nothing_of_another_run(yard: Yard, stranger: Client) -> None:
    for address in (
        f"{FILES}/artifacts/{root(yard)}/outputs/model/weights.bin",
        f"{FILES}/artifacts?path={root(yard)}",
        f"{MLFLOW}/artifacts/list?run_id={yard.run_id}",
        f"{MLFLOW}/runs/get?run_id={yard.run_id}",
        f"{MLFLOW}/metrics/get-history?run_id={yard.run_id}&metric_key=loss",
        f"{MLFLOW}/metrics/get-history-bulk-interval?run_ids={yard.run_id}&metric_key=loss",
        f"{MLFLOW}/logged-models/{yard.run_id}",
    ):
        refused(stranger.get(address), 403)
        twin = stranger.get(address.replace("/api/", "/ajax-api/"))
        assert twin.status_code == 404 and CONTENT not in twin.content


@attack(19, "CVE-2026-0545", "a job started without credentials", "401")
def test_attack_19_no_job_without_a_token(yard: Yard) -> None:
    said = {"job_name": "run_task", "params": {"command": "id"}}
    for address in ("/ajax-api/3.0/jobs/", "/api/3.0/jobs/"):
        assert yard.client(token=None).post(address, json=said).status_code == 401


@attack(20, "CVE-2026-2652", "job and trace routes without credentials", "401")
def test_attack_20_no_search_and_no_trace_without_a_token(yard: Yard) -> None:
    for address in ("/ajax-api/3.0/jobs/search", "/v1/traces", f"{MLFLOW}/runs/search", f"{MLFLOW}/experiments/search"):
        assert yard.client(token=None).post(address, json={}).status_code == 401


@attack(21, "CVE-2026-3198", "lists of secrets and tokens as an ordinary user", "there is none: 404")
def test_attack_21_no_route_lists_secrets(yard: Yard) -> None:
    for noun in ("secrets/list", "users/list", "gateway/secrets/list"):
        answer = yard.client().get(f"/api/3.0/mlflow/{noun}")
        refused(answer, 404)


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:9/"])
@attack(25, "CVE-2025-52967", "a proxy to an address that the client names", "there is none: 404")
def test_attack_25_no_route_is_a_proxy(yard: Yard, target: str) -> None:
    for address in ("/ajax-api/2.0/mlflow/gateway-proxy", f"{MLFLOW}/gateway-proxy"):
        for method in ("GET", "POST"):
            answer = yard.client().request(method, address, json={"gateway_path": target, "json_data": {}})
            assert answer.status_code in (404, 405)


HOOKS = ["http://169.254.169.254/", "http://[::ffff:169.254.169.254]/", "http://2130706433/", "http://0/"]


def _no_hook(yard: Yard, address: str, said: dict[str, Any]) -> None:
    answer = yard.client().post(address, json=said)
    refused(answer, 404)


@pytest.mark.parametrize("url", HOOKS)
@attack(26, "CVE-2026-2393", "a web hook to a private address", "there are none: 404; the server calls nobody")
def test_attack_26_there_are_no_web_hooks(yard: Yard, url: str) -> None:
    _no_hook(yard, f"{MLFLOW}/webhooks", {"name": "h", "url": url, "events": []})


@attack(27, "CVE-2026-64849", "the test of a web hook that is led on to loopback", "there are none: 404")
def test_attack_27_and_none_to_try(yard: Yard) -> None:
    _no_hook(yard, f"{MLFLOW}/webhooks/x/test", {})


@attack(28, "CVE-2026-71211", "a gateway's endpoint at a private address", "there are none: 404")
def test_attack_28_there_are_no_gateways(yard: Yard) -> None:
    _no_hook(yard, "/api/3.0/mlflow/gateway/endpoints/create", {"name": "g", "url": HOOKS[0]})


@pytest.mark.parametrize(
    "query",
    [
        "().__class__.__mro__[1].__subclasses__()",
        "__import__('os').system('id') = 'x'",
        "run.x == eval('1')",
        "metrics.loss < 1; DROP TABLE runs; --",
        "tags.x = '' UNION SELECT token FROM secrets",
        "tags.`x\"y` = '1'",
        "params.x LIKE '" + "%a" * 3000 + "'",
        "(" * 10_000,
        "metrics.loss < 1 AND " * 200 + "metrics.loss < 1",
    ],
    ids=lambda query: query[:24],
)
@attack(
    42, "Aim CVE-2024-2195, CVE-2025-5321", "a query that is Python, or SQL, or endless", "400: a grammar of its own"
)
def test_attack_42_a_filter_is_read_and_never_run(yard: Yard, query: str) -> None:
    client, experiment_id = yard.client(), experiment_of(yard)
    for noun, said in [
        ("runs", {"experiment_ids": [experiment_id]}),
        ("experiments", {}),
        ("logged-models", {"experiment_ids": [experiment_id]}),
    ]:
        answer = client.post(f"{MLFLOW}/{noun}/search", json={**said, "filter": query})
        assert answer.status_code in (200, 400) and "uid=" not in answer.text
        if "LIKE" not in query and (noun == "runs" or '"' not in query):
            refused(answer)
    refused(client.post(f"{MLFLOW}/runs/search", json={"experiment_ids": [experiment_id], "order_by": [query]}))
    for noun in ("registered-models", "model-versions"):
        answer = client.get(f"{MLFLOW}/{noun}/search", params={"filter": query})
        assert answer.status_code in (200, 400), answer.text


@pytest.mark.parametrize("site", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_another_site_changes_nothing_by_mlflows_routes(yard: Yard, site: dict[str, str]) -> None:
    answer = yard.client().post(f"{MLFLOW}/experiments/create", json={"name": "planted"}, headers=site)
    refused(answer, 403)
    text = yard.client().post(
        f"{MLFLOW}/experiments/create", content=b'{"name": "planted"}', headers={"Content-Type": "text/plain"}
    )
    refused(text)
    strange = yard.client().get(f"{MLFLOW}/experiments/get?experiment_id=0", headers={"Host": "evil.example"})
    refused(strange)


def test_a_runs_token_makes_runs_below_its_own_alone(yard: Yard, stranger: Client) -> None:
    said = {"experiment_id": experiment_of(yard), "tags": [{"key": "mlflow.parentRunId", "value": yard.run_id}]}
    answer = stranger.post(f"{MLFLOW}/runs/create", json=said)
    assert answer.status_code == 200
    run_id = answer.json()["run"]["info"]["run_id"]
    assert yard.server.services.runs.get(run_id).parent_id == "other_1"
    own = stranger.post(f"{MLFLOW}/runs/set-tag", json={"run_id": run_id, "key": "a", "value": "b"})
    assert own.status_code == 200
