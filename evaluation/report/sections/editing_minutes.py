"""How long an expert would take to edit each model's contours, as a model of minutes predicts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_chordoma.evaluation.editing_minutes import EditingModel, read_editing_model
from nnunet_chordoma.evaluation.editing_words import fitted_on, model_sentences
from nnunet_chordoma.evaluation.names import count, split_title
from nnunet_chordoma.evaluation.predicted_minutes import PredictedMinutes, predicted_minutes, require_same_labels
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.sidecar import Sidecar
from nnunet_chordoma.evaluation.summary import SplitSummary
from nnunet_chordoma.evaluation.tables.editing_minutes import patients_table, structures_table
from nnunet_chordoma.evaluation.tables.table import Table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PageMinutes:
    """One split."""

    heading: str
    structures: Table
    patients: Table


@dataclass(frozen=True)
class EditingMinutes:
    fitted_on: str
    sentences: tuple[str, ...]
    splits: tuple[PageMinutes, ...]


def usable_model(path: Path, scores: pd.DataFrame, sidecar: Sidecar | None) -> EditingModel:
    """The model of a file; raises ChordomaError if it is damaged or of another label scheme."""
    model = read_editing_model(path)
    require_same_labels(model, path, scores, sidecar)
    return model


def editing_minutes_section(model: EditingModel, scores: pd.DataFrame, summaries: Sequence[SplitSummary]) -> Section:
    """Predictions per model and structure and per patient; says what is extrapolated and what the fit has seen."""
    found = [predicted_minutes(scores, summary, model) for summary in summaries if summary.structures]
    splits = tuple(
        PageMinutes(f"{split_title(each.summary.split)} set", structures_table(each), patients_table(each, model.level))
        for each in found
    )
    said = (*model_sentences(model), *_cautions(model, found))
    content = EditingMinutes(fitted_on(model), said, splits)
    tables = tuple(table for page in splits for table in (page.structures, page.patients))
    return Section("editing-minutes", "Predicted minutes of editing", "editing_minutes.html.j2", content, tables)


def _cautions(model: EditingModel, found: Sequence[PredictedMinutes]) -> list[str]:
    said = []
    parts = [prediction for each in found for prediction in each.parts.values()]
    beyond = sum(prediction.extrapolated for prediction in parts)
    if beyond:
        (_, area), (low, high) = model.area_range_cm2, model.volume_range_cm3
        said.append(
            f"{beyond} of {count(len(parts), 'prediction')} extrapolated: no structure was rated with a surface out of "
            f"tolerance above {area:.1f} cm², or a volume outside {low:.1f} to {high:.1f} cm³. There no "
            "interval holds."
        )
    fitted = set(model.cases)
    seen = [case for each in found for case in each.summary.cases if case in fitted]
    if seen:
        said.append(
            f"Caution: the model was fitted to ratings of {count(len(seen), 'case')} scored here ({', '.join(seen)}); "
            "there the predictions are in-sample."
        )
    return said
