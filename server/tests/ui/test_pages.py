"""The pages as a browser gets them, from a whole server built in a folder: nothing but the socket is missing."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx import Response

from runyard.protocol.compute import ComputeSpec
from runyard.protocol.datasets import DatasetUse
from runyard.protocol.environments import EnvironmentLock
from runyard.protocol.files import FileEntry, Manifest
from runyard.protocol.models import ModelChanges, ModelSpec
from runyard.protocol.run_parts import DataReferenceSpec
from runyard.protocol.runs import InteractiveRunSpec, RunChanges, RunError, RunRecord, RunSpec
from runyard.protocol.status import Reason, RunStatus
from runyard.protocol.system_metrics import name_of
from runyard_server.app import Server, build
from runyard_server.domain.model_stages import STAGE
from runyard_server.records import environments, experiments, runs
from runyard_server.services.pages import cookie_name
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.fresh_home import fresh_home

ADDRESS = "http://127.0.0.1:8000"
COOKIE = cookie_name("127.0.0.1:8000")
HOSTILE = "<script>alert('x')</script>&\"'"
LISTS = ["/runs", "/experiments", "/models", "/compute", "/datastores"]
LOG = "azureml-logs/70_driver_log.txt"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(tmp_path: Path, clock: FakeClock) -> Iterator[Server]:
    settings = Settings(home=tmp_path / "home", workspace="hand", environments=tmp_path / "environments")
    fresh_home(settings.home)
    built = build(settings, Secrets("own-token", b"k" * 32), lambda: ADDRESS, clock)
    yield built
    built.close()


@pytest.fixture
def stranger(server: Server) -> Client:
    return Client(server.app, ADDRESS)


@pytest.fixture
def visitor(server: Server) -> Client:
    """A browser that has opened a page's address before."""
    client = Client(server.app, ADDRESS)
    client.cookies.set(COOKIE, server.services.tokens.ticket())
    return client


def start(server: Server, experiment: str = "mnist", **known: object) -> RunRecord:
    return server.services.runs.start_interactive(InteractiveRunSpec(experiment, **known), "user")  # type: ignore[arg-type]


def submitted(server: Server, clock: FakeClock, run_id: str = "mnist_1_abc", **spec: object) -> RunRecord:
    """A run as it was submitted, past its start."""
    asked = RunSpec("mnist", "0" * 64, script="train.py", **spec)  # type: ignore[arg-type]
    record = RunRecord(
        run_id, 1, "mnist", "azureml.scriptrun", RunStatus.STARTING, clock.now(), 1, spec=asked, tags=asked.tags
    )
    with server.database.write() as connection:
        runs.add(connection, record, experiments.get_or_create(connection, "mnist", clock.now()).id)
        for status, reason in (
            (RunStatus.PREPARING, Reason.ACCEPTED),
            (RunStatus.QUEUED, Reason.ENVIRONMENT_READY),
            (RunStatus.RUNNING, Reason.NODES_STARTED),
        ):
            clock.advance(seconds=2)
            runs.move(connection, run_id, status, reason, clock.now())
    return server.services.runs.get(run_id)


def log_scalars(server: Server, run_id: str, name: str, values: list[float]) -> None:
    lines = "".join(json.dumps(["s", name, value, 1.0 + place]) + "\n" for place, value in enumerate(values))
    server.services.metrics.take(run_id, f"w-{len(name)}", 0, lines.encode())


def body(answer: Response) -> str:
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.text


# Who may see a page


