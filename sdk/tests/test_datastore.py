import io
import os

import pytest

from runyard.data_reference import DataReference
from runyard.datastore import Datastore
from runyard.errors import DatastoreException, UnknownDatastoreError, UserErrorException
from runyard.progress import ProgressBar, size_text


class Workspace:
    """What a datastore needs of a workspace."""

    def __init__(self, transport):
        self.transport, self.name = transport, "files"


@pytest.fixture
def datastore(transport):
    return Datastore.get_default(Workspace(transport))


def tree(folder, **files):
    for name, content in files.items():
        path = folder.joinpath(*name.split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(folder)


def read_tree(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_the_default_one_has_azure_s_names(datastore):
    assert datastore.name == "workspaceblobstore"
    assert datastore.is_default
    assert (datastore.datastore_type, datastore.container_name, datastore.account_name) == (
        "Folder",
        "workspaceblobstore",
        "files",
    )
    assert "workspaceblobstore" in repr(datastore)
    assert Datastore(datastore.workspace).name == Datastore.get(datastore.workspace, "workspaceblobstore").name


def test_an_unknown_one_is_refused_with_those_that_are_there(datastore):
    with pytest.raises(UnknownDatastoreError, match="This workspace has: workspaceblobstore, workspacefilestore"):
        Datastore.get(datastore.workspace, "nope")


def test_a_folder_is_uploaded_and_downloaded(datastore, tmp_path, capsys):
    source = tree(tmp_path / "mnist", train__images="images", labels="labels")
    reference = datastore.upload(src_dir=source, target_path="mnist", overwrite=True, show_progress=True)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Uploading an estimated of 2 files"
    assert said[-1] == "Uploaded 2 files"
    assert (reference.path_on_datastore, reference.uploaded, reference.skipped) == ("mnist", 2, 0)
    assert read_tree(tmp_path / "server" / "datastores" / "workspaceblobstore") == {
        "mnist/train/images": "images",
        "mnist/labels": "labels",
    }
    assert datastore.download(str(tmp_path / "back"), prefix="mnist/train") == 1
    assert datastore.download(str(tmp_path / "back")) == 1
    assert "Skipping download for" in capsys.readouterr().out
    assert read_tree(tmp_path / "back") == {"mnist/train/images": "images", "mnist/labels": "labels"}


def test_a_second_upload_moves_nothing(datastore, tmp_path, capsys):
    source = tree(tmp_path / "data", a="a", b="b")
    datastore.upload(source)
    again = datastore.upload(source, overwrite=True)
    assert (again.uploaded, again.skipped) == (0, 2)
    assert capsys.readouterr().out.splitlines()[-1] == "Uploaded 0 files"


def test_other_bytes_are_kept_unless_overwrite_is_asked(datastore, tmp_path, capsys):
    datastore.upload(tree(tmp_path / "data", a="old"), target_path="x")
    tree(tmp_path / "data", a="new")
    kept = datastore.upload(str(tmp_path / "data"), target_path="./x/")
    assert (kept.uploaded, kept.skipped) == (0, 1)
    assert "Target already exists. Skipping upload for x/a" in capsys.readouterr().out
    assert datastore.upload(str(tmp_path / "data"), target_path="x", overwrite=True).uploaded == 1
    datastore.download(str(tmp_path / "back"))
    assert read_tree(tmp_path / "back") == {"x/a": "new"}


def test_a_download_replaces_local_files_only_when_asked(datastore, tmp_path):
    datastore.upload(tree(tmp_path / "data", a="theirs"), show_progress=False)
    tree(tmp_path / "back", a="mine")
    assert datastore.download(str(tmp_path / "back"), show_progress=False) == 0
    assert read_tree(tmp_path / "back") == {"a": "mine"}
    assert datastore.download(str(tmp_path / "back"), overwrite=True, show_progress=False) == 1
    assert read_tree(tmp_path / "back") == {"a": "theirs"}


def test_nothing_is_printed_without_show_progress(datastore, tmp_path, capsys):
    datastore.upload(tree(tmp_path / "data", a="a"), show_progress=False)
    datastore.download(str(tmp_path / "back"), show_progress=False)
    assert capsys.readouterr() == ("", "")


def test_single_files_lie_under_their_own_names_or_below_a_root(datastore, tmp_path):
    root = tree(tmp_path / "data", x__a="a", y__b="b")
    files = [os.path.join(root, "x", "a"), os.path.join(root, "y", "b")]
    assert datastore.upload_files(files, target_path="flat", show_progress=False).uploaded == 2
    assert datastore.upload_files(files, relative_root=root, target_path="deep", show_progress=False).uploaded == 2
    datastore.download(str(tmp_path / "back"), show_progress=False)
    assert sorted(read_tree(tmp_path / "back")) == ["deep/x/a", "deep/y/b", "flat/a", "flat/b"]


def test_files_that_cannot_be_uploaded_are_named(datastore, tmp_path):
    root = tree(tmp_path / "data", x__a="a", y__a="b")
    both = [os.path.join(root, "x", "a"), os.path.join(root, "y", "a")]
    with pytest.raises(UserErrorException, match="would both become 'a'. Give relative_root"):
        datastore.upload_files(both)
    with pytest.raises(UserErrorException, match="does not lie below relative_root"):
        datastore.upload_files(both, relative_root=os.path.join(root, "x"))
    with pytest.raises(UserErrorException, match="is no file"):
        datastore.upload_files([root])
    with pytest.raises(UserErrorException, match="is no folder"):
        datastore.upload(both[0])
    with pytest.raises(DatastoreException, match="no path on a datastore"):
        datastore.upload(root, target_path="../x")


def test_twenty_lines_stand_for_ten_thousand_files(datastore, tmp_path, capsys):
    for number in range(50):
        tree(tmp_path / "data", **{str(number): str(number)})
    datastore.upload(str(tmp_path / "data"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 23
    assert lines[-2:] == ["  ... and 30 more", "Uploaded 50 files"]


def test_an_allowed_folder_is_attached_made_the_default_and_taken_away(datastore, tmp_path):
    workspace = datastore.workspace
    mine = Datastore.register_folder(workspace, "mine", str(tmp_path / "allowed"))
    assert mine.local_path == str(tmp_path / "allowed")
    mine.set_as_default()
    assert Datastore.get_default(workspace).name == "mine"
    datastore.set_as_default()
    mine.unregister()
    with pytest.raises(UnknownDatastoreError):
        Datastore.get(workspace, "mine")


@pytest.mark.parametrize(
    "kind",
    [
        "azure_blob_container",
        "azure_file_share",
        "azure_data_lake",
        "azure_data_lake_gen2",
        "azure_sql_database",
        "azure_postgre_sql",
        "azure_my_sql",
        "dbfs",
    ],
)
def test_a_cloud_s_datastore_is_refused_with_what_to_do_instead(kind):
    with pytest.raises(DatastoreException, match="'mine' cannot be attached: .* Attach a folder"):
        getattr(Datastore, "register_" + kind)(None, "mine")


# References


class Named:
    name = "workspaceblobstore"


def test_a_reference_to_the_root_has_the_datastore_s_name():
    reference = DataReference(Named())
    assert str(reference) == repr(reference) == "$AZUREML_DATAREFERENCE_workspaceblobstore"
    assert (reference.mode, reference.path_on_datastore) == ("mount", "")


def test_a_reference_to_a_path_has_a_name_of_its_own():
    first, second = DataReference(Named()).path("mnist"), DataReference(Named()).path("mnist")
    assert first.data_reference_name != second.data_reference_name
    assert len(first.data_reference_name) == 32
    assert str(DataReference(Named()).path("mnist", data_reference_name="data")) == "$AZUREML_DATAREFERENCE_data"


def test_each_way_to_bring_it_gives_a_new_reference_of_the_same_name():
    place = DataReference(Named()).path("./mnist//train/")
    download = place.as_download(path_on_compute="data", overwrite=True)
    assert (download.mode, download.path_on_compute, download.overwrite) == ("download", "data", True)
    assert download.data_reference_name == place.data_reference_name
    assert (place.mode, download.as_mount().mode, download.as_upload("out").mode) == ("mount", "mount", "upload")
    assert download.path().data_reference_name == place.data_reference_name
    assert download.path("deep").path_on_datastore == "mnist/train/deep"


def test_a_reference_goes_over_the_wire_and_into_a_run_configuration():
    reference = DataReference(Named(), "data", "mnist").as_download("here")
    spec = reference.to_spec()
    assert (spec.name, spec.datastore, spec.path, spec.mode, spec.path_on_compute, spec.overwrite) == (
        "data",
        "workspaceblobstore",
        "mnist",
        "download",
        "here",
        False,
    )
    config = reference.to_config()
    assert (config.datastore_name, config.mode, config.path_on_datastore) == ("workspaceblobstore", "download", "mnist")


@pytest.mark.parametrize(
    "wrong", [{"mode": "copy"}, {"data_reference_name": "my data"}, {"path_on_datastore": "a/../b"}]
)
def test_a_reference_that_cannot_be_is_refused(wrong):
    with pytest.raises(DatastoreException):
        DataReference(Named(), **wrong)


# The bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_drawn_on_a_terminal_only():
    now = [0.0]
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        with ProgressBar("Uploading", 2_000_000, 2, stream=stream, clock=lambda: now[0]) as progress:
            progress(1_000_000, 1)
            now[0] += 1
            progress(1_000_000, 1)
    assert file.getvalue() == ""
    assert "Uploading [############............] 1/2 files, 1.0 MB of 2.0 MB" in terminal.getvalue()
    assert terminal.getvalue().endswith("2/2 files, 2.0 MB of 2.0 MB, 2.0 MB/s \x1b[K\n")


def test_sizes_read_well():
    texts = [size_text(size) for size in (0, 999, 1000, 1234567, 3_200_000_000, 5e15)]
    assert texts == ["0 B", "999 B", "1.0 KB", "1.2 MB", "3.2 GB", "5000.0 TB"]
