"""Reads and writes the IDX files that MNIST comes in: gzipped, a big-endian header, then the bytes."""

import functools
import gzip
import operator
import os
import struct
import zlib

_UNSIGNED_BYTES = 0x08
_MOST_DIMENSIONS = 32


def find(folder, prefix):
    """The path of the file under ``folder`` whose name begins with ``prefix`` and ends in ``.gz``; the shallowest one."""
    found = []
    for here, _, names in os.walk(folder):
        found += [os.path.join(here, name) for name in names if name.startswith(prefix) and name.endswith(".gz")]
    if not found:
        raise FileNotFoundError("No {}*.gz lies under {}. Upload MNIST's four IDX files there.".format(prefix, folder))
    return min(found, key=lambda path: (path.count(os.sep), path))


def read(path):
    """The array in an IDX file: uint8, shape (count, 28, 28) for images and (count,) for labels.

    Raises ValueError as ``content`` does.
    """
    import numpy as np  # here, so that the bytes can be looked at without it

    shape, data = content(path)
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def content(path):
    """(shape, bytes) of an IDX file.

    Raises ValueError for a file that is none, or that holds less or more than its header says.
    """
    try:
        with gzip.open(path, "rb") as source:
            zeros, kind, dimensions = struct.unpack(">HBB", source.read(4))
            if zeros != 0 or kind != _UNSIGNED_BYTES or not 1 <= dimensions <= _MOST_DIMENSIONS:
                raise ValueError("{} is not an IDX file of unsigned bytes.".format(path))
            shape = struct.unpack(">{}I".format(dimensions), source.read(4 * dimensions))
            size = functools.reduce(operator.mul, shape)  # of Python's own numbers, which do not overflow
            data = _read_at_most(source, size + 1)
    except (struct.error, EOFError, zlib.error, OSError) as broken:
        if isinstance(broken, OSError) and broken.errno is not None:
            raise  # the disk's, not the content's
        raise ValueError("{} is not a gzipped IDX file: {}.".format(path, broken)) from broken
    if len(data) != size:
        held = "more" if len(data) > size else len(data)
        raise ValueError("{} promises {} bytes and holds {}.".format(path, size, held))
    return shape, data


def _read_at_most(source, size):
    """Up to ``size`` bytes, piece by piece: neither a size that is a lie nor zeros without end fill the memory."""
    pieces = []
    while size > 0:
        piece = source.read(min(size, 1 << 20))
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def write(path, array):
    """Writes ``array`` (of 0..255) as an IDX file; the same array gives the same bytes."""
    import numpy as np

    array = np.ascontiguousarray(array, dtype=np.uint8)
    header = struct.pack(">HBB", 0, _UNSIGNED_BYTES, array.ndim) + struct.pack(">{}I".format(array.ndim), *array.shape)
    with open(path, "wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as target:
        target.write(header + array.tobytes())
