"""A Horovod script that trains one step on every rank; the first writes the moment at which the last had done it."""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import horovod.tensorflow as hvd
import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("--moment", required=True, help="the file for it")
moment = parser.parse_args().moment

hvd.init()
weights = tf.Variable(tf.fill([10, 1], float(hvd.rank())))
hvd.broadcast_variables([weights], root_rank=0)
with tf.GradientTape() as tape:
    loss = tf.reduce_mean(tf.square(tf.matmul(tf.ones([50, 10]), weights) - float(hvd.rank() + 1)))
weights.assign_sub(0.1 * hvd.DistributedGradientTape(tape).gradient(loss, [weights])[0])
now = time.time()

moments = hvd.allgather(tf.constant([now], tf.float64)).numpy()
if hvd.rank() == 0:
    assert len(moments) == 2, moments
    with open(moment, "w") as file:
        file.write(repr(float(max(moments))))
