"""Models: versions that count up also when two register at once, files that are there, and every refusal."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runyard.errors import (
    FileNotInRunError,
    ModelException,
    ModelNotFoundException,
    ModelPathNotFoundException,
    PathRefusedError,
    UnknownRunError,
    UserErrorException,
)
from runyard.protocol.files import FileEntry, Manifest, ManifestAnswer
from runyard.protocol.models import ModelChanges, ModelRecord, ModelSpec
from runyard.protocol.runs import RunRecord
from runyard.protocol.status import Reason, RunStatus
from runyard_server.artifacts.store import FolderStore
from runyard_server.records import experiments, runs
from runyard_server.records.engine import Database
from runyard_server.services.files import FileService
from runyard_server.services.models import ModelFilter, ModelService
from runyard_server.testing.clock import FakeClock

RUN = "tf-mnist_1566000000_0a1b2c3d"


class Registry:
    """The service under test with what it stands on."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.clock = FakeClock()
        self.database = database
        self.store = FolderStore(folder)
        self.files = FileService(database, self.clock, self.store)
        self.models = ModelService(database, self.clock, self.store, self.files)

    def put(self, content: bytes) -> FileEntry:
        incoming = self.store.begin()
        incoming.write(content)
        digest = hashlib.sha256(content).hexdigest()
        self.store.keep(incoming, digest)
        return FileEntry("", len(content), digest)

    def entry(self, path: str, content: bytes | None = None) -> FileEntry:
        put = self.put(path.encode() if content is None else content)
        return FileEntry(path, put.size, put.digest)

    def add_run(self, *paths: str, status: RunStatus = RunStatus.RUNNING, run_id: str = RUN) -> str:
        with self.database.write() as connection:
            home = experiments.get_or_create(connection, "tf-mnist", self.clock.now())
            record = RunRecord(
                id=run_id,
                number=experiments.next_number(connection, home.id),
                experiment="tf-mnist",
                type="azureml.scriptrun",
                status=status,
                created_at=self.clock.now(),
                version=1,
                reason=Reason.SUBMITTED.value,
            )
            runs.add(connection, record, home.id)
        if paths:
            self.files.commit(run_id, Manifest([self.entry(path) for path in paths]))
        return run_id

    def register(self, name: str = "m", **given: object) -> ModelRecord:
        spec = ModelSpec(name=name, root="m.pkl", files=[self.entry("m.pkl")], **given)  # type: ignore[arg-type]
        record = self.models.register(spec)
        assert isinstance(record, ModelRecord)
        self.clock.advance(1)
        return record

    def ids(self, wanted: ModelFilter) -> list[str]:
        return [model.id for model in self.models.list(wanted).models]


@pytest.fixture
def registry(database: Database, tmp_path: Path) -> Registry:
    return Registry(database, tmp_path / "objects")


def test_versions_count_up_from_one_for_each_name(registry: Registry) -> None:
    assert [registry.register("a").id, registry.register("a").id, registry.register("b").id] == ["a:1", "a:2", "b:1"]


def test_a_deleted_versions_number_is_never_given_again(registry: Registry) -> None:
    registry.register()
    registry.register()
    registry.models.delete("m", 2)
    assert registry.register().version == 3
    with pytest.raises(ModelNotFoundException, match=r"no version 2. It has the versions: 3, 1"):
        registry.models.get("m", 2)


def test_registrations_at_the_same_moment_get_different_versions(registry: Registry) -> None:
    entry = registry.entry("m.pkl")
    together = threading.Barrier(8)

    def register(_: int) -> int:
        together.wait()
        record = registry.models.register(ModelSpec(name="m", root="m.pkl", files=[entry]))
        assert isinstance(record, ModelRecord)
        return record.version

    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(register, range(8)))
    assert sorted(versions) == list(range(1, 9))


