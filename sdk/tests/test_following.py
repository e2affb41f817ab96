"""What somebody who follows a run sees of its logs without asking for one."""

import pytest

from runyard.following import is_shown


@pytest.mark.parametrize("rank", ["", "_0", "_1", "_10", "_worker_0", "_worker_1", "_chief_0", "_ps_0"])
def test_the_output_of_every_rank_is_shown(rank):
    assert is_shown("azureml-logs/70_driver_log{}.txt".format(rank))


@pytest.mark.parametrize(
    "log", ["attempt-2/70_driver_log.txt", "attempt-12/70_driver_log_1.txt", "attempt-2/65_job_prep-0.txt"]
)
def test_the_output_of_every_attempt_is_shown(log):
    assert is_shown("azureml-logs/" + log)


@pytest.mark.parametrize("log", ["azureml-logs/65_job_prep-1.txt", "azureml-logs/75_job_post-0.txt", "logs/mine.txt"])
def test_what_other_nodes_prepare_and_what_is_collected_is_shown_only_when_it_is_named(log):
    assert not is_shown(log)
