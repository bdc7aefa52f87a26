"""Registration of a planning CT to the reference case, on a pelvis drawn from formulas and on a real one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from nnunet_chordoma.dataset_conversion.alignment import registration
from nnunet_chordoma.dataset_conversion.alignment.registration import Alignment, align, choose_reference
from nnunet_chordoma.dataset_conversion.alignment.transform_chain import IDENTITY, TransformChain
from nnunet_chordoma.dataset_conversion.anatomy.body import body_from_ct
from nnunet_chordoma.dataset_conversion.anatomy.bone import bone_image, pelvic_bone
from nnunet_chordoma.demo import cohort, phantom
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, from_sitk, read_image

# ---------------------------------------------------------------------------------------------------------------------
# A pelvis of natural size in LPS mm around the middle of the pelvic ring: x to the left, y to the back, z to the head.
# ---------------------------------------------------------------------------------------------------------------------

LANDMARKS = np.array(
    [[110, -30, 90], [-110, -30, 90], [0, 60, 40], [90, 0, -60], [-90, 0, -60], [0, -50, -70], [0, 30, 0]], dtype=float
)
"""Points of the pelvic ring: crests, sacrum, acetabula, symphysis, and its middle."""

HIP = np.array([90.0, 0.0, -65.0])


def rotation(axis: str, degrees: float) -> np.ndarray:
    return np.asarray(Rotation.from_euler(axis, degrees, degrees=True).as_matrix())


def motion(turn: np.ndarray, shift) -> np.ndarray:
    """4x4 matrix of a rotation about the middle of the pelvis and a shift."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, shift
    return matrix


def moved(matrix, points) -> np.ndarray:
    matrix = np.asarray(matrix)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def ellipsoid(points, centre, radii):
    return np.sqrt((((points - centre) / radii) ** 2).sum(axis=-1))


def shell(points, centre, radii, thickness=0.12):
    return np.abs(ellipsoid(points, centre, radii) - 1) < thickness


@dataclass(frozen=True)
class Drawing:
    """What varies between drawings. `widths` stretches the patient along x, y, z."""

    flexion_deg: float = 0.0
    lordosis_deg: float = 0.0
    no_sacrum: bool = False
    metal_hip: bool = True
    widths: tuple[float, float, float] = (1.0, 1.0, 1.0)


def draw(points: np.ndarray, how: Drawing) -> np.ndarray:
    """HU at points (n, 3) of the patient."""
    points = (points / how.widths).astype(np.float32)
    x, y = points[:, 0], points[:, 1]
    values = np.where((x / 190) ** 2 + ((y - 15) / 120) ** 2 < 1, 30.0, -1000.0).astype(np.float32)
    values[(np.abs(y - 150) < 6) & (np.abs(x) < 220)] = 200  # couch
    within = (np.abs(x) < 130) & (y > -95) & (y < 125)
    values[within] = draw_bones(points[within], how)
    return values


