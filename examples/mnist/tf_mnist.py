"""Trains a network of two hidden layers on MNIST with TensorFlow 2 and leaves the model in ``outputs/model``.

Runs by itself (``python tf_mnist.py --data-folder data``) and as a run; ``Run.get_context()`` knows which.
"""

import argparse
import os
import time

import idx
import tensorflow as tf

from runyard import Run

PIXELS = 28 * 28
DIGITS = 10
PIXEL_MEAN, PIXEL_DEVIATION = 0.1307, 0.3081  # of MNIST's training images, in 0..1


class Network(tf.Module):
    """784 pixels -> ReLU -> ReLU -> 10 logits. It centres the pixels itself: who calls the saved model need not know."""

    def __init__(self, first_layer_neurons, second_layer_neurons):
        super().__init__()
        sizes = [PIXELS, first_layer_neurons, second_layer_neurons, DIGITS]
        self.weights = [
            tf.Variable(tf.random.normal([wide, narrow], stddev=(2.0 / wide) ** 0.5))
            for wide, narrow in zip(sizes, sizes[1:])
        ]
        self.biases = [tf.Variable(tf.zeros([narrow])) for narrow in sizes[1:]]

    @tf.function(input_signature=[tf.TensorSpec([None, PIXELS], tf.float32)])
    def __call__(self, images):
        """Logits, shape (count, 10), of images with pixels in 0..1, shape (count, 784)."""
        hidden = (images - PIXEL_MEAN) / PIXEL_DEVIATION
        for weight, bias in zip(self.weights[:-1], self.biases[:-1]):
            hidden = tf.nn.relu(tf.matmul(hidden, weight) + bias)
        return tf.matmul(hidden, self.weights[-1]) + self.biases[-1]


def load(folder, part):
    """Images as float32 in 0..1, shape (count, 784), and labels as int32, of ``part`` ("train" or "test")."""
    images = idx.read(idx.find(folder, part + "-images"))
    labels = idx.read(idx.find(folder, part + "-labels"))
    return tf.constant(images.reshape(-1, PIXELS) / 255.0, tf.float32), tf.constant(labels, tf.int32)


def accuracy(network, images, labels):
    """The share of ``images`` that the network names right."""
    named = tf.argmax(network(images), axis=1, output_type=tf.int32)
    return float(tf.reduce_mean(tf.cast(named == labels, tf.float32)))


def make_epoch(network, images, labels, batch_size, learning_rate):
    """A compiled function that takes the network once through the images, in random order, and returns the mean loss.

    The whole epoch is one graph: a step on batches of 50 is so short that calling it from Python would double its time.
    """
    steps = int(images.shape[0]) // batch_size
    variables = network.trainable_variables

    @tf.function
    def epoch():
        order = tf.random.shuffle(tf.range(int(images.shape[0])))
        total = tf.constant(0.0)
        for step in tf.range(steps):
            batch = order[step * batch_size : (step + 1) * batch_size]
            with tf.GradientTape() as tape:
                logits = network(tf.gather(images, batch))
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.gather(labels, batch), logits=logits)
                )
            for variable, gradient in zip(variables, tape.gradient(loss, variables)):
                variable.assign_sub(learning_rate * gradient)
            total += loss
        return total / tf.cast(steps, tf.float32)

    return epoch


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-folder", required=True, help="where the four IDX files lie, at any depth")
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--first-layer-neurons", type=int, default=300)
    parser.add_argument("--second-layer-neurons", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()

    tf.random.set_seed(42)
    images, labels = load(args.data_folder, "train")
    test_images, test_labels = load(args.data_folder, "test")
    print("{} images to learn from, {} to test with".format(len(labels), len(test_labels)), flush=True)

    network = Network(args.first_layer_neurons, args.second_layer_neurons)
    epoch = make_epoch(network, images, labels, args.batch_size, args.learning_rate)
    run = Run.get_context()
    for number in range(1, args.epochs + 1):
        started = time.perf_counter()
        loss = float(epoch())
        training_acc = accuracy(network, images[:10000], labels[:10000])
        validation_acc = accuracy(network, test_images, test_labels)
        run.log("loss", loss)
        run.log("training_acc", training_acc)
        run.log("validation_acc", validation_acc)
        print(
            "epoch {:2d}  loss {:.4f}  training {:.4f}  validation {:.4f}  {:.1f} s".format(
                number, loss, training_acc, validation_acc, time.perf_counter() - started
            ),
            flush=True,
        )
    run.log("final_acc", validation_acc)

    os.makedirs("outputs/model", exist_ok=True)
    tf.saved_model.save(network, "outputs/model")
    print("model saved in outputs/model", flush=True)


if __name__ == "__main__":
    main()
