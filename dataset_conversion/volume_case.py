"""A case stored as one image and one mask per structure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_chordoma.dataset_conversion.case_source import RoiMask
from nnunet_chordoma.dataset_conversion.roi_map import RoiName
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import VOLUME_SUFFIXES, Image, is_volume, read_geometry, read_image, stem

IMAGE_STEMS = ("ct", "image", "volume", "scan")


@dataclass(frozen=True)
class VolumeFiles:
    """The image and the masks (ROI name to file) found in a case folder."""

    image: Path
    masks: Mapping[str, Path]


@dataclass(frozen=True)
class VolumeCase:
    """See `CaseSource`. The ROI names are the stems of the mask files."""

    case: str
    files: VolumeFiles
    geometry: Geometry
    ignored: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    kind: str = "volumes"
    patient_position: str | None = None

    @property
    def rois(self) -> tuple[RoiName, ...]:
        return tuple(RoiName(name, name) for name in self.files.masks)

    @property
    def identifiers(self) -> Mapping[str, str]:
        return {}

    def image(self) -> Image:
        image = read_image(self.files.image)
        values = image.array.astype(np.float32)
        if not np.isfinite(values).all():
            raise ChordomaError(
                f"case '{self.case}': {self.files.image.name} holds values that are not finite; expected a CT in HU"
            )
        return Image(values, image.geometry)

    def mask(self, key: str) -> RoiMask:
        path = self.files.masks[key]
        array = read_image(path).array
        inside = array != 0
        values = array[inside]
        if values.size and not values.min() == values.max():
            raise ChordomaError(
                f"case '{self.case}': {path.name}: expected a mask of zeros and one other value, found values from "
                f"{values.min():g} to {values.max():g}; store one mask per structure"
            )
        return RoiMask(inside)

    def input_files(self) -> Mapping[str, Sequence[Path]]:
        return {"image": (self.files.image,)} | {name: (path,) for name, path in self.files.masks.items()}


def find_volumes(case: str, folder: Path) -> VolumeFiles | None:
    """The image and masks in a case folder, or None if there is no volume at all.

    The image lies in the folder itself: its stem is ct, image, volume, scan, CASE or CASE_0000, or it is the
    only volume there and has `ct` as a word in its stem. Every other volume in the folder and in one
    sub-folder is a mask. Raises ChordomaError where that is not unique.
    """
    top = sorted(path for path in folder.iterdir() if path.is_file() and is_volume(path))
    below = [
        (sub, volumes)
        for sub in sorted(folder.iterdir())
        if sub.is_dir() and not sub.name.startswith((".", "__"))
        if (volumes := sorted(p for p in sub.iterdir() if p.is_file() and is_volume(p)))
    ]
    if not top and not below:
        return None
    image = _image(case, folder, top)
    if len(below) > 1:
        raise ChordomaError(
            f"case '{case}': expected the masks in one sub-folder of {folder}, found volumes in "
            f"{', '.join(sub.name for sub, _ in below)}; keep one"
        )
    masks: dict[str, Path] = {}
    for path in [*(p for p in top if p != image), *(p for _, volumes in below for p in volumes)]:
        if stem(path) in masks:
            raise ChordomaError(
                f"case '{case}': two masks named '{stem(path)}': {masks[stem(path)].relative_to(folder)} and "
                f"{path.relative_to(folder)}; keep one"
            )
        masks[stem(path)] = path
    if not masks:
        raise ChordomaError(
            f"case '{case}': expected one mask per structure beside {image.name}, found none; add files such as "
            "masks/gluteus_maximus_left.nii.gz"
        )
    return VolumeFiles(image, masks)


def open_volume_case(case: str, files: VolumeFiles, ignored: Sequence[str] = ()) -> VolumeCase:
    """Read all headers; raises ChordomaError if a mask lies on another grid than the image."""
    geometry = read_geometry(files.image)
    for path in files.masks.values():
        difference = read_geometry(path).difference(geometry)
        if difference is not None:
            raise ChordomaError(
                f"case '{case}': mask {path.name} does not lie on the grid of {files.image.name}: {difference}; "
                "export both on one grid"
            )
    if min(geometry.size) < 2:
        raise ChordomaError(f"case '{case}': expected a volume, found {files.image.name} of size {geometry.size}")
    return VolumeCase(case, files, geometry, tuple(ignored))


def _image(case: str, folder: Path, top: Sequence[Path]) -> Path:
    wanted = {*IMAGE_STEMS, case.casefold(), f"{case}_0000".casefold()}
    named = [path for path in top if stem(path).casefold() in wanted]
    if not named and len(top) == 1 and "ct" in re.findall(r"[a-z]+", stem(top[0]).casefold()):
        named = [top[0]]
    if len(named) == 1:
        return named[0]
    suffixes = ", ".join(VOLUME_SUFFIXES)
    found = ", ".join(path.name for path in (named or top)[:5]) or "no volume"
    raise ChordomaError(
        f"case '{case}': expected one image named ct, image, volume, scan or {case} ({suffixes}) in {folder}, "
        f"found {found}; " + ("keep one" if named else "rename the CT to ct.nii.gz")
    )
