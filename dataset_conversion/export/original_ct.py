"""The CT series that a case was converted from, found again and proved to be the very one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.cases import existing_folder
from nnunet_chordoma.dataset_conversion.dicom.ct_series import CtSeries, read_headers
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import FoundSeries, scan
from nnunet_chordoma.dataset_conversion.record import CaseRecord, hashed
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256


@dataclass(frozen=True)
class CtFolder:
    """A folder with the DICOM of all cases, in sub-folders that are called after them or in any other way.

    `series` holds what lies in it by SeriesInstanceUID where cases have no sub-folder of their own.
    """

    folder: Path
    series: Mapping[str, FoundSeries] | None = None

    @classmethod
    def of(cls, folder: Path, cases: list[str]) -> CtFolder:
        """Look through the whole folder once if a case has no sub-folder."""
        existing_folder(folder, "--ct")
        if all((folder / case).is_dir() for case in cases):
            return cls(folder)
        return cls(folder, scan(folder, "--ct").ct_series)

    def series_of(self, case: str) -> Mapping[str, FoundSeries]:
        if self.series is not None:
            return self.series
        return scan(self.folder / case, f"case '{case}'").ct_series


def find_original(record: CaseRecord, ct: CtFolder) -> CtSeries:
    """The CT of a conversion record, its headers read.

    Series, frame of reference, order of slices, grid and the SHA-256 of every file must be those of the record.
    Raises ChordomaError, beginning with the case, if not.
    """
    what = f"case '{record.case}'"
    wanted = record.identifiers.get("series")
    if wanted is None:
        raise ChordomaError(f"{what}: its conversion record names no SeriesInstanceUID; export it as nifti")
    found = _series(ct.series_of(record.case), wanted, record)
    if not found and ct.series is None:
        # A folder may be called like the case and hold something else of it.
        found = _series(scan(ct.folder, what).ct_series, wanted, record)
    if not found:
        raise ChordomaError(
            f"{what}: the CT series that was converted is not in {ct.folder}; give the folder that holds its DICOM "
            "with --ct"
        )
    series = read_headers(found[0].files, what)
    _require_same(record, series, what)
    return series


def require_elsewhere(folder: Path, ct: CtSeries, own: Path, what: str) -> None:
    """Raise ChordomaError if `folder`, for exported files, is one with the CT's files, lies in one or around them.

    `own` is the case's folder of originals, if it exists; nothing may go there either.
    """
    resolved = folder.resolve()
    places = {path.resolve().parent for path in ct.files}
    for place in sorted(places | ({own.resolve()} if own.is_dir() else set())):
        if place in (resolved, *resolved.parents) or resolved in place.parents:
            raise ChordomaError(f"{what}: {folder} would lie among its CT in {place}; choose another -o")


def _series(series: Mapping[str, FoundSeries], wanted: str, record: CaseRecord) -> list[FoundSeries]:
    return [one for uid, one in series.items() if _recorded(uid, record) == wanted]


def _require_same(record: CaseRecord, series: CtSeries, what: str) -> None:
    remedy = "give the files that were converted with --ct, or convert the case again"
    present = {
        "frame_of_reference": series.frame_of_reference_uid,
        "study": series.study_uid,
        "slices": "\n".join(series.instance_uids),
    }
    for name, uid in present.items():
        if _recorded(uid, record) != record.identifiers.get(name, ""):
            raise ChordomaError(f"{what}: its CT has another {name.replace('_', ' ')} than when converted; {remedy}")
    difference = series.geometry.difference(record.chain.source)
    if difference is not None:
        raise ChordomaError(f"{what}: its CT lies on another grid than when converted ({difference}); {remedy}")
    digests = tuple(sha256(path) for path in series.files)
    expected = record.input_sha256.get("image", ())
    if digests != expected:
        changed = sum(one != other for one, other in zip(digests, expected, strict=False))
        raise ChordomaError(
            f"{what}: {changed or 'all'} of {len(digests)} CT file(s) changed since they were converted; {remedy}"
        )
    for name, uid in (("FrameOfReferenceUID", series.frame_of_reference_uid), ("StudyInstanceUID", series.study_uid)):
        if not uid:
            raise ChordomaError(f"{what}: its CT has no {name}, so that nothing can refer to it; export it as nifti")


def _recorded(uid: str, record: CaseRecord) -> str:
    """A UID as records keep it."""
    return hashed(uid) if record.pseudonymised and uid else uid
