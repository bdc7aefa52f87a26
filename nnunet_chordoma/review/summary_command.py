"""`chordoma-eval review-summary`: everything is made before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma import console
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.editing_fit import fit_editing_minutes, why_no_model
from nnunet_chordoma.evaluation.editing_minutes import EditingModel, write_editing_model
from nnunet_chordoma.evaluation.editing_words import model_sentences
from nnunet_chordoma.evaluation.inputs import require_writable
from nnunet_chordoma.evaluation.names import count
from nnunet_chordoma.evaluation.sidecar import read_sidecar
from nnunet_chordoma.evaluation.tables.delimited import delimited
from nnunet_chordoma.evaluation.tables.latex import latex
from nnunet_chordoma.evaluation.tables.markdown import markdown
from nnunet_chordoma.evaluation.tables.table import Column, Table, text_table
from nnunet_chordoma.files import write_text
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.review.agreement import reviewer_totals_table, reviewers_table
from nnunet_chordoma.review.differences import differences_table, paired_differences, power_sentences
from nnunet_chordoma.review.measured import Measured, measured, parse_scored_as
from nnunet_chordoma.review.printed import print_table, print_text
from nnunet_chordoma.review.relations import relations_table
from nnunet_chordoma.review.reviews import Reviews, named_sheets, read_reviews
from nnunet_chordoma.review.scatter import scatter
from nnunet_chordoma.review.table_1c import table_1c


@dataclass(frozen=True)
class Part:
    """A table with the sentences that follow it; either may be missing."""

    table: Table | None
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """All that is said of a review. `no_model` says why there is no `model`; empty if there is, or none was sought."""

    parts: tuple[Part, ...]
    model: EditingModel | None = None
    no_model: str = ""
    picture: bytes | None = None


def summarise(
    sheets: Sequence[str],
    key: Path,
    *,
    scores: Path | None = None,
    scored_as: Sequence[str] = (),
    output: Path | None = None,
    model_out: Path | None = None,
    paper: bool = False,
    allow_incomplete: bool = False,
) -> None:
    """Print the summary of a review; write it into `output`, and the model of minutes to `model_out`.

    Raises ChordomaError for sheets that do not fit the key (see `read_reviews`), scores of other cases, places that
    cannot be written to, and, after everything else is done, where a model is wanted and there are too few ratings.
    """
    if scored_as and scores is None:
        raise ChordomaError(f"--scored-as {scored_as[0]}: names a model in a scores file; give --scores SCORES.CSV too")
    if model_out is not None and scores is None:
        raise ChordomaError(f"--model-out {model_out}: a model needs what was measured; give --scores SCORES.CSV too")
    for option, folder in (("-o", output), ("--model-out", model_out and model_out.parent)):
        if folder is not None:
            if folder.exists() and not folder.is_dir():
                raise ChordomaError(f"{option} {folder}: is a file, expected a folder")
            require_writable(folder, f"{option} {folder}")
    reviews = read_reviews(named_sheets(sheets), key, allow_incomplete=allow_incomplete)
    summary = summary_of(reviews, scores, paper=paper, scored_as=parse_scored_as(scored_as))
    for part in summary.parts:
        if part.table is not None:
            print_table(part.table)
        print_text(part.sentences)
    if output is not None:
        write_summary(output, summary, reviews)
        _say(f"wrote {output / 'summary.md'} with its tables; ratings.csv there is unblinded, keep it from reviewers")
    if model_out is not None and summary.model is not None:
        write_editing_model(model_out, summary.model)
        _say(f"wrote {model_out}; next: chordoma-eval report SCORES.CSV -o DIR --editing-minutes {model_out}")
    elif model_out is not None:
        stale = "; the file there is of an earlier run and was left" if model_out.exists() else ""
        raise ChordomaError(
            f"--model-out {model_out}: not written: {summary.no_model}{stale}; all else was done, leave the option out "
            "or rate more patients"
        )


def summary_of(
    reviews: Reviews,
    scores: Path | None = None,
    *,
    paper: bool = False,
    scored_as: Mapping[str, str] | None = None,
) -> Summary:
    """Table 1c, paired differences and those between reviewers; with scores, relations to measures and the fit.

    `scored_as` has sources of the key that the scores call otherwise.
    """
    differences = paired_differences(reviews)
    parts = [Part(table_1c(reviews, paper=paper), tuple(_incomplete(reviews)))]
    if differences:
        parts.append(Part(differences_table(differences), tuple(power_sentences(differences))))
    between = (reviewer_totals_table(reviews), reviewers_table(reviews))
    parts += [Part(table) for table in between if table is not None]
    if scores is None:
        return Summary(tuple(parts))
    found = measured(reviews, scores, scored_as)
    no_model = why_no_model(found.rated_items())
    model = None if no_model else _fit(found, reviews, scores)
    said = model_sentences(model) if model is not None else [f"No model of editing minutes: {no_model}."]
    parts += [Part(relations_table(found)), Part(None, tuple(said))]
    return Summary(tuple(parts), model, no_model, scatter(found, model))


def write_summary(folder: Path, summary: Summary, reviews: Reviews) -> None:
    """Every table as CSV, Markdown and LaTeX, the picture, the ratings unblinded, and all words in `summary.md`."""
    tables = [part.table for part in summary.parts if part.table is not None]
    for table in tables:
        for ending, text in (("csv", delimited(table)), ("md", markdown(table)), ("tex", latex(table))):
            write_text(folder / f"{table.name}.{ending}", text)
    write_text(folder / "ratings.csv", delimited(ratings_table(reviews)))
    if summary.picture is not None:
        write_text(folder / "minutes.svg", summary.picture.decode("utf-8"))
    write_text(folder / "summary.md", _document(summary))


def ratings_table(reviews: Reviews) -> Table:
    """Every rating as it was given, with case and source."""
    names = ("reviewer", "patient", "case", "contours", "source", "structure", "minutes", "comments")
    rows = []
    for reviewer, ratings in reviews.sheets.items():
        for r in ratings:
            item = reviews.key.item(r.patient, r.contours)
            minutes = "" if r.minutes is None else repr(r.minutes)
            rows.append((reviewer, r.patient, item.case, r.contours, item.source, r.structure, minutes, r.comments))
    return text_table("ratings", "Ratings", [Column(name) for name in names], rows)


def _document(summary: Summary) -> str:
    lines = ["# Blinded review", ""]
    for part in summary.parts:
        lines += [markdown(part.table, 2)] if part.table is not None else []
        lines += [f"{sentence}\n" for sentence in part.sentences]
    lines += ["![Minutes of editing against what was measured](minutes.svg)"] if summary.picture is not None else []
    return "\n".join(lines).rstrip() + "\n"


def _fit(found: Measured, reviews: Reviews, scores: Path) -> EditingModel:
    sidecar = read_sidecar(scores)
    structures = reviews.key.structures
    # Without a sidecar the numbers of the labels are unknown; their names are not.
    scheme = sidecar.scheme if sidecar is not None else LabelScheme(("background", *structures))
    return fit_editing_minutes(found.rated_items(), scheme, found.area_metric, len(reviews.reviewers))


def _incomplete(reviews: Reviews) -> list[str]:
    if not reviews.unrated:
        return []
    return [f"Incomplete: {count(reviews.unrated, 'rating')} of {reviews.minutes.size} missing; not the final result."]


def _say(text: str) -> None:
    console.console().print(text, soft_wrap=True, markup=False)
