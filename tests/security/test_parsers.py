"""Whatever bytes come, a parser gives a value or its one documented error: soon, and in bounded memory."""

import gzip
import importlib.util
import io
import json
import math
import struct
import time
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runyard import conda_file, partition_format, ray_cluster_file, requirements_file, transfer, workspace_config
from runyard.environment import FILE, Environment
from runyard.errors import ComputeTargetException, RunyardError, UserErrorException, WorkspaceException
from runyard.event_files import checksum
from runyard.event_files import record as framed
from runyard.ignore import IgnoreRules
from runyard.names import checked_pairs
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.compute import ComputeRecord
from runyard.protocol.jobs import JobAssignment
from runyard.protocol.models import ModelRecord
from runyard.protocol.pack import END, HEADER, PackDecoder, PackReader, entry_header
from runyard.protocol.runs import RunRecord, RunSpec
from runyard.url_map import UrlMap
from runyard_server.domain import gres
from runyard_server.domain.event_files import read as read_events
from runyard_server.domain.filters.parser import parse as parse_filter
from runyard_server.domain.filters.parser import parse_field
from runyard_server.domain.filters.tree import FilterError
from runyard_server.domain.spool_lines import parse as parse_spool
from runyard_server.executors.base import JobState
from runyard_server.executors.slurm import states
from runyard_server.executors.slurm.commands import minutes

from .conftest import pack_of
from .test_archives import Liar, snapshot_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist"
SOON_S = 20.0  # of a core, for one input; what explodes takes minutes or for ever

some = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
RECORDS = [RunRecord, ComputeRecord, ModelRecord, JobAssignment]


def soon(call: Callable[[], Any]) -> Any:
    """What ``call`` gives, if it takes no time that grows beyond all bounds."""
    began = time.process_time()
    try:
        return call()
    finally:
        assert time.process_time() - began < SOON_S


# Wire


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_a_record_from_any_json_is_a_record_or_a_value_error(record: type) -> None:
    names = st.sampled_from([field.name for field in fields(record)])

    @some
    @given(st.dictionaries(names, JSON, max_size=10) | JSON)
    def decoded(said: Any) -> None:
        try:
            value = from_json(record, said)
        except ValueError:
            return
        to_json(value)

    decoded()


@some
@given(
    st.builds(RunSpec, experiment=st.text(), snapshot=st.text(), arguments=st.lists(st.text()), priority=st.integers())
)
def test_a_spec_survives_the_wire(spec: RunSpec) -> None:
    assert from_json(RunSpec, json.loads(json.dumps(to_json(spec)))) == spec


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@some
@given(st.dictionaries(NAMES, st.binary(max_size=50), max_size=5), st.integers(1, 30))
def test_a_pack_survives_however_it_is_cut(contents: dict[str, bytes], step: int) -> None:
    body = pack_of(contents)
    reader = PackReader(io.BytesIO(body))
    assert {name: b"".join(reader.chunks()) for name, _ in reader} == contents
    got: list[tuple[str, bytearray]] = []
    decoder = PackDecoder(
        lambda name, size: got.append((name, bytearray())), lambda data: got[-1][1].extend(data), _none
    )
    for start in range(0, len(body), step):
        decoder.feed(body[start : start + step])
    assert decoder.finished
    assert {name: bytes(content) for name, content in got} == contents


def _none() -> None:
    pass


@some
@example(HEADER.pack(3, (1 << 64) - 1) + b"abc")
@example(HEADER.pack(0, 5) + b"12345")
@example(HEADER.pack(2, 0) + b"\xff\xff" + END)
@given(st.binary(max_size=80) | st.binary(max_size=40).map(lambda tail: entry_header("a", 3) + b"abc" + tail))
def test_bytes_that_are_no_pack_are_a_value_error(body: bytes) -> None:
    for read in (lambda: list(PackReader(io.BytesIO(body))), lambda: PackDecoder(_two, _one, _none).feed(body)):
        try:
            soon(read)
        except ValueError:
            continue


def _one(_: object) -> None:
    pass


def _two(_: object, __: object) -> None:
    pass


