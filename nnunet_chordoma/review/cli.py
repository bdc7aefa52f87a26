"""`chordoma-eval`: what evaluation offers, and the blinded review."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnunet_chordoma import console
from nnunet_chordoma.evaluation.cli import app

LIST_OPTIONS = ("-m", "--model", "--case", "--scored-as")
DEFAULT_CASES = 5
"""The paper's number (section 2.6)."""


@app.callback()
def _with_viewer(context: typer.Context) -> None:
    """Measure predictions against references, compare models, and prepare a blinded review by clinicians."""
    # Evaluation knows no viewer: its report is given what makes the pages.
    from nnunet_chordoma.review.report_pages import viewer_pages

    context.obj = viewer_pages


@app.command("review-kit", epilog=console.EPILOG)
def review_kit(
    reference: Annotated[
        Path, typer.Option("-r", "--reference", metavar="DIR", help="Reference label maps, such as labelsTs.")
    ],
    model: Annotated[
        list[str],
        typer.Option(
            "-m",
            "--model",
            metavar="NAME=DIR ...",
            help="Label maps to be judged beside the reference: usually the best single model and the ensemble.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The kit; must be new or empty.")],
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="CTs named CASE_0000.nii.gz, such as imagesTs.")
    ] = None,
    conversion: Annotated[
        Path | None,
        typer.Option(
            "--conversion",
            metavar="DIR",
            help="Instead of --images: the converted dataset, to show patients on their original CTs (with --ct).",
        ),
    ] = None,
    ct: Annotated[
        Path | None, typer.Option("--ct", metavar="DIR", help="Folder with the DICOM that was converted.")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            metavar="KEY.JSON",
            help="Which contours are whose, outside the kit; by default DIR.key.json beside it. Not for the expert.",
        ),
    ] = None,
    cases: Annotated[
        int, typer.Option("--cases", metavar="N", help="Patients, chosen at random unless named with --case.")
    ] = DEFAULT_CASES,
    case: Annotated[
        list[str] | None,
        typer.Option("--case", metavar="NAME ...", help="Use these cases instead, in an order made by chance."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="SPLIT", help="Draw from this split: test (the default), outlier, val, train."),
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option(
            "--splits",
            metavar="FILE",
            help="splits_final.json; by default that beside the reference folder. Without one, any case may be drawn.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", help="Makes the same choice again. By default a secret one, kept in the key: better for a study."
        ),
    ] = None,
    copies: Annotated[
        int, typer.Option("--copies", metavar="N", help="Reviewers: each gets the same kit, in reviewer_1, ...")
    ] = 1,
    xlsx: Annotated[bool, typer.Option("--xlsx", help="Write rating sheets for spreadsheets as well.")] = False,
    workers: Annotated[
        int, typer.Option("--workers", help="Processes that prepare patients side by side.")
    ] = console.default_workers(2.0),
) -> None:
    """Prepare a blinded review: contours of the reference and of models under the names A, B, C, and a rating sheet.

    Writes a DICOM CT and an RTSTRUCT for each set of contours of each patient, the same for chordoma-view, and how to
    rate them. Nothing in the kit names a case or a source; the key does and stays with you.
    """
    from nnunet_chordoma.cases import parse_models
    from nnunet_chordoma.evaluation.names import count
    from nnunet_chordoma.review.kit import KitRequest, make_kit
    from nnunet_chordoma.review.kit_texts import SHEET

    made = make_kit(
        KitRequest(
            reference=reference,
            models=tuple(parse_models(model).items()),
            output=output,
            images=images,
            conversion=conversion,
            ct=ct,
            key=key,
            cases=cases,
            named=tuple(case or ()),
            splits=splits,
            split=split,
            seed=seed,
            copies=copies,
            spreadsheets=xlsx,
            workers=workers,
        )
    )
    rows = made.patients * made.sources * made.structures
    shown = made.folder if copies == 1 else made.folder / "reviewer_1"
    console.console().print(
        f"wrote {made.folder}: {count(made.patients, 'patient')}, {made.sources} sets of contours each, {rows} rows\n"
        f"patients {made.pool}\n"
        f"wrote {made.key}: says which contours are whose; keep it from the reviewers\n"
        f"next: hand out the folder (chordoma-view {shown} shows it); with the filled sheet:\n"
        f"      chordoma-eval review-summary {SHEET} -k {made.key}",
        soft_wrap=True,
        markup=False,
    )


@app.command("review-summary", epilog=console.EPILOG)
def review_summary(
    sheets: Annotated[
        list[str],
        typer.Argument(metavar="[REVIEWER=]SHEET ...", help="Filled rating sheets, .csv or .xlsx; one per reviewer."),
    ],
    key: Annotated[Path, typer.Option("-k", "--key", metavar="KEY.JSON", help="The key of the kit.")],
    scores: Annotated[
        Path | None,
        typer.Option(
            "--scores",
            metavar="SCORES.CSV",
            help="What chordoma-eval score wrote for the same cases: relates minutes to measures.",
        ),
    ] = None,
    scored_as: Annotated[
        list[str] | None,
        typer.Option(
            "--scored-as",
            metavar="NAME=NAME ...",
            help="Sources that SCORES.CSV calls otherwise than the key, such as best_single=resunet_dice.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Write tables, text, picture and unblinded ratings here."),
    ] = None,
    model_out: Annotated[
        Path | None,
        typer.Option(
            "--model-out",
            metavar="MINUTES.JSON",
            help="Write the fitted minutes of editing here, for chordoma-eval report --editing-minutes. Too few "
            "ratings for a fit end with status 1, after all else is done.",
        ),
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Show the published numbers of Table 1c below these.")] = False,
    allow_incomplete: Annotated[
        bool, typer.Option("--allow-incomplete", help="Summarise what is there although rows lack minutes.")
    ] = False,
) -> None:
    """Join rating sheets with the key: minutes of editing per structure and source, in the layout of Table 1c.

    Gives means with ranges, totals per patient, paired differences and, with --scores, how minutes relate to what was
    measured. Sheets that were edited beyond minutes and comments are refused.
    """
    from nnunet_chordoma.review.summary_command import summarise

    summarise(
        sheets,
        key,
        scores=scores,
        scored_as=tuple(scored_as or ()),
        output=output,
        model_out=model_out,
        paper=paper,
        allow_incomplete=allow_incomplete,
    )


def main() -> None:
    console.run(app, list_options=LIST_OPTIONS)


if __name__ == "__main__":
    main()
