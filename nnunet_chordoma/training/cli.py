"""`chordoma-plan`: plans and preprocessing for the project's configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnunet_chordoma import console
from nnunet_chordoma.layout import CONFIGURATION, DEMO_CONFIGURATION, PLANS
from nnunet_chordoma.training.class_weights import CLASS_WEIGHTS, parse_class_weights

app = console.new_app()


@app.command(epilog=console.EPILOG)
def plan(
    dataset_id: Annotated[int, typer.Argument(help="Dataset id N, as given to chordoma-convert run.")],
    configuration: Annotated[
        list[str] | None,
        typer.Option(
            "-c",
            "--configuration",
            help=f"{CONFIGURATION} (2 mm, 128^3 patches; default) or {DEMO_CONFIGURATION} (small); repeatable.",
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Patches in a batch.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs of a training.")] = None,
    patches_per_image: Annotated[
        int | None, typer.Option(help="Patches of each image in an epoch; by default all of the grid, the paper's 60.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's initial learning rate.")] = None,
    class_weights: Annotated[
        str | None,
        typer.Option(
            help=f"Weights of the WCE trainers: {', '.join(CLASS_WEIGHTS)}, or gtv=0.25,body=0.05,... for all labels."
        ),
    ] = None,
    activation_checkpointing: Annotated[
        bool, typer.Option("--activation-checkpointing", help="Less GPU memory for about a third more time.")
    ] = False,
    settings: Annotated[
        Path | None,
        typer.Option(help="JSON file with any training settings, such as chordoma-search's best.json; options win."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and augmentation (default: 0).")] = None,
    workers: Annotated[int, typer.Option(help="Processes that preprocess cases.")] = 1,
) -> None:
    """Write ChordomaPlans for dataset N and preprocess it.

    Needs nnUNet_raw and nnUNet_preprocessed in the environment. Each configuration named is added to the
    plans with the given settings; training then needs nothing but nnUNetv2_train.
    """
    from nnunet_chordoma.training.overrides import read_overrides
    from nnunet_chordoma.training.plans import configured, plan_dataset

    names = configuration or [CONFIGURATION]
    options = {
        "batch_size": batch_size,
        "max_epochs": epochs,
        "patches_per_image": patches_per_image,
        "learning_rate": learning_rate,
        "class_weights": None if class_weights is None else parse_class_weights(class_weights),
        "activation_checkpointing": activation_checkpointing or None,
        "seed": seed,
    }
    given = {} if settings is None else read_overrides(settings)
    given |= {name: value for name, value in options.items() if value is not None}
    chosen = [configured(name, **given) for name in names]
    out = console.console()
    plans_file = plan_dataset(dataset_id, chosen, workers, lambda step: out.print(f"{step} ..."))
    out.print(f"wrote {plans_file}", soft_wrap=True)
    out.print(
        'next:\n  eval "$(python -m nnunet_chordoma)"\n'
        f"  nnUNetv2_train {dataset_id} {names[0]} 0 -tr ChordomaTrainerWCE -p {PLANS} --npz",
        soft_wrap=True,
    )


def main() -> None:
    console.run(app)
