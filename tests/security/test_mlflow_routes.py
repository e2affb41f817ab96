"""Known attacks on MLflow's server, replayed on the routes that speak its words."""

import time
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from runyard.protocol.runs import InteractiveRunSpec
from runyard_server.services.uploads import MOST_OF_A_RUN
from runyard_server.testing.client import Client

from .attacks import attack
from .conftest import CONTENT, MEMBER, Yard
from .doors import API, Door
from .test_paths import CLIMBING, UNIT_LIST, URLS, WINDOWS, disk

MLFLOW = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts"
OF_PAGES = "/ajax-api/2.0/mlflow"


def _encoded(path: str) -> str:
    return "".join(f"%{byte:02X}" for byte in path.encode())


def _below(yard: Yard, path: str) -> str:
    return f"{root(yard)}/{_encoded(path)}"


DOORS_OF_MLFLOW: dict[str, Door] = {
    "list": lambda c, y, path: c.get(f"{MLFLOW}/artifacts/list", params={"run_id": y.run_id, "path": path}),
    "list files": lambda c, y, path: c.get(f"{FILES}/artifacts", params={"path": f"{root(y)}/{path}"}),
    "read": lambda c, y, path: c.get(f"{FILES}/artifacts/{_below(y, path)}"),
    "write": lambda c, y, path: c.request("PUT", f"{FILES}/artifacts/{_below(y, path)}", content=b"x"),
    "write in parts": lambda c, y, path: c.post(
        f"{FILES}/mpu/create/{_below(y, path)}", json={"path": path, "num_parts": 2}
    ),
    "complete parts": lambda c, y, path: c.post(
        f"{FILES}/mpu/complete/{_below(y, path)}", json={"path": path, "upload_id": "0" * 32, "parts": []}
    ),
    "abort parts": lambda c, y, path: c.post(
        f"{FILES}/mpu/abort/{_below(y, path)}", json={"path": path, "upload_id": "0" * 32}
    ),
    "list a logged model's files": lambda c, y, path: c.get(
        f"{MLFLOW}/logged-models/{y.run_id}/artifacts/directories", params={"artifact_directory_path": path}
    ),
    "place an experiment's files": lambda c, y, path: c.post(
        f"{MLFLOW}/experiments/create", json={"name": "planted", "artifact_location": path}
    ),
    "make a version": lambda c, y, path: c.post(
        f"{MLFLOW}/model-versions/create", json={"name": "mnist", "source": f"runs:/{y.run_id}/{path}"}
    ),
    "import a version": lambda c, y, path: c.post(
        f"{MLFLOW}/imports/model-versions",
        json={"name": "mnist", "version": "7", "source": f"runs:/{y.run_id}/{path}", "run_id": y.run_id},
    ),
}


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


@pytest.mark.parametrize("door", DOORS_OF_MLFLOW)
@attack(8, "mlflow#7166", "", "")
def test_attack_8_a_path_that_is_not_plain_opens_none_of_mlflows_doors(yard: Yard, door: str) -> None:
    # Of the others no address has them.
    unit_list = [path for path in UNIT_LIST if "\x00" not in path and "\ud800" not in path]
    opens_to_none(yard, door, [*CLIMBING, *WINDOWS, *unit_list])


def opens_to_none(yard: Yard, door: str, paths: Sequence[str]) -> None:
    before, client = disk(yard.root), yard.client()
    for path in paths:
        answer = DOORS_OF_MLFLOW[door](client, yard, path)
        assert answer.status_code in (400, 404), (path, answer.status_code, answer.text)
        assert b"root:" not in answer.content
    assert disk(yard.root) == before


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
def test_attack_14_one_check_for_locations_and_sources(yard: Yard, name: str, location: str) -> None:
    _location_is_refused(yard, location)
    refused(source(yard, name, location))


@pytest.mark.parametrize("door", DOORS_OF_MLFLOW)
@attack(14, "CVE-2024-1593", "", "")
def test_attack_14_no_door_of_mlflows_takes_a_location_for_a_path(yard: Yard, door: str) -> None:
    opens_to_none(yard, door, URLS)


