"""Left is left: a phantom with a bright tumour on the patient's left, in front, near the head, stored in many ways."""

import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, from_sitk, to_sitk, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.viewer.contents import Contents, Overlay, ViewerCase

# Voxel axes to the patient's left, back and head.
GRID = Geometry((60, 50, 40), (2.0, 2.0, 3.0), (-59.0, -49.0, -58.5))
# Axis codes as stored (LAS is left-handed), degrees.
PLACES = [("LPS", 0), ("RAI", 0), ("LAS", 0), ("ASL", 0), ("LPS", 30)]
LOW, HIGH, TUMOUR_HU = -1000, 40, 900


def turn(degrees):
    """Axes turned about the axis from foot to head: the left one towards the back."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (cosine, -sine, 0, sine, cosine, 0, 0, 0, 1)


def draw():
    hu = np.full(GRID.shape_zyx, LOW, np.int16)
    hu[:, 8:44, 6:54] = HIGH
    labels = (hu == HIGH).astype(np.uint8) * CHORDOMA.value("body")
    tumour = (slice(28, 34), slice(12, 18), slice(40, 48))
    hu[tumour] = TUMOUR_HU
    labels[tumour] = CHORDOMA.value("gtv")
    return hu, labels


def stored(array, code, degrees):
    grid = Geometry(GRID.size, GRID.spacing_mm, GRID.origin_mm, turn(degrees))
    return from_sitk(sitk.DICOMOrient(to_sitk(Image(array, grid)), code))


@pytest.fixture(scope="module")
def server(serve, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sides")
    cases = []
    for code, degrees in PLACES:
        name = f"{code}{degrees}"
        for kind, array in zip(("image", "reference"), draw(), strict=True):
            write_image(folder / name / f"{kind}.nii.gz", stored(array, code, degrees))
        overlay = Overlay("reference", "reference", folder / name / "reference.nii.gz")
        cases.append(ViewerCase(name, folder / name / "image.nii.gz", (overlay,)))
    return serve(Contents("Sides", CHORDOMA, tuple(cases)))


STAGE = """(() => {
  const box = document.getElementById("stage").getBoundingClientRect();
  return [box.left, box.top, box.width, box.height];
})()"""
FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def centre(mask):
    return np.argwhere(mask).mean(axis=0)[::-1]


def tidy(text):
    return "; ".join(text.split("; ")[1:])


@pytest.mark.parametrize(("code", "degrees"), PLACES)
def test_the_patients_left_is_on_the_right_and_says_so(browser, server, code, degrees):
    # Other tests may have led the browser elsewhere.
    if not browser.js("location.href").startswith(server.url):
        browser.open(server.url)
    browser.js(
        f"[...document.querySelectorAll('#cases button')].find(b => b.textContent === '{code}{degrees}').click()"
    )
    browser.wait("document.body.dataset.state === 'ready'")
    browser.js("document.querySelectorAll('#structures .plain')[1].click()")
    views = {
        # View: letters, and the tumour's side as (to the right of the middle, above the middle).
        "axial": ("axial with R left, L right, A top, P bottom", (True, True)),
        "coronal": ("coronal with R left, L right, S top, I bottom", (True, True)),
        "sagittal": ("sagittal with P left, A right, S top, I bottom", (True, True)),
    }
    if degrees:
        views["axial"] = ("axial with RA left, LP right, AL top, PR bottom", (True, True))
        del views["coronal"], views["sagittal"]
    for view, (letters, side) in views.items():
        browser.js(f"[...document.querySelectorAll('#views button')].find(b => b.textContent === '{view}').click()")
        browser.js(FRAMES)
        assert tidy(browser.js("document.getElementById('image').ariaLabel")) == letters
        left, top, width, height = (round(v) for v in browser.js(STAGE))
        stage = browser.pixels()[top : top + height, left : left + width]
        # The tumour is white in the window of soft tissue; letters, at the edges, are white too.
        inner = np.zeros(stage.shape[:2], bool)
        inner[40:-40, 40:-40] = True
        red = (stage[..., 0] > stage[..., 1] + 60) & (stage[..., 0] > stage[..., 2] + 60)
        white = (stage.min(axis=2) > 230) & inner
        (x, y), (ct_x, ct_y) = centre(red), centre(white)
        assert (x > width / 2, y < height / 2) == side, view
        # The line round the tumour and the bright voxels have one middle.
        assert abs(x - ct_x) < 6
        assert abs(y - ct_y) < 6
        edge = stage[height // 2 - 14 : height // 2 + 14]
        assert (edge[:, 4:34].min(axis=2) > 200).sum() > 20
        assert (edge[:, -34:-4].min(axis=2) > 200).sum() > 20


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("cut.nii.gz", lambda content: content[: len(content) // 2], "this file is truncated or damaged"),
        ("other.nii.gz", lambda _: gzip.compress(b"x" * 1000), "this file is no NIfTI image"),
    ],
)
def test_a_damaged_ct_is_named(browser, serve, tmp_path, name, damage, words):
    write_image(tmp_path / name, Image(np.random.default_rng(0).normal(size=GRID.shape_zyx).astype(np.float32), GRID))
    server = serve(Contents("Damaged", CHORDOMA, (ViewerCase("p7", tmp_path / name),)))
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    browser.open(server.url)
    assert browser.js("document.getElementById('problem').textContent").startswith(f"CT of p7: {words}")


def test_numbers_of_any_kind_have_their_value(browser, serve, tmp_path):
    kinds = ("uint16", "float32", "float64", "int32")
    for kind in kinds:
        write_image(tmp_path / f"{kind}.nii.gz", Image(np.full(GRID.shape_zyx, 40, kind), GRID))
    cases = tuple(ViewerCase(kind, tmp_path / f"{kind}.nii.gz") for kind in kinds)
    browser.open(serve(Contents("Kinds", CHORDOMA, cases)).url)
    for number, kind in enumerate(kinds):
        browser.js(f"document.querySelectorAll('#cases button')[{number}].click()")
        browser.wait(f"document.body.dataset.state === 'ready' && document.title.startsWith('{kind}')")
        browser.js(FRAMES)
        assert browser.js("document.getElementById('value').textContent") == "40 HU"
        assert abs(browser.pixels()[200, 500] - 128).max() <= 2, kind


def test_a_colour_image_is_refused(browser, serve, tmp_path):
    colours = sitk.JoinSeries([sitk.Image(9, 9, sitk.sitkVectorUInt8, 3)] * 5)
    sitk.WriteImage(colours, str(tmp_path / "ct.nii.gz"))
    browser.open(serve(Contents("Colour", CHORDOMA, (ViewerCase("p7", tmp_path / "ct.nii.gz"),))).url)
    assert "several values per voxel" in browser.js("document.getElementById('problem').textContent")
