"""One patient of a kit: CT and contours for planning systems and for the viewer, all sources treated alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_chordoma.dataset_conversion.alignment.transform_chain import TransformChain
from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_hounsfield
from nnunet_chordoma.dataset_conversion.export.original_ct import CtFolder, find_original
from nnunet_chordoma.dataset_conversion.record import read_record
from nnunet_chordoma.evaluation.inputs import read_labels, require_same_grid
from nnunet_chordoma.files import sha256
from nnunet_chordoma.images import Image, read_image, write_image
from nnunet_chordoma.labels import CHORDOMA, LabelScheme
from nnunet_chordoma.review.blinding import Assignment
from nnunet_chordoma.review.key import KeyItem
from nnunet_chordoma.review.kit_contours import write_contours
from nnunet_chordoma.review.kit_ct import hounsfield, in_slices, write_ct

IMAGE = "image.nii.gz"
DICOM = "dicom"


@dataclass(frozen=True)
class PatientJob:
    """Everything that one patient is made of; `kit` is the folder of the kit, `label_maps` are by source.

    `shown` is the CT on the grid of the label maps or, where `ct` is given, the case's conversion record: then the
    patient is shown on the CT that was converted, and all label maps are mapped back to it.
    """

    kit: Path
    assignment: Assignment
    label_maps: Mapping[str, Path]
    shown: Path
    ct: CtFolder | None
    scheme: LabelScheme


def label_map_path(patient: str, contours: str) -> Path:
    """Where the label map of contours lies in a kit."""
    return Path(patient) / f"{contours}.nii.gz"


def rtstruct_path(patient: str, contours: str) -> Path:
    """Where the RTSTRUCT of contours lies in a kit."""
    return Path(patient) / DICOM / f"contours_{contours}.dcm"


def make_patient(job: PatientJob) -> tuple[KeyItem, ...]:
    """Write a patient's files and return what the key says of each set of contours, in the order of their names.

    Raises ChordomaError, naming the case, for files that are damaged or do not belong together.
    """
    patient, case = job.assignment.patient, job.assignment.case
    what = f"case '{case}'"
    image, chain = _image(job, what)
    ct = write_ct(job.kit / patient / DICOM / "ct", image, patient, what)
    write_image(job.kit / patient / IMAGE, image)
    items = []
    for contours, source in job.assignment.contours:
        labels = _labels(job, source, chain, f"{what}, {source}")
        paths = (label_map_path(patient, contours), rtstruct_path(patient, contours))
        rated = _renumbered(labels, job.scheme, job.scheme)
        write_image(job.kit / paths[0], Image(rated.array, image.geometry))
        drawn = Image(_renumbered(labels, job.scheme, CHORDOMA).array, ct.geometry)
        write_contours(job.kit / paths[1], ct, drawn, job.scheme.structures, contours, f"{what}, {source}")
        digests = {path.as_posix(): sha256(job.kit / path) for path in paths}
        items.append(KeyItem(patient, contours, case, source, digests))
    return tuple(items)


def _image(job: PatientJob, what: str) -> tuple[Image, TransformChain | None]:
    """The CT in whole HU, and the way from the dataset to it if it is not on the dataset's grid."""
    if job.ct is None:
        return hounsfield(in_slices(read_image(job.shown))), None
    record = read_record(job.shown)
    return hounsfield(in_slices(read_hounsfield(find_original(record, job.ct), what))), record.chain


def _labels(job: PatientJob, source: str, chain: TransformChain | None, what: str) -> Image:
    """A label map as uint8 on the grid of the patient's CT, by the same way for every source."""
    stored = read_labels(job.label_maps[source], job.scheme, what)
    labels = Image(stored.array.astype(np.uint8), stored.geometry)
    if chain is not None:
        require_same_grid(chain.target, labels.geometry, f"{what}: {job.label_maps[source]}")
        labels = chain.smooth_labels_to_source(labels)
    return in_slices(labels)


def _renumbered(labels: Image, scheme: LabelScheme, target: LabelScheme) -> Image:
    """The structures alone, with their values in `target`; the body and all else become 0."""
    values = np.zeros(len(scheme), dtype=np.uint8)
    for name in scheme.structures:
        values[scheme.value(name)] = target.value(name)
    return Image(values[labels.array], labels.geometry)
