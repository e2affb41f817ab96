"""Trains a small network with Keras 2 and Horovod: a process per rank, gradients averaged at each step.

Every rank learns from its own part of the points; rank 0 alone logs, keeps the checkpoint and writes the model. Runs by
itself as well (``python train.py``): then it is the only rank.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before the import: errors, and nothing about the CPU

import horovod.tensorflow.keras as hvd
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


class RunLogger(tf.keras.callbacks.Callback):
    """Logs the loss of each epoch, which Horovod has averaged over the ranks, to the run."""

    def __init__(self, run):
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch, logs=None):
        self.run.log("loss", float(logs["loss"]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=50, help="of each rank")
    parser.add_argument("--learning-rate", type=float, default=0.1)
    args = parser.parse_args()

    hvd.init()
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        tf.config.set_visible_devices(gpus[hvd.local_rank() % len(gpus)], "GPU")
    tf.random.set_seed(hvd.rank())  # the callback below gives all ranks the weights of rank 0

    points, labels = half_moons(args.points)
    mine = slice(hvd.rank(), None, hvd.size())
    model = tf.keras.Sequential(
        [tf.keras.layers.Dense(32, activation="tanh", input_shape=(2,)), tf.keras.layers.Dense(2)]
    )
    model.compile(
        optimizer=hvd.DistributedOptimizer(tf.keras.optimizers.SGD(args.learning_rate, momentum=0.9)),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0), hvd.callbacks.MetricAverageCallback()]
    run = Run.get_context() if hvd.rank() == 0 else None
    if run:
        callbacks += [
            RunLogger(run),
            tf.keras.callbacks.ModelCheckpoint("outputs/checkpoint.weights.h5", save_weights_only=True),
        ]
    name = "rank {} of {}".format(hvd.rank(), hvd.size())
    print("{}: {} of {} points".format(name, len(points[mine]), len(points)), flush=True)
    model.fit(
        points[mine], labels[mine], batch_size=args.batch_size, epochs=args.epochs, callbacks=callbacks, verbose=0
    )

    accuracy = float(np.mean(model.predict(points, verbose=0).argmax(axis=1) == labels))
    weights = sum(float(np.sum(weight, dtype=np.float64)) for weight in model.get_weights())
    print("{}: accuracy {:.4f}, sum of weights {!r}".format(name, accuracy, weights), flush=True)
    if run:
        run.log("accuracy", accuracy)
        model.save("outputs/model")


if __name__ == "__main__":
    main()
