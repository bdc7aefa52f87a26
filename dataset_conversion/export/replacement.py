"""A note beside an export that is being put in place, by which the next run knows its own files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_chordoma.dataset_conversion.export.export_record import (
    FILE_NAME,
    ExportRecord,
    record_from_json,
    record_to_json,
    write_export_record,
)
from nnunet_chordoma.dataset_conversion.export.options import Format
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import ASIDE, read_document, write_document
from nnunet_chordoma.labels import CHORDOMA

NOTE, SCHEMA, VERSION = ".replacing.json", "chordoma-export-replacement", 1


@dataclass(frozen=True)
class _Note:
    """The record of what lay in the folder, if anything did, and that of what is to lie there."""

    old: ExportRecord | None
    new: ExportRecord


@contextmanager
def replacing(folder: Path, old: ExportRecord | None, new: ExportRecord) -> Iterator[None]:
    """While files of `old` give way to those of `new`: the folder has no record, but the note.

    The record is written last, so that where there is one its files are complete.
    """
    content = {"old": None if old is None else record_to_json(old), "new": record_to_json(new)}
    write_document(folder / NOTE, SCHEMA, VERSION, CHORDOMA, content)
    (folder / FILE_NAME).unlink(missing_ok=True)
    yield
    write_export_record(folder / FILE_NAME, new)
    (folder / NOTE).unlink()


def settle(folder: Path) -> None:
    """Bring a folder in order in which a run was killed while it replaced files; others stay untouched.

    If nothing had been replaced yet, what lay there is described again. Else what is new is, and what is left of the
    old files goes, as it was about to. Files that are neither stay, and no record has
    them: somebody has changed them.
    """
    for name in (NOTE, FILE_NAME):
        for partial in folder.glob(f"{ASIDE}*-{name}"):
            partial.unlink(missing_ok=True)
    note = _read(folder / NOTE)
    if note is None:
        return
    if not (folder / FILE_NAME).exists():
        left = [] if note.old is None else _lying(note.old, folder)
        placed = _lying(note.new, folder)
        if note.old is not None and set(placed) <= set(left) == set(_formats(note.old)):
            write_export_record(folder / FILE_NAME, note.old)
        else:
            for kind in left:
                if kind not in placed:
                    (folder / kind.file_name).unlink()
            if placed or any((folder / kind.file_name).exists() for kind in Format):
                write_export_record(folder / FILE_NAME, _only(note.new, placed))
    (folder / NOTE).unlink()


def _read(path: Path) -> _Note | None:
    if not path.exists():
        return None
    _, content = read_document(path, SCHEMA, VERSION)
    try:
        old = content["old"]
        return _Note(None if old is None else record_from_json(old), record_from_json(content["new"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ChordomaError(f"{path}: incomplete ({error!r}); remove it and export with --overwrite") from None


def _formats(record: ExportRecord) -> list[Format]:
    return [kind for kind in Format if kind.value in record.written_sha256]


def _lying(record: ExportRecord, folder: Path) -> list[Format]:
    """Formats whose files lie in the folder as the record has them."""
    return [kind for kind in _formats(record) if record.intact(folder, [kind])]


def _only(record: ExportRecord, kinds: list[Format]) -> ExportRecord:
    """What a record says of these formats."""
    names = {kind.value for kind in kinds}
    partial = replace(
        record,
        uids={kind: uid for kind, uid in record.uids.items() if kind in names},
        written_sha256={kind: digest for kind, digest in record.written_sha256.items() if kind in names},
    )
    if Format.RTSTRUCT in kinds:
        return partial
    return replace(partial, proof=(), counts={}, failed=(), undrawn=())
