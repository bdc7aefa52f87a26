"""A dataset is built in a hidden folder beside its place and put there when it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_chordoma.dataset_conversion.record import RECORDS
from nnunet_chordoma.errors import ChordomaError

_REUSED = ("imagesTr", "imagesTs", "labelsTr", "labelsTs", RECORDS)


def require_free(raw: Path, dataset_id: int, final: Path, overwrite: bool) -> None:
    """Raise ChordomaError if the number is taken, or the dataset exists and may not be replaced."""
    others = [p.name for p in sorted(raw.glob(f"Dataset{dataset_id:03d}_*")) if p != final]
    if others:
        raise ChordomaError(f"--dataset-id {dataset_id}: taken by {', '.join(others)} in {raw}; choose another number")
    if final.exists() and not overwrite:
        raise ChordomaError(
            f"{final} exists already; add --overwrite to replace it once the new one is complete (unchanged cases are "
            "used again), or choose another --dataset-id"
        )


@contextmanager
def built_aside(final: Path) -> Iterator[Path]:
    """Give the build folder of `final`; finished cases in it survive an error and serve the next attempt."""
    # The leading dot keeps nnU-Net, which looks for Dataset*, from finding an unfinished dataset.
    build = final.with_name(f".{final.name}.partial")
    build.mkdir(parents=True, exist_ok=True)
    _take_over(final, build)
    try:
        yield build
    except BaseException as error:
        finished = len(list((build / RECORDS).glob("*.json")))
        surveyed = len(list((build / RECORDS / "survey").glob("*.json")))
        if not surveyed:
            shutil.rmtree(build, ignore_errors=True)
            raise
        if isinstance(error, ChordomaError):
            raise ChordomaError(
                f"{error}; {finished} finished and {surveyed} read case(s) are kept in {build} and used again when you "
                "repeat the command"
            ) from error
        raise


def remove_leftovers(build: Path, expected: set[Path]) -> None:
    """Remove every file that is not expected, and folders that are empty then."""
    for path in sorted(build.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in expected:
            path.unlink()


def put_in_place(build: Path, final: Path) -> None:
    """Rename the build folder to `final`; what was there is removed after that."""
    replaced = final.with_name(f".{final.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if final.exists():
        final.rename(replaced)
    build.rename(final)
    shutil.rmtree(replaced, ignore_errors=True)


def _take_over(final: Path, build: Path) -> None:
    """Give the build folder the cases of the dataset that it will replace. Links: files are replaced, never edited."""
    for name in _REUSED:
        for path in sorted((final / name).rglob("*")):
            copy = build / path.relative_to(final)
            if path.is_file() and not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(path, copy)
                except OSError:
                    shutil.copy2(path, copy)
