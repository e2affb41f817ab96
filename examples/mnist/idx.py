"""Reads and writes the IDX files that MNIST comes in: gzipped, a big-endian header, then the bytes."""

import gzip
import os
import struct

import numpy as np

_UNSIGNED_BYTES = 0x08


def find(folder, prefix):
    """The path of the file under ``folder`` whose name begins with ``prefix`` and ends in ``.gz``; the shallowest one."""
    found = []
    for here, _, names in os.walk(folder):
        found += [os.path.join(here, name) for name in names if name.startswith(prefix) and name.endswith(".gz")]
    if not found:
        raise FileNotFoundError("No {}*.gz lies under {}. Upload MNIST's four IDX files there.".format(prefix, folder))
    return min(found, key=lambda path: (path.count(os.sep), path))


def read(path):
    """The array in an IDX file: uint8, shape (count, 28, 28) for images and (count,) for labels."""
    with gzip.open(path, "rb") as source:
        zeros, kind, dimensions = struct.unpack(">HBB", source.read(4))
        if zeros != 0 or kind != _UNSIGNED_BYTES:
            raise ValueError("{} is not an IDX file of unsigned bytes.".format(path))
        shape = struct.unpack(">{}I".format(dimensions), source.read(4 * dimensions))
        array = np.frombuffer(source.read(), dtype=np.uint8)
    if array.size != np.prod(shape):
        raise ValueError("{} promises {} bytes and holds {}.".format(path, np.prod(shape), array.size))
    return array.reshape(shape)


def write(path, array):
    """Writes ``array`` (of 0..255) as an IDX file; the same array gives the same bytes."""
    array = np.ascontiguousarray(array, dtype=np.uint8)
    header = struct.pack(">HBB", 0, _UNSIGNED_BYTES, array.ndim) + struct.pack(">{}I".format(array.ndim), *array.shape)
    with open(path, "wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as target:
        target.write(header + array.tobytes())
