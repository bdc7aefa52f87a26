"""`python guard.py COMMAND...`: runs a command that ends, with all its processes, when the standard input does.

The input is a pipe from the process that started this one: a training thus never outlives its search, whatever
ends that. Imports nothing of this project, so that it starts at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

_GRACE_S = 5.0


def _kill(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _end_with_input(process: subprocess.Popen[bytes]) -> None:
    sys.stdin.buffer.read()
    _kill(process, signal.SIGTERM)
    time.sleep(_GRACE_S)
    _kill(process, signal.SIGKILL)


def main() -> None:
    """Exit with the command's status; 128 + n if signal n ended it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # They reach the search as well, which then closes the input. The command itself is not to ignore them.
        signal.signal(number, lambda *_: None)
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_end_with_input, args=(process,), daemon=True).start()
    status = process.wait()
    # Its workers, if it left any behind.
    _kill(process, signal.SIGKILL)
    sys.stdout.flush()
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
