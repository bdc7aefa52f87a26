"""A converted cohort of scans in all positions, and predictions of an asymmetric patient for it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from nnunet_chordoma.dataset_conversion.record import read_record
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.layout import RAW

POSITIONS = ("HFS", "HFP", "FFS", "FFP")
CASES = (*POSITIONS, "oblique", "fine")
DULLNESS_MM = 1.5


@dataclass(frozen=True)
class Ball:
    """An ellipsoid in the patient (LPS mm), possibly hollow: `hole` is its inner share."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    hole: float = 0.0

    @property
    def volume_cm3(self) -> float:
        return 4 / 3 * np.pi * float(np.prod(self.radii)) * (1 - self.hole**3) / 1000

    def depth_mm(self, points: np.ndarray) -> np.ndarray:
        """About how far inside a point lies, negative outside."""
        scaled = np.linalg.norm((points - self.centre) / np.asarray(self.radii), axis=-1)
        return np.minimum(1 - scaled, scaled - self.hole if self.hole else np.inf) * min(self.radii)


# +x is the patient's left. No two sides are alike.
BALLS = {
    "gluteus_maximus": (Ball((20, 8, 2), (13, 14, 19)), Ball((-18, 8, -4), (9, 10, 11))),
    "gtv": (Ball((0, -12, 0), (12, 11, 18), hole=0.45),),
    "piriformis": (Ball((24, -16, 3), (7, 6, 8)),),
}


def turned() -> np.ndarray:
    a, b, c = np.radians([4, -5, 7])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def oblique_grid(make) -> Geometry:
    upright = make.scan_grid("HFS")
    turn = turned()
    origin = tuple(float(v) for v in turn @ upright.origin_mm)
    return Geometry(upright.size, upright.spacing_mm, origin, tuple(float(v) for v in turn.ravel()))


def write_oblique_case(folder: Path, make) -> None:
    """A supine patient scanned on oblique slices; the patient is not turned."""
    grid = oblique_grid(make)
    starts = grid.to_physical_mm([[0, 0, z] for z in range(grid.size[2])])
    series = make.ct(folder / "ct", make.draw_patient(grid), starts, turned().T[:2].ravel())
    x, y = np.array([0.0, 36.0, 36.0, 0.0]), np.array([0.0, 0.0, 30.0, 30.0])
    contours = [grid.to_physical_mm(np.column_stack([x + 2, y + 2, np.full(4, z)])) for z in range(4, 10)]
    make.rtstruct(folder / "rs.dcm", [("gtv", contours)], series)


def write_fine_case(folder: Path, make) -> None:
    """Pixels of 0.25 mm, of which structures have so many that those on their edge count little."""
    size, spacing = (304, 272, 8), (0.25, 0.25, 6.0)
    grid = Geometry(size, spacing, tuple(float(v) for v in -(np.array(size) - 1) / 2 * spacing))
    starts = grid.to_physical_mm([[0, 0, z] for z in range(grid.size[2])])
    series = make.ct(folder / "ct", make.draw_patient(grid), starts, pixel_spacing=(0.25, 0.25))
    make.rtstruct(folder / "rs.dcm", [("gtv", make.boxes((-8, -8, -16), (4, 0, -4), starts[:, 2]))], series)


def complete(folder: Path) -> None:
    """What clinical CTs have besides."""
    for case in folder.iterdir():
        study = generate_uid()
        for path in (case / "ct").iterdir():
            slice_ = dcmread(path)
            slice_.StudyInstanceUID, slice_.StudyID, slice_.StudyTime = study, "17", "101500"
            slice_.PatientSex, slice_.PatientAge = "F", "068Y"
            slice_.SpecificCharacterSet = "ISO_IR 192"
            slice_.PatientName = "Müller^Jane"
            if case.name == "oblique":
                # As in public archives.
                profile = Dataset()
                profile.CodeValue, profile.CodingSchemeDesignator = "113100", "DCM"
                profile.CodeMeaning = "Basic Application Confidentiality Profile"
                slice_.PatientIdentityRemoved, slice_.DeidentificationMethodCodeSequence = "YES", [profile]
            slice_.save_as(path)


