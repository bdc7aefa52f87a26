"""What the gate found: on each structure, on the case, on the page; and what is said where nothing is evaluated."""

import csv

import numpy as np
import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256
from nnunet_chordoma.gate.measures import measures_of
from nnunet_chordoma.images import Image, read_label_map, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.verdicts import Check, Level, Verdict, structure_of, write_verdict
from nnunet_chordoma.viewer.command import Request, contents_of
from nnunet_chordoma.viewer.details import completed
from nnunet_chordoma.viewer.manifest import read_manifest, write_manifest
from nnunet_chordoma.viewer.page import overview
from nnunet_chordoma.viewer.standalone import write_standalone

CHECKS = (
    Check("scan/slice_mm", "slice spacing", Level.PASS, "slice spacing 3 mm"),
    Check("hu/muscle", "median HU", Level.STOP, "median HU of the muscles -300 HU"),
    Check("position/muscles_x", "muscles' centre", Level.LOOK, "muscles' centre, x 9 mm"),
    Check("position/gtv_z", "GTV's centre", Level.LOOK, "GTV's centre, z -9 mm"),
    Check("volume/gtv", "volume", Level.PASS, "GTV volume 11 cm3"),
    Check("volume/gluteus_maximus", "volume", Level.PASS, "gluteus maximus volume 3 cm3"),
    Check("disagreement/any", "models disagree", Level.LOOK, "models disagree, share of the body 0.2"),
    Check("disagreement/piriformis", "agreement", Level.STOP, "piriformis agreement of models 0.1"),
)


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("volume/gtv", "gtv"),
        ("position/gtv_x", "gtv"),
        ("position/gtv_z", "gtv"),
        ("parts/gluteus_maximus", "gluteus_maximus"),
        ("disagreement/piriformis", "piriformis"),
        ("disagreement/any", None),
        ("disagreement/table", None),
        ("position/muscles_y", None),
        ("alignment/method", None),
        ("hu/bone", None),
        ("scan/bone", None),
        ("volume/gtv_boost", None),
    ],
)
def test_the_structure_of_a_check(name, structure):
    assert structure_of(Check(name, "", Level.PASS, ""), (*CHORDOMA.structures, "bone")) == structure


def test_all_measures_of_the_gate_are_known_by_their_structure_or_are_of_the_case():
    found = {name: structure_of(Check(name, "", Level.PASS, ""), CHORDOMA.structures) for name in measures_of(CHORDOMA)}
    of_the_case = {name for name, structure in found.items() if structure is None}
    groups = {name.split("/")[0] for name in of_the_case}
    assert groups == {"scan", "alignment", "hu", "position", "disagreement"}
    assert {name for name in of_the_case if name.startswith(("position", "disagreement"))} == {
        *(f"position/muscles_{axis}" for axis in "xyz"),
        "disagreement/any",
    }
    # The GTV has three places more, muscles a symmetry each and the piriformis its smaller side.
    counts = {name: list(found.values()).count(name) for name in CHORDOMA.structures}
    assert counts == dict.fromkeys(CHORDOMA.structures, 6) | {"gtv": 8, "piriformis": 7}


@pytest.fixture(scope="module")
def judged(tmp_path_factory, add_case):
    """A dataset of three cases with predictions: one stopped by the gate, one passed, one without a verdict."""
    root = tmp_path_factory.mktemp("judged")
    for name in ("case_1", "case_2", "case_3"):
        add_case(root, name)
    # Something where the reference has nothing.
    labels = np.asarray(read_label_map(root / "predictions" / "case_1.nii.gz").array)
    labels[3:8, 22:27, 25:32] = CHORDOMA.value("piriformis")
    write_image(
        root / "predictions" / "case_1.nii.gz",
        Image(labels, read_label_map(root / "predictions" / "case_2.nii.gz").geometry),
    )
    for case, checks in (("case_1", CHECKS), ("case_2", CHECKS[:1])):
        digest = sha256(root / "predictions" / f"{case}.nii.gz")
        verdict = Verdict(case, checks, ("parts: cannot be measured",), "0", (("prediction", digest),))
        write_verdict(root / "verdicts" / f"{case}.json", verdict, CHORDOMA)
    return root


def shown(root, **options):
    given = {"ensemble": f"opt={root / 'predictions'}", "verdicts": root / "verdicts"} | options
    return contents_of(Request(root, **given))


