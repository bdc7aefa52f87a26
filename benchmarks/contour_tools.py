"""Three ways from the same DICOM files to masks, behind one interface."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from contoured_phantom import Phantom
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import scan
from nnunet_chordoma.dataset_conversion.dicom.rasterise import rasterise
from nnunet_chordoma.dataset_conversion.dicom.rtstruct import read_structure_set

OURS = "chordoma-convert"
INSTALL = "pip install --no-deps --target TOOLS dcmrtstruct2nii rt-utils opencv-python-headless termcolor"

Mask = NDArray[np.bool_]


@dataclass
class Tool:
    """`read` gives what `draw` needs; `draw` gives a mask of the tool's own kind, `as_mask` makes it (z, y, x)."""

    name: str
    version: str
    read: Callable[[Phantom], Any]
    draw: Callable[[Any, str], Any]
    as_mask: Callable[[Any], Mask]
    reading_s: list[float] = field(default_factory=list)
    drawing_s: dict[str, list[float]] = field(default_factory=dict)
    differing: dict[str, int] = field(default_factory=dict)


def chordoma_convert() -> Tool:
    def read(phantom: Phantom) -> Any:
        structures = read_structure_set(phantom.structures, "RTSTRUCT")
        (series,) = scan(phantom.ct).ct_series.values()
        return {roi.name: roi for roi in structures.rois}, read_headers(series.files, "CT").geometry

    def draw(parsed: Any, name: str) -> Any:
        rois, grid = parsed
        return rasterise(rois[name].contours, grid, name)

    return Tool(OURS, importlib.metadata.version("nnunet-chordoma"), read, draw, lambda drawn: drawn.mask)


def dcmrtstruct2nii() -> Tool:
    import pydicom
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    # Its last release calls what pydicom 3 has renamed.
    if not hasattr(pydicom, "read_file"):
        pydicom.read_file = pydicom.dcmread
    with contextlib.redirect_stdout(io.StringIO()):
        from dcmrtstruct2nii.adapters.convert.rtstructcontour2mask import DcmPatientCoords2Mask
        from dcmrtstruct2nii.adapters.input.contours.rtstructinputadapter import RtStructInputAdapter
        from dcmrtstruct2nii.adapters.input.image.dcminputadapter import DcmInputAdapter

    def read(phantom: Phantom) -> Any:
        rois = RtStructInputAdapter().ingest(str(phantom.structures))
        return {roi["name"]: roi["sequence"] for roi in rois}, DcmInputAdapter().ingest(str(phantom.ct))

    def draw(parsed: Any, name: str) -> Any:
        rois, image = parsed
        return DcmPatientCoords2Mask().convert(rois[name], image, 0, 1)

    version = importlib.metadata.version("dcmrtstruct2nii")
    return Tool("dcmrtstruct2nii", version, read, draw, lambda mask: sitk.GetArrayFromImage(mask) > 0)


def rt_utils() -> Tool:
    import cv2
    from rt_utils import RTStructBuilder

    cv2.setNumThreads(1)

    def read(phantom: Phantom) -> Any:
        return RTStructBuilder.create_from(dicom_series_path=str(phantom.ct), rt_struct_path=str(phantom.structures))

    def draw(parsed: Any, name: str) -> Any:
        return parsed.get_roi_mask_by_name(name)

    version = importlib.metadata.version("rt-utils")
    return Tool("rt-utils", version, read, draw, lambda mask: np.moveaxis(mask, 2, 0))


def available() -> list[Tool]:
    tools = [chordoma_convert()]
    for name, make in (("dcmrtstruct2nii", dcmrtstruct2nii), ("rt-utils", rt_utils)):
        try:
            tools.append(make())
        except ImportError as error:
            print(f"{name} is left out ({error}). To compare: {INSTALL}; then run with PYTHONPATH=TOOLS")
    return tools
