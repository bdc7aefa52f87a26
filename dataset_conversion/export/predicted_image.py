"""Which image a prediction was made from, where chordoma-predict left its record beside it."""

from __future__ import annotations

from typing import Any

from nnunet_chordoma.dataset_conversion.export.predictions import Prediction
from nnunet_chordoma.dataset_conversion.record import CaseRecord
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json

PREDICTIONS_FILE, PREDICTIONS_SCHEMA = "chordoma_predictions.json", "chordoma-predictions"


def require_image(prediction: Prediction, record: CaseRecord) -> None:
    """Raise ChordomaError if a prediction was made from another image than the one of a conversion record.

    Without a record of the prediction, such as beside those of an ensemble or of nnU-Net itself, nobody knows.
    """
    path = prediction.folder / PREDICTIONS_FILE
    content: Any = read_json(path) if path.is_file() else None
    if not isinstance(content, dict) or content.get("schema") != PREDICTIONS_SCHEMA:
        return
    cases = content.get("cases")
    entry = cases.get(prediction.case) if isinstance(cases, dict) else None
    images = entry.get("images_sha256") if isinstance(entry, dict) else None
    if images and images != [record.written_sha256.get("image")]:
        raise ChordomaError(
            f"case '{prediction.case}': {path} says that it was predicted from another image than the one of this "
            "conversion; give the conversion whose images were predicted, or predict the case again"
        )