@pytest.mark.parametrize("location", ["file:///etc#x", "file:///etc?x", "http://127.0.0.1:1/x"])
@attack(15, "CVE-2024-1483, GHSA-m49c-5c52-6696", "", "")
def test_attack_15_mlflows_words_for_a_location_are_never_stored(yard: Yard, name: str, location: str) -> None:
    client, experiment_id = yard.client(), experiment_of(yard)
    fields = dict.fromkeys(("artifact_location", "artifact_uri", "storage_location", "uri", "local_path"), location)
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "experiments/update", {"experiment_id": experiment_id, "new_name": "mnist"}),
        ("POST", "runs/create", {"experiment_id": experiment_id}),
        ("POST", "runs/update", {"run_id": yard.given_id}),
        ("POST", "registered-models/create", {"name": f"located {location}"[:20].replace("/", "-").replace(":", "-")}),
        ("PATCH", "registered-models/update", {"name": name, "description": "d"}),
        ("POST", "model-versions/create", {"name": name, "source": f"runs:/{yard.run_id}/outputs/model"}),
        ("POST", "logged-models", {"experiment_id": experiment_id, "name": "m", "source_run_id": yard.run_id}),
    ]
    for method, noun, said in requests:
        answer = client.request(method, f"{MLFLOW}/{noun}", json={**said, **fields})
        # An experiment's place is refused where it can be named; elsewhere these are no fields, and are passed over.
        assert answer.status_code in (200, 400), (noun, answer.text)
        assert answer.status_code == 400 or location not in answer.text, (noun, answer.text)
    told = [
        client.get(f"{MLFLOW}/experiments/get?experiment_id={experiment_id}").text,
        client.post(f"{MLFLOW}/runs/search", json={"experiment_ids": [experiment_id]}).text,
        client.get(f"{MLFLOW}/registered-models/search").text,
        client.get(f"{MLFLOW}/model-versions/search").text,
        client.post(f"{MLFLOW}/logged-models/search", json={"experiment_ids": [experiment_id]}).text,
    ]
    assert not [text for text in told if location in text]


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
    # In parts, too.
    refused(stranger.post(f"{FILES}/mpu/create/{root(yard)}/model", json={"path": "model", "num_parts": 2}), 403)
    for noun in ("complete", "abort"):
        refused(
            stranger.post(
                f"{FILES}/mpu/{noun}/{root(yard)}/model", json={"path": "model", "upload_id": "1", "parts": []}
            ),
            403,
        )
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
    # What MLflow's pages have for themselves is no way around.
    refused(stranger.get(f"{OF_PAGES}/metrics/get-history-bulk?run_id={yard.run_id}&metric_key=loss"), 403)
    refused(
        stranger.get(f"{OF_PAGES}/metrics/get-history-bulk?run_id=other_1&run_id={yard.run_id}&metric_key=loss"), 403
    )
    refused(
        stranger.post(f"{OF_PAGES}/experiments/search-datasets", json={"experiment_ids": [experiment_of(yard)]}), 403
    )


@attack(19, "CVE-2026-0545", "a job started without credentials", "401")
def test_attack_19_no_job_without_a_token(yard: Yard) -> None:
    said = {"job_name": "run_task", "params": {"command": "id"}}
    for address in ("/ajax-api/3.0/jobs/", "/api/3.0/jobs/"):
        assert yard.client(token=None).post(address, json=said).status_code == 401


@attack(20, "CVE-2026-2652", "job and trace routes without credentials", "401")
def test_attack_20_no_search_and_no_trace_without_a_token(yard: Yard) -> None:
    for address in ("/ajax-api/3.0/jobs/search", "/v1/traces", f"{MLFLOW}/runs/search", f"{MLFLOW}/experiments/search"):
        assert yard.client(token=None).post(address, json={}).status_code == 401
    refused(yard.client(token=None).post(f"{OF_PAGES}/experiments/search-datasets", json={}), 401)
    refused(yard.client(token=None).get(f"{OF_PAGES}/metrics/get-history-bulk"), 401)


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


HOOKS = [
    "http://localtest.me/",
    "http://169.254.169.254/",
    "http://[::ffff:169.254.169.254]/",
    "http://2130706433/",
    "http://0/",
]


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


QUERIES = [
    "().__class__.__mro__[1].__subclasses__()",
    "__import__('os').system('id') = 'x'",
    "run.x == eval('1')",
    "metrics.loss < 1; DROP TABLE runs; --",
    "tags.x = '' UNION SELECT token FROM secrets",
    "tags.`x\"y` = '1'",
    "params.x LIKE '" + "%a" * 3000 + "'",
    "(" * 10_000,
    "metrics.loss < 1 AND " * 200 + "metrics.loss < 1",
]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[:24])
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


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[:24])
@attack(42, "Aim CVE-2024-2195, CVE-2025-5321", "", "")
def test_attack_42_nor_is_one_of_our_own_routes_or_pages(yard: Yard, query: str) -> None:
    client = yard.client()
    for address in (f"{API}/run-table", "/runs"):
        for field in ("filter", "sort", "column"):
            began = time.process_time()
            answer = client.get(address, params={field: query})
            assert time.process_time() - began < 5, (address, field)  # what explodes takes minutes
            assert answer.status_code in (200, 400) and "uid=" not in answer.text, (address, field, answer.text[:300])
            assert MEMBER not in answer.text


