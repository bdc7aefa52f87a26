"""conversion.json: what holds for a converted dataset as a whole, and what a new scan needs to join it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.dataset_conversion.quarantine import Quarantined
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_document, write_document
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.labels import CHORDOMA

SCHEMA, VERSION = "chordoma-cohort", 1

_QUOTED = re.compile(r"'[^']*'")
_UID = re.compile(r"\b\d+(?:\.\d+){3,}\b")
_FILE = re.compile(r"\S*/\S*|\S+\.(?:dcm|dicom|nii|gz|mha|mhd|nrrd|raw|json|ya?ml)\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d{6,}")
COHORT_FILE = "conversion.json"


@dataclass(frozen=True)
class Cohort:
    """`reference` is the case to which all others are aligned and `field_of_view` the grid that all share.

    Both are None for a conversion without alignment. The bone image of the reference lies in conversion/bone.
    """

    reference: str | None
    field_of_view: Geometry | None
    seed: int
    quarantined: tuple[Quarantined, ...] = ()


def unquoted(reason: str, case: str) -> str:
    """A reason without what may come from file names or headers: quoted text, paths, file names, UIDs, long numbers."""
    text = _QUOTED.sub(lambda found: found[0] if found[0] == f"'{case}'" else "'...'", reason)
    return _NUMBER.sub("...", _FILE.sub("...", _UID.sub("...", text)))


def write_cohort(dataset: Path, cohort: Cohort, pseudonymise: bool) -> Path:
    """Write the file and return its path.

    Reasons may quote file names, labels or UIDs from the headers: with `pseudonymise` these are left out.
    """
    path = dataset / COHORT_FILE
    write_document(
        path,
        SCHEMA,
        VERSION,
        CHORDOMA,
        {
            "reference": cohort.reference,
            "field_of_view": None if cohort.field_of_view is None else cohort.field_of_view.to_json(),
            "seed": cohort.seed,
            "quarantined": [
                {"case": q.case, "step": q.step, "reason": unquoted(q.reason, q.case) if pseudonymise else q.reason}
                for q in cohort.quarantined
            ],
        },
    )
    return path


def read_cohort(dataset: Path) -> Cohort:
    """Read what `write_cohort` wrote; raises ChordomaError if it is missing or malformed."""
    path = dataset / COHORT_FILE
    _, content = read_document(path, SCHEMA, VERSION)
    try:
        grid = content["field_of_view"]
        return Cohort(
            content["reference"],
            None if grid is None else Geometry.from_json(grid),
            int(content["seed"]),
            tuple(Quarantined(q["case"], q["step"], q["reason"]) for q in content["quarantined"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ChordomaError(f"{path}: incomplete ({error!r}); convert the cohort again") from None
