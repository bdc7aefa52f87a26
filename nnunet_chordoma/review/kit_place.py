"""Where a kit and its key may go: never over anything that exists, and the key never into the kit."""

from __future__ import annotations

import shutil
from pathlib import Path

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.inputs import require_writable
from nnunet_chordoma.files import ASIDE, only_writer
from nnunet_chordoma.rating_sheet import read_sheet
from nnunet_chordoma.review.kit_texts import SHEET, SPREADSHEET, VIEWER


def require_free(output: Path) -> None:
    """Raise ChordomaError unless `output` does not exist or is an empty folder, saying what would be lost."""
    if not output.exists():
        require_writable(output.parent, "-o")
        return
    if not output.is_dir():
        raise ChordomaError(f"-o {output}: expected a new or empty folder, found a file; choose another name")
    if not any(output.iterdir()):
        return
    if not any(output.glob(f"**/{VIEWER}")):
        raise ChordomaError(f"-o {output}: expected a new or empty folder, found other files in it; choose another")
    rated = sum(_rated(path) for name in (SHEET, SPREADSHEET) for path in output.rglob(name))
    what = f"with {rated} rating(s)" if rated else "without ratings yet, which its reviewer may hold a copy of"
    raise ChordomaError(f"-o {output}: there is a review kit already, {what}; choose another folder")


def key_place(output: Path, asked: Path | None) -> Path:
    """Where the key goes: as asked for, or beside the kit.

    Raises ChordomaError if that is within the kit, or there is a file already: another kit may depend on it.
    """
    path = (output.with_name(f"{output.name}.key.json") if asked is None else asked).absolute()
    if path.resolve().is_relative_to(output.resolve()):
        raise ChordomaError(f"--key {path}: this lies in the kit, where reviewers would find it; choose another folder")
    if path.exists():
        raise ChordomaError(
            f"--key {path}: exists, and may be the key of a kit that was handed out; move it away or choose another"
        )
    require_writable(path.parent, "--key")
    return path


def sweep(output: Path) -> None:
    """Remove what was left aside by a command that was killed while it made this kit.

    Raises ChordomaError if one is still at work.
    """
    for left in output.parent.glob(f"{ASIDE}*-{output.name}"):
        if left.is_dir():
            with only_writer(left, f"-o {output}: another command makes this kit; wait until it has ended"):
                shutil.rmtree(left, ignore_errors=True)


def _rated(sheet: Path) -> int:
    """Rows with minutes or comments; a sheet that cannot be read counts as rated."""
    try:
        return sum(rating.minutes is not None or bool(rating.comments) for rating in read_sheet(sheet))
    except ChordomaError:
        return 1
