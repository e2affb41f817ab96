"""Trains a small network with TensorFlow 1's parameter servers: each worker reads and writes them at its own pace.

Worker 0 is the chief: it alone initialises the variables, logs, and keeps the checkpoints.
"""

import argparse
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before the import: errors, and nothing about the CPU

import numpy as np
import tensorflow as tf

from runyard import Run

tf.logging.set_verbosity(tf.logging.ERROR)


def half_moons(count):
    """Points on two interleaved half circles, with noise, shape (count, 2), and which of the two each lies on."""
    random = np.random.RandomState(0)
    labels = np.arange(count) % 2
    angles = random.uniform(0, np.pi, count)
    upper = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = np.where(labels[:, None] == 0, upper, [1.0, 0.5] - upper) + 0.1 * random.standard_normal((count, 2))
    return points.astype(np.float32), labels.astype(np.int32)


def train(cluster, server, index, args):
    """What a worker does, until all workers together have done ``args.steps`` steps."""
    points, labels = half_moons(args.points)
    own = "/job:worker/task:{}".format(index)
    with tf.device(tf.train.replica_device_setter(cluster=cluster, worker_device=own)):  # variables on the servers
        step = tf.train.get_or_create_global_step()
        x, y = tf.placeholder(tf.float32, [None, 2]), tf.placeholder(tf.int32, [None])
        hidden = tf.layers.dense(x, 32, tf.tanh, name="hidden")
        logits = tf.layers.dense(hidden, 2, name="logits")
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
        right = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1, output_type=tf.int32), y), tf.float32))
        learn = tf.train.GradientDescentOptimizer(args.learning_rate).minimize(loss, global_step=step)
    for variable in tf.trainable_variables():
        print("{} lies on {}".format(variable.op.name, variable.device), flush=True)

    run = Run.get_context() if index == 0 else None
    session = tf.train.MonitoredTrainingSession(
        master=server.target,
        is_chief=index == 0,
        checkpoint_dir="outputs/checkpoints" if index == 0 else None,
        hooks=[tf.train.StopAtStepHook(last_step=args.steps)],
        config=tf.ConfigProto(device_filters=["/job:ps", own]),  # no worker waits for another one
    )
    random, done, accuracy = np.random.RandomState(index), 0, 0.0
    with session:
        while not session.should_stop():
            batch = random.randint(0, args.points, args.batch_size)
            _, now = session.run([learn, step], {x: points[batch], y: labels[batch]})
            done += 1
            if run and done % 20 == 0 and not session.should_stop():
                value, accuracy = session.run([loss, right], {x: points, y: labels})
                run.log("loss", float(value))
    print("worker {} did {} of {} steps".format(index, done, now), flush=True)
    if run:
        run.log("accuracy", float(accuracy))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=600, help="of all workers together")
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--learning-rate", type=float, default=0.5)
    args = parser.parse_args()

    config = json.loads(os.environ["TF_CONFIG"])
    kind, index = config["task"]["type"], config["task"]["index"]
    cluster = tf.train.ClusterSpec(config["cluster"])
    server = tf.train.Server(cluster, job_name=kind, task_index=index)
    if kind == "ps":
        print("ps {} serves".format(index), flush=True)
        server.join()  # for ever: it is ended when all workers have ended
    train(cluster, server, index, args)


if __name__ == "__main__":
    main()
