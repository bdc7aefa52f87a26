"""Which code a kept result came from: results of other code are not used again."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import nnunet_chordoma


@cache
def code_version() -> str:
    """SHA-256 of the sources of this stage and of what all stages share."""
    digest = hashlib.sha256()
    for folder, pattern in ((Path(__file__).parent, "**/*.py"), (Path(nnunet_chordoma.__file__).parent, "*.py")):
        for path in sorted(folder.glob(pattern)):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
