from __future__ import annotations

import pytest

from nnunet_chordoma.dataset_conversion.rois.roi_map import RoiMap, RoiName, assign, example_line, read_roi_map
from nnunet_chordoma.dataset_conversion.rois.roi_names import recognise
from nnunet_chordoma.errors import ChordomaError


@pytest.mark.parametrize(
    ("name", "structure", "side"),
    [
        ("GTV", "gtv", "both"),
        ("GTVp", "gtv", "both"),
        ("gtv_p", "gtv", "both"),
        ("gluteus_maximus_left", "gluteus_maximus", "left"),
        ("autochthon_right", "paraspinal", "right"),
        ("Glut Max Lt", "gluteus_maximus", "left"),
        ("Rt. Glut-Med", "gluteus_medius", "right"),
        ("GLUTEUS MINIMUS", "gluteus_minimus", "both"),
        ("GluteusMinimus_R", "gluteus_minimus", "right"),
        ("LGlutMax", "gluteus_maximus", "left"),
        ("L_Piriformis", "piriformis", "left"),
        ("piriformis.r", "piriformis", "right"),
        ("Paraspinals bilat", "paraspinal", "both"),
        ("Erector Spinae L", "paraspinal", "left"),
        ("Paraspinal Muscles", "paraspinal", "both"),
        ("G. Maximus", "gluteus_maximus", "both"),
        ("External", "body", "both"),
        ("BODY", "body", "both"),
        ("Skin", "body", "both"),
    ],
)
def test_built_in_names(name, structure, side):
    known = recognise(name)
    assert known is not None
    assert (known.structure, known.side) == (structure, side)


@pytest.mark.parametrize(
    "name", ["GTV_Mass_CT", "CTV", "GTV2", "gluteus", "iliopsoas_left", "left", "L", "", "max", "body fat", "PTV GTV"]
)
def test_other_names_are_not_guessed(name):
    assert recognise(name) is None


def rois(*names):
    return [RoiName(name, name) for name in names]


def test_left_and_right_make_one_structure_and_the_rest_is_listed():
    result = assign(rois("Piriformis_L", "Piriformis_R", "GTV", "Bladder"), RoiMap())
    assert result.rois == {"gtv": ("GTV",), "piriformis": ("Piriformis_L", "Piriformis_R")}
    assert result.unmapped == ("Bladder",)
    assert result.problems == ()
    assert set(result.rule.values()) == {"built-in name"}


def test_same_structure_same_side_is_ambiguous_and_prints_the_line():
    result = assign(rois("GTV", "GTVp"), RoiMap())
    assert len(result.problems) == 1
    assert "gtv could be any of 'GTV', 'GTVp'" in result.problems[0]
    assert "'gtv: GTV'" in result.problems[0]


def test_ambiguity_of_one_side():
    result = assign(rois("GlutMax_L", "gluteus_maximus_left", "GlutMax_R"), RoiMap())
    assert "gluteus_maximus (left) could be any of" in result.problems[0]


def test_whole_and_side_together_are_a_union_with_a_warning():
    result = assign(rois("Paraspinal", "Paraspinal_L"), RoiMap())
    assert result.problems == ()
    assert "union of Paraspinal, Paraspinal_L" in result.warnings[0]


def test_map_comes_before_built_in_names():
    result = assign(rois("GTV", "GTV_final"), RoiMap({"gtv": ("GTV_final",)}))
    assert result.rois == {"gtv": ("GTV_final",)}
    assert result.rule == {"gtv": "map"}
    assert result.unmapped == ("GTV",)


def test_built_in_names_serve_cases_the_map_does_not_reach():
    assert assign(rois("GTV"), RoiMap({"gtv": ("GTV_final",)})).rule == {"gtv": "built-in name"}


def test_a_roi_in_the_map_is_not_also_used_by_its_name():
    result = assign(rois("Paraspinal"), RoiMap({"piriformis": ("Paraspinal",)}))
    assert result.rois == {"piriformis": ("Paraspinal",)}


@pytest.mark.parametrize("pattern", ["gm_*", "GM_?", "gm_[ab]"])
def test_patterns_regardless_of_case(pattern):
    result = assign(rois("GM_a", "gm_b"), RoiMap({"gluteus_maximus": (pattern,)}))
    assert result.rois == {"gluteus_maximus": ("GM_a", "gm_b")}


def test_name_with_brackets_matches_itself():
    assert assign(rois("GTV [CT]"), RoiMap({"gtv": ("GTV [CT]",)})).rois == {"gtv": ("GTV [CT]",)}


def test_roi_claimed_twice_prints_the_line_that_decides():
    patterns = {"gtv": ("*ass",), "body": ("m*",)}
    (problem,) = assign(rois("mass"), RoiMap(patterns)).problems
    assert "ROI 'mass' matches gtv and body" in problem
    assert "'gtv: mass'" in problem
    # What the message proposes settles it.
    decided = assign(rois("mass"), RoiMap(patterns | {"gtv": ("mass",)}))
    assert decided.problems == ()
    assert decided.rois == {"gtv": ("mass",)}


