"""A case stored as one image, and masks of single structures or label maps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_chordoma.dataset_conversion.case_source import Patient, RoiMask, SourceOptions
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import visible_files
from nnunet_chordoma.dataset_conversion.rois.roi_map import RoiName
from nnunet_chordoma.dataset_conversion.volumes.data_files import with_data
from nnunet_chordoma.dataset_conversion.volumes.label_maps import LabelMap, find_label_maps, says_label_map
from nnunet_chordoma.dataset_conversion.volumes.mask_resampling import onto_grid, require_fitting
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import VOLUME_SUFFIXES, Image, is_volume, read_geometry, read_image, stem

IMAGE_STEMS = ("ct", "image", "volume", "scan")


@dataclass(frozen=True)
class VolumeFiles:
    """The image and the volumes beside it (stem to file) in a case folder, and how many lie too deep to be used."""

    folder: Path
    image: Path
    others: Mapping[str, Path]
    deeper: int = 0


@dataclass(frozen=True)
class VolumeCase:
    """See `CaseSource`. ROI names are the stems of mask files and the names in label maps."""

    case: str
    files: VolumeFiles
    geometry: Geometry
    masks: Mapping[str, Path]
    label_maps: tuple[LabelMap, ...]
    resample_masks: bool
    ignored: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    kind: str = "volumes"
    patient_position: str | None = None

    @property
    def rois(self) -> tuple[RoiName, ...]:
        return (*(RoiName(name, name) for name in self.masks), *(roi for m in self.label_maps for roi in m.rois))

    @property
    def patient(self) -> Patient:
        return Patient()

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

    def mask(self, key: str, clip: bool = False) -> RoiMask:
        for label_map in self.label_maps:
            if key in label_map.segments:
                what = f"case '{self.case}': {label_map.path.name}, '{key}'"
                return label_map.mask(key, self.geometry, self.resample_masks, what)
        path = self.masks[key]
        what = f"case '{self.case}': mask {path.name}"
        stored = read_image(path)
        inside = stored.array != 0
        values = stored.array[inside]
        if values.size and not values.min() == values.max():
            raise ChordomaError(
                f"{what}: expected a mask of zeros and one other value, found values from {values.min():g} to "
                f"{values.max():g}; store one mask per structure, or rename it to labels{path.name[len(stem(path)) :]} "
                "and name its values in labels.yaml"
            )
        return onto_grid(Image(inside, stored.geometry), self.geometry, self.resample_masks, what)

    def input_files(self) -> Mapping[str, Sequence[Path]]:
        """Files by role: `image`, or `roi:` and a ROI key, so that a ROI of any name takes no other's place."""
        files = {"image": with_data(self.files.image)}
        files |= {f"roi:{name}": with_data(path) for name, path in self.masks.items()}
        for label_map in self.label_maps:
            parts = tuple(part for path in label_map.files for part in with_data(path))
            files |= {f"roi:{key}": parts for key in label_map.segments}
        return files


