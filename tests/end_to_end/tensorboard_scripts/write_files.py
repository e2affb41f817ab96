"""Writes event files with the writers of PyTorch's scripts and of TensorBoard itself, with what is no number between."""

import sys

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.scalar import metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto
from tensorboardX import SummaryWriter

folder = sys.argv[1]
with SummaryWriter(folder + "/old") as writer:
    for step in range(50):
        writer.add_scalar("loss", 1 / (step + 1), step, walltime=1000.0 + step)
        writer.add_histogram("weights", np.arange(100.0), step)
    writer.add_text("notes", "a text", 0)
    writer.add_image("picture", np.zeros((3, 8, 8)), 0)
    writer.add_scalar("odd/größe", float("nan"), 2**40, walltime=2000.0)

writer = EventFileWriter(folder + "/new")
for step, number in enumerate(
    [np.float32(0.5), np.float64(0.1), np.float16(1.5), np.int32(-3), np.int64(2**40), np.uint8(7), np.bool_(True)]
):
    summary = summary_pb2.Summary()
    tensor = make_tensor_proto(number)
    summary.value.add(
        tag="kinds", tensor=tensor, metadata=metadata.create_summary_metadata("kinds", "") if step == 0 else None
    )
    summary.value.add(tag="vector", tensor=make_tensor_proto(np.array([1.0, 2.0], np.float32)))
    writer.add_event(event_pb2.Event(wall_time=3000.0 + step, step=step, summary=summary))
writer.close()
