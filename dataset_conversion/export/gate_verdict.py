"""What the gate's verdict on a prediction means for its export."""

from __future__ import annotations

from pathlib import Path

from nnunet_chordoma.dataset_conversion.export.predictions import Prediction
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256
from nnunet_chordoma.verdicts import Level, one_line, read_verdict

NOT_CHECKED = "QA: not checked"
"""Said in place of a verdict."""

CHARACTERS = 400
"""Of a StructureSetDescription, which has 1024 and names models and weights as well."""


class StoppedByGateError(ChordomaError):
    """The gate says stop, and nobody asked for the export all the same."""


def verdict_remark(prediction: Prediction, record: Path, verdicts: Path, despite_stop: bool) -> str:
    """The verdict in `verdicts`/CASE.json as one line for the description of DICOM objects.

    `record` is the case's conversion record. Raises ChordomaError without a verdict on this very label map and
    conversion, and StoppedByGateError for a stop unless `despite_stop` is set.
    """
    what, path = f"case '{prediction.case}'", verdicts / f"{prediction.case}.json"
    if not path.is_file():
        raise ChordomaError(f"{what}: no verdict {path}; run chordoma-gate check on its prediction")
    verdict = read_verdict(path)
    judged = dict(verdict.input_sha256)
    if judged.get("prediction") != sha256(prediction.label_map):
        raise ChordomaError(f"{what}: {path} is the verdict on another label map; run chordoma-gate check again")
    if judged.get("record", (this := sha256(record))) != this:
        raise ChordomaError(
            f"{what}: {path} is the verdict on another conversion than {record}; run chordoma-gate check again with it"
        )
    if verdict.level is Level.STOP and not despite_stop:
        raise StoppedByGateError(
            f"{what}: {one_line(verdict, CHARACTERS)}; find the cause, or add --despite-stop to export it"
        )
    return one_line(verdict, CHARACTERS)