def find_volumes(case: str, folder: Path) -> VolumeFiles | None:
    """The image and the other volumes in a case folder, or None if there is no volume at all.

    The image lies in the folder itself: its stem is ct, image, volume, scan, CASE or CASE_0000 (with both, CASE is
    taken for nnU-Net's label map), or it is the only volume there besides label maps and has `ct` as a word in its
    stem. Every other volume in the folder and in one sub-folder is a mask or a label map; what lies deeper is only
    counted. Raises ChordomaError where that is not unique.
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
    deeper = count_deeper(folder)
    image = _image(case, folder, top)
    if len(below) > 1:
        raise ChordomaError(
            f"case '{case}': expected masks and label maps in one sub-folder of {folder}, found volumes in "
            f"{', '.join(sub.name for sub, _ in below)}; keep one"
        )
    others: dict[str, Path] = {}
    for path in [*(p for p in top if p != image), *(p for _, volumes in below for p in volumes)]:
        if stem(path) in others:
            raise ChordomaError(
                f"case '{case}': two masks named '{stem(path)}': {others[stem(path)].relative_to(folder)} and "
                f"{path.relative_to(folder)}; keep one"
            )
        others[stem(path)] = path
    if not others:
        found = f"only {deeper_volumes(deeper)}" if deeper else "none"
        raise ChordomaError(
            f"case '{case}': expected one mask per structure beside {image.name}, or one label map, found {found}; "
            "add files such as masks/gluteus_maximus_left.nii.gz, or labels.nii.gz with labels.yaml"
        )
    return VolumeFiles(folder, image, others, deeper)


def find_scan(case: str, path: Path) -> VolumeFiles | None:
    """The image of a scan alone: the file `path`, or the image in that folder; None if it holds no volume.

    Other volumes are left aside. Raises ChordomaError where it is not clear which one is the image.
    """
    if path.is_file():
        return VolumeFiles(path.parent, path, {})
    top = sorted(file for file in path.iterdir() if file.is_file() and is_volume(file))
    return VolumeFiles(path, top[0] if len(top) == 1 else _image(case, path, top), {}) if top else None


def count_deeper(folder: Path) -> int:
    """How many volumes lie below the sub-folders of a case folder, where nothing is taken from."""
    return sum(is_volume(path) and len(path.relative_to(folder).parts) > 2 for path in visible_files(folder))


def deeper_volumes(count: int) -> str:
    """In words and without names: this goes into the record, and folder names may hold those of patients."""
    return f"{count} volume(s) deeper than one sub-folder"


def open_volume_case(case: str, files: VolumeFiles, ignored: Sequence[str], options: SourceOptions) -> VolumeCase:
    """Read all headers, and label maps as a whole.

    Raises ChordomaError if a mask lies on another grid than the image and may not be resampled, if a label map
    lacks names, if a name occurs twice, or if a file that holds the voxels of a volume is missing.
    """
    geometry = read_geometry(files.image)
    if min(geometry.size) < 2:
        raise ChordomaError(f"case '{case}': expected a volume, found {files.image.name} of size {geometry.size}")
    others = tuple(files.others.values())
    label_maps = find_label_maps(case, files.folder, others, options.label_names) if options.references else ()
    of_label_map = {label_map.path for label_map in label_maps}
    masks = {name: path for name, path in files.others.items() if path not in of_label_map}
    for path in masks.values():
        require_fitting(read_geometry(path), geometry, options.resample_masks, f"case '{case}': mask {path.name}")
    for label_map in label_maps:
        if not label_map.blank:
            what = f"case '{case}': label map {label_map.path.name}"
            require_fitting(label_map.geometry, geometry, options.resample_masks, what)
    owners: dict[str, str] = {name: path.name for name, path in masks.items()}
    for label_map in label_maps:
        for key in label_map.segments:
            if key in owners:
                raise ChordomaError(
                    f"case '{case}': two ROIs named '{key}', in {owners[key]} and in {label_map.path.name}; keep one"
                )
            owners[key] = label_map.path.name
    for path in (files.image, *files.others.values()):
        with_data(path)
    deeper = (deeper_volumes(files.deeper),) if files.deeper else ()
    warnings = tuple(f"{text}: left out; if they are masks, move them into one sub-folder" for text in deeper)
    return VolumeCase(case, files, geometry, masks, label_maps, options.resample_masks, (*ignored, *deeper), warnings)


def _image(case: str, folder: Path, top: Sequence[Path]) -> Path:
    wanted = {*IMAGE_STEMS, case.casefold(), f"{case}_0000".casefold()}
    named = [path for path in top if stem(path).casefold() in wanted]
    if sorted(stem(path).casefold() for path in named) == sorted((case.casefold(), f"{case}_0000".casefold())):
        named = [path for path in named if stem(path).casefold() != case.casefold()]
    plain = [path for path in top if not says_label_map(path, case)]
    if not named and len(plain) == 1 and "ct" in re.findall(r"[a-z]+", stem(plain[0]).casefold()):
        named = plain
    if len(named) == 1:
        return named[0]
    suffixes = ", ".join(VOLUME_SUFFIXES)
    found = ", ".join(path.name for path in (named or top)[:5]) or "no volume"
    raise ChordomaError(
        f"case '{case}': expected one image named ct, image, volume, scan or {case} ({suffixes}) in {folder}, "
        f"found {found}; " + ("keep one" if named else "rename the CT to ct.nii.gz")
    )
