"""The example of PyTorch's ranks: NCCL or Gloo, by the GPUs that there are. PyTorch, and with it its GPUs, is played."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

TRAIN = Path(__file__).parents[2] / "examples" / "torch_ddp" / "train.py"


@pytest.fixture
def done(monkeypatch):
    """What the script has asked of PyTorch, in its order."""
    return []


@pytest.fixture
def joined(done, monkeypatch):
    """The script's ``join``, as one rank calls it on a node with so many GPUs."""

    def joined(gpus, **variables):
        torch, dist, nn, data = (ModuleType("torch" + name) for name in ("", ".distributed", ".nn", ".utils.data"))
        torch.device = lambda kind, index=None: kind if index is None else f"{kind}:{index}"
        torch.set_num_threads = lambda count: done.append(("threads", count))
        torch.cuda = SimpleNamespace(
            device_count=lambda: gpus, set_device=lambda device: done.append(("current", device))
        )
        dist.init_process_group = lambda backend, device_id=None: done.append((backend, device_id))
        torch.distributed, torch.nn = dist, nn
        parallel = ModuleType("torch.nn.parallel")
        parallel.DistributedDataParallel = data.DataLoader = data.DistributedSampler = data.TensorDataset = object
        for module in (torch, dist, nn, data, parallel, ModuleType("torch.utils")):
            monkeypatch.setitem(sys.modules, module.__name__, module)
        for name in ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
            monkeypatch.setenv(name, "")  # what the script sets by itself goes with the test
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("os.cpu_count", lambda: 8)
        spec = importlib.util.spec_from_file_location("torch_ddp_train", TRAIN)
        train = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(train)
        return train.join()

    return joined


TWO_HERE = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


@pytest.mark.parametrize("gpus", [2, 4])
def test_where_each_rank_of_the_node_has_a_gpu_they_speak_through_nccl_each_on_its_own(joined, done, gpus):
    assert joined(gpus, **TWO_HERE) == "cuda:1"
    assert done == [("current", "cuda:1"), ("nccl", "cuda:1")]


@pytest.mark.parametrize("gpus", [0, 1])
def test_where_gpus_are_fewer_than_ranks_they_speak_through_gloo_and_share_the_cores(joined, done, gpus):
    assert joined(gpus, **TWO_HERE) == "cpu"
    assert done == [("threads", 4), ("gloo", None)]


@pytest.mark.parametrize(("gpus", "device", "backend"), [(0, "cpu", "gloo"), (1, "cuda:0", "nccl")])
def test_a_script_that_is_started_by_itself_is_its_only_rank(joined, done, gpus, device, backend):
    assert joined(gpus) == device
    assert done[-1][0] == backend