def draw_bones(points: np.ndarray, how: Drawing) -> np.ndarray:
    """HU at points (n, 3) well within the body."""
    x, y, z = points.T
    values = np.full(len(points), 30.0, np.float32)
    # Spine: vertebrae that bend with the lordosis.
    bend = np.tan(np.deg2rad(how.lordosis_deg)) * np.clip(z - 80, 0, None)
    spine = points - np.column_stack([0 * bend, bend, 0 * bend])
    for level in range(6):
        centre = np.array([0.0, 35.0, 108.0 + 34 * level])
        distance = ellipsoid(spine, centre, (26, 20, 15))
        values[distance < 1] = np.where(distance < 0.8, 220, 600)[distance < 1]
        values[ellipsoid(spine, centre + np.array([0, 38, -4]), (5, 16, 9)) < 1] = 450
    for side in (1, -1):
        # Iliac wings: the outer part of a bowl, open to the front and to the middle.
        wing = shell(points, (side * 35, 10, 55), (80, 72, 85), 0.05) & (side * x > 45) & (z > -20) & (y > -50)
        values[wing] = 650
        socket = shell(points, side * HIP * (1, side, side), (30, 30, 30)) & (z > -75) & (side * x < 100)
        values[socket] = 700
        # Pubis and ischium: a ring around the obturator foramen.
        across = np.hypot((side * x - 45) / 35, (z + 85) / 38)
        values[(np.abs(across - 1) < 0.22) & (np.abs(y + 25 - 0.5 * (side * x - 45)) < 9)] = 500
        femur = (points - side * HIP * (1, side, side)) @ rotation("x", how.flexion_deg)
        distance = np.hypot(femur[..., 0] - side * 25, femur[..., 1] - 5)
        shaft = (np.abs(distance - 11) < 5) & (femur[..., 2] < -25)
        values[shaft] = 1200
        head = (ellipsoid(femur, (0, 0, 0), (23, 23, 23)) < 1) | (
            (np.abs(femur[..., 1]) < 12)
            & (np.abs(femur[..., 2] + 0.8 * side * femur[..., 0]) < 14)
            & (side * femur[..., 0] > 0)
            & (side * femur[..., 0] < 35)
        )
        values[head] = 3071 if how.metal_hip and side == 1 else 320
    if not how.no_sacrum:
        sacrum = (points - (0.0, 62.0, 45.0)) @ rotation("x", 30)
        distance = ellipsoid(sacrum, (0, 0, 0), (52, 16, 58))
        values[distance < 1] = np.where(distance < 0.8, 210, 450)[distance < 1]
    return values


def scan(
    z_range=(-300.0, 270.0),
    matrix=None,
    how=Drawing(),
    spacing=(3.5, 3.5, 5.0),
    noise=25.0,
    seed=0,
) -> Image:
    """A CT of the pelvis moved by `matrix` (reference position to scan); `z_range` moves with it, the couch too."""
    matrix = np.eye(4) if matrix is None else matrix
    centre = moved(matrix, np.zeros((1, 3)))[0]
    low, high = (centre + np.array([*corner, z]) for corner, z in zip(((-215, -125), (215, 165)), z_range, strict=True))
    size = tuple(int(n) + 1 for n in (high - low) / spacing)
    grid = Geometry(size, spacing, tuple(float(v) for v in low))
    z, y, x = np.indices(grid.shape_zyx)
    points = grid.to_physical_mm(np.column_stack([x.ravel(), y.ravel(), z.ravel()]))
    values = draw(moved(np.linalg.inv(matrix), points), how).reshape(grid.shape_zyx)
    values += np.random.default_rng(seed).normal(0, noise, values.shape)
    return Image(values.clip(-1024, 3071).astype(np.int16), grid)


def picture(image: Image) -> Image:
    return bone_image(image, body_from_ct(image, "a scan"), IDENTITY)


@pytest.fixture(scope="module")
def reference() -> Image:
    """From the middle of the spine to the middle of the thighs."""
    return picture(scan())


def error(alignment: Alignment, matrix: np.ndarray) -> tuple[float, float]:
    """Largest distance in mm and angle in degrees between what undoes `matrix` and what was found."""
    found = np.asarray(alignment.rigid)
    back = moved(found, moved(matrix, LANDMARKS))
    turn = found[:3, :3] @ matrix[:3, :3]
    angle = np.degrees(np.linalg.norm(Rotation.from_matrix(turn).as_rotvec()))
    return float(np.linalg.norm(back - LANDMARKS, axis=1).max()), float(angle)


# ---------------------------------------------------------------------------------------------------------------------
# Known motions are undone.
# ---------------------------------------------------------------------------------------------------------------------


def test_phantom_is_drawn_as_meant(reference):
    kept = reference.geometry.to_physical_mm(np.argwhere(pelvic_bone(reference))[:, ::-1])
    # Of the 570 mm of the scan, those from the ischia (-131 mm) to the crests (140 mm).
    assert kept[:, 2].min() > -131
    assert kept[:, 2].max() < 140
    assert np.ptp(kept[:, 2]) > 200


