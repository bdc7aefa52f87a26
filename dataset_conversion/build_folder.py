"""A dataset is built in a hidden folder beside its place and put there when it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_chordoma.dataset_conversion.record import RECORDS
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import only_writer

_REUSED = ("imagesTr", "imagesTs", "labelsTr", "labelsTs", RECORDS)


def require_free(dataset_id: int, final: Path, overwrite: bool) -> None:
    """Raise ChordomaError if the number is taken, or the dataset exists and may not be replaced."""
    raw = final.parent
    others = [p.name for p in sorted(raw.glob(f"Dataset{dataset_id:03d}_*")) if p != final]
    if others:
        raise ChordomaError(f"--dataset-id {dataset_id}: taken by {', '.join(others)} in {raw}; choose another number")
    if final.exists() and not overwrite:
        raise ChordomaError(
            f"{final} exists already; add --overwrite to replace it once the new one is complete (unchanged cases are "
            "used again), or choose another --dataset-id"
        )


@contextmanager
def built_aside(dataset_id: int, final: Path, overwrite: bool) -> Iterator[Path]:
    """Give the build folder of `final`; finished cases in it survive an error and serve the next attempt.

    It begins with the cases of the dataset that it will replace. Raises ChordomaError as `require_free` does, and if
    another process builds this dataset.
    """
    require_free(dataset_id, final, overwrite)
    # The leading dot keeps nnU-Net, which looks for Dataset*, from finding an unfinished dataset.
    build = final.with_name(f".{final.name}.partial")
    if not build.exists():
        _begin(build, final)
    with only_writer(build, f"{final}: another chordoma-convert run is building it; wait until it has ended"):
        # It may have ended just before the folder was ours.
        require_free(dataset_id, final, overwrite)
        try:
            yield build
        except BaseException as error:
            finished = len(list((build / RECORDS).glob("*.json")))
            surveyed = len(list((build / RECORDS / "survey").glob("*.json")))
            if not surveyed or (final.exists() and _same_files(build, final)):
                shutil.rmtree(build, ignore_errors=True)
                raise
            if isinstance(error, ChordomaError):
                raise ChordomaError(
                    f"{error}; {finished} finished and {surveyed} read case(s) are kept in {build} and used again when "
                    "you repeat the command"
                ) from error
            raise


def remove_leftovers(build: Path, expected: set[Path]) -> None:
    """Remove every file that is not expected, and folders that are empty then.

    Raises ChordomaError if an expected file is missing: the dataset would not be complete.
    """
    missing = sorted(str(path.relative_to(build)) for path in expected if not path.is_file())
    if missing:
        raise ChordomaError(f"{build}: {', '.join(missing[:5])} vanished during the conversion; repeat the command")
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


def _begin(build: Path, final: Path) -> None:
    """Make the build folder with the cases of `final`, complete or not at all.

    Only a new folder takes cases over: into an old one they would come back beside what was changed since.
    Links do, since files are replaced and never edited.
    """
    aside = build.with_name(f"{build.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        for name in _REUSED:
            for path in sorted((final / name).rglob("*")):
                if path.is_file():
                    copy = aside / path.relative_to(final)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    _link(path, copy)
        aside.rename(build)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _link(path: Path, copy: Path) -> None:
    try:
        os.link(path, copy)
    except OSError:
        shutil.copy2(path, copy)


def _same_files(build: Path, final: Path) -> bool:
    """Whether the build folder holds nothing but links to what is in `final`."""
    return all(
        (final / path.relative_to(build)).is_file() and path.samefile(final / path.relative_to(build))
        for path in build.rglob("*")
        if path.is_file()
    )