def begun(client: Client, place: str, parts: int, name: str = "weights.bin") -> Any:
    answer = client.post(f"{FILES}/mpu/create/{place}", json={"path": f"/anywhere/{name}", "num_parts": parts})
    assert answer.status_code == 200, answer.text
    return answer.json()


def put_part(upload: Any, number: int, content: bytes, client: Client) -> str:
    credential = upload["credentials"][number - 1]
    answer = client.request(
        "PUT", credential["url"].partition("8000")[2], content=content, headers=credential["headers"]
    )
    assert answer.status_code == 200, answer.text
    return answer.headers["etag"]


def completed(client: Client, place: str, upload: Any, etags: Sequence[tuple[int, str]]) -> httpx.Response:
    parts = [{"part_number": number, "etag": etag, "url": "http://127.0.0.1:9/"} for number, etag in etags]
    said = {"path": "/anywhere/weights.bin", "upload_id": upload["upload_id"], "parts": parts}
    return client.post(f"{FILES}/mpu/complete/{place}", json=said)


def test_parts_that_are_missing_strange_or_twice_make_no_file(yard: Yard) -> None:
    client, place = yard.client(), f"{root(yard)}/in-parts"
    upload = begun(client, place, 3)
    etags = [(number, put_part(upload, number, bytes([64 + number]) * 3, client)) for number in (3, 1)]
    refused(completed(client, place, upload, etags))  # the second was never sent
    etags.append((2, put_part(upload, 2, b"BBB", client)))
    refused(completed(client, place, upload, etags[:2]))  # nor is it named here
    refused(completed(client, place, upload, [(1, etags[0][1]), (2, etags[2][1]), (3, etags[1][1])]))  # exchanged
    refused(completed(client, place, upload, [*etags, (1, etags[1][1])]))  # twice
    refused(completed(client, place, upload, [*etags, (4, etags[1][1])]))  # one too many
    files = f"/api/v1/runs/{yard.run_id}/files"
    assert b"in-parts" not in client.get(files).content
    assert completed(client, place, upload, etags).status_code == 200  # named in any order
    assert client.get(f"{files}/in-parts/weights.bin").content == b"AAABBBCCC"
    assert completed(client, place, upload, etags).status_code == 200  # as a client asks whose answer was lost


def test_an_upload_is_good_for_one_file_of_one_run(yard: Yard, stranger: Client) -> None:
    client, place = yard.client(), f"{root(yard)}/in-parts"
    upload = begun(client, place, 1)
    etag = put_part(upload, 1, b"x", client)
    address = upload["credentials"][0]["url"].partition("8000")[2]
    refused(stranger.request("PUT", address, content=b"y"), 403)
    refused(completed(stranger, place, upload, [(1, etag)]), 403)
    refused(completed(client, f"{root(yard)}/elsewhere", upload, [(1, etag)]), 404)
    refused(client.request("PUT", address[: address.rindex("/")] + "/2", content=b"y"))
    for wrong in ("0" * 32, upload["upload_id"][::-1]):
        refused(client.request("PUT", f"{FILES}/mpu/parts/{wrong}/1", content=b"y"), 404)
    said = {"path": "weights.bin", "upload_id": upload["upload_id"]}
    refused(stranger.post(f"{FILES}/mpu/abort/{place}", json=said), 403)
    assert client.post(f"{FILES}/mpu/abort/{place}", json=said).status_code == 200
    refused(completed(client, place, upload, [(1, etag)]), 404)
    refused(client.request("PUT", address, content=b"y"), 404)


def test_who_begins_without_end_is_stopped_and_leaves_nothing(yard: Yard) -> None:
    before, client, place = disk(yard.root), yard.client(), f"{root(yard)}/in-parts"
    for number in (0, -1, 10_001, 2**62):
        refused(client.post(f"{FILES}/mpu/create/{place}", json={"path": "w", "num_parts": number}))
    for name in ("", "..", "a/..", "C:\\", "a\x00", "https://h/"):
        refused(client.post(f"{FILES}/mpu/create/{place}", json={"path": name, "num_parts": 1}))
    uploads = [begun(client, place, 1, f"{number}") for number in range(MOST_OF_A_RUN)]
    refused(client.post(f"{FILES}/mpu/create/{place}", json={"path": "w", "num_parts": 1}), 429)
    for again in range(3):  # one part, over and over, is one part
        put_part(uploads[0], 1, bytes([again]) * 1000, client)
    for number, upload in enumerate(uploads):
        said = {"path": f"{number}", "upload_id": upload["upload_id"]}
        assert client.post(f"{FILES}/mpu/abort/{place}", json=said).status_code == 200
    assert disk(yard.root) == before


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
