"""`chordoma-gate`: fit the ranges of a cohort, and hold new cases against them before anything is exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnunet_chordoma import console

app = console.new_app()

Workers = Annotated[int | None, typer.Option(help="Cases measured at a time; by default one a core, as memory allows.")]

MEMORY_GB = 0.5
"""Of one case at the paper's size."""


@app.callback()
def gate() -> None:
    """Pass, look or stop: does a predicted case look like those that the models were trained on?"""


@app.command(epilog=console.EPILOG)
def fit(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET_DIR", help="DatasetN_Chordoma that chordoma-convert wrote.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="QA.JSON", help="The file of ranges to write.")],
    predictions: Annotated[
        Path | None,
        typer.Option(
            "-p",
            "--predictions",
            metavar="DIR",
            help="Predictions of validation cases (or of all, each by models that did not see it), with "
            "disagreement.csv; such a case enters with its prediction, others with their reference.",
        ),
    ] = None,
    look_rate: Annotated[
        float, typer.Option(help="Share of normal cases that may at most get a look, all checks together.")
    ] = 0.25,
    stop_rate: Annotated[
        float, typer.Option(help="Share of normal cases that may at most get a stop, all checks together.")
    ] = 0.01,
    workers: Workers = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of ranges.")] = False,
) -> None:
    """Learn from training and validation cases what is normal, and write the ranges to qa.json.

    Prints which of these cases the ranges of the others would flag: look at those, their references may be wrong.
    """
    from nnunet_chordoma.errors import ChordomaError
    from nnunet_chordoma.gate.fit import fit_dataset
    from nnunet_chordoma.gate.measures import measures_of
    from nnunet_chordoma.gate.ranges import write_qa
    from nnunet_chordoma.gate.table import print_fit

    if output.is_dir() or output.suffix != ".json":
        raise ChordomaError(f"-o {output}: expected a name that ends in .json, for example qa.json")
    if output.exists() and not overwrite:
        raise ChordomaError(f"-o {output} exists and may hold bounds set by hand; give --overwrite to replace it")
    qa = fit_dataset(dataset, predictions, workers or console.default_workers(MEMORY_GB), look_rate, stop_rate)
    titles = {
        name: f"{each.title}, {each.unit}" if each.unit else each.title for name, each in measures_of(qa.scheme).items()
    }
    write_qa(output, qa, titles)
    print_fit(qa)
    console.console().print(f"wrote {output}", soft_wrap=True, markup=False)


@app.command(epilog=console.EPILOG)
def check(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS_DIR", help="Folder of label maps CASE.nii.gz on the dataset's grid.")
    ],
    dataset: Annotated[
        Path,
        typer.Option(
            "--dataset", metavar="DIR", help="Dataset or conversion with CASE_0000.nii.gz and conversion/CASE.json."
        ),
    ],
    qa: Annotated[Path, typer.Option("--qa", metavar="QA.JSON", help="What chordoma-gate fit wrote.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Gets CASE.json for each case, and verdicts.csv.")
    ],
    case: Annotated[
        list[str] | None, typer.Option("--case", metavar="CASE ...", help="Check these cases; by default all.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A look ends with exit status 3 as well.")] = False,
    workers: Workers = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Judge finished cases again.")] = False,
) -> None:
    """Hold every case against the ranges of qa.json: pass, look or stop, the worst of its checks.

    Exit status: 0 pass or look, 1 bad input, 2 wrong usage, 3 at least one stop. Finished verdicts of unchanged files
    are kept.
    """
    from nnunet_chordoma.gate.check import check_folder, exit_status
    from nnunet_chordoma.gate.table import print_verdicts

    checked = check_folder(
        predictions, dataset, qa, output, case or (), workers or console.default_workers(MEMORY_GB), overwrite
    )
    print_verdicts(checked.verdicts)
    kept = f", kept {len(checked.kept)} finished" if checked.kept else ""
    console.console().print(
        f"wrote {len(checked.verdicts) - len(checked.kept)} verdict(s) to {output}{kept}", soft_wrap=True, markup=False
    )
    raise typer.Exit(exit_status(checked.verdicts, strict))


def main() -> None:
    console.run(app, list_options=("--case",))


if __name__ == "__main__":
    main()
