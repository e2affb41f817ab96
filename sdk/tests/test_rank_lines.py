"""What several ranks print, as one text."""

import pytest

from runyard.rank_lines import RankLines, in_order, rank_of, title_of


@pytest.mark.parametrize(
    ("log", "rank"),
    [
        ("azureml-logs/70_driver_log_0.txt", "0"),
        ("azureml-logs/70_driver_log_worker_1.txt", "worker_1"),
        ("azureml-logs/attempt-2/70_driver_log_1.txt", "1"),
        ("azureml-logs/70_driver_log.txt", None),
        ("azureml-logs/65_job_prep-0.txt", None),
        ("logs/azureml-logs/70_driver_log_0.txt", None),
    ],
)
def test_a_log_tells_its_rank_where_there_are_several(log, rank):
    assert rank_of(log) == rank


def test_each_attempts_ranks_have_their_title():
    assert title_of("azureml-logs/70_driver_log_0.txt") == "azureml-logs/70_driver_log_*.txt"
    assert title_of("azureml-logs/attempt-2/70_driver_log_1.txt") == "azureml-logs/attempt-2/70_driver_log_*.txt"


def test_lines_stay_whole_however_the_pieces_fall():
    lines = RankLines()
    assert lines.take("0", "one ") == ""
    assert lines.take("1", "a\nb") == "[1] a\n"
    assert lines.take("0", "line\ntwo\n") == "[0] one line\n[0] two\n"
    assert lines.take("1", "c\n") == "[1] bc\n"
    assert lines.rest() == ""


def test_what_has_no_end_comes_last():
    lines = RankLines()
    lines.take("1", "one"), lines.take("0", "other")
    assert lines.rest() == "[0] other\n[1] one\n"
    assert lines.rest() == ""


def test_of_a_progress_bar_the_last_state_is_shown():
    lines = RankLines()
    lines.take("0", "\r 10%")
    assert lines.take("0", "\r 50%\r100%\r\nend\n") == "[0] 100%\n[0] end\n"


def test_a_line_without_an_end_does_not_fill_the_memory():
    lines = RankLines()
    assert lines.take("0", "x" * 70000) == "[0] {}\n".format("x" * 70000)
    for step in range(1000):
        assert lines.take("0", "\r{:100}".format(step)) == ""
    assert len(lines.rest()) < 70000


def test_logs_come_in_the_order_of_their_ranks():
    logs = ["azureml-logs/70_driver_log_{}.txt".format(rank) for rank in (10, 2, 0)]
    assert in_order(logs) == [logs[2], logs[1], logs[0]]
