import json
import math
import os
import subprocess
import sys
import threading

import pytest

from runyard.errors import UserErrorException
from runyard.spool import Spool


def records(path):
    with open(str(path), encoding="ascii") as file:
        return [json.loads(line) for line in file]


def spool_at(tmp_path, at=1566000000.25):
    return Spool(str(tmp_path), "rank-0", now=lambda: at)


def test_a_scalar_is_one_line_with_its_time_and_its_step_if_it_has_one(tmp_path):
    spool = spool_at(tmp_path)
    spool.scalar("loss", 0.5)
    spool.scalar('a "name"', 3, 7)
    assert (tmp_path / "rank-0.metrics").read_bytes() == (
        b'["s","loss",0.5,1566000000.25]\n["s","a \\"name\\"",3,1566000000.25,7]\n'
    )
    assert spool.path == str(tmp_path / "rank-0.metrics")


@pytest.mark.parametrize(
    "value",
    [0.1, -0.0, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), 2**63 - 1, -(2**63), True, "text\n"],
)
def test_a_value_comes_back_as_it_went_in(tmp_path, value):
    spool_at(tmp_path).scalar("x", value)
    (record,) = records(tmp_path / "rank-0.metrics")
    assert record[2] == value and type(record[2]) is type(value)
    if value == 0 and type(value) is float:
        assert math.copysign(1, record[2]) == -1


def test_nan_comes_back_as_nan(tmp_path):
    spool_at(tmp_path).scalar("x", float("nan"))
    assert math.isnan(records(tmp_path / "rank-0.metrics")[0][2])


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_an_integer_of_more_than_64_bits_is_refused(tmp_path, value):
    with pytest.raises(UserErrorException, match="more than 64 bits"):
        spool_at(tmp_path).scalar("x", value)


@pytest.mark.parametrize("name", ["", "n" * 256, "a\nb", "\ud800", None, 3, ["x"]])
def test_a_name_against_the_rules_is_refused(tmp_path, name):
    with pytest.raises(UserErrorException, match="name of a metric"):
        spool_at(tmp_path).scalar(name, 1.0)
    assert os.listdir(str(tmp_path)) == []


def test_a_name_of_255_letters_of_any_script_is_taken(tmp_path):
    spool_at(tmp_path).scalar("é" * 255, 1.0)
    assert records(tmp_path / "rank-0.metrics")[0][1] == "é" * 255


@pytest.mark.parametrize("step", [1.5, "3", float("nan"), float("inf"), 2**63, -(2**63), object()])
def test_a_step_that_is_no_integer_of_64_bits_is_refused(tmp_path, step):
    with pytest.raises(UserErrorException, match="step of metric 'x'"):
        spool_at(tmp_path).scalar("x", 1.0, step)


def test_a_whole_step_of_another_type_is_taken(tmp_path):
    class NumpyLike:
        def __index__(self):
            return 12

    spool = spool_at(tmp_path)
    spool.scalar("x", 1.0, 3.0)
    spool.scalar("x", 1.0, NumpyLike())
    assert [record[4] for record in records(tmp_path / "rank-0.metrics")] == [3, 12]


def test_entries_descriptions_tags_and_properties_have_lines_of_their_own(tmp_path):
    spool = spool_at(tmp_path)
    spool.entry("list", "azureml.v1.list", [1, None, "a"])
    spool.describe("list", "what it is")
    spool.describe("list", "what it is")
    spool.tag("color", None)
    spool.property("commit", "abc")
    assert records(tmp_path / "rank-0.metrics") == [
        ["e", "list", "azureml.v1.list", [1, None, "a"], 1566000000.25],
        ["d", "list", "what it is"],
        ["t", "color", None],
        ["p", "commit", "abc"],
    ]


def test_an_entry_too_large_for_the_server_is_refused_with_the_cure(tmp_path):
    with pytest.raises(UserErrorException, match="upload_file"):
        spool_at(tmp_path).entry("table", "azureml.v1.table", {"x": "a" * (16 << 20)})


def test_two_writers_of_one_name_never_share_a_file(tmp_path):
    first, second = spool_at(tmp_path), spool_at(tmp_path)
    first.scalar("x", 1.0)
    second.scalar("x", 2.0)
    first.scalar("x", 3.0)
    assert [record[2] for record in records(first.path)] == [1.0, 3.0]
    assert [record[2] for record in records(second.path)] == [2.0]
    assert sorted(os.listdir(str(tmp_path))) == ["rank-0-2.metrics", "rank-0.metrics"]