@pytest.mark.parametrize(
    ("axis", "degrees", "shift", "z_range"),
    [
        ("x", 0.0, (0.0, 0.0, 80.0), (-300.0, 270.0)),
        ("x", 20.0, (30.0, -40.0, 60.0), (-140.0, 150.0)),
        ("x", -20.0, (-50.0, 20.0, -55.0), (-260.0, 130.0)),
        ("y", 20.0, (-10.0, 5.0, 20.0), (-130.0, 280.0)),
        ("xyz", 9.0, (5.0, 70.0, 35.0), (-60.0, 200.0)),
    ],
)
def test_known_motion_is_undone(reference, axis, degrees, shift, z_range):
    matrix = motion(rotation(axis, [degrees] * 3 if len(axis) == 3 else degrees), shift)
    spacing = (2.5, 2.5, 5.0) if axis == "y" else (3.0, 3.0, 4.0)
    case = picture(scan(z_range, matrix, spacing=spacing, noise=40, seed=3))
    alignment = align(case, reference, 1, "case 'a'")
    assert (alignment.method, alignment.rejected) == ("bone", None)
    distance_mm, angle_deg = error(alignment, matrix)
    assert distance_mm < 1.5
    assert angle_deg < 1.0
    assert alignment.overlap_after > 0.7
    assert alignment.overlap_after > alignment.overlap_before
    assert alignment.metric_after > alignment.metric_before
    turned = np.degrees(np.linalg.norm(Rotation.from_matrix(matrix[:3, :3]).as_rotvec()))
    assert alignment.rotation_deg == pytest.approx(turned, abs=1)
    # The centre of pelvic bone lies within some 35 mm of the axis of rotation.
    assert alignment.shift_mm == pytest.approx(np.linalg.norm(shift), abs=1 + np.deg2rad(turned) * 35)


def test_matrix_leads_from_the_scan_to_the_reference(reference):
    """A patient who lies 40 mm further left and 30 mm higher, turned by 15 degrees about the long axis."""
    matrix = motion(rotation("z", 15), (40, 0, 30))
    alignment = align(picture(scan((-150, 200), matrix)), reference, 1, "case 'a'")
    rigid = np.asarray(alignment.rigid)
    assert moved(rigid, np.array([[40.0, 0.0, 30.0]]))[0] == pytest.approx([0, 0, 0], abs=1)
    # The left hip (90, 0, -65) lies at (40 + 90 cos 15, 90 sin 15, -35) in the scan.
    assert moved(rigid, np.array([[126.93, 23.29, -35.0]]))[0] == pytest.approx([90, 0, -65], abs=1)
    assert rigid[:3, 0] == pytest.approx([0.966, -0.259, 0], abs=0.01)
    assert alignment.rotation_deg == pytest.approx(15, abs=0.5)
    TransformChain(
        Geometry((2, 2, 2), (1, 1, 1), (0, 0, 0)), Geometry((2, 2, 2), (1, 1, 1), (0, 0, 0)), alignment.rigid
    )


def test_pelvic_ring_decides_where_femora_and_spine_have_moved(reference):
    """A prone patient with flexed hips, less lordosis and a sacrum that the tumour has destroyed."""
    matrix = motion(rotation("x", 12), (10, -20, 40))
    how = Drawing(flexion_deg=18, lordosis_deg=12, no_sacrum=True, metal_hip=False)
    alignment = align(picture(scan((-260, 200), matrix, how)), reference, 1, "case 'a'")
    assert alignment.method == "bone"
    distance_mm, angle_deg = error(alignment, matrix)
    assert distance_mm < 3
    assert angle_deg < 1.5


def test_another_patient_is_laid_on_the_reference(reference):
    matrix = motion(rotation("x", -10), (0, 15, -30))
    how = Drawing(flexion_deg=-8, widths=(1.06, 0.96, 0.94), metal_hip=False)
    alignment = align(picture(scan((-200, 170), matrix, how)), reference, 1, "case 'a'")
    assert (alignment.method, alignment.rejected) == ("bone", None)
    distance_mm, angle_deg = error(alignment, matrix)
    # The crests alone differ by 7 mm.
    assert distance_mm < 12
    assert angle_deg < 4


def test_a_case_that_lies_well_already_stays(reference):
    alignment = align(reference, reference, 1, "case 'a'")
    assert (alignment.method, alignment.rejected) == ("bone", None)
    assert alignment.overlap_before == 1
    assert alignment.overlap_after > 0.99
    assert alignment.shift_mm < 0.1
    assert alignment.rotation_deg < 0.1


