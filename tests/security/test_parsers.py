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
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runyard import conda_file, requirements_file, transfer, workspace_config
from runyard.environment import FILE, Environment
from runyard.errors import RunyardError, UserErrorException, WorkspaceException
from runyard.ignore import IgnoreRules
from runyard.names import checked_pairs
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.compute import ComputeRecord
from runyard.protocol.jobs import JobAssignment
from runyard.protocol.models import ModelRecord
from runyard.protocol.pack import END, HEADER, PackDecoder, PackReader, entry_header
from runyard.protocol.runs import RunRecord, RunSpec
from runyard_server.domain.spool_lines import parse as parse_spool

from .conftest import pack_of
from .test_archives import Liar, snapshot_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist"
SOON_S = 20.0  # for one input; what explodes takes minutes or for ever

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
    began = time.monotonic()
    try:
        return call()
    finally:
        assert time.monotonic() - began < SOON_S


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
