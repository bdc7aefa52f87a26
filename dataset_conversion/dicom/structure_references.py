"""What a structure set says it was drawn on: frames of reference, series, slices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nnunet_chordoma.dataset_conversion.dicom.dicom_attributes import sequence, text


@dataclass(frozen=True)
class References:
    """UIDs that a structure set cites.

    `series_of_frame` holds the frames of reference and, of each, the series that were drawn on. `slices` are cited for
    a whole series or by single contours, `contour_slices` by contours alone.
    """

    series_of_frame: Mapping[str, frozenset[str]]
    slices: frozenset[str]
    contour_slices: frozenset[str]

    @property
    def frames(self) -> frozenset[str]:
        return frozenset(self.series_of_frame) - {""}

    @property
    def series(self) -> frozenset[str]:
        return frozenset().union(*self.series_of_frame.values())

    def frames_of(self, series_uid: str, frame_uid: str) -> frozenset[str]:
        """Names that the frame of reference of a CT goes by: its own, and those under which its series is cited."""
        cited = {frame for frame, series in self.series_of_frame.items() if series_uid and series_uid in series}
        return frozenset({frame_uid, *cited}) - {""}


def read_references(structure_set: Any, contours: Iterable[Any], where: str) -> References:
    """References of a structure set (pydicom) and of the items of its contours; ChordomaError for damaged ones."""
    series_of_frame: dict[str, set[str]] = defaultdict(set)
    slices: set[str] = set()
    for item in sequence(structure_set, "StructureSetROISequence", where):
        series_of_frame[text(item, "ReferencedFrameOfReferenceUID", where)] |= set()
    for item in sequence(structure_set, "ReferencedFrameOfReferenceSequence", where):
        frame = series_of_frame[text(item, "FrameOfReferenceUID", where)]
        for study in sequence(item, "RTReferencedStudySequence", where):
            for series in sequence(study, "RTReferencedSeriesSequence", where):
                frame.add(text(series, "SeriesInstanceUID", where))
                slices |= _cited(series, where)
    contour_slices = {uid for contour in contours for uid in _cited(contour, where)}
    return References(
        {frame: frozenset(series - {""}) for frame, series in series_of_frame.items()},
        frozenset(slices | contour_slices),
        frozenset(contour_slices),
    )


def _cited(item: Any, where: str) -> set[str]:
    images = sequence(item, "ContourImageSequence", where)
    return {uid for image in images if (uid := text(image, "ReferencedSOPInstanceUID", where))}
