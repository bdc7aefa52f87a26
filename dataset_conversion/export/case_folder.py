"""The folder of an exported case: what may be replaced, what is finished already, how new files get into it."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_chordoma.dataset_conversion.export.export_record import (
    FILE_NAME,
    ExportRecord,
    read_export_record,
)
from nnunet_chordoma.dataset_conversion.export.options import Format
from nnunet_chordoma.dataset_conversion.export.replacement import replacing, settle
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import ASIDE


def finished(folder: Path, fingerprint: str) -> ExportRecord | None:
    """The record of what lies in `folder`, if it was made from the same inputs in the same way.

    Where a run was killed while it put files in place, the folder is brought in order first.
    """
    settle(folder)
    record = _recorded(folder)
    return record if record is not None and record.fingerprint == fingerprint else None


def require_free(folder: Path, known: ExportRecord | None, formats: Iterable[Format], overwrite: bool) -> None:
    """Raise ChordomaError if files of another prediction, or files that were changed, lie there and may not go.

    A folder holds one prediction, so that files in other formats than those to be written (`formats`) count too. To
    `overwrite` is to replace what was changed in these formats, not to remove it in others, and never what lies in a
    folder without an export's record: those may be references.
    """
    if not (folder / FILE_NAME).exists():
        foreign = next((path for kind in Format if (path := folder / kind.file_name).exists()), None)
        if foreign is not None:
            raise ChordomaError(
                f"case '{folder.name}': {foreign} exists, and no {FILE_NAME} beside it says that an export wrote it; "
                "it is never replaced: choose another -o, or move it away"
            )
    asked = tuple(formats)
    if overwrite:
        for kind in _changed(folder, _recorded(folder)):
            if kind not in asked:
                raise ChordomaError(
                    f"case '{folder.name}': {folder / kind.file_name} was changed since it was exported; "
                    f"move it away, or add --format {kind.value} to replace it as well"
                )
        return
    for kind in Format:
        path = folder / kind.file_name
        if known is not None and kind not in asked and kind in _changed(folder, known):
            raise ChordomaError(
                f"case '{folder.name}': {path} was changed since it was exported, and a folder holds one prediction; "
                "move it away, or choose another -o"
            )
        if path.exists() and (known is None or not known.intact(folder, [kind])):
            raise ChordomaError(
                f"case '{folder.name}': {path} exists, from another prediction, with other options or changed "
                "since; add --overwrite to replace it, or choose another -o"
            )


def unchanged(folder: Path) -> bool:
    """Whether all exported files in `folder` are as an export wrote them, so that nobody's work is lost with them.

    Like `finished` it brings the folder in order first.
    """
    settle(folder)
    return not _changed(folder, _recorded(folder))


def withdraw(folder: Path) -> tuple[Path, ...]:
    """Remove an earlier export from `folder`; files that were changed since are somebody's work: they stay.

    Returns those that stayed.
    """
    settle(folder)
    record = _recorded(folder)
    keep = _changed(folder, record)
    for kind in Format:
        if record is not None and kind not in keep:
            (folder / kind.file_name).unlink(missing_ok=True)
    if record is not None and not keep:
        (folder / FILE_NAME).unlink(missing_ok=True)
    return tuple(folder / kind.file_name for kind in keep)


def _recorded(folder: Path) -> ExportRecord | None:
    try:
        return read_export_record(folder / FILE_NAME)
    except ChordomaError:
        return None


def _changed(folder: Path, record: ExportRecord | None) -> list[Format]:
    """Formats whose files lie in `folder` but are not those of the record."""
    present = [kind for kind in Format if (folder / kind.file_name).exists()]
    return [kind for kind in present if record is None or not record.intact(folder, [kind])]


@contextmanager
def built_aside(folder: Path) -> Iterator[Path]:
    """A hidden folder beside `folder` for files that are not proved yet; it is removed in the end."""
    aside = folder.with_name(f"{ASIDE}{os.getpid()}-{secrets.token_hex(4)}-{folder.name}")
    aside.mkdir(parents=True)
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def put_in_place(aside: Path, folder: Path, record: ExportRecord) -> None:
    """Move what was built into the folder of the case and remove what the record does not name; it comes last.

    Killed at any point, it leaves a folder that `settle` brings in order.
    """
    folder.mkdir(exist_ok=True)
    with replacing(folder, _recorded(folder), record):
        for kind in Format:
            if (aside / kind.file_name).exists():
                (aside / kind.file_name).replace(folder / kind.file_name)
            elif kind.value not in record.written_sha256:
                (folder / kind.file_name).unlink(missing_ok=True)


def sweep(out: Path) -> None:
    """Remove what commands that were killed left behind."""
    for path in out.glob(f"{ASIDE}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