def test_a_structure_has_the_worst_of_its_checks_and_the_case_that_of_all(judged):
    contents = shown(judged)
    case = completed(contents, contents.cases[0])
    levels = {row.structure: row.verdict for row in case.structures}
    assert levels == {
        "gtv": "look",
        "gluteus_maximus": "pass",
        "gluteus_medius": None,
        "gluteus_minimus": None,
        "paraspinal": None,
        "piriformis": "stop",
    }
    assert case.verdict.level == "stop"
    assert case.verdict.counted == "opt: 5 of 8 checks, 1 not judged"
    assert [(each.level, each.structure, each.text) for each in case.verdict.findings] == [
        ("stop", None, "median HU of the muscles -300 HU"),
        ("stop", "piriformis", "piriformis agreement of models 0.1"),
        ("look", None, "muscles' centre, x 9 mm"),
        ("look", "gtv", "GTV's centre, z -9 mm"),
        ("look", None, "models disagree, share of the body 0.2"),
    ]
    assert [each["verdict"] and each["verdict"]["level"] for each in overview(contents)["cases"]] == [
        "stop",
        "pass",
        None,
    ]


def test_a_verdict_on_what_is_not_shown_is_refused(judged, tmp_path):
    (tmp_path / "other").mkdir()
    for name in ("case_1", "case_2", "case_3"):
        (tmp_path / "other" / f"{name}.nii.gz").write_bytes((judged / "labelsTr" / f"{name}.nii.gz").read_bytes())
    with pytest.raises(
        ChordomaError, match=r"case_1\.json: a verdict on a label map that is not shown .*reference, opt"
    ):
        shown(judged, ensemble=f"opt={tmp_path / 'other'}")
    # Beside others, the one that was judged is named.
    both = shown(judged, ensemble=f"opt={tmp_path / 'other'}", models=(f"unet={judged / 'predictions'}",))
    assert both.cases[0].verdict.counted.startswith("unet: ")


def test_a_folder_without_verdicts_on_these_cases_is_refused(judged, tmp_path):
    with pytest.raises(ChordomaError, match="no verdict on case_1 or any other case shown"):
        shown(judged, verdicts=tmp_path)


def test_a_manifest_keeps_verdicts_and_what_the_reference_lacks(judged):
    contents = shown(judged)
    whole = type(contents)("Kit", CHORDOMA, tuple(completed(contents, c) for c in contents.cases))
    write_manifest(judged / "viewer.json", whole)
    try:
        again = read_manifest(judged / "viewer.json")
    finally:
        (judged / "viewer.json").unlink()
    assert [case.verdict for case in again.cases] == [case.verdict for case in contents.cases]
    present = {row.structure: row.in_reference for row in again.cases[0].structures}
    assert [name for name, found in present.items() if found] == ["gtv", "gluteus_maximus"]


def test_what_the_reference_lacks_is_not_evaluated(judged):
    contents = shown(judged)
    rows = {row.structure: row for row in completed(contents, contents.cases[0]).structures}
    # 5 slices of 5 x 7 voxels of 12 mm3.
    assert dict(rows["piriformis"].values) == {"volume_cm3": pytest.approx(5 * 5 * 7 * 0.012)}
    assert [rows[name].in_reference for name in ("gtv", "piriformis", "paraspinal")] == [True, False, False]


def test_two_models_without_a_reference_are_compared_in_all_structures(judged):
    image = judged / "imagesTr" / "case_1_0000.nii.gz"
    models = (f"a={judged / 'predictions'}", f"b={judged / 'labelsTr'}")
    contents = contents_of(Request(image, models=models))
    rows = {row.structure: row for row in completed(contents, contents.cases[0]).structures}
    assert dict(rows["piriformis"].values)["Dice"] == 0
    assert rows["piriformis"].in_reference


def write_scores(path, values):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["model", "case", "split", "structure", "metric", "value", "unit"])
        for (case, structure), (dice, volume) in values.items():
            writer.writerow(["opt", case, "test", structure, "VDSC", dice, 1])
            writer.writerow(["opt", case, "test", structure, "volume_reference", volume, "cm3"])
    return path


