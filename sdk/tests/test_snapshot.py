import hashlib
import json
import os

import pytest

from runyard import digests, snapshot
from runyard.errors import SnapshotException, UserErrorException


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def write(folder, **files):
    for name, content in files.items():
        path = folder.joinpath(*name.replace("__", "/").replace("_DOT_", ".").split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def names(folder, **options):
    return [file.name for file in snapshot.scan(str(folder), **options)]


def test_every_file_is_taken_with_its_size_and_digest(source):
    write(source, train_DOT_py="print(1)", lib__model_DOT_py="x")
    found = snapshot.scan(str(source))
    assert [(file.name, file.size) for file in found] == [("lib/model.py", 1), ("train.py", 8)]
    assert found[1].digest == hashlib.sha256(b"print(1)").hexdigest()
    assert found[1].local == os.path.join(str(source), "train.py")


def test_amlignore_decides_alone_where_there_is_one(source):
    write(source, _DOT_amlignore="*.log\n", _DOT_gitignore="*.txt\n", a_DOT_log="", b_DOT_txt="")
    assert names(source) == [".amlignore", ".gitignore", "b.txt"]


def test_gitignore_decides_where_there_is_no_amlignore(source):
    write(source, _DOT_gitignore="*.txt\ndata/\n", b_DOT_txt="", data__x="", keep="")
    assert names(source) == [".gitignore", "keep"]


def test_only_the_source_directory_s_own_ignore_file_counts(source):
    write(source, lib___DOT_gitignore="*\n", lib__model_DOT_py="")
    assert names(source) == ["lib/.gitignore", "lib/model.py"]


def test_git_s_folder_and_compiled_files_never_travel(source):
    write(source, train_DOT_py="")
    for folder in (".git", "__pycache__", "lib/__pycache__"):
        (source / folder).mkdir(parents=True)
        (source / folder / "x").write_text("x")
    assert names(source) == ["train.py"]


def test_an_executable_file_stays_one(source):
    write(source, run_DOT_sh="", plain="")
    (source / "run.sh").chmod(0o755)
    assert [(file.name, file.executable) for file in snapshot.scan(str(source))] == [("plain", False), ("run.sh", True)]


def test_links_inside_the_tree_are_followed(source):
    write(source, lib__model_DOT_py="model")
    (source / "model.py").symlink_to("lib/model.py")
    (source / "same").symlink_to("lib")
    assert names(source) == ["lib/model.py", "model.py", "same/model.py"]


def test_a_link_out_of_the_tree_is_refused_with_the_cure(source, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (source / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(SnapshotException, match="'link' is a link to .*outside the source directory.*.amlignore"):
        snapshot.scan(str(source))
    write(source, _DOT_amlignore="link\n")
    assert names(source) == [".amlignore"]


def test_a_link_to_a_folder_around_it_is_refused(source):
    write(source, lib__x="")
    (source / "lib" / "up").symlink_to("..")
    with pytest.raises(SnapshotException, match="would never end"):
        snapshot.scan(str(source))


def test_a_link_to_nowhere_and_a_pipe_are_left_out(source):
    write(source, train_DOT_py="")
    (source / "nowhere").symlink_to("absent")
    os.mkfifo(str(source / "pipe"))
    assert names(source) == ["train.py"]


def test_a_name_that_is_no_text_is_refused(source):
    with open(os.path.join(os.fsencode(str(source)), b"\xff"), "w"):
        pass
    with pytest.raises(SnapshotException, match="not valid UTF-8"):
        snapshot.scan(str(source))


@pytest.mark.parametrize(("made", "said"), [(False, "does not exist"), (True, "is a file")])
def test_a_source_directory_that_is_none_says_where_it_was_looked_for(source, made, said):
    if made:
        write(source, absent="")
    with pytest.raises(UserErrorException, match=said + " .looked for at "):
        snapshot.scan(str(source / "absent"))


def test_a_missing_entry_script_names_the_scripts_that_are_there(source):
    write(source, train_DOT_py="", lib__model_DOT_py="", notes_DOT_txt="")
    with pytest.raises(UserErrorException, match=r"'trian.py' is not there. .* has: train.py, lib/model.py\."):
        snapshot.scan(str(source), script="trian.py")
    assert len(snapshot.scan(str(source), script="./lib/../train.py")) == 3


def test_an_entry_script_that_is_left_out_or_lies_outside_says_so(source):
    write(source, train_DOT_py="", _DOT_amlignore="*.py\n")
    with pytest.raises(UserErrorException, match="is left out by .amlignore"):
        snapshot.scan(str(source), script="train.py")
    with pytest.raises(UserErrorException, match="lies outside the source directory"):
        snapshot.scan(str(source), script="../train.py")


def test_a_large_tree_shows_its_ten_largest_entries_and_the_cure(source):
    write(source, _DOT_gitignore="")
    sizes = [("data/{}".format(number), 30 * 10**6) for number in range(4)]
    sizes += [("file{:02}".format(number), number) for number in range(12)]
    notice = snapshot.large_notice(str(source), sizes)
    lines = notice.splitlines()
    assert lines[0] == "The snapshot of {} has 120.0 MB in 16 files. Its largest entries:".format(source)
    assert lines[1].split() == ["120.0", "MB", "data/", "(4", "files)"]
    assert [line.split()[-1] for line in lines[2:11]] == ["file{:02}".format(number) for number in range(11, 2, -1)]
    assert lines[11].endswith("name them in .gitignore.")
    assert len(lines) == 12


def test_many_small_files_are_large_too_and_the_person_is_told_once(source):
    for number in range(2001):
        (source / str(number)).touch()
    told = []
    assert len(snapshot.scan(str(source), say=told.append)) == 2001
    assert len(told) == 1
    assert "2001 files" in told[0]


def test_a_small_tree_is_not_talked_about(source, capsys):
    write(source, train_DOT_py="")
    snapshot.scan(str(source))
    assert capsys.readouterr() == ("", "")


# Digests


def large_file(folder, letter):
    path = folder / "large"
    path.write_bytes(letter * (2 << 20))
    os.utime(str(path), (1000, 1000))
    return path


def test_a_large_unchanged_file_is_not_read_twice(source):
    large_file(source, b"a")
    first = snapshot.scan(str(source))
    large_file(source, b"b")  # in place, with the same size and time: whoever reads it again sees other bytes
    assert snapshot.scan(str(source)) == first


def test_a_changed_file_is_read_again(source):
    large_file(source, b"a")
    before = snapshot.scan(str(source))[0].digest
    path = large_file(source, b"b")
    os.utime(str(path), (2000, 2000))
    assert snapshot.scan(str(source))[0].digest != before


def test_a_file_that_was_just_written_is_not_remembered(source):
    path = source / "large"
    path.write_bytes(b"a" * (2 << 20))
    cache = digests.DigestCache(str(source))
    cache.digest(str(path), os.stat(str(path)))
    cache.save()
    assert not os.path.exists(os.path.join(os.environ["RUNYARD_HOME"], "cache"))


def test_a_cache_that_is_damaged_or_cannot_be_written_costs_nothing_but_time(source, tmp_path, monkeypatch):
    large_file(source, b"a")
    expected = snapshot.scan(str(source))[0].digest
    folder = tmp_path / "home" / "cache" / "digests"
    (damaged,) = folder.iterdir()
    damaged.write_text("{half")
    assert snapshot.scan(str(source))[0].digest == expected
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "file"))
    assert snapshot.scan(str(source))[0].digest == expected


def test_what_was_remembered_under_an_earlier_rule_is_not_used(source, tmp_path):
    large_file(source, b"a")
    expected = snapshot.scan(str(source))
    (remembered,) = (tmp_path / "home" / "cache" / "digests").iterdir()
    known = {path: mark[1:4] + ["0" * 64] for path, mark in json.loads(remembered.read_text()).items()}
    remembered.write_text(json.dumps(known))
    assert snapshot.scan(str(source)) == expected


def test_a_virtual_environment_in_the_folder_is_left_out(tmp_path):
    (tmp_path / "train.py").write_text("print(1)\n")
    environment = tmp_path / ".venv" / "bin"
    environment.mkdir(parents=True)
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (environment / "python").symlink_to("/usr/bin/python3")  # a link out of the tree: elsewhere that is refused
    assert [file.name for file in snapshot.scan(str(tmp_path), "train.py")] == ["train.py"]
