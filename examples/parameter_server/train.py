"""Trains a small network with TensorFlow 2's ParameterServerStrategy: the variables lie on a parameter server or several.

The chief coordinates: it hands steps to the workers, each of which reads the variables, learns from a batch, and writes
them back without waiting for the others. A loop of its own, not Keras: from TensorFlow 2.16 on, `model.fit` does not
work with this strategy.
"""

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before the import: errors, and nothing about the CPU
os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")  # a task that has not started yet is waited for

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

    def __init__(self):
        super().__init__()
        self.w1 = tf.Variable(tf.random.stateless_normal([2, 32], [0, 1]))
        self.b1 = tf.Variable(tf.zeros([32]))
        self.w2 = tf.Variable(tf.random.stateless_normal([32, 2], [0, 2], stddev=0.2))
        self.b2 = tf.Variable(tf.zeros([2]))

    def __call__(self, points):
        """Logits, shape (count, 2)."""
        return tf.matmul(tf.tanh(tf.matmul(points, self.w1) + self.b1), self.w2) + self.b2


def serve(resolver):
    """What workers and parameter servers do: as the chief asks, until the run ends them with the chief."""
    task = "{} {}".format(resolver.task_type, resolver.task_id)
    server = tf.distribute.Server(
        resolver.cluster_spec(), job_name=resolver.task_type, task_index=resolver.task_id, protocol="grpc"
    )
    print("{} serves".format(task), flush=True)
    server.join()


def coordinate(resolver, args):
    """What the chief does: the whole training."""
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    points, labels = half_moons(args.points)
    with strategy.scope():
        network = Network()
        steps_done = tf.Variable(0, dtype=tf.int64)
    for name, variable in [("w1", network.w1), ("b1", network.b1), ("w2", network.w2), ("b2", network.b2)]:
        print("{} lies on {}".format(name, variable.device), flush=True)

    def batches():  # runs on each worker
        tf.print("reads its points", output_stream=sys.stdout)
        return tf.data.Dataset.from_tensor_slices((points, labels)).shuffle(args.points).repeat().batch(args.batch_size)

    def learn(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=network(x)))
        variables = network.trainable_variables
        for variable, gradient in zip(variables, tape.gradient(loss, variables)):
            variable.assign_sub(args.learning_rate * gradient)
        steps_done.assign_add(1)
        return loss

    @tf.function
    def step(data):
        return strategy.run(learn, args=next(data))

    data = iter(coordinator.create_per_worker_dataset(batches))
    run = Run.get_context()
    for _ in range(args.rounds):
        losses = [coordinator.schedule(step, args=(data,)) for _ in range(args.steps_per_round)]
        coordinator.join()  # raises what a worker has raised
        run.log("loss", float(np.mean([loss.fetch() for loss in losses])))

    accuracy = float(np.mean(tf.argmax(network(points), axis=1).numpy() == labels))
    print("{} steps, accuracy {:.4f}".format(int(steps_done), accuracy), flush=True)
    run.log("steps", int(steps_done))
    run.log("accuracy", accuracy)
    os.makedirs("outputs", exist_ok=True)
    np.savez("outputs/model.npz", **{name: getattr(network, name).numpy() for name in ("w1", "b1", "w2", "b2")})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps-per-round", type=int, default=50)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=50, help="of one worker")
    parser.add_argument("--learning-rate", type=float, default=0.5)
    args = parser.parse_args()

    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if resolver.task_type == "chief":
        coordinate(resolver, args)
    else:
        serve(resolver)


if __name__ == "__main__":
    main()
