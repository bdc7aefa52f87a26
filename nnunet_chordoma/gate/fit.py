"""The ranges of a cohort: fitted to training and validation cases, never to test cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_chordoma import console
from nnunet_chordoma.cases import common_scheme, label_map_files, require_cases
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.gate.disagreement import FILE_NAME, read_disagreements
from nnunet_chordoma.gate.inputs import common_grid, find_inputs
from nnunet_chordoma.gate.intervals import Scale, prediction_bounds, spread
from nnunet_chordoma.gate.judge import judge
from nnunet_chordoma.gate.measures import DISAGREEMENT, Measure, measures_of
from nnunet_chordoma.gate.measuring import Measured, measure_case
from nnunet_chordoma.gate.models import distinct
from nnunet_chordoma.gate.ranges import HeldOut, Qa, Range
from nnunet_chordoma.gate.scan_record import REFERENCE
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.layout import SPLITS_FILE, read_splits
from nnunet_chordoma.verdicts import Level

LEAST_VALUES = 3
"""Of two values the interval is some hundred standard deviations wide: no check at all."""

SMALLEST_SD = 1e-9
"""So that z is finite."""

LOOK_RATE, STOP_RATE = 0.25, 0.01
"""By default at most one normal case in four is worth a needless look, one in a hundred a needless stop."""


def fit_dataset(
    dataset: Path,
    predictions: Path | None = None,
    workers: int = 1,
    look_rate: float = LOOK_RATE,
    stop_rate: float = STOP_RATE,
) -> Qa:
    """Ranges of the training and validation cases of a dataset folder that chordoma-convert wrote.

    A case with a label map in `predictions` enters with that and with its rows of disagreement.csv, any other with its
    reference. Raises ChordomaError for unreadable or missing files, other grids and labels, and too few cases.
    """
    _check_rates(look_rate, stop_rate)
    splits = read_splits(dataset / SPLITS_FILE)
    names = (*splits.train, *splits.val)
    references = label_map_files(dataset / "labelsTr", "references")
    require_cases(references, names, "references", dataset / "labelsTr")
    predicted = _predictions(predictions, names) if predictions else {}
    folders = {"dataset": dataset} | ({"predictions": predictions} if predictions else {})
    scheme = common_scheme(folders)
    rows = read_disagreements(predictions) if predictions else {}
    label_maps = {case: predicted.get(case, references[case]) for case in sorted(names)}
    inputs = find_inputs(dataset, label_maps, {case: each for case, each in rows.items() if case in predicted})
    grid = common_grid(inputs, None, f"the dataset {dataset}")
    measured = console.parallel(measure_case, [(each, scheme) for each in inputs], workers, "measuring")
    qa = fit_ranges(measured, scheme, grid, len(predicted), look_rate, stop_rate)
    return replace(qa, models=distinct(each.models for each in inputs))


def fit_ranges(
    measured: Sequence[Measured],
    scheme: LabelScheme,
    grid: Geometry,
    predicted: int = 0,
    look_rate: float = LOOK_RATE,
    stop_rate: float = STOP_RATE,
) -> Qa:
    """Ranges of measured cases, and which of these cases the ranges of the others would flag."""
    if len(measured) <= LEAST_VALUES:
        raise ChordomaError(
            f"a fit needs at least {LEAST_VALUES + 1} training and validation cases, found {len(measured)}; "
            "ranges of fewer would let everything pass"
        )
    qa = _fitted(measured, scheme, grid, predicted, look_rate, stop_rate)
    flagged: dict[Level, dict[str, str]] = {Level.LOOK: {}, Level.STOP: {}}
    for position, each in enumerate(measured):
        others = [*measured[:position], *measured[position + 1 :]]
        ranges = _fitted(others, scheme, grid, predicted, look_rate, stop_rate)
        checks, _ = judge(each, ranges if each.compared else _without_disagreement(ranges))
        for level in (Level.STOP, Level.LOOK):
            found = [check for check in checks if check.level is level]
            if found:
                flagged[level][each.case] = found[0].finding
                break
    held_out = HeldOut(flagged[Level.LOOK], flagged[Level.STOP])
    return replace(qa, held_out=held_out)


def _without_disagreement(qa: Qa) -> Qa:
    """For references, which have no models that could disagree."""
    names = [name for name in qa.ranges if name.startswith(f"{DISAGREEMENT}/")]
    ranges = {name: each for name, each in qa.ranges.items() if name not in names}
    return replace(qa, ranges=ranges, omitted={**qa.omitted, **dict.fromkeys(names, "a reference")})


def _fitted(
    measured: Sequence[Measured],
    scheme: LabelScheme,
    grid: Geometry,
    predicted: int,
    look_rate: float,
    stop_rate: float,
) -> Qa:
    measures = measures_of(scheme)
    samples = {name: _sample(measure, measured) for name, measure in measures.items()}
    usable = {name: values for name, values in samples.items() if len(values) >= LEAST_VALUES}
    # Bonferroni: the rates are those of a case with all its checks.
    look, stop = (rate / max(1, len(usable)) for rate in (look_rate, stop_rate))
    return Qa(
        scheme=scheme,
        grid=grid,
        cases=len(measured),
        predicted=predicted,
        look_rate=look_rate,
        stop_rate=stop_rate,
        ranges={name: fit_range(measures[name], values, look, stop) for name, values in usable.items()},
        omitted={name: _omission(name, values) for name, values in samples.items() if name not in usable},
        present={
            name: sum(each.values.get(f"volume/{name}", 0.0) > 0 for each in measured) for name in scheme.structures
        },
        methods=dict(Counter(each.method for each in measured if each.method != REFERENCE)),
        held_out=HeldOut({}, {}),
    )


def fit_range(measure: Measure, values: Iterable[float], look: float, stop: float) -> Range:
    """Range of one measure; `look` and `stop` are the probabilities with which a normal case may cross the bounds."""
    ordered = tuple(sorted(values))
    mean = sum(ordered) / len(ordered)
    scale, least = measure.scale, measure.least_spread
    absolute = {Scale.LINEAR: least, Scale.LINEAR_AND_LOG: least * abs(mean), Scale.FROM_ONE: least * (1 - mean)}[scale]
    if scale is Scale.LINEAR_AND_LOG and ordered[0] <= 0:
        scale, least = Scale.LINEAR, absolute
    found = spread(ordered, max(absolute, SMALLEST_SD))
    bounds = (prediction_bounds(ordered, rate, measure.side, scale, least) for rate in (look, stop))
    return Range(ordered, found.mean, found.sd, *bounds)


def _sample(measure: Measure, measured: Sequence[Measured]) -> list[float]:
    values = [each.values[measure.name] for each in measured if measure.name in each.values]
    # How often a structure is absent is kept apart; its volume is that of those who have it.
    return [value for value in values if value > 0] if measure.group == "volume" else values


def _omission(name: str, values: Sequence[float]) -> str:
    if name.startswith(f"{DISAGREEMENT}/") and not values:
        return f"fitted without predictions that have a {FILE_NAME}"
    return f"{len(values)} training cases have it, at least {LEAST_VALUES} are needed"


def _predictions(folder: Path, names: Sequence[str]) -> Mapping[str, Path]:
    files = label_map_files(folder, "predictions")
    found = {case: path for case, path in files.items() if case in names}
    if not found:
        raise ChordomaError(
            f"-p {folder}: holds no training or validation case of the dataset, found {', '.join(sorted(files)[:5])}; "
            "test cases may not decide what is normal"
        )
    left_out = sorted(set(files) - set(found))
    if left_out:
        console.warn(
            f"-p {folder}: {len(left_out)} case(s) are no training or validation cases and are left out: "
            f"{', '.join(left_out[:5])}"
        )
    if not (folder / FILE_NAME).is_file():
        console.warn(
            f"-p {folder}: no {FILE_NAME}, so the models' agreement is not judged; "
            "predict with chordoma-ensemble predict --disagreement"
        )
    return found


def _check_rates(look_rate: float, stop_rate: float) -> None:
    if not 0 < stop_rate < look_rate < 1:
        raise ChordomaError(
            f"expected 0 < --stop-rate < --look-rate < 1, found --look-rate {look_rate:g} and --stop-rate {stop_rate:g}"
        )
