"""What a compute target on Slurm is asked to be: by the SDK, and on the command line."""

import pytest

from runyard.cli import computes
from runyard.cli.main import parser
from runyard.errors import ComputeTargetException
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.compute import ComputeRecord, ComputeSpec, SlurmSpec
from runyard.slurm_compute import SlurmCompute, minutes


@pytest.mark.parametrize(
    ("limit", "wanted"),
    [
        (None, None),
        (90, 90),
        ("90", 90),
        ("90:30", 91),
        ("2:00:00", 120),
        ("1-0", 1440),
        ("1-12:30", 2190),
        ("0-0:0:59", 1),
    ],
)
def test_a_time_limit_is_minutes_or_slurms_own_notation(limit, wanted):
    assert minutes(limit) == wanted


@pytest.mark.parametrize("limit", ["soon", 0, "0", -5, "1-2-3", "", True])
def test_what_is_no_time_is_refused(limit):
    with pytest.raises(ComputeTargetException, match="time_limit is"):
        minutes(limit)


def test_everything_that_is_asked_of_slurm_travels():
    configuration = SlurmCompute.provisioning_configuration(
        partition="gpu",
        account="lab",
        gres="gpu:a100:4",
        time_limit="1-0",
        setup=["module load cuda"],
        options=["--nice=10"],
        max_jobs=5,
        tags={"team": "vision"},
    )
    spec = configuration.to_spec("cluster")
    assert from_json(ComputeSpec, to_json(spec)) == spec
    assert (spec.executor, spec.type, spec.max_nodes, spec.tags) == ("slurm", "Slurm", 0, {"team": "vision"})
    assert spec.slurm == SlurmSpec(
        partition="gpu",
        account="lab",
        gres="gpu:a100:4",
        time_limit_min=1440,
        setup=["module load cuda"],
        options=["--nice=10"],
        max_jobs=5,
    )


def test_numbers_are_numbers():
    with pytest.raises(ComputeTargetException, match="cpus_per_node is a whole number"):
        SlurmCompute.provisioning_configuration(cpus_per_node="many")
    with pytest.raises(ComputeTargetException, match="max_nodes=0"):
        SlurmCompute.provisioning_configuration(max_nodes=0)


def test_the_command_line_says_the_same():
    words = "compute create cluster --executor slurm --partition gpu --time 2:00:00 --cpus-per-node 4 --exclusive"
    given = parser().parse_args([*words.split(), "--sbatch=--nice=10", "--setup", "module load cuda"])
    asked = computes._slurm_options(given)
    assert SlurmCompute.provisioning_configuration(**asked).slurm == SlurmSpec(
        partition="gpu",
        time_limit_min=120,
        cpus_per_node=4,
        exclusive=True,
        setup=["module load cuda"],
        options=["--nice=10"],
    )


def test_the_states_of_nodes_are_shown_where_there_are_any():
    spec = ComputeSpec("cluster", max_nodes=4, executor="slurm", type="Slurm", slurm=SlurmSpec())
    counts = {"nodes_running": 2, "nodes_idle": 1, "nodes_unusable": 1}
    record = to_json(ComputeRecord(spec, "slurm", "Succeeded", 0, 0, 0, **counts))
    assert computes._states(record) == "2 in use, 1 idle, 1 unusable"
