import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import CHORDOMA, MUSCLES, LabelScheme


def test_the_papers_eight_labels_in_this_projects_order():
    assert CHORDOMA.to_nnunet() == {
        "background": 0,
        "body": 1,
        "gtv": 2,
        "gluteus_maximus": 3,
        "gluteus_medius": 4,
        "gluteus_minimus": 5,
        "paraspinal": 6,
        "piriformis": 7,
    }


def test_scored_structures_are_the_tumour_and_the_muscles():
    assert CHORDOMA.structures == ("gtv", *MUSCLES)
    assert len(MUSCLES) == 5


def test_nnunet_labels_survive_a_round_trip_in_any_key_order():
    shuffled = dict(sorted(CHORDOMA.to_nnunet().items()))
    assert LabelScheme.from_nnunet(shuffled) == CHORDOMA


def test_unknown_structure_is_named():
    with pytest.raises(ChordomaError, match="unknown structure 'sacrum'"):
        CHORDOMA.value("sacrum")


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "gtv": 2},
        {"background": 0, "a": 1, "b": 1},
        {"background": 0, "whole": [1, 2]},
        {"background": 0},
    ],
)
def test_gaps_repeats_regions_and_lone_backgrounds_are_refused(labels):
    with pytest.raises(ChordomaError):
        LabelScheme.from_nnunet(labels)
