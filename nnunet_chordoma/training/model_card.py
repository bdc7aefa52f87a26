"""`chordoma_model.json` in a model's folder: what was trained, and what its probabilities are."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nnunet_chordoma.files import write_document
from nnunet_chordoma.labels import LabelScheme

MODEL_CARD = "chordoma_model.json"
_SCHEMA, _VERSION = "chordoma-model", 1

Probabilities = Literal["softmax", "normalised_sigmoid"]

_MEANING: dict[Probabilities, str] = {
    "softmax": "softmax over the labels",
    "normalised_sigmoid": (
        "each label's sigmoid divided by the sum of all labels' sigmoids; the network returns log-sigmoids, "
        "so a softmax of its output is just that"
    ),
}


def write_model_card(
    folder: Path, scheme: LabelScheme, trainer: str, description: str, parameters: int, probabilities: Probabilities
) -> None:
    """Describe a model beside nnU-Net's plans.json and dataset.json."""
    content = {
        "trainer": trainer,
        "description": description,
        "parameters": parameters,
        "probabilities": probabilities,
        "probabilities_meaning": _MEANING[probabilities],
    }
    write_document(folder / MODEL_CARD, _SCHEMA, _VERSION, scheme, content)
