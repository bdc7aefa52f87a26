"""The phantom cohort as a user's folder: some cases as DICOM with contours, the rest as volumes with masks."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_chordoma.demo.dicom import write_ct, write_rtstruct
from nnunet_chordoma.demo.phantom import Patient, draw_ct, draw_patient, draw_structures
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image

IN_PLANE_MM = (1.0, 1.3, 0.9, 1.1)
SLICE_MM = (2.5, 3.75, 2.5, 2.5)
"""Voxel sizes taken in turn, after the paper's Table 2."""

NEW_PATIENT = "new_patient"
FIELD_MM = (90.0, 84.0, 106.0)
SUFFIXES = (".nii.gz", ".mha", ".nrrd")
CLINICAL_NAMES = {
    "gtv": "GTV",
    "body": "BODY",
    "gluteus_maximus": "Glut Max",
    "gluteus_medius": "Glut Med",
    "gluteus_minimus": "Glut Min",
    "paraspinal": "Paraspinal",
    "piriformis": "Piriformis",
}


@dataclass(frozen=True)
class CohortPlan:
    """How many patients of which kind; the last `outliers` cases have no piriformis."""

    cases: int = 16
    outliers: int = 2
    dicom_cases: int = 3
    supine_every: int = 4
    seed: int = 2023

    @property
    def names(self) -> list[str]:
        return [f"phantom_{i:02d}" for i in range(1, self.cases + 1)]


def scan_geometry(number: int, *, prone: bool) -> Geometry:
    """Grid of the scan: anisotropic, and for a prone patient turned by half a turn about the long axis."""
    in_plane, slice_ = IN_PLANE_MM[number % len(IN_PLANE_MM)], SLICE_MM[number % len(SLICE_MM)]
    spacing = (in_plane, in_plane, slice_)
    size = tuple(round(f / s) for f, s in zip(FIELD_MM, spacing, strict=True))
    turn = -1.0 if prone else 1.0
    signs = (turn, turn, 1.0)
    origin = tuple(-sign * (n - 1) / 2 * s for sign, n, s in zip(signs, size, spacing, strict=True))
    return Geometry.from_json(
        {"size": size, "spacing_mm": spacing, "origin_mm": origin, "direction": np.diag(signs).ravel()}
    )


def draw_case(plan: CohortPlan, number: int) -> tuple[Patient, Geometry, np.random.Generator]:
    """Patient `number` (from 0) of the cohort; the same for the same seed whatever else is drawn."""
    rng = np.random.default_rng([plan.seed, number])
    prone = number % plan.supine_every != plan.supine_every - 1
    patient = draw_patient(plan.names[number], rng, prone=prone, outlier=number >= plan.cases - plan.outliers)
    return patient, scan_geometry(number, prone=prone), rng


def write_case(plan: CohortPlan, number: int, folder: Path) -> Path:
    """Write one case below `folder` unless it is there; complete or not at all. Returns its folder."""
    case = folder / plan.names[number]
    if case.is_dir():
        return case
    patient, geometry, rng = draw_case(plan, number)
    masks = draw_structures(patient, geometry)
    ct = Image(draw_ct(patient, geometry, masks, rng), geometry)
    aside = folder / f".partial-{case.name}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    if number < plan.dicom_cases:
        write_ct(aside, ct, case.name, "HFP" if patient.prone else "HFS")
        write_rtstruct(aside / "rtstruct.dcm", {clinical_name(k): v for k, v in masks.items()}, geometry, case.name)
    else:
        suffix = SUFFIXES[number % len(SUFFIXES)]
        write_image(aside / f"ct{suffix}", ct)
        for name, mask in masks.items():
            write_image(aside / "masks" / f"{name}{suffix}", Image(mask, geometry))
    aside.replace(case)
    return case


def write_new_patient(plan: CohortPlan, folder: Path) -> Path:
    """A patient beyond the cohort, prone, as CT DICOM without contours, unless it is there; returns its folder."""
    path = folder / NEW_PATIENT
    if path.is_dir():
        return path
    rng = np.random.default_rng([plan.seed, plan.cases])
    patient, geometry = draw_patient(path.name, rng, prone=True, outlier=False), scan_geometry(plan.cases, prone=True)
    aside = folder / f".partial-{path.name}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    ct = draw_ct(patient, geometry, draw_structures(patient, geometry), rng)
    write_ct(aside, Image(ct, geometry), path.name, "HFP")
    aside.replace(path)
    return path


def clinical_name(roi: str) -> str:
    """What a planner types: `gluteus_maximus_left` becomes `Glut Max Lt`."""
    for side, short in (("_left", " Lt"), ("_right", " Rt")):
        if roi.endswith(side):
            return CLINICAL_NAMES[roi.removesuffix(side)] + short
    return CLINICAL_NAMES[roi]