def test_one_registration_sent_several_times_at_once_is_made_once(registry: Registry) -> None:
    spec = ModelSpec(name="m", root="m.pkl", files=[registry.entry("m.pkl")], request_id="f00d")
    together = threading.Barrier(6)

    def register(_: int) -> str:
        together.wait()
        record = registry.models.register(spec)
        assert isinstance(record, ModelRecord)
        return record.id

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(register, range(6))) == {"m:1"}
    assert registry.register().id == "m:2"
    assert registry.register("other", request_id="f00d").id == "other:1"


def test_a_folder_of_a_runs_files_becomes_a_model_that_knows_its_run(registry: Registry) -> None:
    registry.add_run("outputs/model/a.index", "outputs/model/sub/b", "outputs/model2/c", "logs/x")
    record = registry.models.register(ModelSpec(name="tf-dnn-mnist", run_id=RUN, model_path="outputs/model"))
    assert isinstance(record, ModelRecord)
    assert record.root == "model"
    assert [entry.path for entry in record.files] == ["model/a.index", "model/sub/b"]
    assert (record.run_id, record.experiment) == (RUN, "tf-mnist")
    assert registry.models.get("tf-dnn-mnist", 1) == record


def test_a_file_of_a_run_becomes_a_model(registry: Registry) -> None:
    registry.add_run("outputs/model.pkl", "outputs/model.pkl.txt")
    record = registry.models.register(ModelSpec(name="m", run_id=RUN, model_path="outputs/model.pkl"))
    assert isinstance(record, ModelRecord)
    assert (record.root, [entry.path for entry in record.files]) == ("model.pkl", ["model.pkl"])


def test_without_a_path_the_models_name_is_the_path(registry: Registry) -> None:
    registry.add_run("m.pkl")
    record = registry.models.register(ModelSpec(name="m.pkl", run_id=RUN))
    assert isinstance(record, ModelRecord)
    assert record.root == "m.pkl"


def test_a_path_that_the_run_has_not_is_refused_with_what_outputs_holds(registry: Registry) -> None:
    registry.add_run("outputs/model/a", "outputs/b.txt", "logs/c", status=RunStatus.COMPLETED)
    with pytest.raises(ModelPathNotFoundException) as refused:
        registry.models.register(ModelSpec(name="m", run_id=RUN, model_path="outputs/modle"))
    assert "Its outputs/ holds: outputs/b.txt, outputs/model/a." in str(refused.value)
    assert "logs/c" not in str(refused.value)
    assert "collected" not in str(refused.value)


def test_a_path_that_a_running_run_has_not_yet_is_refused_with_the_cure(registry: Registry) -> None:
    registry.add_run()
    with pytest.raises(ModelPathNotFoundException, match=r"no files yet.*collected when it ends.*run.upload_folder"):
        registry.models.register(ModelSpec(name="m", run_id=RUN, model_path="outputs/model"))


def test_a_run_that_is_not_there_is_refused(registry: Registry) -> None:
    with pytest.raises(UnknownRunError):
        registry.models.register(ModelSpec(name="m", run_id="nope", model_path="outputs"))


@pytest.mark.parametrize("path", ["../x", "/etc", "outputs//x", "outputs/", "~", "a\\b"])
def test_a_model_path_that_is_not_plain_is_refused(registry: Registry, path: str) -> None:
    registry.add_run("outputs/x")
    with pytest.raises(PathRefusedError):
        registry.models.register(ModelSpec(name="m", run_id=RUN, model_path=path))


def test_a_model_without_files_or_run_is_refused(registry: Registry) -> None:
    with pytest.raises(ModelException, match="needs files"):
        registry.models.register(ModelSpec(name="m"))


def test_sent_files_that_the_store_lacks_are_asked_for_and_nothing_is_registered(registry: Registry) -> None:
    here = registry.entry("m/a")
    lacking = FileEntry("m/b", 3, "0" * 64)
    answer = registry.models.register(ModelSpec(name="m", root="m", files=[here, lacking]))
    assert answer == ManifestAnswer(id=None, missing=["0" * 64])
    with pytest.raises(ModelNotFoundException, match="No model is registered yet"):
        registry.models.get("m")


