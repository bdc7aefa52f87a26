"""`chordoma-eval`: score label maps, show the scores, write the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnunet_chordoma import console

app = console.new_app()

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
    from nnunet_chordoma.evaluation.sidecar import warn_of_edits
    from nnunet_chordoma.evaluation.store import read_scores
    from nnunet_chordoma.evaluation.tables import print_tables

    print_tables(read_scores(scores))
    warn_of_edits(scores)


@app.command(epilog=console.EPILOG)
def report(
    context: typer.Context,
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
    ensemble: Annotated[
        list[str] | None,
        typer.Option(
            "--ensemble",
            metavar="NAME",
            help="Model to count as an ensemble; repeatable. By default those with 'ensemble' in their name.",
        ),
    ] = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="Show the published numbers of the paper beside models of the same name.")
    ] = False,
    comparison: Annotated[
        list[Path] | None,
        typer.Option(
            "--comparison",
            metavar="COMPARISON.CSV",
            help="What chordoma-eval compare wrote; repeatable. By default comparison*.json beside the scores.",
        ),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option("--weights", metavar="WEIGHTS.JSON", help="What chordoma-ensemble fit wrote; repeatable."),
    ] = None,
    gate: Annotated[
        Path | None,
        typer.Option("--gate", metavar="DIR", help="Verdicts that chordoma-gate check wrote for these cases."),
    ] = None,
    editing_minutes: Annotated[
        Path | None,
        typer.Option(
            "--editing-minutes",
            metavar="MINUTES.JSON",
            help="Predict minutes of editing by what chordoma-eval review-summary --model-out wrote.",
        ),
    ] = None,
    viewer: Annotated[
        int,
        typer.Option(
            "--viewer", metavar="N", min=0, help="Write pages of the N worst cases, which open without a server."
        ),
    ] = 0,
) -> None:
    """Write one self-contained HTML page with tables, plots and pictures, and the tables as CSV, Markdown and LaTeX."""
    from nnunet_chordoma.evaluation.report.write import write_report

    index = write_report(
        scores,
        output,
        images=images,
        title=title,
        shown_model=picture_model,
        ensembles=ensemble or (),
        paper=paper,
        comparisons=comparison or (),
        weights=weights or (),
        gate=gate,
        editing_minutes=editing_minutes,
        viewer=viewer,
        # What stands above this stage may bring the viewer along.
        page_writer=context.obj,
    )
    console.console().print(f"wrote {index}", soft_wrap=True, markup=False)


@app.command(epilog=console.EPILOG)
def compare(
    scores: Annotated[
        Path | None, typer.Argument(metavar="SCORES.CSV", help="What chordoma-eval score wrote; before any -m.")
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option("--baseline", metavar="NAME", help="Needed: model to compare the others with; repeatable."),
    ] = None,
    from_summary: Annotated[
        Path | None,
        typer.Option(
            "--from-summary",
            metavar="FILE.csv",
            help="Compare means and SDs instead (columns metric, model, structure, mean, sd, n, ddof): unpaired tests.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("-m", "--model", metavar="NAME ...", help="Models to compare; by default all others."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="KEY,KEY", help="By default those of the paper's Table 3: VDSC, SDSC, ASSD."),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="Cases to compare on; by default test. Never pooled.")
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(
            "--test",
            metavar="NAME",
            help="wilcoxon, permutation, t (paired), student, welch or paper (unpaired); repeatable. By default "
            "wilcoxon and permutation, with --from-summary paper.",
        ),
    ] = None,
    alternative: Annotated[
        str | None,
        typer.Option(
            "--alternative",
            metavar="NAME",
            help="two-sided (default), baseline-better or model-better; paper is always baseline-better.",
        ),
    ] = None,
    correction: Annotated[
        str | None,
        typer.Option(
            "--correction",
            metavar="NAME",
            help="Over the structures of a model and metric: holm (default), fdr_bh, fdr_tsbh, fdr_tsbky or none; "
            "paper is always fdr_tsbh.",
        ),
    ] = None,
    alpha: Annotated[float | None, typer.Option("--alpha", help="Level; by default 0.05, paper is always 0.1.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything random.")] = 0,
    resamples: Annotated[int, typer.Option("--resamples", help="Bootstrap resamples for intervals.")] = 9999,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="COMPARISON.CSV",
            help="Write p-values here; NAME_effects.csv, NAME.md, NAME.tex and NAME.json go beside it. "
            "Prints the words alone.",
        ),
    ] = None,
) -> None:
    """Test whether a model is better than others on the same cases, in the layout of the paper's Table 3.

    Gives raw and corrected p-values per metric, model and structure, effect sizes with intervals, and says what too
    few cases cannot show. docs/STATISTICS.md says which test answers which question.
    """
    from nnunet_chordoma.evaluation.comparison.command import Request, run_comparison
    from nnunet_chordoma.evaluation.comparison.printed import print_comparison
    from nnunet_chordoma.evaluation.comparison.store import write_comparison
    from nnunet_chordoma.evaluation.sidecar import warn_of_edits

    request = Request(
        baselines=tuple(baseline or ()),
        scores=scores,
        summary=from_summary,
        models=tuple(model) if model else None,
        metrics=tuple(metrics.split(",")) if metrics is not None else None,
        split=split,
        tests=tuple(test) if test else None,
        alternative=alternative,
        correction=correction,
        alpha=alpha,
        seed=seed,
        resamples=resamples,
    )
    comparison = run_comparison(request, output)
    print_comparison(comparison, tables=output is None)
    if scores is not None:
        warn_of_edits(scores)
    for note in comparison.notes:
        console.warn(note)
    if output is not None:
        written = write_comparison(output, comparison)
        console.console().print(f"wrote {', '.join(str(path) for path in written)}", soft_wrap=True, markup=False)


def main() -> None:
    console.run(app, list_options=("-m", "--model"))


if __name__ == "__main__":
    main()
