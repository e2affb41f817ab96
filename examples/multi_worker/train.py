"""Trains a small network with TensorFlow 2's MultiWorkerMirroredStrategy: every worker holds the same variables.

Each worker learns from its own part of the points, and the gradients are summed over all of them at each step. A loop
of its own, not Keras: from TensorFlow 2.16 on, `model.fit` does not work with this strategy. Runs by itself as well
(``python train.py``): then it is the only worker.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before the import: errors, and nothing about the CPU

import numpy as np
import tensorflow as tf

from runyard import Run


def half_moons(count):
    """Points on two interleaved half circles, with noise, shape (count, 2), and which of the two each lies on."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 2
    angles = random.uniform(0, np.pi, count)
    upper = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = np.where(labels[:, None] == 0, upper, [1.0, 0.5] - upper) + 0.1 * random.standard_normal((count, 2))
    return points.astype(np.float32), labels.astype(np.int32)


class Network(tf.Module):
    """2 inputs -> 32 tanh -> 2 logits."""

    def __init__(self, seed):
        super().__init__()
        self.w1 = tf.Variable(tf.random.stateless_normal([2, 32], [seed, 1]))
        self.b1 = tf.Variable(tf.zeros([32]))
        self.w2 = tf.Variable(tf.random.stateless_normal([32, 2], [seed, 2], stddev=0.2))
        self.b2 = tf.Variable(tf.zeros([2]))

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def __call__(self, points):
        """Logits, shape (count, 2)."""
        return tf.matmul(tf.tanh(tf.matmul(points, self.w1) + self.b1), self.w2) + self.b2


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=100, help="of all workers together")
    parser.add_argument("--learning-rate", type=float, default=0.5)
    args = parser.parse_args()

    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # finds the others by TF_CONFIG; the first thing to do
    resolver = strategy.cluster_resolver
    worker = resolver.task_id or 0
    workers = max(1, resolver.cluster_spec().num_tasks("worker")) if resolver.cluster_spec() else 1
    points, labels = half_moons(args.points)

    def batches(context):
        mine = tf.data.Dataset.from_tensor_slices((points, labels)).shard(
            context.num_input_pipelines, context.input_pipeline_id
        )
        return mine.shuffle(args.points, seed=1).repeat().batch(context.get_per_replica_batch_size(args.batch_size))

    with strategy.scope():
        network = Network(seed=worker)  # a mirrored variable begins as worker 0 has made it
    data = iter(strategy.distribute_datasets_from_function(batches))

    def learn(x, y):
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=network(x))
            loss = tf.reduce_sum(losses) / args.batch_size  # summed over the workers, it is the mean
        variables = network.trainable_variables
        context = tf.distribute.get_replica_context()
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, tape.gradient(loss, variables))
        for variable, gradient in zip(variables, gradients):
            variable.assign_sub(args.learning_rate * gradient)
        return loss

    @tf.function
    def step():
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(learn, args=next(data)), axis=None)

    @tf.function
    def meet():
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(lambda: tf.constant(1.0)), axis=None)

    print("worker {} of {} begins".format(worker, workers), flush=True)
    run = Run.get_context() if worker == 0 else None
    for number in range(1, args.steps + 1):
        loss = step()
        if run and number % 50 == 0:
            run.log("loss", float(loss))

    accuracy = float(np.mean(tf.argmax(network(points), axis=1).numpy() == labels))
    weights = sum(float(np.sum(variable.numpy(), dtype=np.float64)) for variable in network.trainable_variables)
    print(
        "worker {} of {}: accuracy {:.4f}, sum of weights {!r}".format(worker, workers, accuracy, weights), flush=True
    )
    if run:
        run.log("accuracy", accuracy)
        tf.saved_model.save(network, "outputs/model")
    meet()  # a worker that ends earlier looks to the others like one that has crashed


if __name__ == "__main__":
    main()
