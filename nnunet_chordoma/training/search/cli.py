"""`chordoma-search`: the paper's hyper-parameter search (appendix B) as an Optuna study of nnU-Net trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnunet_chordoma import console
from nnunet_chordoma.layout import CONFIGURATION

app = console.new_app()


@app.command(epilog=console.EPILOG)
def search(
    dataset_id: Annotated[int, typer.Argument(help="Dataset id N, planned by chordoma-plan.")],
    trainer: Annotated[str, typer.Option("--trainer", "-tr", help="Trainer to search for, such as ChordomaTrainerCE.")],
    trials: Annotated[int, typer.Option(min=1, help="Trials of the whole search; give more later to go on.")] = 20,
    configuration: Annotated[str, typer.Option("-c", "--configuration", help="Configuration of the plans.")] = (
        CONFIGURATION
    ),
    fold: Annotated[int, typer.Option("-f", "--fold", min=0, help="Fold of the splits.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Most epochs of a trial.")] = 20,
    patches_per_image: Annotated[
        int,
        typer.Option(min=1, help="Patches of each image in an epoch; of smaller patches more, for the same voxels."),
    ] = 15,
    space: Annotated[
        Path | None, typer.Option(help="YAML or JSON file of what to try instead of the paper's sets.")
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(help="JSON file of settings that all trials share, such as another search's best.json."),
    ] = None,
    measure: Annotated[
        str, typer.Option(help="What trials are compared by: val_loss, mean_iou or auto (see docs/SEARCH.md).")
    ] = "auto",
    pruner: Annotated[str, typer.Option(help="How poor trials are ended early: median, halving or none.")] = "median",
    workers: Annotated[int, typer.Option(min=1, help="Trainings at a time, over the GPUs in turn.")] = 1,
    device: Annotated[str, typer.Option("-device", "--device", help="cpu, cuda, or auto: cuda where there is one.")] = (
        "auto"
    ),
    keep_checkpoints: Annotated[
        bool, typer.Option("--keep-checkpoints", help="Do not delete the weights of trials that have ended.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder of the search (default: in chordoma_search/ beside nnUNet_results)."),
    ] = None,
) -> None:
    """Search the settings of a trainer by short trainings and write the best ones.

    Run the same command again to go on, or beside it, also on other machines that share the folder, to go faster.
    """
    from nnunet_chordoma.training.search.command import SearchOptions, run_search

    run_search(
        SearchOptions(
            dataset_id=dataset_id,
            trainer=trainer,
            trials=trials,
            configuration=configuration,
            fold=fold,
            epochs=epochs,
            patches_per_image=patches_per_image,
            space=space,
            settings=settings,
            measure=measure,
            pruner=pruner,
            workers=workers,
            device=device,
            keep_checkpoints=keep_checkpoints,
            out=out,
        )
    )


def main() -> None:
    console.run(app)
