"""Azure's size names and the node shapes behind them."""

import pytest

from runyard.errors import ComputeTargetException
from runyard_server.domain.vm_sizes import VM_SIZES, VmSize, vm_size


@pytest.mark.parametrize(
    ("name", "gpus"),
    [("STANDARD_NC6", 1), ("Standard_NC12", 2), ("standard_nc24", 4), ("STANDARD_NC6s_v3", 1), ("STANDARD_D2_V2", 0)],
)
def test_a_size_is_found_in_any_case(name: str, gpus: int) -> None:
    found = vm_size(name)
    assert found is not None
    assert (found.name, found.gpus) == (name.upper(), gpus)


def test_the_articles_node_has_six_cpus_and_a_gpu() -> None:
    assert vm_size("STANDARD_NC6") == VmSize("STANDARD_NC6", 6, 56.0, 1)


def test_no_size_is_a_node_as_it_is() -> None:
    assert vm_size("") is None


def test_an_unknown_size_names_those_like_it() -> None:
    with pytest.raises(ComputeTargetException) as failure:
        vm_size("STANDARD_NC5")
    assert "'STANDARD_NC5'" in str(failure.value)
    assert "STANDARD_NC6" in str(failure.value)
    assert "supported_vmsizes" in str(failure.value)


def test_a_size_unlike_any_other_still_gets_examples() -> None:
    with pytest.raises(ComputeTargetException, match="STANDARD_D2_V2"):
        vm_size("zzz")


def test_every_row_of_the_table_is_a_node() -> None:
    assert len(VM_SIZES) > 90
    for name, size in VM_SIZES.items():
        assert name == size.name == size.name.upper()
        assert size.cpus > 0 and size.memory_gb > 0 and 0 <= size.gpus <= 8
