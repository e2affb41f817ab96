"""Scripts that say that they are there and wait: for a signal, or for the file ``go`` beside their run's attempts."""

WAITS = "import signal\nprint('up', flush=True)\nsignal.pause()\n"

WAITS_FOR_GO = """
import os, time
print("up", flush=True)
while not os.path.exists("../../go"):
    time.sleep(0.1)
print("done")
"""
