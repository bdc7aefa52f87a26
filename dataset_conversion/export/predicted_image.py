"""Whether a prediction was made from the image of a conversion, where the records beside it tell."""

from __future__ import annotations

from nnunet_chordoma.dataset_conversion.export.predictions import Prediction
from nnunet_chordoma.dataset_conversion.record import CaseRecord
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.predicted_from import images_behind


def require_image(prediction: Prediction, record: CaseRecord) -> None:
    """Raise ChordomaError if a prediction was made from another image than the one of a conversion record.

    Beside predictions of nnU-Net itself, and ensembles of those, nobody knows.
    """
    images = images_behind(prediction.folder, prediction.case)
    if images and images != (record.written_sha256.get("image"),):
        raise ChordomaError(
            f"case '{prediction.case}': {prediction.label_map} was predicted from another image than the one of this "
            "conversion; give the conversion whose images were predicted, or predict the case again"
        )
