"""Which CT and which structure set of a folder belong together, if their references leave exactly one answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nnunet_chordoma.dataset_conversion.dicom.copies import without_copies
from nnunet_chordoma.dataset_conversion.dicom.dicom_attributes import text
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import DicomTree, FoundSeries, read_dataset
from nnunet_chordoma.dataset_conversion.dicom.rtstruct import StructureSet, read_structure_set
from nnunet_chordoma.errors import ChordomaError

BY_SERIES: Final = "its series"
BY_FRAME: Final = "its frame of reference"


@dataclass(frozen=True)
class Request:
    """What the user asked for, if anything, and the options to ask with, as they are written on the command line."""

    ct_series: str | None = None
    structures: str | None = None
    ct_option: str = "--ct-series UID"
    structures_option: str = "--rtstruct FILE"

    @classmethod
    def of_case(cls, case: str, ct_series: str | None, structures: str | None) -> Request:
        return cls(ct_series, structures, f"--ct-series {case}=UID", f"--rtstruct {case}=FILE")


@dataclass(frozen=True)
class Choice:
    """One CT and the structure set drawn on it; `ignored` says in words, without names or UIDs, what was left."""

    series: FoundSeries
    structures: StructureSet
    ignored: tuple[str, ...]


def choose(tree: DicomTree, request: Request, what: str) -> Choice:
    """The CT and the structure set among those in `tree`.

    Raises ChordomaError, beginning with `what`, if there is none of either, if the request fits not exactly one, or
    if the references leave another number of answers than one; then every candidate is listed.
    """
    series = _requested_series(tree, request, what)
    if not tree.structure_sets:
        raise ChordomaError(
            f"{what}: expected an RTSTRUCT in {tree.folder}, found none; "
            "add the structure set that was drawn on this CT"
        )
    files, copies = _requested_files(tree, request, what)
    sets = [read_structure_set(path, what) for path in files]
    choice = _choose(series, sets, tree.folder, request, what)
    remarks = [f"{copies} file(s): copies of the RTSTRUCT"] if copies else []
    unread = len(tree.structure_sets) - len(files) - copies
    others = [f"{unread} RTSTRUCT file(s): not the one chosen"] if unread else []
    return Choice(choice.series, choice.structures, (*_other_series(tree, choice), *choice.ignored, *others, *remarks))


def choose_scan(tree: DicomTree, request: Request, what: str) -> tuple[FoundSeries, tuple[str, ...]]:
    """The one CT among those in `tree`, whatever was drawn on it, and in words what was left aside.

    Raises ChordomaError, beginning with `what`, if there is none, or several and the request fits not exactly one.
    """
    series = _requested_series(tree, request, what)
    if len(series) > 1:
        raise ChordomaError(
            f"{what}: expected one CT series in {tree.folder}, found {len(series)}; choose with {request.ct_option}, "
            f"or give the folder of one patient's CT: {_list_series(series)}"
        )
    sets = len(tree.structure_sets)
    aside = (f"{sets} RTSTRUCT file(s): a scan is read without structures",) if sets else ()
    others = [one for one in tree.ct_series.values() if one is not series[0]]
    return series[0], (*_not_chosen(others), *aside)


def choose_ct(tree: DicomTree, structures: StructureSet, request: Request, what: str) -> Choice:
    """The CT among those in `tree` that `structures` was drawn on; raises ChordomaError as `choose` does."""
    choice = _choose(_requested_series(tree, request, what), [structures], tree.folder, request, what)
    return Choice(choice.series, structures, _other_series(tree, choice))


def _choose(
    series: Sequence[FoundSeries], sets: Sequence[StructureSet], folder: Path, request: Request, what: str
) -> Choice:
    if len(series) == 1 and len(sets) == 1:
        return Choice(series[0], sets[0], ())
    for kind in (BY_SERIES, BY_FRAME):
        pairs = [(one, drawn) for drawn in sets for one in _referred(drawn, series, kind)]
        if pairs:
            break
    if len(pairs) == 1:
        ((one, drawn),) = pairs
        passed = [
            f"RTSTRUCT of {len(other.rois)} ROI(s): refers to "
            + ("the CT only by its frame of reference" if _referred(other, [one], BY_FRAME) else "another image")
            for other in sets
            if other is not drawn
        ]
        return Choice(one, drawn, tuple(passed))
    options = [request.ct_option] if len(series) > 1 else []
    options += [request.structures_option] if len(sets) > 1 else []
    raise ChordomaError(
        f"{what}: expected one RTSTRUCT that refers to one CT, found {len(series)} CT series and {len(sets)} "
        f"RTSTRUCT(s) with {len(pairs)} such pair(s); choose with {' and '.join(options)}. "
        f"CT: {_list_series(series)}. RTSTRUCT: {_list_sets(sets, series, folder)}"
    )


def _other_series(tree: DicomTree, choice: Choice) -> tuple[str, ...]:
    return _not_chosen([one for one in tree.ct_series.values() if one is not choice.series])


def _not_chosen(series: Sequence[FoundSeries]) -> tuple[str, ...]:
    return tuple(f"CT series of {one.slices} slice(s): not the one chosen" for one in series)


def _referred(drawn: StructureSet, series: Sequence[FoundSeries], kind: str) -> list[FoundSeries]:
    """The CTs that a structure set refers to by series or by frame; of several, the one whose slices contours cite."""
    references = drawn.references
    if kind == BY_SERIES:
        found = [one for one in series if one.uid and one.uid in references.series]
    else:
        found = [one for one in series if one.frame_of_reference_uids & references.frames]
    narrowed = [one for one in found if one.instance_uids & references.contour_slices]
    return narrowed if len(narrowed) == 1 else found


def _requested_series(tree: DicomTree, request: Request, what: str) -> list[FoundSeries]:
    if not tree.ct_series:
        raise ChordomaError(f"{what}: expected a CT series in {tree.folder}, found none; add the CT slices")
    series = list(tree.ct_series.values())
    if request.ct_series is None:
        return series
    found = [one for one in series if one.uid == request.ct_series] or [
        one for one in series if _abbreviates(request.ct_series, one.uid)
    ]
    if len(found) != 1:
        raise ChordomaError(
            f"{what}: {request.ct_option.replace('UID', request.ct_series)}: expected the SeriesInstanceUID of one CT, "
            f"or its beginning or end, found {len(found)} that fit; there is {_list_series(series)}"
        )
    return found


def _requested_files(tree: DicomTree, request: Request, what: str) -> tuple[list[Path], int]:
    """Structure sets that come into question, and how many files were copies of them."""
    files = tree.structure_sets
    headers = [read_dataset(path, what, specific_tags=["SOPInstanceUID"]) for path in files]
    if request.structures is None:
        kept = [files[i] for i in without_copies(files, headers, what)] if len(files) > 1 else list(files)
        return kept, len(files) - len(kept)
    wanted = request.structures
    names = [path.relative_to(tree.folder).as_posix() for path in files]
    uids = [text(h, "SOPInstanceUID", f"{what}: {path.name}") for path, h in zip(files, headers, strict=True)]
    rules = (
        [name == wanted.removeprefix("./") for name in names],
        [path.resolve() == Path(wanted).resolve() for path in files],
        [name.endswith(f"/{wanted}") for name in names],
        [uid == wanted for uid in uids],
        [_abbreviates(wanted, uid) for uid in uids],
    )
    fits = next((rule for rule in rules if any(rule)), [])
    found = [path for path, fit in zip(files, fits or [False] * len(files), strict=True) if fit]
    if len(found) != 1:
        raise ChordomaError(
            f"{what}: {request.structures_option.replace('FILE', wanted)}: expected one RTSTRUCT by its file or "
            f"SOPInstanceUID, found {len(found)} that fit; there is {', '.join(names)}"
        )
    return found, 0


def _abbreviates(wanted: str, uid: str) -> bool:
    short = wanted.strip().strip(".…")
    return bool(short) and (uid.startswith(short) or uid.endswith(short))


def _list_series(series: Sequence[FoundSeries]) -> str:
    return "; ".join(
        f"{one.uid or 'no UID'} ({one.slices} slice(s), {_quoted(one.description, 'description')})" for one in series
    )


def _list_sets(sets: Sequence[StructureSet], series: Sequence[FoundSeries], folder: Path) -> str:
    return "; ".join(
        f"{_relative(drawn.path, folder)} ({_quoted(drawn.label, 'label')}, {len(drawn.rois)} ROI(s), "
        f"{_describe_references(drawn, series)})"
        for drawn in sets
    )


def _quoted(words: str, kind: str) -> str:
    return f"{kind} '{words}'" if words else f"no {kind}"


def _describe_references(drawn: StructureSet, series: Sequence[FoundSeries]) -> str:
    for kind in (BY_SERIES, BY_FRAME):
        found = _referred(drawn, series, kind)
        if found:
            return f"refers to CT {', '.join(_tail(one, series) for one in found)} by {kind}"
    return "refers to no CT here"


def _tail(one: FoundSeries, series: Sequence[FoundSeries]) -> str:
    """The shortest end of a UID, from five characters, that no other series has; it serves as a request as well."""
    others = [other.uid for other in series if other is not one]
    for length in range(5, len(one.uid)):
        tail = one.uid[-length:]
        if tail[0] != "." and not any(other.endswith(tail) or other.startswith(tail) for other in others):
            return f"...{tail}"
    return one.uid


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
