"""Prints what TensorBoard's own reader finds in event files: for each, its numbers as [tag, step, time, value]."""

import json
import sys

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util.tensor_util import make_ndarray

for path in sys.argv[1:]:
    events = list(EventFileLoader(path).Load())
    assert events[0].file_version == "brain.Event:2"
    found = [
        [value.tag, event.step, event.wall_time, make_ndarray(value.tensor).item()]
        for event in events
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "scalars"
    ]
    print(json.dumps(found))
