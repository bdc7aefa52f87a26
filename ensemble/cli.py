"""`chordoma-ensemble`: fit ensemble weights, predict with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnunet_chordoma import console

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Models = Annotated[
    list[str],
    typer.Option(
        "-m",
        "--model",
        metavar="NAME=DIR ...",
        help="A model's name and its folder of CASE.npz and CASE.nii.gz, from nnUNetv2_predict --save_probabilities "
        "or a trainer's fold_0/validation (train with --npz). Two to twenty.",
    ),
]


@app.callback()
def ensemble() -> None:
    """Combine the probabilities of several models into one segmentation."""


@app.command(epilog=console.EPILOG)
def fit(
    models: Models,
    references: Annotated[
        Path, typer.Option("-r", "--references", help="Folder of reference label maps; it may hold more cases.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The weights.json to write.")],
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the random starts; the same seed gives the same weights.")
    ] = 0,
    cases: Annotated[
        Path | None, typer.Option(help="Text file with the cases to use, one a line; by default all of the models'.")
    ] = None,
) -> None:
    """Fit weights that maximise the IoU of the ensemble's label map, summed over all classes.

    Fit on validation cases only: weights fitted to test cases would flatter the ensemble. A class counts in the
    cases whose reference has it. Prints weights and IoU of the optimal ensemble, the average and every model.
    """
    from nnunet_chordoma.cases import parse_models
    from nnunet_chordoma.ensemble.fit import fit_folders
    from nnunet_chordoma.ensemble.inputs import read_case_list
    from nnunet_chordoma.ensemble.results import write_weights
    from nnunet_chordoma.ensemble.summary import print_summary
    from nnunet_chordoma.errors import ChordomaError

    if output.is_dir():
        raise ChordomaError(f"-o {output} is a folder; name a file, for example {output / 'weights.json'}")
    result, sources = fit_folders(
        parse_models(models),
        references,
        read_case_list(cases) if cases else None,
        seed,
        case_progress=lambda names: console.track(names, "reading cases", len(names)),
        start_progress=lambda starts: console.track(starts, "searching", len(starts)),
    )
    write_weights(output, result, sources)
    print_summary(result)
    console.console().print(f"wrote {output}", soft_wrap=True, markup=False)


@app.command(epilog=console.EPILOG)
def predict(
    weights: Annotated[
        str, typer.Option("-w", "--weights", metavar="FILE|average", help="weights.json of a fit, or: average.")
    ],
    models: Models,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the label maps, CASE.nii.gz.")],
    save_probabilities: Annotated[
        bool, typer.Option("--save-probabilities", help="Also write CASE.npz and CASE.pkl, for nnUNetv2_ensemble.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Cases predicted at a time; each needs memory for three maps.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict finished cases again.")] = False,
) -> None:
    """Write the ensemble's label map for every case of the model folders, in the original geometry.

    Give the models under the names and in the order of the fit. `-w average` weighs them equally and equals
    nnUNetv2_ensemble voxel for voxel. Finished cases are kept when the command is run again, unless weights or
    files have changed.
    """
    from nnunet_chordoma.cases import parse_models
    from nnunet_chordoma.ensemble.predict import predict_folders
    from nnunet_chordoma.ensemble.weights import AVERAGE, EnsembleWeights

    named = parse_models(models)
    chosen, scheme = (
        (EnsembleWeights.average(list(named)), None) if weights == AVERAGE else EnsembleWeights.read(Path(weights))
    )
    prediction = predict_folders(named, chosen, output, scheme, save_probabilities, workers, overwrite)
    kept = f", kept {len(prediction.skipped)} finished" if prediction.skipped else ""
    console.console().print(f"wrote {len(prediction.done)} case(s) to {output}{kept}", soft_wrap=True, markup=False)


def main() -> None:
    console.run(app, list_options=("-m", "--model"))


if __name__ == "__main__":
    main()
