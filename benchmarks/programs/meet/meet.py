"""An MPI script whose ranks tell each other when they began; the first writes the last one's moment to a file."""

import time

now = time.time()

import sys  # noqa: E402  (the clock is read before anything else)

from mpi4py import MPI  # noqa: E402

moments = MPI.COMM_WORLD.gather(now)
if moments is not None:
    with open(sys.argv[1], "w") as moment:
        moment.write(repr(max(moments)))
