"""Linear regression on TensorFlow 1: each rank has data of its own, whose best weights no other rank's data have.

Alone, rank r finds ten weights of r + 1. Ranks that average their gradients meet in between, at the common best.
"""

import argparse
import json

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

from azureml.core.run import Run

parser = argparse.ArgumentParser()
parser.add_argument("--learning-rate", type=float, default=0.1)
learning_rate = parser.parse_args().learning_rate

hvd.init()
inputs = np.random.RandomState(7).normal(size=(256, 10)).astype("float32")
targets = inputs.dot(np.full((10, 1), hvd.rank() + 1, dtype="float32"))

weights = tf.get_variable("weights", initializer=np.full((10, 1), -hvd.rank(), dtype="float32"))
loss = tf.reduce_mean(tf.square(tf.matmul(tf.constant(inputs), weights) - tf.constant(targets)))
optimizer = hvd.DistributedOptimizer(tf.train.GradientDescentOptimizer(learning_rate))
train = optimizer.minimize(loss, global_step=tf.train.get_or_create_global_step())
of_all = hvd.allgather(tf.reshape(tf.reduce_sum(weights), [1]))
hooks = [hvd.BroadcastGlobalVariablesHook(0), tf.train.StopAtStepHook(last_step=100)]
with tf.train.MonitoredTrainingSession(hooks=hooks) as session:
    while not session.should_stop():
        _, found, everybodys = session.run([train, weights, of_all])

print(json.dumps({"rank": hvd.rank(), "size": hvd.size(), "tensorflow": tf.__version__, "sums": everybodys.tolist()}))
if hvd.rank() == 0:
    Run.get_context().log("weight", float(found.mean()))
