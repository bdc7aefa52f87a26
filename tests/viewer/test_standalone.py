"""One case as one file: it opens without a server and shows the same contours."""

import json
import re

import numpy as np
import pytest

from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.viewer.contents import Contents, Overlay, ViewerCase
from nnunet_chordoma.viewer.standalone import find_cut, write_standalone


@pytest.fixture(scope="module")
def page(add_case, make_contents, tmp_path_factory):
    folder = tmp_path_factory.mktemp("standalone")
    add_case(folder)
    write_standalone(folder / "case.html", make_contents(folder))
    return folder / "case.html"


def test_it_is_whole(page):
    text = page.read_text()
    assert not re.search(r'(src|href)="(?!data:)', text)
    embedded = json.loads(re.search(r'id="embedded-case">(.*?)</script>', text, re.DOTALL)[1])
    assert len(embedded["files"]) == 3
    # The case is cut to slices 0 to 19: 20 mm around slices 3 to 14 of 3 mm is all of it.
    assert embedded["details"]["review"][0]["slice"] == 9


def test_a_cut_keeps_voxels_where_they_were():
    labels = np.zeros((60, 600, 50), np.int16)
    labels[30:32, 10:590, 20:30] = 2
    grid = Geometry((50, 600, 60), (1.0, 1.0, 2.0), (5.0, 6.0, 7.0))
    cut = find_cut([labels], 1, grid)
    assert (cut.first, cut.last, cut.step) == ((20, 0, 0), (42, 600, 50), (1, 3, 1))
    left = cut.of(Image(labels, grid))
    assert left.geometry == Geometry((50, 200, 22), (1.0, 3.0, 2.0), (5.0, 6.0, 47.0))
    assert (left.array == labels[20:42, ::3]).all()


def test_it_opens_from_a_file(browser, page):
    browser.open(page.as_uri())
    assert browser.js("document.body.dataset.state") == "ready"
    assert browser.complaints == []
    assert [url for url in browser.requests if url.startswith("http")] == []
    pixels = browser.pixels()[60:700, 260:960]
    reddish = (pixels[..., 0] > pixels[..., 1] + 60) & (pixels[..., 0] > pixels[..., 2] + 60)
    assert reddish.sum() > 200


def test_slices_keep_their_numbers(browser, tmp_path):
    labels = np.zeros((60, 30, 40), np.uint8)
    labels[30:32, 10:20, 10:20] = CHORDOMA.value("gtv")
    grid = Geometry((40, 30, 60), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    for name, array in (("ct", np.where(labels, 40, -1000).astype(np.int16)), ("reference", labels)):
        write_image(tmp_path / f"{name}.nii.gz", Image(array, grid))
    overlay = Overlay("reference", "reference", tmp_path / "reference.nii.gz")
    case = ViewerCase("p7", tmp_path / "ct.nii.gz", (overlay,))
    write_standalone(tmp_path / "p7.html", Contents("Far up", CHORDOMA, (case,)))
    # 20 mm are 10 slices around those with the tumour, of which the first is the largest.
    browser.open((tmp_path / "p7.html").as_uri())
    assert browser.js("document.getElementById('slice').textContent") == "slice 30 of 20–41"
    browser.open((tmp_path / "p7.html").as_uri() + "#case=p7&slice=25")
    assert browser.js("document.getElementById('slice').textContent") == "slice 25 of 20–41"