@pytest.fixture(scope="session")
def cohort(make, tmp_path_factory) -> SimpleNamespace:
    """`source` with the DICOM of all cases, and `dataset`, converted from it."""
    from nnunet_chordoma import console
    from nnunet_chordoma.dataset_conversion.cli import LIST_OPTIONS, app

    folder = tmp_path_factory.mktemp("cohort")
    for position in POSITIONS:
        make.dicom_case(folder / f"source/{position}", position)
    write_oblique_case(folder / "source/oblique", make)
    write_fine_case(folder / "source/fine", make)
    complete(folder / "source")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RAW, str(folder / "raw"))
        arguments = ["run", folder / "source", "--dataset-id", 5, "--size", "60,56,44", "--workers", 1, "--no-align"]
        with pytest.raises(SystemExit) as end:
            console.run(app, list_options=LIST_OPTIONS, arguments=[str(a) for a in arguments])
    assert end.value.code == 0
    return SimpleNamespace(source=folder / "source", dataset=folder / "raw/Dataset005_Chordoma")


def probabilities_of(chain, balls=None) -> np.ndarray:
    """Softmax-like probabilities (label, z, y, x) on the dataset's grid for structures that lie in the patient."""
    z, y, x = np.indices(chain.target.shape_zyx)
    index = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
    points = chain.to_source_mm(chain.target.to_physical_mm(index)).reshape(*chain.target.shape_zyx, 3)
    scores = np.full((len(CHORDOMA), *chain.target.shape_zyx), -8.0, dtype=np.float32)
    scores[CHORDOMA.value("body")] = 0
    for name, shapes in (BALLS if balls is None else balls).items():
        depth = np.max([ball.depth_mm(points) for ball in shapes], axis=0)
        scores[CHORDOMA.value(name)] = np.clip(2 * depth / DULLNESS_MM, -8, 8)
    powers = np.exp(scores)
    return powers / powers.sum(axis=0)


def write_prediction(folder: Path, case: str, chain, balls=None, save=True) -> Path:
    """CASE.nii.gz and, with `save`, CASE.npz as nnU-Net writes them."""
    probabilities = probabilities_of(chain, balls)
    write_image(folder / f"{case}.nii.gz", Image(probabilities.argmax(axis=0).astype(np.uint8), chain.target))
    if save:
        np.savez_compressed(folder / f"{case}.npz", probabilities=probabilities.astype(np.float16))
    return folder


@pytest.fixture(scope="session")
def predicted(cohort, tmp_path_factory) -> Path:
    """Predictions with probabilities of all cases of the cohort; not to be written into."""
    folder = tmp_path_factory.mktemp("predicted") / "unet_dice"
    for case in CASES:
        write_prediction(folder, case, read_record(cohort.dataset / f"conversion/{case}.json").chain)
    return folder


@pytest.fixture
def one_prediction(predicted, tmp_path) -> Path:
    """Predictions of HFS alone, which may be changed."""
    folder = tmp_path / "one"
    folder.mkdir()
    for path in predicted.glob("HFS.*"):
        shutil.copy2(path, folder)
    return folder


@pytest.fixture(scope="session")
def phantom() -> SimpleNamespace:
    return SimpleNamespace(BALLS=BALLS, CASES=CASES, Ball=Ball, write=write_prediction, probabilities=probabilities_of)


@pytest.fixture
def export(convert, cohort, tmp_path):
    """Run chordoma-convert export into `tmp_path/out` on the cohort; further options override."""

    def call(*arguments: object, ct: bool = True) -> SimpleNamespace:
        places = ("--conversion", cohort.dataset, "-o", tmp_path / "out", "--workers", 1)
        original = ("--ct", cohort.source) if ct else ()
        return convert("export", *places, *original, *arguments)

    return call
