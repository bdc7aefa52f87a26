"""`chordoma-eval`: score label maps, show the scores, write the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnunet_chordoma import console

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, epilog=console.EPILOG)

ScoresFile = Annotated[Path, typer.Argument(metavar="SCORES.CSV", help="What chordoma-eval score wrote.")]


@app.command(epilog=console.EPILOG)
def score(
    model: Annotated[
        list[str],
        typer.Option(
            "-m",
            "--model",
            metavar="NAME=DIR ...",
            help="A model's name and its folder of label maps CASE.nii.gz; several may follow one -m.",
        ),
    ],
    reference: Annotated[
        Path, typer.Option("-r", "--reference", metavar="DIR", help="Reference label maps, such as labelsTs.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="SCORES.CSV", help="Scores; a .json sidecar goes beside them.")
    ],
    splits: Annotated[
        Path | None,
        typer.Option(
            "--splits", metavar="FILE", help="splits_final.json: scores its test and outlier cases, named as such."
        ),
    ] = None,
    tolerances: Annotated[
        str, typer.Option("--tolerances", metavar="MM,MM", help="Tolerances of surface Dice in mm.")
    ] = "2,3",
    workers: Annotated[
        int, typer.Option("--workers", help="Processes that score cases side by side.")
    ] = console.default_workers(),
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            metavar="tcp://HOST:PORT",
            help="Score on an existing Dask cluster instead, whose workers see the same files.",
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="List missing and extra cases instead of refusing to score."),
    ] = False,
) -> None:
    """Score label maps against references: Dice, IoU, surface Dice, distances, editing effort and volumes.

    Writes a tidy CSV and prints the means. Stopped runs continue where they were; adding a model to a
    finished scores file scores that model alone.
    """
    from nnunet_chordoma.cases import parse_models
    from nnunet_chordoma.evaluation.definitions import parse_tolerances
    from nnunet_chordoma.evaluation.names import count
    from nnunet_chordoma.evaluation.scoring import score_models
    from nnunet_chordoma.evaluation.store import read_scores
    from nnunet_chordoma.evaluation.tables import print_tables

    results = score_models(
        parse_models(model),
        reference,
        output,
        splits=splits,
        tolerances_mm=parse_tolerances(tolerances),
        workers=workers,
        allow_missing=allow_missing,
        cluster=cluster,
    )
    print_tables(read_scores(output))
    models, cases = len({r.model for r in results}), len({r.case for r in results})
    console.console().print(
        f"wrote {output}: {count(models, 'model')}, {count(cases, 'case')}\n"
        f"next: chordoma-eval report {output} -o {output.parent / 'report'}",
        soft_wrap=True,
        markup=False,
    )


@app.command(epilog=console.EPILOG)
def show(scores: ScoresFile) -> None:
    """Print the means per model and structure of a scores file, one table per split."""
    from nnunet_chordoma.evaluation.store import read_scores
    from nnunet_chordoma.evaluation.tables import print_tables

    print_tables(read_scores(scores))


@app.command(epilog=console.EPILOG)
def report(
    scores: ScoresFile,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for index.html and the tables.")
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="DIR",
            help="CTs named CASE_0000.nii.gz for the pictures; by default imagesTs or imagesTr beside the references.",
        ),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Heading of the report.")] = "Segmentation report",
    picture_model: Annotated[
        str | None,
        typer.Option(
            "--picture-model", metavar="NAME", help="Model shown in the pictures; by default the best by mean Dice."
        ),
    ] = None,
) -> None:
    """Write one self-contained HTML page with tables, plots and pictures, and the tables as CSV and Markdown."""
    from nnunet_chordoma.evaluation.report.write import write_report

    index = write_report(scores, output, images=images, title=title, shown_model=picture_model)
    console.console().print(f"wrote {index}", soft_wrap=True, markup=False)


def main() -> None:
    console.run(app, list_options=("-m", "--model"))


if __name__ == "__main__":
    main()
