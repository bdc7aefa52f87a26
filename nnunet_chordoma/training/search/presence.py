"""Which processes still work on their trials: a locked file each, touched now and then.

On one machine the lock tells at once and for certain; between machines, which may share no locks, it is the age of
the file by the clock of the file server.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEAT_S = 15.0
SILENT_S = 300.0
"""After so many seconds without a sign a process on another machine counts as dead; caches delay signs by a minute."""

_DYING_S = 15.0


@dataclass(frozen=True)
class Owner:
    """The process that runs a trial."""

    host: str
    pid: int

    @classmethod
    def here(cls) -> Owner:
        return cls(socket.gethostname(), os.getpid())

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Owner:
        return cls(str(content["host"]), int(content["pid"]))

    @property
    def is_on_this_machine(self) -> bool:
        return self.host == socket.gethostname()

    def has_ended(self) -> bool:
        """Whether the process is gone; only to be asked on its own machine."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False


class Presence:
    """Holds `file` for as long as this process, or one that inherits `handle`, lives."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        self.handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        _lock(self.handle)
        self._last = 0.0
        self.beat()

    def beat(self) -> None:
        """Give a sign of life, unless the last is recent."""
        if time.monotonic() - self._last >= BEAT_S:
            os.utime(self._file)
            self._last = time.monotonic()

    def end(self) -> None:
        os.close(self.handle)


def is_dead(owner: Owner, file: Path, silent_s: float = SILENT_S) -> bool:
    """Whether the process that runs a trial has died, with all that it started there."""
    if not owner.is_on_this_machine:
        return _silence_s(file) > silent_s
    deadline = time.monotonic() + _DYING_S
    while True:
        held = _is_held(file)
        if held is None:
            return owner.has_ended()
        # Where it was killed a moment ago, its training is still being ended.
        if not held or not owner.has_ended() or time.monotonic() > deadline:
            return not held
        time.sleep(0.1)


def _lock(handle: int) -> bool | None:
    """Whether the lock was to be had; None where the file system knows no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_held(file: Path) -> bool | None:
    try:
        handle = os.open(file, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        had = _lock(handle)
        return None if had is None else not had
    finally:
        os.close(handle)


def _silence_s(file: Path) -> float:
    """Seconds since the last sign, both by the clock of the file's own server."""
    probe = file.with_name(f".clock-{socket.gethostname()}-{os.getpid()}")
    try:
        last = file.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
    try:
        probe.touch()
        return probe.stat().st_mtime - last
    finally:
        probe.unlink(missing_ok=True)
