"""The weights of the labels in the class-weighted cross-entropy (appendix B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnunet_chordoma.errors import ChordomaError

_PAPER_ORDER = (
    "gtv",
    "gluteus_maximus",
    "gluteus_medius",
    "gluteus_minimus",
    "paraspinal",
    "piriformis",
    "background",
    "body",
)

CLASS_WEIGHTS: Mapping[str, Mapping[str, float]] = {
    name: dict(zip(_PAPER_ORDER, weights, strict=True))
    for name, weights in {
        "best": (0.25, 0.1, 0.1, 0.1, 0.15, 0.2, 0.05, 0.05),
        "small_muscles": (0.25, 0.05, 0.05, 0.25, 0.05, 0.25, 0.05, 0.05),
        "balanced": (0.2, 0.1, 0.1, 0.2, 0.1, 0.2, 0.05, 0.05),
        "gtv_and_piriformis": (0.3, 0.05, 0.05, 0.1, 0.1, 0.3, 0.05, 0.05),
    }.items()
}
"""The four candidate weightings of appendix B by structure; the paper chose `best`.

The second tuple is printed with seven entries; a final 0.05 is supplied, with which it sums to 1 like the rest.
"""


def class_weights(names: Sequence[str], weights: Mapping[str, float] = CLASS_WEIGHTS["best"]) -> tuple[float, ...]:
    """Weights in the order of the label scheme's `names`; raises ChordomaError where the two sets of names differ."""
    if set(names) != set(weights):
        raise ChordomaError(
            f"class weights are given for {', '.join(sorted(weights))}, but the labels are {', '.join(sorted(names))}; "
            "give one weight for each label with chordoma-plan --class-weights"
        )
    return tuple(float(weights[name]) for name in names)


def parse_class_weights(text: str) -> dict[str, float]:
    """Weights from the name of a candidate or from `name=weight` pairs separated by commas.

    Raises ChordomaError for an unknown name and for what is not a weight of 0 or more.
    """
    if text in CLASS_WEIGHTS:
        return dict(CLASS_WEIGHTS[text])
    weights: dict[str, float] = {}
    for pair in text.split(","):
        name, _, value = pair.partition("=")
        try:
            weight = float(value)
        except ValueError:
            weight = -1.0
        if not 0 <= weight < float("inf"):
            raise ChordomaError(
                f"class weights '{text}': expected one of {', '.join(CLASS_WEIGHTS)}, or pairs for every label "
                f"such as gtv=0.25,body=0.05, found '{pair}'"
            )
        weights[name.strip()] = weight
    return weights
