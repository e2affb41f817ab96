"""Makes runs on an MLflow server from several processes at once. Arguments: address, processes, runs of each."""

import multiprocessing
import sys
import time

from mlflow import MlflowClient
from stopwatch import report


def make(url: str, experiment: str, count: int, barrier: "multiprocessing.synchronize.Barrier") -> None:
    client = MlflowClient(url)
    client.get_experiment(experiment)
    barrier.wait()
    for _ in range(count):
        client.create_run(experiment)


if __name__ == "__main__":
    url, processes, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    experiment = MlflowClient(url).create_experiment(f"crowd-{time.time_ns()}")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes + 1)
    clients = [context.Process(target=make, args=(url, experiment, count, barrier)) for _ in range(processes)]
    for client in clients:
        client.start()
    barrier.wait()
    started = time.perf_counter()
    for client in clients:
        client.join()
    if any(client.exitcode for client in clients):
        sys.exit("a client failed")
    report({"200 submissions": [time.perf_counter() - started]})
