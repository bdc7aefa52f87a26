"""`eval "$(python -m nnunet_chordoma)"`: the shell export that lets nnU-Net find our trainers."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "nnUNet_extTrainer"
TRAINER_FOLDER = Path(__file__).parent / "ext_trainers"


def trainer_path(environment: Mapping[str, str]) -> str:
    """Value of nnUNet_extTrainer: our folder appended to what is set, once."""
    folders = [f for f in environment.get(VARIABLE, "").split(os.pathsep) if f]
    if str(TRAINER_FOLDER) not in folders:
        folders.append(str(TRAINER_FOLDER))
    return os.pathsep.join(folders)


def main() -> None:
    print(f"export {VARIABLE}={shlex.quote(trainer_path(os.environ))}")


if __name__ == "__main__":
    main()
