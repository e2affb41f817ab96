"""What somebody who follows a run sees of its logs without asking for one."""

import pytest

from runyard.following import is_shown


@pytest.mark.parametrize("rank", ["", "_0", "_worker_0", "_chief_0"])
def test_the_output_of_the_first_rank_of_its_kind_is_shown(rank):
    assert is_shown("azureml-logs/70_driver_log{}.txt".format(rank))


@pytest.mark.parametrize("rank", ["_1", "_10", "_worker_1", "_ps_0"])
def test_other_ranks_are_shown_only_when_they_are_named(rank):
    assert not is_shown("azureml-logs/70_driver_log{}.txt".format(rank))
