"""Which cases were predicted, and by what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.cases import label_map_files, scheme_of
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256
from nnunet_chordoma.images import VOLUME_SUFFIXES, is_volume, stem
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.probabilities import COMPACT_SUFFIX, ProbabilityMaps

ARCHIVES = (".npz", COMPACT_SUFFIX)


@dataclass(frozen=True)
class Prediction:
    """The label map of one case, and its probabilities if they were saved beside it."""

    case: str
    label_map: Path
    probabilities: Path | None

    @property
    def folder(self) -> Path:
        return self.label_map.parent

    def maps(self) -> ProbabilityMaps:
        """Handle on the probabilities; raises ChordomaError that names the remedy if there are none."""
        if self.probabilities is None:
            raise ChordomaError(
                f"case '{self.case}': expected probabilities {self.case}.npz beside {self.label_map}, found none; "
                "predict with --save_probabilities (chordoma-ensemble: --save-probabilities), or add --labels to "
                "export the label map by nearest neighbour"
            )
        return ProbabilityMaps(self.folder.resolve().name, self.case, self.probabilities, self.label_map)

    def sha256(self, labels: bool) -> dict[str, str]:
        """SHA-256 of the files that are used, by role."""
        if labels:
            return {"label_map": sha256(self.label_map)}
        # The label map lends its grid.
        return {"probabilities": sha256(self.maps().npz), "label_map": sha256(self.label_map)}


def find_predictions(paths: Sequence[Path]) -> dict[str, Prediction]:
    """Case name to prediction for folders of predictions and single files, sorted by case.

    A file is CASE.nii.gz, CASE.npz or CASE.npz8. Raises ChordomaError for what does not exist, a case that occurs
    twice, and predictions of other labels than this project's.
    """
    found: dict[str, Prediction] = {}
    for prediction in (prediction for path in paths for prediction in _of(path)):
        other = found.setdefault(prediction.case, prediction)
        if other.label_map.resolve() != prediction.label_map.resolve():
            raise ChordomaError(
                f"case '{prediction.case}': predicted twice, {other.label_map} and {prediction.label_map}; give one"
            )
    _require_labels({prediction.folder for prediction in found.values()})
    return dict(sorted(found.items()))


def _of(path: Path) -> list[Prediction]:
    if path.is_dir():
        return [_prediction(label_map) for label_map in label_map_files(path, "PREDICTION").values()]
    if not path.is_file():
        raise ChordomaError(f"PREDICTION: {path} is no file or folder; give folders of predictions or CASE.nii.gz")
    if is_volume(path):
        return [_prediction(path)]
    if path.suffix in ARCHIVES:
        beside = [file for suffix in VOLUME_SUFFIXES if (file := path.with_suffix(suffix)).is_file()]
        if beside:
            return [_prediction(beside[0])]
        raise ChordomaError(f"PREDICTION: expected the label map {path.stem}.nii.gz beside {path}; predict it again")
    raise ChordomaError(f"PREDICTION: {path} is no prediction; expected a folder, CASE.nii.gz or CASE.npz")


def _prediction(label_map: Path) -> Prediction:
    case = stem(label_map)
    archives = (label_map.with_name(case + suffix) for suffix in ARCHIVES)
    return Prediction(case, label_map, next((path for path in archives if path.is_file()), None))


def _require_labels(folders: Iterable[Path]) -> None:
    for folder in folders:
        scheme = scheme_of(folder)
        if scheme not in (None, CHORDOMA):
            raise ChordomaError(
                f"{folder}: expected predictions of {', '.join(CHORDOMA.names)}, found a dataset.json with "
                f"{', '.join(scheme.names)}; export predictions of a converted dataset"
            )
