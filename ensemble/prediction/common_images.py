"""The image that the models of an ensemble predicted: one and the same, as far as records beside their maps tell."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.predicted_from import images_behind
from nnunet_chordoma.probabilities import ProbabilityMaps


def common_images(maps: Sequence[ProbabilityMaps]) -> tuple[str, ...]:
    """SHA-256 of the images behind the models' maps of a case, as far as any of them tells.

    Raises ChordomaError if two tell of different images: a case of this name was converted or replaced in between.
    """
    known = {each.model: images_behind(each.npz.parent, each.case) for each in maps}
    told = {model: images for model, images in known.items() if images}
    first = next(iter(told), None)
    if first is None:
        return ()
    other = next((model for model, images in told.items() if images != told[first]), None)
    if other is not None:
        raise ChordomaError(
            f"case '{maps[0].case}': models '{first}' and '{other}' predicted different images under this name; "
            "predict it again with one of them, from the image that is meant"
        )
    return told[first]
