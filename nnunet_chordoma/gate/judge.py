"""A measured case against the ranges: pass, look or stop for each check, with the figures that say why."""

from __future__ import annotations

from collections.abc import Iterator

from nnunet_chordoma.gate.disagreement import FILE_NAME
from nnunet_chordoma.gate.intervals import percentile
from nnunet_chordoma.gate.measures import DISAGREEMENT, Measure, measures_of, structure_title
from nnunet_chordoma.gate.measuring import Measured
from nnunet_chordoma.gate.models import difference
from nnunet_chordoma.gate.ranges import Qa, Range
from nnunet_chordoma.gate.scan_record import REFERENCE
from nnunet_chordoma.verdicts import Check, Level

MODELS = "models"


def judge(measured: Measured, qa: Qa) -> tuple[tuple[Check, ...], tuple[str, ...]]:
    """All checks of a case, and those that could not be made with the reason.

    Predictions of other models than those of the ranges are a LOOK, and so is what somebody took out of the inputs (a
    range of qa.json, rows of the table of disagreement).
    """
    checks, unjudged = [_method(measured, qa), _orientation(measured)], []
    for name, measure in measures_of(qa.scheme).items():
        structure = name.split("/")[1]
        value = measured.values.get(name)
        if name in qa.omitted:
            unjudged.append(f"{measure.title}: {qa.omitted[name]}")
        elif name not in qa.ranges:
            checks.append(
                _unknown(measure, "its range is missing in qa.json (to switch it off, set its bounds to null)")
            )
        elif measure.group == "volume" and not value:
            checks.append(_absent(measure, structure, qa))
        elif value is not None:
            checks.append(_against_range(measure, value, qa.ranges[name]))
        elif measured.values.get(f"volume/{structure}") == 0:
            # Said by the check of its volume.
            continue
        elif measure.group == DISAGREEMENT:
            if measured.compared:
                checks.append(_unknown(measure, f"no value of '{structure}' in {FILE_NAME}"))
        else:
            unjudged.append(f"{measure.title}: cannot be measured in this case")
    compared, unknown = _models(measured, qa)
    return (*checks, *_not_compared(measured, qa), *compared), (*unjudged, *unknown)


def _against_range(measure: Measure, value: float, training: Range) -> Check:
    level = Level.STOP if training.stop.beyond(value) else Level.LOOK if training.look.beyond(value) else Level.PASS
    z = (value - training.mean) / training.sd
    low, high = training.values[0], training.values[-1]
    unit = f" {measure.unit}" if measure.unit else ""
    return Check(
        name=measure.name,
        title=measure.title,
        level=level,
        finding=f"{measure.title} {number(value)}{unit} (training {number(low)} to {number(high)}{unit}, z {z:+.1f})",
        value=value,
        unit=measure.unit,
        n=len(training.values),
        training_min=low,
        training_max=high,
        z=z,
        percentile=percentile(training.values, value),
        look_low=training.look.low,
        look_high=training.look.high,
        stop_low=training.stop.low,
        stop_high=training.stop.high,
    )


def _absent(measure: Measure, structure: str, qa: Qa) -> Check:
    """Unheard of is STOP, seen in training is LOOK: then the models had a chance to learn it."""
    present = qa.present.get(structure, 0)
    finding = f"{structure_title(structure)} is absent ({present} of {qa.cases} training cases have it)"
    level = Level.STOP if present == qa.cases else Level.LOOK
    training = qa.ranges[measure.name].values
    return Check(
        measure.name, measure.title, level, finding, 0.0, measure.unit, len(training), training[0], training[-1]
    )


def _unknown(measure: Measure, why: str) -> Check:
    return Check(measure.name, measure.title, Level.LOOK, f"{measure.title}: not judged, {why}", unit=measure.unit)


def _method(measured: Measured, qa: Qa) -> Check:
    name, title = "alignment/method", "method of alignment"
    known = ", ".join(f"{method} {count}" for method, count in sorted(qa.methods.items()))
    finding = f"aligned by {measured.method}" + (f": {measured.rejected}" if measured.rejected else "")
    # The reference case is where all others were brought.
    if measured.method == REFERENCE or measured.method in qa.methods:
        return Check(name, title, Level.PASS, finding)
    return Check(name, title, Level.LOOK, f"{finding} (training: {known or 'none'})")


def _orientation(measured: Measured) -> Check:
    name, title = "scan/orientation", "orientation against anatomy"
    if measured.orientation:
        return Check(name, title, Level.LOOK, f"orientation in doubt: {measured.orientation}")
    return Check(name, title, Level.PASS, "header and anatomy do not contradict each other")


def _not_compared(measured: Measured, qa: Qa) -> Iterator[Check]:
    if not measured.compared and any(name.startswith(f"{DISAGREEMENT}/") for name in qa.ranges):
        yield Check(
            f"{DISAGREEMENT}/table",
            "agreement of models",
            Level.LOOK,
            f"agreement of models unknown: no row in {FILE_NAME} (chordoma-ensemble predict --disagreement)",
        )


def _models(measured: Measured, qa: Qa) -> tuple[tuple[Check, ...], tuple[str, ...]]:
    """Whether the models are those of the ranges, or why nobody knows. Ranges of references alone are of no models."""
    if not qa.predicted:
        return (), ()
    if measured.models is None:
        return (), (f"{MODELS}: no record beside the prediction says which made it",)
    if not qa.models:
        return (), (f"{MODELS}: qa.json does not say whose predictions its ranges are of; {measured.models}",)
    other = difference(qa.models, measured.models)
    if other is None:
        return (Check("models/same", MODELS, Level.PASS, f"{measured.models}, as the ranges"),), ()
    return (Check("models/same", MODELS, Level.LOOK, f"other models: {other}"),), ()


def number(value: float) -> str:
    """Four digits, without an exponent: 1622, 0.0313."""
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.4g}" if abs(value) >= 1e-4 else f"{value:.6f}".rstrip("0").rstrip(".")
