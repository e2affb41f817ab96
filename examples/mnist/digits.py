"""Writes scikit-learn's 1,797 handwritten digits, enlarged to 28x28, as the four IDX files of MNIST.

``python digits.py FOLDER``, in an environment that has scikit-learn: for machines that reach no mirror of MNIST.
"""

import os
import sys

import idx
import numpy as np
from sklearn.datasets import load_digits

SMALL, LARGE, BORDER = 8, 20, 4  # MNIST's digits too fill 20x20 pixels in the middle of 28x28
DARKEST = 16  # of scikit-learn's pixels
TRAINING_SHARE = 0.8


def enlarge(images):
    """Images of 28x28 with pixels 0..255 from images of 8x8 with pixels 0..16; linear between the pixels."""
    where = np.linspace(0, SMALL - 1, LARGE)
    low = np.minimum(where.astype(int), SMALL - 2)
    weights = np.zeros((LARGE, SMALL))
    weights[np.arange(LARGE), low] = 1 - (where - low)
    weights[np.arange(LARGE), low + 1] = where - low
    larger = np.einsum("ij,njk,lk->nil", weights, images * (255 / DARKEST), weights)
    return np.pad(larger.round().astype(np.uint8), ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))


def main(folder):
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))  # neighbours were written by one hand
    images, labels = enlarge(digits.images)[order], digits.target[order]
    border = int(len(labels) * TRAINING_SHARE)
    for part, chosen in [("train", slice(None, border)), ("test", slice(border, None))]:
        idx.write(os.path.join(folder, part + "-images.gz"), images[chosen])
        idx.write(os.path.join(folder, part + "-labels.gz"), labels[chosen])


if __name__ == "__main__":
    main(sys.argv[1])
