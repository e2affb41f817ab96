"""The script whose first statement is waited for: writes its moment to the file named by its argument."""

import time

now = time.time()

import sys  # noqa: E402  (the clock is read before anything else)

with open(sys.argv[1], "w") as moment:
    moment.write(repr(now))