def test_result_depends_on_pictures_and_seed_alone(reference):
    case = picture(scan((-140, 150), motion(rotation("y", 8), (20, 5, 30))))
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        results = []
        for count in (1, 4):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)
            results.append(align(case, reference, 7, "case 'a'"))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    assert results[0] == results[1]


# ---------------------------------------------------------------------------------------------------------------------
# What cannot be trusted is rejected.
# ---------------------------------------------------------------------------------------------------------------------


def only_shifted(alignment: Alignment) -> bool:
    rigid = np.asarray(alignment.rigid)
    return alignment.method == "centroid" and np.array_equal(rigid[:3, :3], np.eye(3)) and alignment.rotation_deg == 0


def pelvic_centre(case: Image) -> np.ndarray:
    return case.geometry.to_physical_mm(np.argwhere(pelvic_bone(case))[:, ::-1]).mean(axis=0)


def test_thighs_are_not_registered_to_a_pelvis():
    pelvis = picture(scan((-110, 270)))
    thighs = picture(scan((-300, -120)))
    alignment = align(thighs, pelvis, 1, "case 'a'")
    assert only_shifted(alignment)
    assert "expected at least" in alignment.rejected
    assert moved(alignment.rigid, pelvic_centre(thighs)[None])[0] == pytest.approx(pelvic_centre(pelvis))
    assert alignment.overlap_after == alignment.overlap_before
    assert alignment.shift_mm == pytest.approx(np.linalg.norm(pelvic_centre(pelvis) - pelvic_centre(thighs)), rel=1e-6)


@pytest.mark.real_data
def test_a_pelvis_upside_down_is_not_registered(real_pelvis):
    grid = real_pelvis.picture.geometry
    alignment = align(Image(real_pelvis.picture.array[::-1].copy(), grid), real_pelvis.picture, 1, "case 'a'")
    assert only_shifted(alignment)
    assert "expected at least 0.4" in alignment.rejected


def test_little_bone_is_not_registered(reference):
    empty = Image(np.full((60, 50, 70), 150, np.int16), Geometry((70, 50, 60), (3.0, 3.0, 3.0), (0, 0, 500.0)))
    alignment = align(empty, reference, 1, "case 'a'")
    assert only_shifted(alignment)
    assert alignment.rejected == "the scan shows 0.0 cm3 of bone, too little"
    # The middle of the field of view is all there is to go by.
    middle = np.array([[103.5, 73.5, 588.5]])
    assert moved(alignment.rigid, middle)[0] == pytest.approx(pelvic_centre(reference))
    assert alignment.overlap_after is None
    turned = align(reference, empty, 1, "case 'a'")
    assert turned.rejected == "the reference shows 0.0 cm3 of bone, too little"


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (None, "no start of the registration"),
        (motion(rotation("z", 0), (6, 0, 0)), "for the bone centroids alone"),
        (motion(rotation("z", 0), (14, 14, 14)), "expected at least 0.4"),
        (motion(rotation("x", 41), (0, 0, 0)), "rotation of 41 degrees, expected at most 40"),
        (motion(rotation("x", 0), (0, 0, 220)), "of the reference's pelvic bone after registration"),
    ],
)
def test_bad_results_of_the_search_are_refused(reference, monkeypatch, matrix, reason):
    """The search finds better; here it is made to return what it must not."""
    monkeypatch.setattr(registration, "search", lambda *_: matrix)
    case = picture(scan((-150, 200)))
    monkeypatch.setattr(registration, "translation", lambda *_: np.eye(4))
    alignment = align(case, reference, 1, "case 'a'")
    assert only_shifted(alignment)
    assert reason in alignment.rejected


def test_pictures_that_are_not_bone_images_are_refused(reference):
    tall = Image(np.zeros((5, 5, 5), np.int16), Geometry((5, 5, 5), (1.0, 1.0, 2.0), (0, 0, 0)))
    with pytest.raises(ChordomaError, match="case 'a': its bone image: expected isotropic voxels"):
        align(tall, reference, 1, "case 'a'")
    with pytest.raises(ChordomaError, match="case 'a': the bone image of the reference case"):
        align(reference, tall, 1, "case 'a'")


