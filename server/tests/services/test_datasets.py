"""Datasets: versions that count up also when two register at once, requests that come twice, and every refusal."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from runyard.errors import DatasetException, PathRefusedError, UnknownDatasetError, UnknownDatastoreError
from runyard.protocol.datasets import (
    FILE,
    TABULAR,
    DatasetChanges,
    DatasetDefinition,
    DatasetOutput,
    DatasetSource,
    DatasetSpec,
)
from runyard.protocol.runs import RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.records.engine import Database
from runyard_server.services.datasets import DatasetService
from runyard_server.services.datastores import DatastoreService
from runyard_server.testing.clock import FakeClock

STORE = "workspaceblobstore"
RUN = RunRecord("mnist_1", 1, "mnist", "azureml.scriptrun", RunStatus.FINALIZING, 1.0, 1)


@pytest.fixture
def datasets(database: Database, tmp_path: Path) -> DatasetService:
    datastores = DatastoreService(database, FakeClock(), tmp_path / "datastores", ())
    datastores.ensure_defaults()
    return DatasetService(database, FakeClock(), datastores.get)


def asked(path: str = "mnist", name: str | None = "mnist", **more: object) -> DatasetSpec:
    definition = DatasetDefinition(FILE, [DatasetSource(STORE, path)])
    return DatasetSpec(str(uuid.uuid4()), definition, name, **more)  # type: ignore[arg-type]


def test_a_registration_that_comes_twice_makes_one_version(datasets: DatasetService) -> None:
    spec = asked()
    first = datasets.keep(spec)
    datasets.keep(asked("other", create_new_version=True))
    assert datasets.keep(spec) == first
    assert [record.version for record in datasets.versions("mnist")] == [1, 2]


def test_many_that_register_at_once_get_different_versions(datasets: DatasetService) -> None:
    with ThreadPoolExecutor(8) as pool:
        specs = [asked(f"part-{number}", create_new_version=True) for number in range(16)]
        found = list(pool.map(datasets.keep, specs))
    assert sorted(record.version or 0 for record in found) == list(range(1, 17))


def test_a_dataset_without_a_name_is_found_by_its_id_alone(datasets: DatasetService) -> None:
    spec = DatasetSpec(
        str(uuid.uuid4()), DatasetDefinition(TABULAR, [DatasetSource(address="https://host/a.csv")], table="{}")
    )
    kept = datasets.keep(spec, run_id="mnist_1")
    assert (kept.name, kept.version, kept.run_id) == (None, None, "mnist_1")
    assert datasets.by_id(spec.id) == kept
    assert datasets.list() == []
    assert datasets.list(run_id="mnist_1") == [kept]


def test_a_name_can_be_used_again_and_its_numbers_cannot(datasets: DatasetService) -> None:
    old = datasets.keep(asked())
    datasets.unregister("mnist")
    assert datasets.by_id(old.id) == old
    for look in (datasets.get, datasets.versions, datasets.unregister):
        with pytest.raises(UnknownDatasetError, match="None is"):
            look("mnist")
    assert datasets.keep(asked()).version == 2


def test_tags_and_description_change_and_nothing_else(datasets: DatasetService) -> None:
    before = datasets.keep(asked(tags={"a": "1", "b": "2"}, description="one"))
    after = datasets.change("mnist", 1, DatasetChanges(tags={"c": "3"}, remove_tags=["a"]))
    assert after == replace(before, tags={"b": "2", "c": "3"})
    with pytest.raises(UnknownDatasetError, match="no version 2. It has the versions: 1"):
        datasets.change("mnist", 2, DatasetChanges(description="two"))


@pytest.mark.parametrize(
    ("definition", "error", "said"),
    [
        (DatasetDefinition("folder", [DatasetSource(STORE)]), DatasetException, "is no kind of dataset"),
        (DatasetDefinition(FILE, []), DatasetException, "at least one place"),
        (DatasetDefinition(FILE, [DatasetSource()]), DatasetException, "one of the two"),
        (DatasetDefinition(FILE, [DatasetSource(STORE, address="https://h/a")]), DatasetException, "one of the two"),
        (DatasetDefinition(FILE, [DatasetSource(address="file:///etc/passwd")]), DatasetException, "is no address"),
        (DatasetDefinition(FILE, [DatasetSource("nowhere")]), UnknownDatastoreError, "no datastore 'nowhere'"),
        (DatasetDefinition(FILE, [DatasetSource(STORE, "../secrets.json")]), PathRefusedError, "refused"),
    ],
)
def test_a_definition_that_names_no_data_is_refused(
    datasets: DatasetService, definition: DatasetDefinition, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        datasets.keep(DatasetSpec(str(uuid.uuid4()), definition, "mnist"))


def test_ids_and_names_against_the_rules_are_refused(datasets: DatasetService) -> None:
    with pytest.raises(DatasetException, match="is no id of a dataset"):
        datasets.keep(replace(asked(), id="../mnist"))
    with pytest.raises(DatasetException, match="no name of a dataset"):
        datasets.keep(asked(name="a/b"))
    spec = asked()
    datasets.keep(spec)
    with pytest.raises(DatasetException, match="belongs to another dataset"):
        datasets.keep(replace(asked("other"), id=spec.id))


def test_what_a_run_puts_out_is_registered_once_and_as_a_version_of_its_own(datasets: DatasetService) -> None:
    output = DatasetOutput("model", "models", STORE, "models/new", "the newest", {"a": "1"})
    first = datasets.keep_output(RUN, output)
    assert datasets.keep_output(RUN, output) == first
    assert (first.name, first.version, first.run_id, first.description) == ("models", 1, RUN.id, "the newest")
    assert datasets.keep_output(replace(RUN, id="mnist_2"), output).version == 2, "the place is filled anew by each run"
