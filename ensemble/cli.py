"""`chordoma-ensemble`: fit ensemble weights, predict with them, compare them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from nnunet_chordoma import console

app = console.new_app()

Models = Annotated[
    list[str],
    typer.Option(
        "-m",
        "--model",
        metavar="NAME=DIR ...",
        help="A model's name and its folder of CASE.npz and CASE.nii.gz, as chordoma-predict, nnUNetv2_predict (told "
        "to save probabilities) or a trainer (in fold_0/validation with --npz) leave them. Two to twenty, any order.",
    ),
]

References = Annotated[
    Path, typer.Option("-r", "--references", help="Folder of reference label maps; it may hold more cases.")
]
CaseList = Annotated[
    Path | None, typer.Option(help="Text file with the cases to use, one a line; by default all of the models'.")
]


@app.callback()
def ensemble() -> None:
    """Combine the probabilities of several models into one segmentation."""


@app.command(epilog=console.EPILOG)
def fit(
    models: Models,
    references: References,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The weights.json to write; a picture, weights.png, goes beside it.")
    ],
    objective: Annotated[
        str,
        typer.Option(metavar="iou|soft-iou", help="IoU of the label maps, or the paper's of the mean probabilities."),
    ] = "iou",
    solver: Annotated[
        str,
        typer.Option(metavar="exact|adam", help="adam, for soft-iou only: the paper's ascent, stopped at a tolerance."),
    ] = "exact",
    pool: Annotated[
        str, typer.Option(metavar="cases|voxels", help="Mean of the cases' IoU, or one IoU of all their voxels.")
    ] = "cases",
    classes: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Classes that count, such as gtv,piriformis; by default all.")
    ] = None,
    shrink: Annotated[
        str,
        typer.Option(
            metavar="AMOUNT|auto", help="Draw the weights toward equal ones, 0 to 1; auto: by held-out patients."
        ),
    ] = "0",
    bootstrap: Annotated[
        int, typer.Option(help="Resamples of the patients for intervals of the weights; 0: none.")
    ] = 200,
    held_out: Annotated[
        bool,
        typer.Option("--held-out/--no-held-out", help="Refit without each patient, to see what the weights are worth."),
    ] = True,
    patients: Annotated[
        Path | None, typer.Option(help="CSV file with the columns case,patient; by default each case is a patient.")
    ] = None,
    cases: CaseList = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random; the same seed, the same weights.")] = 0,
    workers: Annotated[
        int | None, typer.Option(help="Threads that read files; by default one a core. Does not change the result.")
    ] = None,
) -> None:
    """Fit weights that maximise the IoU of the ensemble's label map, summed over all classes.

    Fit on validation cases only: weights fitted to test cases would flatter the ensemble. A class counts in the
    cases whose reference has it. Prints weights and IoU of the optimal ensemble, the average and every model, and
    whether the optimal weights beat the average on patients that were held out of the fit. When interrupted, the same
    command goes on without reading finished cases again.
    """
    from nnunet_chordoma.cases import parse_models
    from nnunet_chordoma.ensemble.fit import fit_folders
    from nnunet_chordoma.ensemble.inputs import read_case_list, read_patients
    from nnunet_chordoma.ensemble.options import FitOptions, parse_classes, parse_shrink
    from nnunet_chordoma.ensemble.results import write_weights
    from nnunet_chordoma.ensemble.summary import print_summary, soft_warning
    from nnunet_chordoma.ensemble.weights_picture import draw_weights
    from nnunet_chordoma.errors import ChordomaError

    if output.is_dir():
        raise ChordomaError(f"-o {output} is a folder; name a file, for example {output / 'weights.json'}")
    if output.suffix != ".json":
        raise ChordomaError(f"-o {output}: expected a name that ends in .json, for example weights.json")
    options = FitOptions(
        objective,  # type: ignore[arg-type]  # checked there
        solver,  # type: ignore[arg-type]
        pool,  # type: ignore[arg-type]
        parse_classes(classes),
        parse_shrink(shrink),
        held_out,
        bootstrap,
        seed,
    )
    result, sources = fit_folders(
        parse_models(models),
        references,
        read_case_list(cases) if cases else None,
        options,
        read_patients(patients) if patients else None,
        workers,
        lambda items, what: console.track(items, what, len(items)),
        output,
    )
    write_weights(output, result, sources)
    picture = output.with_suffix(".png")
    draw_weights(picture, result)
    print_summary(result)
    warning = soft_warning(result)
    if warning:
        console.warn(warning)
    console.console().print(f"wrote {output} and {picture}", soft_wrap=True, markup=False)


@app.command(epilog=console.EPILOG)
def predict(
    weights: Annotated[
        str,
        typer.Option(
            "-w",
            "--weights",
            metavar="FILE|RULE",
            help="weights.json, of a fit or given by hand, or one of average, vote, staple.",
        ),
    ],
    models: Models,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the label maps, CASE.nii.gz.")],
    save_probabilities: Annotated[
        bool, typer.Option("--save-probabilities", help="Also write CASE.npz and CASE.pkl, for nnUNetv2_ensemble.")
    ] = False,
    uncertainty: Annotated[
        bool,
        typer.Option("--uncertainty", help="Also write predictive entropy and mutual information between models."),
    ] = False,
    disagreement: Annotated[
        bool,
        typer.Option(
            "--disagreement",
            help="Also write disagreement.csv: spread of volumes, pairwise Dice, slices to look at first.",
        ),
    ] = False,
    workers: Annotated[int, typer.Option(help="Cases predicted at a time.")] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            metavar="tcp://HOST:PORT",
            help="Predict on a running Dask cluster instead, whose workers see the same files.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict finished cases again.")] = False,
) -> None:
    """Write the ensemble's label map for every case of the model folders, in the original geometry.

    Give the models under the names of the fit. `-w average` weighs them equally and equals
    nnUNetv2_ensemble voxel for voxel; `-w vote` and `-w staple` combine the models' label maps. Finished cases are
    kept when the command is run again, unless weights or files have changed.
    """
    from nnunet_chordoma.cases import parse_models
    from nnunet_chordoma.ensemble.predict import chosen, predict_folders

    named = parse_models(models)
    rule, values, scheme = chosen(weights, list(named))
    prediction = predict_folders(
        named,
        values,
        output,
        scheme,
        save_probabilities,
        workers,
        overwrite,
        rule=rule,
        uncertainty=uncertainty,
        disagreement=disagreement,
        cluster=cluster,
    )
    kept = f", kept {len(prediction.skipped)} finished" if prediction.skipped else ""
    console.console().print(f"wrote {len(prediction.done)} case(s) to {output}{kept}", soft_wrap=True, markup=False)


@app.command(epilog=console.EPILOG)
def compare(
    models: Models,
    references: References,
    weights: Annotated[
        list[Path] | None,
        typer.Option(
            "-w",
            "--weights",
            metavar="FILE ...",
            help="weights.json of fits on other cases, or given weights; one or several.",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Also write the table, as .csv or .md.")] = None,
    per_case: Annotated[
        Path | None, typer.Option(help="Also write a CSV file of every case, candidate and class.")
    ] = None,
    cases: Annotated[
        Path | None, typer.Option(help="Text file with the cases to compare, one a line, whatever their split.")
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option(
            "--splits",
            metavar="FILE",
            help="splits_final.json; by default the one beside the reference folder, if any.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="NAME",
            help="Cases to compare on, such as outlier; by default test. Pooled only where --cases lists them.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Cases compared at a time.")] = 1,
) -> None:
    """Compare the best single model, average, vote, STAPLE and fitted ensembles on cases with references.

    Meant for test cases: give the weights.json of fits on the validation cases, for example one fitted with
    `--objective iou` and one with `--objective soft-iou`. Where the dataset's splits are known, only the test cases
    count, and what is left out is said. Every file is read once.
    """
    from nnunet_chordoma.cases import parse_models
    from nnunet_chordoma.ensemble.compare import compare_folders
    from nnunet_chordoma.ensemble.comparison.table import check_table_path, print_comparison, write_cases, write_table
    from nnunet_chordoma.ensemble.inputs import read_case_list

    if output is not None:
        check_table_path(output)
    comparison = compare_folders(
        parse_models(models),
        references,
        weights or [],
        read_case_list(cases) if cases else None,
        workers,
        splits,
        split,
    )
    print_comparison(comparison)
    written = []
    if output is not None:
        write_table(output, comparison)
        written.append(str(output))
    if per_case is not None:
        write_cases(per_case, comparison)
        written.append(str(per_case))
    if written:
        console.console().print(f"wrote {' and '.join(written)}", soft_wrap=True, markup=False)


def main() -> None:
    comparing = sys.argv[1:2] == ["compare"]
    # `predict` takes one -w: there a second value must be refused, not overrule the first.
    console.run(app, list_options=("-m", "--model", *(("-w", "--weights") if comparing else ())))


if __name__ == "__main__":
    main()