@some
@example(*snapshot_of([]))
@example("0" * 64, pack_of({"/manifest": b"[" * 100_000}))
@example("0" * 64, pack_of({"/manifest": b'{"files": [{"path": 1}]}'}))
@example("0" * 64, pack_of({"/manifest": b'{"files": [{"path": "a", "size": "x", "digest": "d"}]}'}))
@example("0" * 64, pack_of({"/manifest": b'{"files": 3}'}))
@given(
    st.just("0" * 64),
    JSON.map(lambda said: pack_of({"/manifest": json.dumps({"files": said}).encode()})) | st.binary(max_size=60),
)
def test_a_snapshot_from_any_bytes_is_written_or_an_error_of_ours(
    tmp_path: Path, snapshot_id: str, body: bytes
) -> None:
    try:
        soon(lambda: transfer.fetch_snapshot(Liar(body), snapshot_id, str(tmp_path / "code")))
    except RunyardError:
        return


# Spools

SPOOL_LINES = (
    st.binary(max_size=200)
    | JSON.map(lambda said: json.dumps(said).encode())
    | st.lists(
        st.tuples(st.sampled_from(["s", "e", "d", "t", "p", "x"]), JSON, JSON, JSON, JSON).map(list), max_size=4
    ).map(lambda lines: b"\n".join(json.dumps(line).encode() for line in lines))
)


@some
@example(b"[" * 50_000)
@example(b'["s", "a", 1' + b"0" * 4_000 + b", 1.0]")
@example(b'["s", "a", 1' + b"0" * 9_000 + b", 1.0]")
@example(b'["s", "a", 1.0, 1.0],["s", "b", 1.0, 1.0]')
@given(SPOOL_LINES)
def test_spool_lines_are_a_batch_or_a_user_error_that_names_the_line(lines: bytes) -> None:
    try:
        batch = soon(lambda: parse_spool(lines + b"\n"))
    except UserErrorException as fault:
        assert {"line_at", "line_bytes"} <= set(fault.details)
        return
    for points in batch.scalars.values():
        assert len(points.values) == len(points.times) == len(points.steps)


# Event files, which a script wrote


@some
@example(struct.pack("<QI", 1 << 63, checksum(struct.pack("<Q", 1 << 63))))
@example(framed(b"\x08\x01" * (2 << 20)))
@example(framed(b"\x2a\x80\x80\x80\x02" + b"\x0a\x00" * (2 << 20)))
@example(framed(b"\x09" + b"\xff" * 8 + b"\x2a\x06\x0a\x04\x0a\x00\x12\x00"))
@example(framed(b"\xff" * 4096) * 500)
@given(st.lists(st.binary(max_size=60).map(framed) | st.binary(max_size=30)).map(b"".join))
def test_event_files_are_numbers_or_faults_that_name_the_byte(data: bytes) -> None:
    found = soon(lambda: read_events(data))
    assert found.end <= len(data)
    assert all("at byte" in fault for fault in found.faults)
    for points in found.points.values():
        assert len(points.values) == len(points.times) == len(points.steps)


# Files that a person wrote

YAML = st.text(st.sampled_from(list("ab:-# \n\t[]{}'\"&*!|>%@`,\\1.=")), max_size=80)


@some
@example("a: &a [*a, *a]\n")
@example("!!python/object/apply:os.system ['id']")
@example("dependencies:\n" + "  - a\n" * 20_000)
@example("dependencies: " + "[" * 5_000)
@given(YAML | st.text(max_size=60))
def test_a_conda_file_is_a_mapping_or_a_user_error(text: str) -> None:
    try:
        content = soon(lambda: conda_file.parse(text))
    except UserErrorException:
        return
    assert isinstance(content, dict)