@pytest.mark.parametrize("path", ["/", *LISTS, "/runs/some-run", "/no-such-page"])
def test_a_stranger_is_told_on_a_page_how_to_get_an_address(stranger: Client, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 401
    assert "runyard run show RUN" in body(answer)
    assert "run.get_portal_url()" in answer.text
    assert "hand" not in answer.text  # not even the workspace's name


def test_a_strangers_api_request_still_gets_json(stranger: Client) -> None:
    assert stranger.get("/api/v1/runs").json()["error"]["code"] == "authentication"


def test_the_address_of_a_run_opens_its_page_and_leaves_no_ticket_in_the_history(
    server: Server, stranger: Client
) -> None:
    run = start(server)
    address = server.services.pages.run(run.id)
    first = stranger.get(address)
    assert (first.status_code, first.headers["location"]) == (303, f"/runs/{run.id}")
    said = first.headers["set-cookie"]
    assert re.search(r"; HttpOnly\b", said) and "SameSite=strict" in said and "Path=/" in said and "Domain" not in said
    assert stranger.get(first.headers["location"]).status_code == 200


def test_the_rest_of_the_query_survives_the_ticket(server: Server, stranger: Client) -> None:
    answer = stranger.get("/runs", params={"experiment": "a b&c", "ticket": server.services.tokens.ticket()})
    assert answer.headers["location"] == "/runs?experiment=a+b%26c"


def test_a_ticket_leads_to_no_other_site(server: Server, stranger: Client) -> None:
    for path in ("/%5Cevil.example", "//evil.example", "/%2Fevil.example"):
        answer = stranger.get(f"{ADDRESS}{path}?ticket={server.services.tokens.ticket()}")
        assert not re.match(r"[/\\]{2}", answer.headers.get("location", "/"))


def test_a_link_on_another_site_goes_on_from_our_own_page(server: Server, stranger: Client) -> None:
    """A strict cookie is not sent with a redirect that began elsewhere."""
    run = start(server)
    answer = stranger.get(server.services.pages.run(run.id), headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert f'<meta http-equiv="refresh" content="0;url=/runs/{run.id}">' in body(answer)
    assert COOKIE in answer.headers["set-cookie"]


def test_who_comes_from_another_site_without_a_ticket_may_open_the_page_again(stranger: Client) -> None:
    assert "Open this page" in stranger.get("/runs", headers={"Sec-Fetch-Site": "cross-site"}).text
    assert "Open this page" not in stranger.get("/runs").text


def test_the_workspaces_own_token_never_becomes_a_cookie(server: Server, stranger: Client) -> None:
    answer = stranger.get("/runs?ticket=own-token")
    kept = answer.cookies[COOKIE]
    assert kept != "own-token"
    assert server.services.tokens.check(kept).role == "viewer"


def test_an_expired_ticket_neither_opens_a_page_nor_shuts_out_who_has_a_good_cookie(
    server: Server, stranger: Client, visitor: Client, clock: FakeClock
) -> None:
    old = server.services.tokens.ticket()
    clock.advance(minutes=6 * 24 * 60)
    stranger.cookies.set(COOKIE, server.services.tokens.ticket())
    clock.advance(minutes=2 * 24 * 60)
    answer = stranger.get(f"/runs?ticket={old}")
    assert answer.status_code == 303
    assert "set-cookie" not in answer.headers
    assert visitor.get(f"/runs?ticket={old}").status_code == 401


def test_two_servers_of_one_host_keep_their_own_cookies() -> None:
    assert cookie_name("127.0.0.1:8000") != cookie_name("127.0.0.1:8001")
    assert cookie_name("[::1]:8000") == "runyard-8000"
    assert cookie_name("localhost") == "runyard"


# What pages may load


def test_pages_load_nothing_but_our_own_files(visitor: Client, stranger: Client, server: Server) -> None:
    run = start(server)
    for answer in (visitor.get("/runs"), visitor.get(f"/runs/{run.id}"), visitor.get("/x"), stranger.get("/runs")):
        assert answer.headers["content-security-policy"].startswith(
            "default-src 'none'; style-src 'self'; script-src 'self';"
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "private, no-store"
        assert not re.search(
            r"<script(?! type=\"module\" src=\"/static/)|<style|\sstyle=|\son\w+=|https?://", answer.text
        )


def test_every_file_that_a_page_names_is_there_for_everyone(visitor: Client, stranger: Client) -> None:
    wanted = set(re.findall(r'"(/static/[^"]+)"', visitor.get("/runs").text))
    assert wanted >= {"/static/runyard.css", "/static/times.js", "/static/icon.svg"}
    for address in wanted:
        answer = stranger.get(address)
        assert answer.status_code == 200
        again = stranger.get(address, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["..%2Fpages.py", "pages.py", "%2e%2e", "runyard.css%00"])
def test_no_other_file_can_be_had(stranger: Client, name: str) -> None:
    assert stranger.get(f"/static/{name}").status_code in (400, 401, 404)


# Every page, empty and full


def test_the_first_page_is_the_newest_runs(visitor: Client) -> None:
    assert visitor.get("/").headers["location"] == "/runs"


@pytest.mark.parametrize("path", LISTS)
def test_an_empty_page_shows_how_to_fill_it(visitor: Client, path: str) -> None:
    text = body(visitor.get(path))
    assert '<pre class="sample">' in text
    assert f'<a href="{path}" aria-current="page">' in text


def test_what_is_not_here_has_a_page_that_says_so(visitor: Client) -> None:
    for path in ("/runs/no-such-run", "/runs/no-such-run/live", "/no-such-page", "/compare?run=no-such-run"):
        answer = visitor.get(path)
        assert answer.status_code == 404
        assert "Nothing here by that name" in body(answer)
    run_text = visitor.get("/runs/no-such-run").text
    assert "no-such-run" in run_text


def test_runs_are_listed_with_their_metrics_and_by_experiment_and_status(
    server: Server, visitor: Client, clock: FakeClock
) -> None:
    first = start(server, display_name="the first")
    clock.advance(seconds=1)
    other = start(server, "other", display_name="the other")
    log_scalars(server, first.id, "loss", [2.5, 0.25])
    server.services.runs.complete(other.id, "user")
    text = body(visitor.get("/runs"))
    assert text.index("the other") < text.index("the first")
    assert 'title="Sort by loss">loss</a>' in text and ">0.25</td>" in text
    assert "the first" not in visitor.get("/runs?experiment=other").text
    assert "the other" not in visitor.get("/runs?status=Running").text
    assert "No run is like that" in visitor.get("/runs?experiment=other&status=Failed").text


def test_a_table_without_runs_or_with_ended_ones_hears_of_news(server: Server, visitor: Client) -> None:
    def mark() -> str:
        return re.findall(r'data-mark="([^"]*)"', visitor.get("/runs").text)[0]

    marks = [mark()]
    assert visitor.get("/news-of-runs").text == marks[0]
    run = start(server)
    marks.append(visitor.get("/news-of-runs").text)
    assert mark() == marks[-1]
    log_scalars(server, run.id, "loss", [0.5])
    assert visitor.get("/news-of-runs").text == marks[-1]
    server.services.runs.change(run.id, RunChanges(tags={"team": "a"}))
    marks.append(visitor.get("/news-of-runs").text)
    server.services.runs.complete(run.id, "user")
    marks.append(visitor.get("/news-of-runs").text)
    server.services.deletion.delete(run.id, "user")
    marks.append(visitor.get("/news-of-runs").text)
    assert len(set(marks)) == 5


def test_a_long_list_goes_on_page_by_page(server: Server, visitor: Client, clock: FakeClock) -> None:
    for number in range(101):
        clock.advance(seconds=1)
        start(server, display_name=f"run-{number:03d}")
    first = visitor.get("/runs?experiment=mnist").text
    assert "run-100" in first and "run-001" in first and "run-000" not in first
    [older] = re.findall(r'href="(/runs\?[^"]*after=[^"]*)"', first)
    second = visitor.get(older.replace("&amp;", "&")).text
    assert "run-000" in second and "run-001" not in second and "Older" not in second


def test_a_runs_page_tells_its_story(server: Server, visitor: Client, clock: FakeClock) -> None:
    run = submitted(server, clock, arguments=["--data-folder", "a b"], tags={"optimizer": "adam"})
    log_scalars(server, run.id, "loss", [3.0, 1.0, 0.5])
    server.services.logs.append(run.id, LOG, 0, b"epoch 1\nepoch 2\n")
    text = body(visitor.get(f"/runs/{run.id}"))
    for stage in ("Starting", "Preparing", "Queued", "Running"):
        assert f"<b>{stage}</b>" in text
    assert '<span class="lasted">2.0 s</span>' in text
    assert "train.py --data-folder &#39;a b&#39;" in text
    assert "<span>optimizer</span><b>adam</b>" in text
    assert "<polyline points=" in text and "3 points, last 0.5" in text
    assert ">epoch 1\nepoch 2\n</pre>" in text and 'data-end="16"' in text
    assert f'data-live="/runs/{run.id}/live"' in text
    live = body(visitor.get(f"/runs/{run.id}/live"))
    assert set(re.findall(r'data-part="(\w+)"', live)) == set(re.findall(r'data-part="(\w+)"', text))


@pytest.mark.parametrize(("granted", "told"), [(1, "1 (of 2 asked for)"), (None, "2")])
def test_gpus_that_an_engine_granted_are_told_beside_those_that_were_asked_for(
    server: Server, clock: FakeClock, visitor: Client, granted: int | None, told: str
) -> None:
    run = submitted(server, clock, gpus_per_node=2, gpus_granted=granted)
    assert f"<dt>GPUs per node</dt><dd>{told}</dd>" in visitor.get(f"/runs/{run.id}").text


def test_a_failed_run_shows_its_cause(server: Server, visitor: Client) -> None:
    run = start(server)
    error = RunError("script_failed", "it broke", rank=1, exit_code=3, traceback="Traceback:\n  x < y")
    server.services.runs.fail(run.id, error, "user")
    text = body(visitor.get(f"/runs/{run.id}"))
    assert "Script failed" in text and "it broke" in text and "exit code 3" in text and "rank 1" in text
    assert "  x &lt; y</pre>" in text
    assert 'data-live=""' in text


def test_children_models_and_files_are_linked(server: Server, visitor: Client) -> None:
    run = start(server)
    child = start(server, parent=run.id, display_name="fold 1")
    path = "outputs/my model.bin"
    location = server.services.logs.path(run.id, "logs/x")
    location.parent.mkdir(parents=True)
    location.write_bytes(b"12345")
    server.services.files.adopt_file(run.id, path, location)
    server.services.models.register(ModelSpec("digits", run_id=run.id, model_path=path, tags={"k": "v"}))
    text = body(visitor.get(f"/runs/{run.id}"))
    assert f'href="/runs/{child.id}"' in text and "fold 1" in text
    address = f"/api/v1/runs/{run.id}/files/outputs/my%20model.bin"
    assert f'href="{address}" download' in text and "5 B</a></td>" in text
    assert f'href="/runs/{run.id}/files/outputs/my%20model.bin"' in text
    assert visitor.get(address).content == b"12345"
    assert 'href="/models/digits/1"' in text
    assert f'href="/runs/{run.id}"' in body(visitor.get("/models/digits"))
    model = body(visitor.get("/models/digits/1"))
    assert f'href="/runs/{run.id}"' in model and 'href="/models/digits/1/files/my%20model.bin"' in model
    assert 'href="/models/digits/1"' in body(visitor.get("/models?name=digits"))
    assert f'href="/runs/{run.id}"' in body(visitor.get(f"/runs/{child.id}"))


def test_a_model_says_how_it_is_used_and_that_nothing_serves_it(
    server: Server, visitor: Client, tmp_path: Path
) -> None:
    run = start(server)
    for name in ("weights.bin", "MLmodel"):
        (tmp_path / name).write_text(name)
        server.services.files.adopt_file(run.id, f"outputs/{name}", tmp_path / name)
    server.services.models.register(ModelSpec("plain", run_id=run.id, model_path="outputs/weights.bin"))
    server.services.models.register(ModelSpec("logged", run_id=run.id, model_path="outputs"))
    plain, logged = body(visitor.get("/models/plain/1")), body(visitor.get("/models/logged/1"))
    assert "Runyard keeps models and does not serve them yet" in plain and "mlflow" not in plain
    assert 'mlflow.pyfunc.load_model("models:/logged/1")' in logged
    assert 'mlflow models serve -m "models:/logged/1"' in logged


def test_models_say_their_stages_and_aliases(server: Server, visitor: Client, tmp_path: Path) -> None:
    run, held = start(server), server.services
    (tmp_path / "w").write_bytes(b"1")
    held.files.adopt_file(run.id, "outputs/w", tmp_path / "w")
    for _ in range(2):
        held.models.register(ModelSpec("digits", run_id=run.id, model_path="outputs/w", tags={"by": "me"}))
    assert "Stage" not in body(visitor.get("/models"))
    held.model_names.set_alias("digits", "champion", 1)
    held.model_names.set_alias("digits", HOSTILE, 2)
    held.models.change("digits", 1, ModelChanges(tags={STAGE: "Production"}))
    for address in ("/models", "/models/digits"):
        rows = body(visitor.get(address)).split("<tr>")
        (first,) = [row for row in rows if 'href="/models/digits/1"' in row]
        assert ">Production<" in first and "@champion" in first and STAGE not in first and "<span>by</span>" in first
        (second,) = [row for row in rows if 'href="/models/digits/2"' in row]
        assert "Production" not in second and "@champion" not in second and "@&lt;script&gt;" in second
    shown = body(visitor.get("/models/digits/1"))
    assert "<dt>Stage</dt><dd>Production</dd>" in shown and "<code>champion</code>" in shown and STAGE not in shown
    assert "<dt>Stage</dt>" not in body(visitor.get("/models/digits/2"))


def test_the_compute_page_says_which_run_has_which_gpus_of_which_node(
    server: Server, visitor: Client, clock: FakeClock
) -> None:
    server.services.computes.create(ComputeSpec("gpucluster", "STANDARD_NC12", max_nodes=3))
    run = submitted(server, clock, "with-gpus", target="gpucluster")
    with server.database.write() as connection:
        runs.change(connection, run.id, target="gpucluster")
        runs.add_jobs(connection, run.id, run.attempt, [[0, 1], [3]])
        runs.set_handles(connection, run.id, run.attempt, [{"job": {"executor": "local"}}] * 2, clock.now())
    text = body(visitor.get("/compute"))
    target = text[text.index('id="target-gpucluster"') :]
    assert "2 of 3" in target and "<dt>GPUs per node</dt><dd>2</dd>" in target
    rows = re.findall(
        r"<td>(gpucluster-\d)</td>.*?href=\"/runs/([^\"]+)\".*?data-label=\"GPUs\">([^<]*)<", target, re.S
    )
    assert rows == [("gpucluster-0", "with-gpus", "0, 1"), ("gpucluster-1", "with-gpus", "3")]


def test_a_runs_lineage_leads_from_its_data_over_its_code_to_its_models(
    server: Server, visitor: Client, clock: FakeClock, tmp_path: Path
) -> None:
    dataset = DatasetUse("images", "d1", name="digits", version=3)
    folder = DataReferenceSpec("raw", "workspaceblobstore", "digits/raw")
    made_by = DataReferenceSpec("before", "workspaceblobstore", "outputs/features", run="earlier")
    run = submitted(server, clock, input_datasets=[dataset], data_references=[folder, made_by])
    (tmp_path / "w").write_bytes(b"1")
    server.services.files.adopt_file(run.id, "outputs/w", tmp_path / "w")
    server.services.models.register(ModelSpec("net", run_id=run.id, model_path="outputs/w"))
    text = body(visitor.get(f"/runs/{run.id}"))
    lineage = text[text.index('aria-label="Lineage"') : text.index('class="columns"')]
    said = ["digits", "version 3", "/datastores/workspaceblobstore?folder=digits/raw", "/runs/earlier"]
    said += ["This run", f"/runs/{run.id}/code", "Made", "/models/net/1"]
    places = [lineage.index(each) for each in said]
    assert places == sorted(places)


def test_experiments_and_compute_are_listed(server: Server, visitor: Client) -> None:
    run = start(server)
    server.services.computes.create(ComputeSpec("gpucluster", "STANDARD_NC6", max_nodes=4))
    assert f'href="/runs/{run.id}"' in body(visitor.get("/experiments"))
    text = body(visitor.get("/compute"))
    assert "gpucluster" in text and "STANDARD_NC6" in text and "0 of 4" in text


def test_a_lock_is_shown_without_the_addresses_that_may_hold_passwords(server: Server, visitor: Client) -> None:
    run = start(server)
    requirements = "numpy==1.26.4 \\\n    --hash=sha256:aa\nprivate @ https://me:secret@host/private.whl\n"
    lock = EnvironmentLock("e" * 64, "3.11.9", requirements, options=["--index-url", "https://me:secret@host"])
    with server.database.write() as connection:
        environments.put_lock(connection, "d" * 64, lock, 0.0)
        runs.change(connection, run.id, environment_key=lock.key)
    text = body(visitor.get(f"/runs/{run.id}"))
    assert "Python 3.11.9, 2 packages" in text
    assert "<span>numpy</span>" in text and "1.26.4" in text and "<span>private</span>" in text
    assert "secret" not in text


# Logs


def test_of_a_long_log_the_last_part_comes_with_the_page(server: Server, visitor: Client) -> None:
    run = start(server)
    written = "".join(f"line {number}\n" for number in range(20_000)).encode()
    server.services.logs.append(run.id, LOG, 0, written)
    text = visitor.get(f"/runs/{run.id}").text
    assert "line 19999\n</pre>" in text and "line 1\n" not in text
    assert re.search(r'data-end="\d+">line \d+\n', text)  # it begins with a whole line
    assert f'data-end="{len(written)}"' in text
    assert f"/api/v1/runs/{run.id}/logs/{LOG}" in text


def test_another_log_is_a_link_away_and_an_unknown_one_is_told(server: Server, visitor: Client) -> None:
    run = start(server)
    server.services.logs.append(run.id, LOG, 0, b"of the script\n")
    server.services.logs.append(run.id, "azureml-logs/20_image_build_log.txt", 0, b"of the build\n")
    assert "of the script\n</pre>" in visitor.get(f"/runs/{run.id}").text
    assert "of the build\n</pre>" in visitor.get(f"/runs/{run.id}?log=azureml-logs/20_image_build_log.txt").text
    assert visitor.get(f"/runs/{run.id}?log=azureml-logs/none.txt").status_code == 404


def test_each_rank_has_its_log_behind_a_tab_and_the_first_ones_is_shown(server: Server, visitor: Client) -> None:
    run = start(server)
    names = [f"azureml-logs/70_driver_log_{rank}.txt" for rank in range(3)]
    for rank, name in enumerate(names):
        server.services.logs.append(run.id, name, 0, f"rank {rank} speaks\n".encode())
    for path, query in ((f"/runs/{run.id}", "log"), (f"/runs/{run.id}/log", "name")):
        tabs = f'href="{path}?{query}=azureml-logs/70_driver_log_'
        text = body(visitor.get(path))
        assert [text.count(f"{tabs}{rank}.txt") for rank in range(3)] == [1, 1, 1]
        assert "rank 0 speaks\n</pre>" in text and re.findall(r'aria-current="true"[^>]*>(70[^<]*)<', text) == [
            "70_driver_log_0.txt"
        ]
        text = body(visitor.get(path, params={query: names[2]}))
        assert "rank 2 speaks\n</pre>" in text and "rank 0 speaks" not in text
        assert re.findall(r'aria-current="true"[^>]*>(70[^<]*)<', text) == ["70_driver_log_2.txt"]


# Text from runs is text


def test_names_tags_logs_and_errors_of_a_run_are_never_markup(server: Server, visitor: Client) -> None:
    run = start(server, display_name=HOSTILE, tags={HOSTILE: HOSTILE}, properties={HOSTILE: HOSTILE})
    server.services.runs.change(run.id, RunChanges(description=HOSTILE))
    server.services.logs.append(run.id, LOG, 0, HOSTILE.encode())
    server.services.logs.append(run.id, "azureml-logs/<img src=x>.txt", 0, b"x")
    log_scalars(server, run.id, HOSTILE, [1.0, 2.0])
    location = server.services.logs.path(run.id, LOG)
    server.services.files.adopt_file(run.id, "outputs/<img src=x onerror=alert(1)>.txt", location)
    server.services.models.register(
        ModelSpec("m", run_id=run.id, model_path="outputs", tags={HOSTILE: HOSTILE}, description=HOSTILE)
    )
    server.services.runs.fail(run.id, RunError("x", HOSTILE, traceback=HOSTILE), "user")
    for path in (f"/runs/{run.id}", f"/runs/{run.id}/live", *LISTS):
        text = body(visitor.get(path))
        assert "<script>" not in text and "<img src=x" not in text
        assert 'alert("' not in text.replace("&#34;", "")
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in visitor.get(f"/runs/{run.id}").text


def test_what_an_address_says_is_never_markup(visitor: Client) -> None:
    for path in ("/runs", "/models", "/runs/x"):
        answer = visitor.get(path, params={"experiment": HOSTILE, "name": HOSTILE, "log": HOSTILE, "status": HOSTILE})
        assert "<script>" not in body(answer)
    assert "<script>" not in visitor.get("/<script>alert(1)").text


def test_a_snapshots_files_are_shown(server: Server, visitor: Client) -> None:
    data = b"print(1)\n"
    digest = hashlib.sha256(data).hexdigest()
    scratch = server.services.logs.path("scratch", "x")
    scratch.parent.mkdir(parents=True)
    scratch.write_bytes(data)
    other = start(server)
    server.services.files.adopt_file(other.id, "outputs/x", scratch)  # its bytes are in the store now
    made = server.services.snapshots.create(Manifest([FileEntry("train.py", len(data), digest)]))
    run = start(server, snapshot=made.id)
    text = body(visitor.get(f"/runs/{run.id}"))
    assert "1 file, 9 B" in text and "<span>train.py</span>" in text


def test_a_filter_narrows_the_table_and_a_wrong_one_is_told_above_it(server: Server, visitor: Client) -> None:
    first = start(server, display_name="the first", tags={"team": "a", "x": HOSTILE})
    start(server, display_name="the other", tags={"team": "b"})
    log_scalars(server, first.id, "loss", [2.5, 0.25])
    for where in ("tags.team = a", "metrics.loss < 1", "FIRST"):
        text = body(visitor.get("/runs", params={"filter": where}))
        assert "the first" in text and "the other" not in text
    text = body(visitor.get("/runs", params={"filter": "tags.team = a", "column": ["tags.x", "tags.team"]}))
    assert HOSTILE not in text and ">a</td>" in text
    text = body(visitor.get("/runs", params={"filter": "statuss = 1"}))
    assert 'role="alert"' in text and "wrong at column 1" in text and "the first" not in text
    assert "No run is like that" in body(visitor.get("/runs", params={"filter": "tags.team = c"}))
    sorted_by = body(visitor.get("/runs", params={"sort": "tags.team"}))
    assert sorted_by.index("the first") < sorted_by.index("the other")


def test_charts_are_drawn_as_the_address_says(server: Server, visitor: Client) -> None:
    run = start(server)
    log_scalars(server, run.id, "loss", [2.5, 1.5, 1.0, 0.25])
    log_scalars(server, run.id, f"{HOSTILE}1", [1.0, 2.0])
    text = body(visitor.get(f"/runs/{run.id}", params={"smooth": "0.6", "scale": "y", "x": "elapsed"}))
    assert 'class="smoothed"' in text and '<option value="elapsed" selected>' in text and HOSTILE not in text
    assert 'value="y" checked' in text and 'value="0.6"' in text
    zoomed = body(visitor.get("/charts", params={"run": run.id, "name": "loss", "zoom": "2,3,loss"}))
    assert 'data-low="2.0"' in zoomed and 'data-high="3.0"' in zoomed and "<html" not in zoomed
    assert 'class="smoothed"' not in zoomed
    assert visitor.get("/charts", params={"run": "missing", "name": "loss"}).status_code == 404
    assert visitor.get("/charts", params={"run": run.id, "name": ["x"] * 97}).status_code == 400


def test_of_many_metrics_the_first_are_drawn_and_the_others_found(server: Server, visitor: Client) -> None:
    run = start(server)
    said = "".join(json.dumps(["s", f"m{n:03d}", at, 1.0]) + "\n" for n in range(150) for at in range(2))
    server.services.metrics.take(run.id, "w", 0, said.encode())
    text = body(visitor.get(f"/runs/{run.id}"))
    assert text.count("<figure") == 24 and "Draw 72 more charts" in text and "<b>m149</b>" not in text
    (following,) = re.findall(r'href="\?(after=[^"]*)"', text)
    assert "<b>m149</b>" in body(visitor.get(f"/runs/{run.id}?{following}"))
    assert body(visitor.get(f"/runs/{run.id}", params={"charts": "all"})).count("<figure") == 96
    found = body(visitor.get(f"/runs/{run.id}", params={"metric": "M14"}))
    assert found.count("<figure") == 10 and "<b>m149</b>" in found and "<b>m000</b>" not in found
    assert "No metric" in body(visitor.get(f"/runs/{run.id}", params={"metric": HOSTILE}))


def test_what_was_measured_of_the_nodes_has_a_section_of_its_own(server: Server, visitor: Client) -> None:
    run = start(server)
    names = [name_of(node, what) for node in range(2) for what in ("cpu_percent", "memory_bytes", "gpu1_percent")]
    said = "".join(json.dumps(["s", name, 5e9 * at, 1.0 + at]) + "\n" for name in names for at in range(2))
    server.services.metrics.take(run.id, "system-0", 0, said.encode())
    text = body(visitor.get(f"/runs/{run.id}"))
    assert re.findall(r'class="name" title="([^"]*)"', text) == ["CPU", "GPU 1", "Memory used"]
    assert text.count('data-run="Node 1"') == 3 and "5.0 GB" in text and "Nothing was logged" in text


def test_all_runs_that_a_filter_finds_are_compared_in_the_tables_order(server: Server, visitor: Client) -> None:
    for number in range(4):
        run = start(server, "mnist" if number else "other", display_name=f"no. {number}", tags={"team": f"t{number}"})
        log_scalars(server, run.id, "loss", [0.5, number / 10])
    asked = {"filter": "metrics.loss > 0.15", "experiment": "mnist", "sort": "-metrics.loss"}
    table = visitor.get("/runs", params={**asked, "column": "tags.team"}).text
    (address,) = re.findall(r'href="(/compare\?found=all[^"]*)"', table)
    assert "Compare all that are found" in table and "column" not in address
    text = body(visitor.get(address.replace("&amp;", "&")))
    assert "2 runs compared" in text and text.index("no. 3") < text.index("no. 2") and "no. 1" not in text
    assert 'name="found" value="all"' in text and 'name="filter" value="metrics.loss &gt; 0.15"' in text
    assert 'href="/runs?filter=metrics.loss' in text
    assert "has 0 runs like that" in body(visitor.get("/compare?found=all&filter=metrics.loss>9"))
    assert visitor.get("/compare?found=all&filter=statis=Failed").status_code == 400


def test_of_more_runs_than_are_compared_the_first_ones_are(server: Server, visitor: Client) -> None:
    with server.database.write() as connection:
        home = experiments.get_or_create(connection, "many", 1.0).id
        for number in range(501):
            name = f"many_{number:03d}"
            record = RunRecord(name, number + 1, "many", "azureml.interactive", RunStatus.COMPLETED, number + 1.0, 1)
            runs.add(connection, record, home)
    text = body(visitor.get("/compare?found=all&experiment=many&sort=number"))
    assert "500 runs compared" in text and "The first 500 of those" in text
    assert 'href="/runs/many_499"' in text and "many_500" not in text


def test_runs_are_compared_what_differs_first(server: Server, visitor: Client) -> None:
    runs_ = [start(server, display_name=f"run {HOSTILE} {n}", tags={"team": str(n), "same": "s"}) for n in range(2)]
    for n, run in enumerate(runs_):
        log_scalars(server, run.id, "loss", [2.5, float("nan"), 0.25 + n])
    text = body(visitor.get("/compare", params={"run": [run.id for run in runs_]}))
    assert text.index("What differs") < text.index(">team<") < text.index("the same</summary>") < text.index(">same<")
    assert 'class="line c0"' in text and 'class="line c1"' in text
    assert HOSTILE not in text
    assert "Mark two runs or more" in body(visitor.get("/compare"))
    assert visitor.get("/compare", params={"run": [f"r{n}" for n in range(501)]}).status_code == 400


def test_of_many_runs_no_more_curves_are_drawn_than_are_given_at_once(server: Server, visitor: Client) -> None:
    runs_ = [start(server) for _ in range(101)]
    lines = "".join(json.dumps(["s", f"m{n}", 1.0, 1.0 + at]) + "\n" for n in range(60) for at in range(2))
    server.services.metrics.take(runs_[0].id, "w", 0, lines.encode())
    asked = {"run": [run.id for run in runs_]}
    assert "52 more curves</a>" in body(visitor.get("/compare", params=asked))
    answer = visitor.get("/compare", params={**asked, "charts": "all"})
    assert answer.status_code == 200 and answer.text.count("<figure") == 5000 // 101
    assert "11 more curves are not drawn" in answer.text
