"""Slices of a multi-frame CT: Enhanced CT and Legacy Converted Enhanced CT.

Where a frame lies and how its values become HU stands in functional groups: those of the frame itself, or those that
all frames share (DICOM PS3.3, C.7.6.16). What is found goes through the same proof as slices in files of their own.
"""

from __future__ import annotations

from typing import Any

from nnunet_chordoma.dataset_conversion.dicom.dicom_attributes import attribute, sequence, text, whole_number
from nnunet_chordoma.errors import ChordomaError

PLACE, ORIENTATION = "PlanePositionSequence", "PlaneOrientationSequence"
MEASURES, TRANSFORMATION = "PixelMeasuresSequence", "PixelValueTransformationSequence"

_OF_ALL_FRAMES = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
)


def frame_attributes(header: Any, where: str) -> list[Any]:
    """One data set per frame with the attributes that a slice in a file of its own carries, in the order of storage.

    Raises ChordomaError, beginning with `where`, if the functional groups of a frame are missing, or if the frames
    are several stacks, points in time or kinds of value.
    """
    shared: Any = next(iter(sequence(header, "SharedFunctionalGroupsSequence", where)), {})
    groups = sequence(header, "PerFrameFunctionalGroupsSequence", where)
    stated = whole_number(header, "NumberOfFrames", where, default=0)
    if stated != len(groups) or not groups:
        raise ChordomaError(
            f"{where}: expected functional groups for each of its {stated} frames, found {len(groups)}; "
            "export the series again, as single-frame CT slices if need be"
        )
    _require_one_stack(groups, where)
    return [_flat(header, group, shared, f"{where}: frame {number}") for number, group in enumerate(groups, start=1)]


def source_instances(header: Any, where: str) -> frozenset[str]:
    """SOPInstanceUIDs of the slices that a legacy conversion put together; contours drawn before it cite them."""
    items = [
        item
        for group in sequence(header, "PerFrameFunctionalGroupsSequence", where)
        for item in sequence(group, "ConversionSourceAttributesSequence", where)
    ]
    return frozenset(text(item, "ReferencedSOPInstanceUID", where) for item in items) - {""}


def _flat(header: Any, group: Any, shared: Any, where: str) -> Any:
    from pydicom.dataset import Dataset

    frame = Dataset()
    for name in _OF_ALL_FRAMES:
        if attribute(header, name, where) is not None:
            frame[name] = header[name]
    for macro in (PLACE, ORIENTATION, MEASURES, TRANSFORMATION, "CTAcquisitionDetailsSequence"):
        items = sequence(group, macro, where) or sequence(shared, macro, where)
        if items:
            frame.update(items[0])
        elif macro in {PLACE, ORIENTATION, MEASURES, TRANSFORMATION}:
            raise ChordomaError(
                f"{where}: needs {macro} among its functional groups or the shared ones, found none; "
                "export the series again, as single-frame CT slices if need be"
            )
    return frame


def _require_one_stack(groups: list[Any], where: str) -> None:
    contents: list[Any] = [next(iter(sequence(group, "FrameContentSequence", where)), {}) for group in groups]
    for name, kind in (("StackID", "stacks"), ("TemporalPositionIndex", "points in time")):
        values = sorted({text(content, name, where) for content in contents})
        if len(values) > 1:
            raise ChordomaError(
                f"{where}: expected one stack of slices, found {len(values)} {kind} in its {len(groups)} frames "
                f"({name} {', '.join(v or 'none' for v in values[:5])}); export the one that was contoured"
            )
