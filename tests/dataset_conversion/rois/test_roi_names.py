"""The built-in names: which spellings are known, which must not be, and that sides are never mixed up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_chordoma.dataset_conversion.rois.roi_names import SIDES, recognise, resembles, side_of, split_words
from nnunet_chordoma.labels import CHORDOMA, MUSCLES

ALIASES = {
    "gluteus_maximus": [
        "gluteus maximus",
        "glut max",
        "G. Max",
        "Gluteus_Maximus",
        "M. gluteus maximus",
        "gluteal max",
    ],
    "gluteus_medius": ["gluteus medius", "glut_med", "Glut Med Muscle"],
    "gluteus_minimus": ["gluteus minimus", "glut-min", "Musc_GluteusMinimus"],
    "paraspinal": ["paraspinal", "Erector Spinae", "autochthon", "Paravertebral", "paraspinal muscles"],
    "piriformis": ["piriformis", "Pyriformis", "piriform", "periformis", "Musculus piriformis"],
}
LEFT = ["left", "Left", "LEFT", "L", "Lt", "LT", "sin", "links", "gauche"]
RIGHT = ["right", "Right", "RIGHT", "R", "Rt", "RT", "dx", "rechts", "droit"]


@pytest.mark.parametrize(
    ("name", "structure", "side"),
    [
        ("GTV_primary", "gtv", "both"),
        ("Gtv", "gtv", "both"),
        (" GTV ", "gtv", "both"),
        ("Primary tumour", "gtv", "both"),
        ("GluteusMaximus_L", "gluteus_maximus", "left"),
        ("m. gluteus maximus dx", "gluteus_maximus", "right"),
        ("M. gluteus medius sin.", "gluteus_medius", "left"),
        ("Piriformis (L)", "piriformis", "left"),
        ("(R) Piriformis", "piriformis", "right"),
        ("PIRIFORMISL", "piriformis", "left"),
        ("RPIRIFORMIS", "piriformis", "right"),
        ("Piriformis L/R", "piriformis", "both"),
        ("autochthon_left", "paraspinal", "left"),
        ("Glut_L_Max", "gluteus_maximus", "left"),
        ("ParaspinaL", "paraspinal", "both"),
        ("EXTERNAL", "body", "both"),
        ("Body_Outline", "body", "both"),
        ("Außenkontur", "body", "both"),
        ("gluteus_maximus_ｌｅｆｔ", "gluteus_maximus", "left"),
    ],
)
def test_known(name, structure, side):
    known = recognise(name)
    assert known is not None
    assert (known.structure, known.side) == (structure, side)


@pytest.mark.parametrize(
    "name",
    [
        *("GTV1", "GTV 1", "GTV_2", "GTVn", "GTV_N1", "GTV_old", "GTV_dose", "GTV (old)", "GTV+1cm", "GTV-PTV", "iGTV"),
        *("_GTV", "GTV-", "GTV+", "GTV*", "~GTV", "zGTV", "GTV_L", "GTV right", "GTV copy", "GTV_CT"),
        *("PTV", "CTV", "max_dose", "D max", "Max", "G", "GM_L", "Glut_L", "gluteus", "glut max dose L"),
        *("multifidus_L", "Longissimus", "Iliocostalis R", "Quadratus lumborum", "Erector spinae L3"),
        *("L Piriformis R", "left right piriformis left", "piriformis_l_old", "piriformis2"),
        *("Body_L", "Skin 3mm", "Body-PTV", "body fat", "", " ", "_", "L", "both", "\x00", "💀"),
    ],
)
def test_not_guessed(name):
    assert recognise(name) is None


@given(
    st.sampled_from([(s, a) for s, names in ALIASES.items() for a in names]),
    st.sampled_from([*(("left", w) for w in LEFT), *(("right", w) for w in RIGHT)]),
    st.sampled_from("_ -."),
    st.booleans(),
    st.sampled_from([str, str.upper, str.lower]),
)
def test_a_side_word_in_front_or_behind_makes_that_side(alias, side, separator, in_front, case):
    structure, text = alias
    parts = (side[1], text) if in_front else (text, side[1])
    known = recognise(case(separator.join(parts)))
    assert known is not None
    assert (known.structure, known.side) == (structure, side[0])


WORDS = st.sampled_from(
    [*LEFT, *RIGHT, "both", "bilat", *(word for names in ALIASES.values() for name in names for word in name.split())]
)
MIRROR = dict(zip(LEFT, RIGHT, strict=True)) | dict(zip(RIGHT, LEFT, strict=True))
OPPOSITE = {"left": "right", "right": "left"}


@given(st.lists(WORDS, min_size=1, max_size=5), st.sampled_from(["_", " ", "-", ".", ""]))
def test_swapping_left_and_right_words_swaps_the_side(words, separator):
    name, mirrored = (separator.join(w) for w in (words, [MIRROR.get(word, word) for word in words]))
    # Joined without separators, words such as "sin" or "R" run into their neighbours: these forms are not symmetric.
    if separator == "" and not all(w in {"Left", "Right", "Lt", "Rt"} or w not in MIRROR for w in words):
        return
    here, there = recognise(name), recognise(mirrored)
    if here is None:
        assert there is None
    else:
        assert there is not None
        assert (there.structure, there.side) == (here.structure, OPPOSITE.get(here.side, here.side))


@given(st.one_of(st.text(), st.text("GLMTVgtvlmaxredius_- .()[]/+0129", max_size=20), st.lists(WORDS).map("_".join)))
def test_never_raises_and_stays_within_its_words(name):
    known = recognise(name)
    assert recognise(name) == known
    side, hint = side_of(name), resembles(name)
    assert hint is None or (hint in CHORDOMA.structures and known is None)
    if known is not None:
        assert known.structure in CHORDOMA.names[1:]
        assert side == known.side
        assert known.side == "both" or known.structure in MUSCLES
        assert not any(char.isdigit() for char in name)
        spoken = {SIDES[word] for word in split_words(name) if word in SIDES}
        # A name that speaks of one side alone never becomes the other one.
        assert {known.side, *spoken} != {"left", "right"}


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("GTV2", "gtv"),
        ("gtv_old", "gtv"),
        ("Multifidus_R", "paraspinal"),
        ("GlutMax_old", "gluteus_maximus"),
        ("Piriformis2", "piriformis"),
        ("GTV", None),
        ("Bladder", None),
    ],
)
def test_hints_for_names_that_are_not_mapped(name, structure):
    assert resembles(name) == structure


@pytest.mark.parametrize(
    ("name", "side"), [("PS_L", "left"), ("x rechts", "right"), ("L x R", None), ("mass", None), ("Gtv L+R", "both")]
)
def test_side_of_any_name(name, side):
    assert side_of(name) == side