def written(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "file"
    path.write_bytes(content)
    return str(path)


@some
@example(b"-r file\n")
@example(b"-r /dev/zero/x\n")
@example(b"a\\\n" * 20_000)
@example(b"#" * 100_000)
@example(b" " * 100_000 + b"x")
@given(st.binary(max_size=80) | YAML.map(str.encode))
def test_a_requirements_file_is_two_lists_or_a_user_error(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    try:
        packages, options = soon(lambda: requirements_file.read(path))
    except UserErrorException:
        return
    assert all(line.strip() for line in packages + options)


CONFIGS = st.binary(max_size=60) | st.dictionaries(
    st.sampled_from(["workspace_name", "server", "Scope", "Id", "subscription_id"]), JSON, max_size=3
).map(lambda said: json.dumps(said).encode())


@some
@example(b"[" * 100_000)
@example(b'{"Scope": "/subscriptions/workspaces"}')
@given(CONFIGS)
def test_a_workspace_s_config_is_an_object_or_a_workspace_error(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    try:
        said = soon(lambda: workspace_config.read(path))
    except WorkspaceException:
        return
    assert said.get("workspace_name") or said.get("server")


@some
@example(b"[" * 100_000)
@given(st.binary(max_size=60) | JSON.map(lambda said: json.dumps({"name": "e", "pip_packages": said}).encode()))
def test_a_saved_environment_is_one_or_a_user_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    try:
        soon(lambda: Environment.load_from_directory(str(tmp_path)))
    except UserErrorException:
        return


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("*a" * 30 + "b", "a" * 250),
        ("**/" * 30 + "b", "a/" * 120 + "a"),
        ("a/**/" * 12 + "b", "a/" * 120 + "a"),
        ("?*" * 30 + "b", "a" * 250),
        ("[a-z]*" * 30 + "[0-9]", "a" * 250),
        ("*" * 5_000 + "b", "a" * 250),
        ("[" * 5_000, "a"),
        ("\\" * 5_001, "a"),
        ("!" * 5_000, "a"),
        (" " * 50_000 + "x", "a"),
    ],
    ids=lambda text: text[:12],
)
def test_a_pattern_of_an_ignore_file_is_matched_soon(text: str, path: str) -> None:
    soon(lambda: IgnoreRules(text).ignores(path))


@some
@given(st.text(st.sampled_from(list("ab*?[]!/\\-# \r\n^:")), max_size=40) | st.text(max_size=40), st.text(max_size=12))
def test_any_text_is_an_ignore_file(text: str, path: str) -> None:
    assert soon(lambda: IgnoreRules(text).ignores(path)) in (True, False)


@some
@given(JSON)
def test_tags_are_texts_or_a_user_error(said: Any) -> None:
    try:
        pairs = checked_pairs(said)
    except UserErrorException:
        return
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in pairs.items())


CLUSTERS = st.fixed_dictionaries(
    {},
    optional={
        "available_node_types": st.dictionaries(
            st.sampled_from(["head", "worker", "other"]) | st.integers(),
            JSON
            | st.fixed_dictionaries(
                {}, optional=dict.fromkeys(["node_config", "resources", "max_workers", "min_workers"], JSON)
            ),
            max_size=3,
        )
        | JSON,
        "head_node_type": st.just("head") | JSON,
        "provider": st.just({"type": "azure"}) | st.just({"type": "aws"}) | JSON,
    },
)


@some
@example({"available_node_types": {"head": None, "worker": None}, "head_node_type": "head"}, "", None)
@given(CLUSTERS, st.sampled_from(["", "large"]), st.none() | st.just({"GPU": 1.0}))
def test_a_ray_cluster_is_sized_or_a_compute_error(cluster: Any, machine: str, resources: Any) -> None:
    try:
        sized = ray_cluster_file.sized(cluster, 0, 4, machine=machine, resources=resources)
    except ComputeTargetException:
        return
    assert isinstance(sized["max_workers"], int) and sized["head_node_type"] in sized["available_node_types"]


@some
@example(b"[" * 100_000)
@example(b"a: &a [*a, *a]\n")
@example(b"!!python/object/apply:os.system ['id']")
@example(b"a: 2026-99-99")
@given(st.binary(max_size=60) | YAML.map(str.encode) | CLUSTERS.map(lambda said: json.dumps(said).encode()))
def test_a_ray_cluster_s_file_is_written_or_a_compute_error(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    try:
        made = soon(lambda: ray_cluster_file.write(path, min_nodes=0, max_nodes=2))
    except ComputeTargetException:
        return
    assert Path(made).read_bytes()


ADDRESSES = st.text(st.sampled_from(list("htp:/.[]@ab%2e\\?#\x00\u2100 ")), max_size=20) | st.sampled_from(
    ["http://h/a/", "http://h/a/../b", "http://h/a/%2e%2e/x", "http://h/a/%00", "http://[/", "HTTP://H/a/b?c#d"]
)


@some
@example("http://[ = /x", "http://[/")
@example("http://h/a/ = /etc/", "http://h/a/%2e%2e/passwd")
@example("http://h/a = \x00", "http://h/a")
@given(
    st.lists(st.builds("{} = {}".format, ADDRESSES, st.text(max_size=10))).map("\n".join) | st.text(max_size=60),
    ADDRESSES,
)
def test_a_url_map_names_files_of_its_folders_or_a_user_error(tmp_path: Path, text: str, address: str) -> None:
    path = written(tmp_path, text.encode("utf-8", "surrogatepass"))
    try:
        found = UrlMap(path).file_for(address)
    except (UserErrorException, URLError):
        return
    assert found is None or Path(found).is_file()


PARTITIONS = st.lists(st.sampled_from([*"{}:/*ab.", "{a}", "{b:yyyy}", "{a:MM-dd}", "yyyy"]), max_size=12).map("".join)


@some
@example("{a:yyyy}/{a}", "2026/x")
@example("{a:yyyy/MM/dd}", "2026/13/40")
@example("{a:yyyy}", "0000")
@example("*" * 200 + "{a}", "a" * 100 + "/")
@example("{" * 5_000, "a")
@given(PARTITIONS, st.text(st.sampled_from(list("ab./0129-")), max_size=30))
def test_a_partition_format_gives_its_columns_or_a_user_error(form: str, path: str) -> None:
    try:
        columns = soon(lambda: partition_format.values(form, path))
    except UserErrorException:
        return
    assert list(columns) == partition_format.keys(form)


# What runs are searched by, and Slurm's words

WORDS = [
    *"metrics.loss tags.a arguments.`x` status age submitted number min( last( isnan( ( ) , and or not in like".split(),
    *"contains is null nan = != < >= ~ !~ 1 -1.5e300 inf 7d 2026-01-31 2026-99-99 'text' % \\ \" `".split(),
    *['tags."b c"', "\u0663", "\x00"],
]


@some
@example("min(" * 1_000)
@example("not " * 900 + "a")
@example("(" * 4_000)
@example("a " * 1_999)
@example("number = 1" + "0" * 3_000)
@example("isnan(" * 600)
@example("status in (" + "a," * 1_900)
@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=40))
def test_a_filter_is_a_tree_or_an_error_that_says_where(text: str) -> None:
    for read in (parse_filter, parse_field):
        try:
            soon(partial(read, text))
        except FilterError as fault:
            assert 1 <= fault.details["column"] <= len(text) + 1