def test_more_names_than_are_kept_in_mind_are_written_all_the_same(tmp_path):
    spool = spool_at(tmp_path)
    for number in range(10050):
        spool.scalar("m{}".format(number), number)
    assert [record[1] for record in records(spool.path)] == ["m{}".format(number) for number in range(10050)]


def test_lines_of_many_threads_stay_whole(tmp_path):
    spool = Spool(str(tmp_path), "rank-0")

    def log(thread):
        for number in range(500):
            spool.scalar("thread-{}".format(thread), number)

    threads = [threading.Thread(target=log, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.listdir(str(tmp_path)) == ["rank-0.metrics"]
    found = records(spool.path)
    for thread in range(8):
        assert [record[2] for record in found if record[1] == "thread-{}".format(thread)] == list(range(500))


def test_a_closed_spool_goes_on_in_a_new_file(tmp_path):
    spool = spool_at(tmp_path)
    spool.scalar("x", 1.0)
    spool.close()
    spool.scalar("x", 2.0)
    spool.close()
    assert [r[2] for name in ("rank-0", "rank-0-2") for r in records(tmp_path / (name + ".metrics"))] == [1.0, 2.0]


def run_script(source, *arguments):
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
    return subprocess.run(
        [sys.executable, "-c", source] + list(arguments),
        env=environment,
        capture_output=True,
    )


def test_a_forked_child_writes_to_a_file_of_its_own(tmp_path):
    ended = run_script(
        """
import os, sys
from runyard.spool import Spool
spool = Spool(sys.argv[1], "rank-0")
spool.scalar("parent", 1)
child = os.fork()
if child == 0:
    spool.scalar("child", 2)
    os._exit(0)
os.waitpid(child, 0)
spool.scalar("parent", 3)
""",
        str(tmp_path),
    )
    assert ended.returncode == 0, ended.stderr
    assert [record[1:3] for record in records(tmp_path / "rank-0.metrics")] == [["parent", 1], ["parent", 3]]
    assert [record[1:3] for record in records(tmp_path / "rank-0-2.metrics")] == [["child", 2]]


LIMITED = """
import resource, sys
from runyard.spool import Spool
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
spool = Spool(sys.argv[1], "rank-0", now=lambda: 1.0)
spool.scalar("x", 0)
limit(int(sys.argv[2]))
for number in range(1, 20):
    spool.scalar("x", number)
limit(resource.RLIM_INFINITY)
lost = spool.lost
for number in range(20, 23):
    spool.scalar("x", number)
assert spool.lost == lost
print(lost)
"""


def test_a_line_that_was_cut_short_ends_its_file_and_is_written_whole_in_the_next(tmp_path):
    ended = run_script(LIMITED, str(tmp_path), "70")  # a line has 18 bytes, so the fourth is cut at 16
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"0\n", b"")
    whole, cut = [], 0
    for name in os.listdir(str(tmp_path)):
        *lines, rest = (tmp_path / name).read_bytes().split(b"\n")
        whole += [json.loads(line)[2] for line in lines]
        cut += bool(rest)
    assert sorted(whole) == list(range(23))
    assert cut > 1


def test_a_full_disk_costs_records_but_never_the_script(tmp_path):
    ended = run_script(LIMITED, str(tmp_path), "0")
    assert (ended.returncode, ended.stdout) == (0, b"19\n")
    assert ended.stderr.count(b"metrics cannot be written") == 1
    assert [record[2] for record in records(tmp_path / "rank-0.metrics")] == [0, 20, 21, 22]


@pytest.mark.parametrize("stderr", ["None", "open('/dev/full', 'w', buffering=1)"])
def test_logging_does_not_raise_where_nobody_can_be_told_either(tmp_path, stderr):
    ended = run_script("import sys\nsys.stderr = " + stderr + LIMITED, str(tmp_path), "0")
    assert ended.stdout == b"19\n"


def test_what_a_full_disk_refused_is_counted_in_a_file_that_takes_no_room(tmp_path):
    ended = run_script(LIMITED.replace("range(1, 20)", "range(1, 2)"), str(tmp_path), "16")  # a line has 16 bytes
    assert (ended.returncode, ended.stdout) == (0, b"1\n"), ended.stderr
    counted = (tmp_path / "rank-0.lost").stat()
    assert (counted.st_size, counted.st_blocks) == (16, 0)


def test_a_folder_that_is_gone_is_told_once_and_counted(tmp_path, capsys):
    spool = Spool(str(tmp_path / "gone"), "rank-0")
    for number in range(3):
        spool.scalar("x", number)
    spool.entry("y", "azureml.v1.list", [1])
    assert spool.lost == 4
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "The script goes on" in told
