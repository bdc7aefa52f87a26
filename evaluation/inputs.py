"""Which files are scored: reference cases, the models' label maps, and whether they belong together."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.cases import label_map_files
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.label_files import read_labels_quickly
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_geometry
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.layout import read_splits

SCORED_SPLITS = ("test", "outlier")
CHANNEL = "_0000"
"""How nnU-Net ends the name of a CT."""
LABELS_OF = {"imagesTr": "labelsTr", "imagesTs": "labelsTs"}


@dataclass(frozen=True)
class EvaluationCase:
    """One case: its reference and the prediction of each model that has one (in the models' order)."""

    name: str
    split: str
    reference: Path
    predictions: Mapping[str, Path]


@dataclass(frozen=True)
class Evaluation:
    """Everything that is scored together. `missing` and `extra` are (model, case), tolerated on request only."""

    scheme: LabelScheme
    models: Mapping[str, Path]
    reference: Path
    splits: Path | None
    cases: tuple[EvaluationCase, ...]
    missing: tuple[tuple[str, str], ...] = ()
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class CheckedCase:
    """SHA-256 of a case's files, which passed every check."""

    name: str
    reference_sha256: str
    prediction_sha256: Mapping[str, str]


def find_cases(
    scheme: LabelScheme, models: Mapping[str, Path], reference: Path, splits: Path | None, allow_missing: bool
) -> Evaluation:
    """Pair every reference with each model's label map.

    With `splits`, only its test and outlier cases are scored; else all references are, as split `test`.
    Raises ChordomaError for a case without prediction or a prediction without reference, unless `allow_missing`.
    """
    references = label_map_files(reference, "reference")
    predictions = {model: label_map_files(folder, f"model '{model}'") for model, folder in models.items()}
    predicted = [case for found in predictions.values() for case in found]
    _refuse_images("reference", reference, references, predicted, LABELS_OF.get(reference.name, "labelsTs"))
    for model, found in predictions.items():
        _refuse_images(f"model '{model}'", models[model], found, references, "the folder of its predictions")
    split_of = _split_of(references, reference, splits, allow_missing)
    missing = tuple((m, case) for case in split_of for m in models if case not in predictions[m])
    extra = tuple((m, case) for m in models for case in predictions[m] if case not in references)
    if not allow_missing:
        _refuse(missing, "without a label map of model", models, "predict them")
        _refuse(extra, f"without a reference in {reference}, but predicted by model", models, "add references")
    cases = tuple(
        EvaluationCase(
            case, split, references[case], {m: predictions[m][case] for m in models if case in predictions[m]}
        )
        for case, split in split_of.items()
    )
    if not any(case.predictions for case in cases):
        raise ChordomaError(f"no model has a label map for any case of {reference}; check the -m and -r folders")
    return Evaluation(scheme, models, reference, splits, cases, missing, extra)


def _refuse_images(what: str, folder: Path, cases: Iterable[str], others: Iterable[str], meant: str) -> None:
    """Raise ChordomaError for a folder of images: all names end in nnU-Net's channel, while `others` do not.

    The latter because cases themselves may be numbered like that.
    """
    if all(case.endswith(CHANNEL) for case in cases) and not any(other.endswith(CHANNEL) for other in others):
        raise ChordomaError(f"{what}: these are images ({CHANNEL}) in {folder}, not label maps; did you mean {meant}?")


def _split_of(references: Mapping[str, Path], folder: Path, splits: Path | None, allow_missing: bool) -> dict[str, str]:
    """Scored case -> split, sorted by case."""
    if splits is None:
        return dict.fromkeys(sorted(references), "test")
    held_out = {case: split for case, split in read_splits(splits).split_of.items() if split in SCORED_SPLITS}
    scored = {case: held_out[case] for case in sorted(held_out) if case in references}
    if not scored:
        raise ChordomaError(
            f"{splits}: none of its {len(held_out)} test and outlier cases has a reference in {folder}; "
            "leave out --splits to score all references there"
        )
    if len(scored) < len(held_out) and not allow_missing:
        raise ChordomaError(
            f"{splits}: {_listed([c for c in held_out if c not in scored])} without a reference in {folder}; "
            "add the references or use --allow-missing"
        )
    return scored


def _refuse(pairs: tuple[tuple[str, str], ...], what: str, models: Mapping[str, Path], remedy: str) -> None:
    for model in models:
        cases = [case for m, case in pairs if m == model]
        if cases:
            raise ChordomaError(f"{_listed(cases)} {what} '{model}' ({models[model]}); {remedy} or use --allow-missing")


def _listed(cases: list[str]) -> str:
    more = f" and {len(cases) - 5} more" if len(cases) > 5 else ""
    return f"{len(cases)} case{'s' if len(cases) > 1 else ''} ({', '.join(cases[:5])}{more})"


def check_grids(case: EvaluationCase) -> None:
    """Compare the headers alone; raises ChordomaError that says which model's grid differs, and how."""
    expected = _geometry(case.reference, f"reference, case '{case.name}'")
    for model, path in case.predictions.items():
        what = f"model '{model}', case '{case.name}'"
        require_same_grid(expected, _geometry(path, what), f"{what}: {path}")


def _geometry(path: Path, what: str) -> Geometry:
    try:
        return read_geometry(path)
    except ChordomaError as error:
        raise ChordomaError(f"{what}: {error}") from None


def require_same_grid(expected: Geometry, found: Geometry, what: str) -> None:
    difference = found.difference(expected)
    if difference:
        raise ChordomaError(f"{what}: not on the grid of the reference: {difference}; predict or resample it again")


def read_labels(path: Path, scheme: LabelScheme, what: str, content: bytes | None = None) -> Image:
    """Read a label map, from `content` where the file's bytes are at hand.

    Raises ChordomaError if it is damaged, no label map, or has a label outside the scheme.
    """
    try:
        image = read_labels_quickly(path, path.read_bytes() if content is None else content)
    except ChordomaError as error:
        raise ChordomaError(f"{what}: {error}") from None
    lowest, highest = int(image.array.min(initial=0)), int(image.array.max(initial=0))
    if lowest < 0 or highest >= len(scheme):
        raise ChordomaError(
            f"{what}: {path} has the label {highest if lowest == 0 else lowest}, expected 0 to {len(scheme) - 1} "
            f"({', '.join(scheme.names)}); it belongs to another dataset"
        )
    return image


def slice_axis(geometry: Geometry) -> int:
    """Axis of an array (z, y, x) across the slices that are transverse in the patient, or nearest to it."""
    # Column j of the direction is the way that index j (x, y, z) runs; row 2 is its part from feet to head.
    upwards = [abs(geometry.direction[6 + index]) for index in range(3)]
    return 2 - upwards.index(max(upwards))


def require_writable(folder: Path, what: str) -> None:
    """Raise ChordomaError unless `folder` exists or can be made, and can be written to; leaves nothing behind."""
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        # Permissions alone do not tell: the superuser has them all, even where a file system is read-only.
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError:
        raise ChordomaError(
            f"{what}: cannot write in {existing}; choose another place or mend its permissions"
        ) from None