# ---------------------------------------------------------------------------------------------------------------------
# The record.
# ---------------------------------------------------------------------------------------------------------------------

SHIFTED = Alignment(
    ((1.0, 0.0, 0.0, 5.0), *IDENTITY[1:]), "centroid", 0.1, 0.1, -0.2, -0.2, 0.0, 5.0, "too little bone"
)


@pytest.mark.parametrize("alignment", [Alignment.none(), Alignment.reference(), SHIFTED])
def test_json_round_trip(alignment):
    assert Alignment.from_json(json.loads(json.dumps(alignment.to_json()))) == alignment


def test_nothing_moves_without_alignment():
    assert (Alignment.none().method, Alignment.none().rigid) == ("none", IDENTITY)
    assert (Alignment.reference().method, Alignment.reference().rigid) == ("reference", IDENTITY)


@pytest.mark.parametrize(
    ("change", "needed"),
    [
        ({"method": "guess"}, "a method of reference, bone, centroid, none, found 'guess'"),
        ({"rigid": [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}, "a rigid 4x4 matrix"),
        ({"rigid": [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}, "a rigid 4x4 matrix"),
        ({"rigid": [[1, 0], [0, 1]]}, "a rigid 4x4 matrix"),
        ({"rigid": [[1, 0, 0, float("nan")], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}, "a rigid 4x4 matrix"),
        ({"rigid": "diagonal"}, "incomplete alignment"),
        ({"method": "none", "rejected": None}, "the identity for method 'none'"),
        ({"rejected": None}, "a reason for method 'centroid' and for no other"),
        ({"method": "bone"}, "a reason for method 'centroid' and for no other"),
        ({"overlap_after": 1.2}, "overlap_after between 0 and 1, found 1.2"),
        ({"metric_before": -1.2}, "metric_before between -1 and 1, found -1.2"),
        ({"rotation_deg": -3}, "a rotation of 0 to 180 degrees"),
        ({"shift_mm": float("nan")}, "a shift of at least 0 mm"),
        ({"overlap_before": "much"}, "incomplete alignment"),
    ],
)
def test_impossible_records_are_refused(change, needed):
    with pytest.raises(ChordomaError, match=needed):
        Alignment.from_json(SHIFTED.to_json() | change)


@pytest.mark.parametrize("name", list(SHIFTED.to_json()))
def test_incomplete_records_are_refused(name):
    values = SHIFTED.to_json()
    del values[name]
    with pytest.raises(ChordomaError, match="incomplete alignment"):
        Alignment.from_json(values)


# ---------------------------------------------------------------------------------------------------------------------
# The choice of the reference.
# ---------------------------------------------------------------------------------------------------------------------


def test_reference_is_the_most_typical_case():
    cases = {
        "huge": (2400.0, 700.0),
        "b": (800.0, 400.0),
        "c": (840.0, 410.0),
        "d": (900.0, 420.0),
        "cut": (200.0, 90.0),
    }
    assert choose_reference(cases) == "c"
    assert choose_reference(dict(reversed(cases.items()))) == "c"


def test_units_do_not_matter_for_the_reference():
    """In mm3 bone would drown the coverage, were distances not relative."""
    cases = {"a": (700.0, 300.0), "b": (800.0, 310.0), "c": (760.0, 500.0), "d": (780.0, 200.0), "e": (820.0, 330.0)}
    assert choose_reference({k: (v * 1000, z) for k, (v, z) in cases.items()}) == choose_reference(cases) == "b"


def test_equally_typical_cases_go_by_name():
    assert choose_reference({"z": (1.0, 2.0), "a": (1.0, 2.0)}) == "a"
    assert choose_reference({"only": (0.0, 0.0)}) == "only"
    with pytest.raises(ChordomaError, match="at least one training case"):
        choose_reference({})


# ---------------------------------------------------------------------------------------------------------------------
# The demonstration's patients and real scans.
# ---------------------------------------------------------------------------------------------------------------------


def demo_picture(number: int, prone: bool, outlier: bool) -> Image:
    rng = np.random.default_rng(number)
    patient = phantom.draw_patient(f"case_{number}", rng, prone=prone, outlier=outlier)
    grid = cohort.scan_geometry(number, prone=prone)
    return picture(Image(phantom.draw_ct(patient, grid, phantom.draw_structures(patient, grid), rng), grid))


@pytest.mark.parametrize(("number", "prone", "outlier"), [(1, True, False), (2, False, False), (3, True, True)])
def test_miniature_patients_of_the_demonstration_are_aligned(number, prone, outlier):
    alignment = align(demo_picture(number, prone, outlier), demo_picture(0, True, False), 1, "case 'a'")
    assert (alignment.method, alignment.rejected) == ("bone", None)
    assert alignment.overlap_after >= alignment.overlap_before
    assert alignment.shift_mm < 3
    assert alignment.rotation_deg < 3


@pytest.fixture(scope="module")
def real_pelvis(real_data) -> SimpleNamespace:
    image = read_image(real_data / "totalsegmentator" / "example_ct.nii.gz")
    body = body_from_ct(image, "example_ct")
    return SimpleNamespace(ct=image, body=body, picture=bone_image(image, body, IDENTITY))


def real_copy(ct: Image, body: np.ndarray, matrix: np.ndarray, spacing, shape_zyx, first_mm) -> Image:
    """The real patient moved by `matrix`, in another field of view and resolution, with noise."""
    grid = Geometry(tuple(reversed(shape_zyx)), spacing, first_mm)
    z, y, x = np.indices(shape_zyx)
    points = grid.to_physical_mm(np.column_stack([x.ravel(), y.ravel(), z.ravel()]))
    index = ct.geometry.to_index(moved(np.linalg.inv(matrix), points))[:, ::-1].T
    inside = np.where(body, ct.array, -1000).astype(np.float32)
    values = ndimage.map_coordinates(inside, index, order=1, cval=-1000).reshape(shape_zyx)
    values += np.random.default_rng(4).normal(0, 30, shape_zyx)
    return Image(values.clip(-1024, 3071).astype(np.int16), grid)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("axis", "degrees", "shift", "z_mm"),
    [("x", 18.0, (20.0, -35.0, 60.0), (120.0, 260.0)), ("z", -12.0, (-60.0, 10.0, -40.0), (40.0, 340.0))],
)
def test_moved_copy_of_a_real_pelvis_is_brought_back(real_pelvis, axis, degrees, shift, z_mm):
    ct = real_pelvis.ct
    corner = ct.geometry.corners_mm.min(axis=0)
    pelvis = ct.geometry.to_physical_mm([[61, 50, 30]])[0]
    about = motion(np.eye(3), pelvis) @ motion(rotation(axis, degrees), shift) @ motion(np.eye(3), -pelvis)
    low = (*(corner[:2] + np.asarray(shift)[:2] - 20), corner[2] + z_mm[0] - 100 + shift[2])
    shape = (int((z_mm[1] - z_mm[0]) / 4), 136, 162)
    copy = real_copy(ct, real_pelvis.body, about, (2.5, 2.5, 4.0), shape, tuple(float(v) for v in low))
    alignment = align(picture(copy), real_pelvis.picture, 1, "case 'a'")
    assert (alignment.method, alignment.rejected) == ("bone", None)
    back = moved(alignment.rigid, moved(about, pelvis + LANDMARKS))
    assert np.linalg.norm(back - pelvis - LANDMARKS, axis=1).max() < 1.5
    assert alignment.overlap_after > 0.8
    turned = np.asarray(alignment.rigid)[:3, :3] @ about[:3, :3]
    assert np.degrees(np.linalg.norm(Rotation.from_matrix(turned).as_rotvec())) < 1


@pytest.mark.real_data
@pytest.mark.parametrize("patient", ["STS_003", "STS_015", "STS_021", "STS_026", "STS_044"])
def test_real_thighs_are_not_registered_to_a_real_pelvis(real_pelvis, sarcomas, patient):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(sarcomas / patient / "image")))
    alignment = align(picture(from_sitk(reader.Execute())), real_pelvis.picture, 1, f"case '{patient}'")
    assert only_shifted(alignment)
    assert "expected at least" in alignment.rejected
