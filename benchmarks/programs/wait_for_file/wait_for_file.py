"""Holds its node until the file named by its argument is there."""

import os
import sys
import time

while not os.path.exists(sys.argv[1]):
    time.sleep(0.1)
