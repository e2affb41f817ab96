"""Prints the moment of each of its lines. Arguments: lines, seconds between two of them."""

import sys
import time

for _ in range(int(sys.argv[1])):
    print(repr(time.time()), flush=True)
    time.sleep(float(sys.argv[2]))