@pytest.mark.parametrize(
    "root, paths, error",
    [
        ("m", ["other/a"], ModelException),
        ("m", ["m/a", "m/a"], UserErrorException),
        ("m", ["m", "m/a"], UserErrorException),
        ("m", ["m/../a"], PathRefusedError),
        ("..", ["../a"], PathRefusedError),
        ("", ["a"], PathRefusedError),
        ("a/b", ["a/b/c"], ModelException),
    ],
)
def test_sent_files_lie_below_one_root(registry: Registry, root: str, paths: list[str], error: type[Exception]) -> None:
    entry = registry.put(b"x")
    files = [FileEntry(path, entry.size, entry.digest) for path in paths]
    with pytest.raises(error):
        registry.models.register(ModelSpec(name="m", root=root, files=files))


def test_a_name_against_the_rules_is_refused(registry: Registry) -> None:
    with pytest.raises(ModelException, match="1 to 255"):
        registry.register("my model")


def test_a_frameworks_version_needs_a_framework(registry: Registry) -> None:
    with pytest.raises(ModelException, match="without a framework.*TensorFlow, ScikitLearn, Onnx"):
        registry.register(framework_version="1.13")
    with pytest.raises(ModelException, match="'Caffe' is not known. Allowed: TensorFlow"):
        registry.register(framework="Caffe")
    record = registry.register(framework="tensorflow", framework_version="1.13")
    assert (record.framework, record.framework_version) == ("TensorFlow", "1.13")


def test_the_newest_version_is_given_where_none_is_named(registry: Registry) -> None:
    registry.register()
    registry.register()
    assert registry.models.get("m").version == 2


def test_a_model_that_is_not_there_is_refused_with_those_that_are(registry: Registry) -> None:
    registry.register("b")
    registry.register("a")
    registry.register("a")
    with pytest.raises(ModelNotFoundException, match=r"ModelNotFound: There is no model 'c'.*There are: a, b\."):
        registry.models.get("c")


def test_lists_are_filtered_and_newest_first(registry: Registry) -> None:
    registry.add_run("m.pkl")
    registry.register("a", tags={"kind": "cnn", "final": ""}, framework="Onnx")
    registry.register("a", tags={"kind": "dnn"}, properties={"rows": "7"})
    registry.register("b", tags={"kind": "cnn"}, run_id=RUN)
    assert registry.ids(ModelFilter()) == ["b:1", "a:2", "a:1"]
    assert registry.ids(ModelFilter(name="a")) == ["a:2", "a:1"]
    assert registry.ids(ModelFilter(name="a", version=1)) == ["a:1"]
    assert registry.ids(ModelFilter(tags={"kind": None})) == ["b:1", "a:2", "a:1"]
    assert registry.ids(ModelFilter(tags={"kind": "cnn"})) == ["b:1", "a:1"]
    assert registry.ids(ModelFilter(tags={"kind": "cnn", "final": None})) == ["a:1"]
    assert registry.ids(ModelFilter(tags={"absent": None})) == []
    assert registry.ids(ModelFilter(properties={"rows": "7"})) == ["a:2"]
    assert registry.ids(ModelFilter(properties={"rows": "8"})) == []
    assert registry.ids(ModelFilter(run_id=RUN)) == ["b:1"]
    assert registry.ids(ModelFilter(framework="Onnx")) == ["a:1"]
    assert registry.ids(ModelFilter(latest=True)) == ["b:1", "a:2"]
    assert registry.ids(ModelFilter(latest=True, tags={"kind": "cnn"})) == ["b:1", "a:1"]


@pytest.mark.parametrize("key", ['a"b', "a.b", "$", "a'b", "[0]", "ключ", "a b", "%", "a\\b", "?"])
def test_any_key_of_a_tag_can_be_filtered_by(registry: Registry, key: str) -> None:
    registry.register("a", tags={key: "x'\"%"})
    registry.register("b", tags={"other": "x"})
    assert registry.ids(ModelFilter(tags={key: None})) == ["a:1"]
    assert registry.ids(ModelFilter(tags={key: "x'\"%"})) == ["a:1"]
    assert registry.ids(ModelFilter(tags={key: "x"})) == []


