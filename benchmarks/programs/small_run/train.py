"""A small run: 1,000 points of one metric and 100 lines of log. Standard library and ours only."""

import json
import math

from model import Model

from runyard import Run

with open("config.json", encoding="utf-8") as file:
    config = json.load(file)
run = Run.get_context()
model = Model(config["rate"])
for step in range(1000):
    run.log("loss", model.step())
    if step % 10 == 9:
        print("step {:4d} of 1000: loss {:.6f}, rate {:.3g}".format(step + 1, model.loss, config["rate"]))
assert math.isfinite(model.loss)