@some
@example("gpu:\u00b2", 1)
@example("gpu:" + "9" * 5_000, 1)
@example("gpu:a:1(" * 500, 1)
@example("," * 3_000 + "(", 1)
@given(st.text(st.sampled_from(list("gpu:a1,()S-\u00b2")), max_size=30) | st.text(max_size=30), st.integers(0, 8))
def test_any_text_is_a_gres(text: str, gpus: int) -> None:
    assert soon(lambda: gres.gpus_of(text)) >= gres.node_gpus(text, gres.gpu_kind(text)) >= 0
    assert gres.gpus_of(gres.job_gres(text, gpus)) >= 0


@some
@example("1-\u00b2:00")
@example("x-1:00:00")
@example("9" * 5_000)
@example("RUNNING by 0" + "+" * 1_000)
@given(st.text(st.sampled_from(list("0123456789-:NA*~#()+, ")), max_size=20) | st.text(max_size=30))
def test_any_word_of_slurms_has_a_meaning(text: str) -> None:
    assert states.job_meaning(text).state in JobState
    assert states.job_meaning(text, is_preempted=True).state in JobState
    assert states.waits_for(text)
    assert isinstance(states.node_state(text), str)
    limit = minutes(text)
    assert limit is None or limit >= 0


# IDX


@pytest.fixture(scope="module")
def idx() -> Any:
    spec = importlib.util.spec_from_file_location("idx", EXAMPLE / "idx.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def idx_file(header: bytes, data: bytes) -> bytes:
    return gzip.compress(header + data)


@some
@example(b"")
@example(gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 0xFFFFFFFF)))
@example(gzip.compress(b"\0\0\x08\xff" + b"\xff" * 1020))
@example(gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 3) + b"abc")[:-9])
@example(gzip.compress(b"\0\0\x08\x00"))
@given(
    st.binary(max_size=40)
    | st.builds(
        lambda shape, data: idx_file(b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape), data),
        st.lists(st.integers(0, 4) | st.integers(0, (1 << 32) - 1), max_size=4),
        st.binary(max_size=30),
    )
)
def test_an_idx_file_is_an_array_or_a_value_error(idx: Any, tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    try:
        shape, data = soon(lambda: idx.content(path))
    except ValueError:
        return
    assert len(data) == math.prod(shape) <= 30


def test_an_idx_file_of_zeros_without_end_is_not_read_to_its_end(idx: Any, tmp_path: Path) -> None:
    # 256 MB of zeros behind a header that promises three bytes.
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as bomb:
        bomb.write(b"\0\0\x08\x01" + struct.pack(">I", 3))
        for _ in range(256):
            bomb.write(bytes(1 << 20))
    began = time.process_time()
    with pytest.raises(ValueError, match="promises 3 bytes"):
        idx.content(str(path))
    assert time.process_time() - began < 0.5