def test_name_in_full_claimed_twice():
    (problem,) = assign(rois("mass"), RoiMap({"gtv": ("mass",), "body": ("Mass",)})).problems
    assert "matches gtv and body" in problem


def test_regular_expression_is_for_the_whole_name():
    roi_map = RoiMap({"gtv": (r"re:gtv[12]",)})
    result = assign(rois("GTV1", "gtv2", "GTV12", "xGTV1"), roi_map)
    assert result.rois == {"gtv": ("GTV1", "gtv2")}
    assert result.matched == {"GTV1": "re:gtv[12]", "gtv2": "re:gtv[12]"}
    assert roi_map.unused(rois("GTV3")) == [("gtv", "re:gtv[12]")]


def test_line_for_one_side_keeps_the_other():
    names = ("GlutMax_L", "gluteus_maximus_left", "GlutMax_R")
    (problem,) = assign(rois(*names), RoiMap()).problems
    assert "'gluteus_maximus: [GlutMax_L, GlutMax_R]'" in problem


def test_line_can_be_pasted(tmp_path):
    """Whatever a ROI is called, the line proposed for it takes that ROI and no similar one."""
    others = rois("GTVx", "GTV1", "Mass", "no")
    for name in ("GTV*", "GTV?", 'GTV "b"', "a: b", "no", "1e3", "# x", "- gtv", "GTV [CT]", "Größe, cm", "{x}"):
        line = example_line("gtv", name)
        assert line[0] == line[-1] == "'"
        path = tmp_path / "map.yaml"
        path.write_text(line[1:-1] + "\n", encoding="utf-8")
        known = [roi for roi in others if roi.name != name]
        assert assign([RoiName(name, name), *known], read_roi_map(path)).rois == {"gtv": (name,)}


@pytest.mark.parametrize(
    ("names", "parts"),
    [(("Erector_Spinae", "Multifidus_L", "Bladder"), "Multifidus_L"), (("GTV", "GTV2", "PTV"), "GTV2")],
)
def test_what_may_be_a_part_is_pointed_out(names, parts):
    (warning,) = assign(rois(*names), RoiMap()).warnings
    assert warning.endswith(f"not mapped, though alike in name: {parts}")


def test_sides_of_mapped_rois():
    result = assign(rois("PS_links", "PS rt", "GTV"), RoiMap({"paraspinal": ("PS*",)}))
    assert result.sides == {"PS_links": "left", "PS rt": "right", "GTV": "both"}


def test_empty_list_switches_a_structure_off():
    assert assign(rois("Skin", "GTV"), RoiMap({"body": ()})).rois == {"gtv": ("GTV",)}


def test_repeated_names_can_be_told_apart_in_the_map():
    twins = [RoiName("GTV (ROI 3)", "GTV"), RoiName("GTV (ROI 7)", "GTV")]
    assert 'gtv: "GTV (ROI 3)"' in assign(twins, RoiMap()).problems[0]
    assert assign(twins, RoiMap({"gtv": ("GTV (ROI 7)",)})).rois == {"gtv": ("GTV (ROI 7)",)}


def test_unused_entries():
    roi_map = RoiMap({"gtv": ("GTV*", "mass"), "body": ()})
    assert roi_map.unused(rois("GTV_1", "skin")) == [("gtv", "mass")]


def test_file(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("gtv: GTV_Mass_CT\nparaspinal: [PS_L, 'PS_*']\nbody: []\n")
    assert read_roi_map(path).entries == {"gtv": ("GTV_Mass_CT",), "paraspinal": ("PS_L", "PS_*"), "body": ()}


def test_names_are_kept_as_typed(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("gtv: [1, no, 1.50, 2001-01-01]\n")
    assert read_roi_map(path).entries == {"gtv": ("1", "no", "1.50", "2001-01-01")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("femur: x", "unknown structure 'femur'; use body, gtv, gluteus_maximus"),
        ("background: x", "unknown structure 'background'"),
        ("- gtv", "expected lines such as"),
        ("gtv: {a: b}", "needs a ROI name or a list of names"),
        ("gtv:", "needs a ROI name or a list of names"),
        ("gtv: [", "not readable YAML"),
        ("gtv: *GTV", "quotes round names"),
        ("gtv: A\ngtv: B", "'gtv' is given twice"),
        ("gtv: 're:['", "is not a regular expression"),
        ("", "found nothing"),
        ("gtv", "found plain text"),
    ],
)
def test_bad_files(tmp_path, text, expected):
    path = tmp_path / "map.yaml"
    path.write_text(text)
    with pytest.raises(ChordomaError) as error:
        read_roi_map(path)
    assert expected in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(ChordomaError, match="no such file"):
        read_roi_map(tmp_path / "absent.yaml")
