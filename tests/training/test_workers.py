"""Worker processes of the loader do not outlive a training."""

import subprocess
import sys
import time
from pathlib import Path

CODE = """
import multiprocessing, os, time
from nnunet_chordoma.training.loader import end_with_parent

def work():
    end_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(600)

end_with_parent()  # Nothing to end with, where there is no training above.
multiprocessing.get_context("fork").Process(target=work).start()
time.sleep(600)
"""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_workers_end_with_a_killed_training():
    training = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True)
    worker = int(training.stdout.readline())
    time.sleep(1.5)
    assert alive(worker)
    training.kill()
    training.wait()
    deadline = time.monotonic() + 20
    while alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.1)
