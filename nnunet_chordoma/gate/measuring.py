"""All measures of one case from its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.gate.disagreement import disagreement_values
from nnunet_chordoma.gate.inputs import CaseInputs
from nnunet_chordoma.gate.intensity import measure_intensities
from nnunet_chordoma.gate.label_map import measure_label_map
from nnunet_chordoma.gate.measures import measures_of
from nnunet_chordoma.gate.models import Models
from nnunet_chordoma.gate.scan_record import read_scan_record
from nnunet_chordoma.images import read_image, read_label_map
from nnunet_chordoma.labels import LabelScheme


@dataclass(frozen=True)
class Measured:
    """One case: `values` by the name of their measure, those that could be measured; method of its alignment and why
    a registration was rejected; what is doubtful about its orientation; whether models were compared, and which made
    the label map, if that is known.
    """

    case: str
    values: Mapping[str, float]
    method: str
    rejected: str | None
    orientation: str
    compared: bool
    models: Models | None = None


def measure_case(inputs: CaseInputs, scheme: LabelScheme) -> Measured:
    """Read and measure one case; raises ChordomaError for damaged files and labels that the scheme does not have."""
    record = read_scan_record(inputs.record)
    if record.scheme != scheme:
        raise ChordomaError(
            f"case '{inputs.case}': {inputs.record} has the labels {', '.join(record.scheme.names)}, expected "
            f"{', '.join(scheme.names)}; all must come from the same kind of dataset"
        )
    image, labels = read_image(inputs.image), read_label_map(inputs.label_map)
    highest = int(labels.array.max())
    if highest >= len(scheme):
        raise ChordomaError(
            f"case '{inputs.case}': {inputs.label_map} has the label {highest}, expected 0 to {len(scheme) - 1} "
            f"({', '.join(scheme.names)}); is it of another dataset?"
        )
    values = {
        **record.values,
        **measure_intensities(image, labels, scheme),
        **measure_label_map(labels, scheme),
    }
    if inputs.disagreement is not None:
        values |= disagreement_values(inputs.disagreement, int(np.count_nonzero(labels.array)))
    known = measures_of(scheme)
    return Measured(
        inputs.case,
        {name: value for name, value in values.items() if name in known},
        record.method,
        record.rejected,
        record.orientation,
        inputs.disagreement is not None,
        inputs.models,
    )
