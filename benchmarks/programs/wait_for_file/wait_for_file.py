"""Holds its node until the file named by its argument is there, or the folder of it is gone."""

import os
import sys
import time

while os.path.isdir(os.path.dirname(sys.argv[1])) and not os.path.exists(sys.argv[1]):
    time.sleep(0.1)
