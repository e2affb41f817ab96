"""Trains a small network with PyTorch's DistributedDataParallel: a process per rank, gradients averaged at each step.

Every rank learns from its own share of the points; rank 0 alone logs and writes the model. Runs by itself as well
(``python train.py``): then it is the only rank.
"""

import argparse
import math
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from runyard import Run


def half_moons(count):
    """Points on two interleaved half circles, with noise, shape (count, 2), and which of the two each lies on."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    angles = math.pi * torch.rand(count, generator=random)
    upper = torch.stack([angles.cos(), angles.sin()], dim=1)
    points = torch.where(labels[:, None] == 0, upper, torch.tensor([1.0, 0.5]) - upper)
    return points + 0.1 * torch.randn(count, 2, generator=random), labels


def join():
    """Meets the other ranks by MASTER_ADDR, RANK, WORLD_SIZE; gives the device of this one.

    NCCL where every rank of the node can have a GPU of its own, else Gloo on the CPU.
    """
    for name, alone in [("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "29500"), ("RANK", "0"), ("WORLD_SIZE", "1")]:
        os.environ.setdefault(name, alone)
    ranks_here = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    if torch.cuda.device_count() < ranks_here:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // ranks_here))  # together they have the node's cores
        dist.init_process_group("gloo")
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(device)
    dist.init_process_group("nccl", device_id=device)
    return device


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=50, help="of each rank")
    parser.add_argument("--learning-rate", type=float, default=0.2)
    args = parser.parse_args()

    device = join()
    rank, size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(rank)  # DDP gives all ranks the weights of rank 0
    model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2)).to(device)
    together = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(together.parameters(), lr=args.learning_rate, momentum=0.9)

    points, labels = half_moons(args.points)
    data = TensorDataset(points, labels)
    share = DistributedSampler(data, seed=1)
    batches = DataLoader(data, args.batch_size, sampler=share)
    print(f"rank {rank} of {size}: {dist.get_backend()} on {device}, {len(share)} of {len(data)} points", flush=True)

    run = Run.get_context() if rank == 0 else None
    for epoch in range(args.epochs):
        share.set_epoch(epoch)  # another order, and other shares, in each
        total = torch.zeros((), device=device)
        for x, y in batches:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(together(x.to(device)), y.to(device))
            loss.backward()  # averages the gradients over all ranks
            optimizer.step()
            total += loss.detach()
        dist.all_reduce(total)
        if run:
            run.log("loss", total.item() / (size * len(batches)))

    with torch.no_grad():
        accuracy = (model(points.to(device)).argmax(1).cpu() == labels).float().mean().item()
        weights = sum(parameter.double().sum().item() for parameter in model.parameters())
    print(f"rank {rank} of {size}: accuracy {accuracy:.4f}, sum of weights {weights!r}", flush=True)
    if run:
        run.log("accuracy", accuracy)
        os.makedirs("outputs", exist_ok=True)
        torch.save(model.state_dict(), "outputs/model.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
