"""Pages of the worst cases beside the report of chordoma-eval: linked, small, and drawn from files alone."""

import re
import shutil
from html import unescape
from urllib.parse import unquote

import numpy as np
import pytest

from nnunet_chordoma import console
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.report.write import write_report
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image, write_image
from nnunet_chordoma.review.cli import LIST_OPTIONS, app
from nnunet_chordoma.viewer.page import NIIVUE, WEB

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")
SCORED = ("-m", "--model")


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        console.run(app, list_options=(*LIST_OPTIONS, *SCORED), arguments=[str(each) for each in arguments])
    return stop.value.code or 0


def turned(grid):
    """The same place in space, with rows from the back and slices from the head."""
    x, y, z = grid.to_physical_mm([[0, grid.size[1] - 1, grid.size[2] - 1]])[0]
    return Geometry(grid.size, grid.spacing_mm, (x, y, z), (1, 0, 0, 0, -1, 0, 0, 0, -1))


@pytest.fixture(scope="module")
def reported(tmp_path_factory, add_case, grid):
    """Three cases; the tumour is moved farthest in `case #2`, whose slices are stored from the head."""
    root = tmp_path_factory.mktemp("reported")
    for name, shift in (("case_1", 1), ("case #2", 6), ("case_3", 2)):
        add_case(root, name, shift, split="Ts")
    for path in (
        root / "imagesTs" / "case #2_0000.nii.gz",
        *(root / f / "case #2.nii.gz" for f in ("labelsTs", "predictions")),
    ):
        read = read_image(path)
        write_image(path, Image(np.ascontiguousarray(read.array[::-1, ::-1]), turned(grid)))
    assert run("score", "-m", f"unet={root / 'predictions'}", "-r", root / "labelsTs", "-o", root / "scores.csv") == 0
    assert run("report", root / "scores.csv", "-o", root / "report", "--images", root / "imagesTs", "--viewer", 2) == 0
    return root


def links(root):
    page = (root / "report" / "index.html").read_text()
    return [unescape(each) for each in re.findall(r'href="(viewer/[^"]*)"', page)]


def test_the_worst_are_linked_at_their_slice(reported):
    worst = links(reported)
    # Slices 9 to 14 from below differ most and alike, the first of them counted from above in the file of 20.
    assert worst[0] == "viewer/case%20%232.html#case=case%20%232&slice=10"
    assert "viewer/case_3.html#case=case_3&slice=9" in worst
    assert "viewer/case_3.html#case=case_3&structure=gtv" in worst
    # By Dice: case #2 and case_3, in the worst list, in its table, and as the worst and the median of the gallery.
    assert {each.split("#")[0] for each in worst} == {"viewer/case%20%232.html", "viewer/case_3.html"}
    for each in worst:
        assert (reported / "report" / unquote(each.split("#")[0])).is_file()
    gallery = (reported / "report" / "index.html").read_text().split('id="pictures"')[1]
    assert len(re.findall(r'href="viewer/', gallery)) == 2
    # All three have a command, with the slice.
    assert len(re.findall(r"<code>chordoma-view [^<]*_0000\.nii\.gz[^<]* --slice \d+</code>", gallery)) == 3


def test_pages_are_small_and_share_one_niivue_with_its_licence(reported):
    folder = reported / "report" / "viewer"
    names = {each.name for each in folder.iterdir()}
    assert names == {"case #2.html", "case_3.html", "niivue.umd.js", "niivue.LICENSE.txt", ".written"}
    assert (folder / "niivue.umd.js").read_bytes() == (WEB / NIIVUE).read_bytes()
    assert all(each.stat().st_size < 200_000 for each in folder.glob("*.html"))


def test_a_linked_page_draws_from_files_alone(browser, reported):
    link = next(each for each in links(reported) if "slice=10" in each)
    browser.open((reported / "report").as_uri() + "/" + link)
    assert browser.js("document.body.dataset.state") == "ready"
    assert browser.complaints == []
    loaded = {url for url in browser.requests if not url.startswith(("data:", "blob:", "about:"))}
    assert {url.rsplit("/", 1)[-1].split("#")[0] for url in loaded} == {"case%20%232.html", "niivue.umd.js"}
    assert all(url.startswith("file:") for url in loaded)
    assert browser.js("document.getElementById('slice').textContent").startswith("slice 10 of 0–19")
    stage = browser.pixels()[60:700, 260:960]
    reddish = (stage[..., 0] > stage[..., 1] + 60) & (stage[..., 0] > stage[..., 2] + 60)
    assert reddish.sum() > 200
    browser.open((reported / "report").as_uri() + "/viewer/case_3.html#case=case_3&structure=gtv")
    assert browser.js("document.getElementById('slice').textContent").startswith("slice 9 of 0–19")


def test_without_the_option_earlier_pages_go(reported, tmp_path):
    shutil.copytree(reported / "report" / "viewer", tmp_path / "report" / "viewer")
    (tmp_path / "report" / "viewer" / "mine.html").write_text("mine")
    assert run("report", reported / "scores.csv", "-o", tmp_path / "report", "--images", reported / "imagesTs") == 0
    assert {each.name for each in (tmp_path / "report" / "viewer").iterdir()} == {"mine.html", ".written"}
    assert links(tmp_path) == []


def test_evaluation_alone_says_that_it_has_no_viewer(reported, tmp_path):
    with pytest.raises(ChordomaError, match="--viewer: nothing here makes pages; use the command chordoma-eval"):
        write_report(reported / "scores.csv", tmp_path / "report", images=reported / "imagesTs", viewer=1)
    assert not (tmp_path / "report").exists()


def test_pages_without_cts_are_refused_and_nothing_is_written(reported, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    status = run(
        "report", reported / "scores.csv", "-o", tmp_path / "report", "--images", tmp_path / "empty", "--viewer", 1
    )
    assert status == 1
    assert "no image case" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()
