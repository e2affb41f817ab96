"""Linear regression with Keras: each rank has data of its own, whose best weights no other rank's data have.

Alone, rank r finds ten weights of r + 1. Ranks that average their gradients meet in between, at the common best.
"""

import json

import horovod.tensorflow.keras as hvd
import numpy as np
import tensorflow as tf

from azureml.core import Run

hvd.init()
inputs = np.random.RandomState(7).normal(size=(256, 10)).astype("float32")
targets = inputs @ np.full((10, 1), hvd.rank() + 1, dtype="float32")

initial = tf.keras.initializers.Constant(-hvd.rank())
model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False, kernel_initializer=initial, input_shape=(10,))])
model.compile(hvd.DistributedOptimizer(tf.keras.optimizers.SGD(0.1)), "mse")
callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0), hvd.callbacks.MetricAverageCallback()]
model.fit(inputs, targets, batch_size=256, epochs=100, shuffle=False, callbacks=callbacks, verbose=0)
(weights,) = model.get_weights()
sums = np.asarray(hvd.allgather(np.array([weights.sum()]))).tolist()

print(json.dumps({"rank": hvd.rank(), "size": hvd.size(), "tensorflow": tf.__version__, "sums": sums}))
if hvd.rank() == 0:
    Run.get_context().log("weight", float(weights.mean()))