def test_scores_of_what_the_reference_lacks_are_not_shown_and_enter_no_order(judged, tmp_path):
    values = {
        ("case_1", "gtv"): (0.9, 10.0),
        ("case_1", "piriformis"): (0.0, 0.0),
        ("case_1", "paraspinal"): ("nan", 0.0),
        ("case_2", "gtv"): (0.8, 10.0),
        ("case_2", "piriformis"): (0.0, 2.0),
        ("case_3", "gtv"): (0.7, 10.0),
    }
    contents = shown(judged, scores=write_scores(tmp_path / "scores.csv", values))
    assert [case.name for case in contents.cases] == ["case_2", "case_3", "case_1"]
    rows = {row.structure: row for row in contents.cases[2].structures}
    assert rows["gtv"].values == (("Dice", 0.9), ("reference_cm3", 10.0))
    for name in ("piriformis", "paraspinal"):
        assert (rows[name].values, rows[name].in_reference) == ((("reference_cm3", 0.0),), False)
    missed = {row.structure: row for row in contents.cases[0].structures}["piriformis"]
    assert (missed.values[0], missed.in_reference) == (("Dice", 0.0), True)


TEXT_OF = "[...document.querySelectorAll('{}')].map(each => each.textContent)"
ROW = """(() => {
  const row = [...document.querySelectorAll("#structures tbody tr")].find(each => each.textContent.includes("%s"));
  return [...row.children].slice(1).map(each => [each.textContent, each.title || each.firstElementChild?.title || ""]);
})()"""
BROKEN_WORDS = """[...document.querySelectorAll("#structures .plain, #structures th, .verdict")].flatMap(each => {
  const text = each.firstChild;
  return [...(text?.data ?? "").matchAll(/\\S+/g)].filter(word => {
    const range = document.createRange();
    range.setStart(text, word.index);
    range.setEnd(text, word.index + word[0].length);
    return new Set([...range.getClientRects()].map(box => Math.round(box.top))).size !== 1;
  }).map(word => word[0]);
})"""


@pytest.fixture(scope="module")
def server(judged, serve, tmp_path_factory):
    names = CHORDOMA.structures
    values = {(f"case_{n}", name): (0.912, 1622.04) for n in (1, 2, 3) for name in names} | {
        ("case_1", "piriformis"): (0.0, 0.0)
    }
    return serve(shown(judged, scores=write_scores(tmp_path_factory.mktemp("scores") / "scores.csv", values)))


def test_the_page_says_stop(browser, server):
    browser.open(f"{server.url}#case=case_1&slice=7")
    assert browser.js("document.getElementById('case').textContent") == "case_1 gate: stop"
    listed = browser.js(TEXT_OF.format("#cases button"))
    assert sorted(listed) == ["case_1stop", "case_2pass", "case_3no verdict"]
    assert browser.js("document.getElementById('checks').textContent") == "opt: 5 of 8 checks, 1 not judged"
    findings = browser.js(TEXT_OF.format("#findings li"))
    assert len(findings) == 5
    assert findings[0] == "stopmedian HU of the muscles -300 HU"
    assert browser.js(ROW % "gtv")[-1] == ["look", "GTV's centre, z -9 mm"]
    browser.open(f"{server.url}#case=case_3&slice=7")
    assert browser.js("document.getElementById('case').textContent") == "case_3 gate: no verdict"
    assert browser.js("document.getElementById('gate-section').hidden")


def test_a_dash_where_the_reference_has_nothing(browser, server):
    browser.open(f"{server.url}#case=case_1&slice=7")
    assert browser.js(ROW % "piriformis")[0] == ["–", "not in the reference"]
    assert browser.js(ROW % "gtv")[0] == ["0.912", ""]


@pytest.mark.parametrize(("width", "height"), [(1024, 768), (1400, 900), (1920, 1080)])
def test_no_word_is_broken(browser, server, width, height):
    try:
        browser.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        browser.open(f"{server.url}#case=case_1&slice=7")
        assert browser.js("document.querySelectorAll('#structures .plain').length") == 7
        assert browser.js(BROKEN_WORDS) == []
        assert browser.js("(e => e.scrollWidth <= e.clientWidth)(document.getElementById('structures-section'))")
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")


def test_a_page_of_one_file_says_stop(browser, judged, tmp_path):
    contents = shown(judged, cases=("case_1",))
    write_standalone(tmp_path / "case.html", contents)
    browser.open((tmp_path / "case.html").as_uri())
    assert browser.js("document.getElementById('case').textContent") == "case_1 gate: stop"
    assert len(browser.js(TEXT_OF.format("#findings li"))) == 5
    assert browser.js(ROW % "piriformis")[0] == ["–", "not in the reference"]


def test_without_verdicts_nothing_is_said_of_the_gate(browser, judged, serve):
    browser.open(serve(shown(judged, verdicts=None)).url)
    assert browser.js("document.getElementById('case').textContent") == "case_1"
    assert browser.js("document.getElementById('gate-section').hidden")
    assert browser.js("document.querySelectorAll('.verdict').length") == 0