def test_lists_leave_files_out_and_come_in_pages(registry: Registry) -> None:
    made = [registry.register().id for _ in range(5)]
    seen: list[str] = []
    after: str | None = None
    while True:
        page = registry.models.list(ModelFilter(limit=2), after)
        assert all(model.files == [] for model in page.models)
        seen.extend(model.id for model in page.models)
        after = page.next
        if after is None:
            break
    assert seen == made[::-1]


def test_pages_are_whole_where_models_were_made_at_one_moment(registry: Registry) -> None:
    entry = registry.entry("m.pkl")
    for name in ("a", "b", "c", "d"):
        registry.models.register(ModelSpec(name=name, root="m.pkl", files=[entry]))
    first = registry.models.list(ModelFilter(limit=3))
    rest = registry.models.list(ModelFilter(limit=3), first.next)
    assert [model.id for model in [*first.models, *rest.models]] == ["d:1", "c:1", "b:1", "a:1"]


@pytest.mark.parametrize("mark", ["", "x", "1.5", "1.5,x,m", "x,1,m"])
def test_a_page_mark_that_no_list_gave_is_refused(registry: Registry, mark: str) -> None:
    with pytest.raises(UserErrorException, match="page mark"):
        registry.models.list(ModelFilter(), mark)


def test_tags_change_and_properties_are_written_once(registry: Registry) -> None:
    registry.register(tags={"a": "1", "b": "2"}, properties={"p": "1"})
    changes = ModelChanges(tags={"c": "3", "a": "9"}, remove_tags=["b", "absent"], properties={"q": "2", "p": "1"})
    record = registry.models.change("m", 1, changes)
    assert record.tags == {"a": "9", "c": "3"}
    assert record.properties == {"p": "1", "q": "2"}
    with pytest.raises(ModelException, match="'p' of model m:1 is '1' and cannot become '2'"):
        registry.models.change("m", 1, ModelChanges(properties={"p": "2"}))
    record = registry.models.change("m", 1, ModelChanges(description="the best one"))
    assert (record.description, record.tags) == ("the best one", {"a": "9", "c": "3"})
    assert record.files == registry.models.get("m", 1).files


def test_changes_of_one_model_at_the_same_moment_all_stay(registry: Registry) -> None:
    registry.register()
    together = threading.Barrier(6)

    def tag(number: int) -> None:
        together.wait()
        registry.models.change("m", 1, ModelChanges(tags={f"t{number}": "x"}))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(tag, range(6)))
    assert sorted(registry.models.get("m", 1).tags) == [f"t{number}" for number in range(6)]


def test_changing_or_deleting_what_is_not_there_is_refused(registry: Registry) -> None:
    with pytest.raises(ModelNotFoundException):
        registry.models.change("m", 1, ModelChanges(description="x"))
    with pytest.raises(ModelNotFoundException):
        registry.models.delete("m", 1)
    assert registry.register().version == 1


def test_a_pack_holds_the_files_that_are_asked_for(registry: Registry) -> None:
    files = [registry.entry("m/a", b"aaa"), registry.entry("m/b", b"bb")]
    registry.models.register(ModelSpec(name="m", root="m", files=files))
    entries = registry.models.pack("m", 1, ["m/b"])
    assert [(entry.name, entry.size, entry.path and entry.path.read_bytes()) for entry in entries] == [
        ("m/b", 2, b"bb")
    ]
    assert [entry.name for entry in registry.models.pack("m", 1)] == ["m/a", "m/b"]
    with pytest.raises(FileNotInRunError, match="has no file 'm/c'. It has: m/a, m/b"):
        registry.models.pack("m", 1, ["m/c"])
