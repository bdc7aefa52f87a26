"""What a comparison was computed with."""

from __future__ import annotations

import platform
from datetime import datetime
from importlib.metadata import version

from nnunet_chordoma import __version__


def now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def package_version() -> str:
    return __version__


def versions() -> dict[str, str]:
    """Python and the libraries that the numbers come from."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "scipy", "statsmodels")}}
