"""`chordoma-predict`: label maps and probabilities of images, from trained models."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from nnunet_chordoma import console

app = console.new_app()


class Device(str, Enum):
    auto = "auto"
    cuda = "cuda"
    cpu = "cpu"
    mps = "mps"


class ProtocolName(str, Enum):
    paper = "paper"
    nnunet = "nnunet"


class Precision(str, Enum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


@app.command(epilog=console.EPILOG)
def predict(
    images: Annotated[Path, typer.Option("-i", "--images", help="Folder of images, CASE_0000.nii.gz.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder to write; with several models, one sub-folder for each.")
    ],
    models: Annotated[
        list[str],
        typer.Option(
            "-m",
            "--model",
            metavar="[NAME=]DIR ...",
            help="Folder that nnUNetv2_train wrote, TRAINER__PLANS__CONFIGURATION; one or several.",
        ),
    ],
    folds: Annotated[
        list[str] | None,
        typer.Option("-f", "--folds", metavar="FOLD ...", help="Folds whose predictions are averaged; by default all."),
    ] = None,
    checkpoint: Annotated[
        str, typer.Option("-chk", "--checkpoint", help="Checkpoint file of each fold.")
    ] = "checkpoint_final.pth",
    device: Annotated[
        Device, typer.Option("-device", "--device", help="Where the networks run; auto: the GPU if there is one.")
    ] = Device.auto,
    protocol: Annotated[
        ProtocolName,
        typer.Option(help="paper: uniform mean of patch probabilities; nnunet: nnU-Net's own predictor."),
    ] = ProtocolName.paper,
    compact: Annotated[
        bool,
        typer.Option("--compact", help="Also write CASE.npz8, probabilities within 1/255 in a fraction of the size."),
    ] = False,
    npz: Annotated[
        bool, typer.Option("--npz/--no-npz", help="Write CASE.npz, nnU-Net's float32 probabilities.")
    ] = True,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Patches at a time; by default 2 on CUDA, else 1. Halved if too many.")
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="On CUDA; auto is bfloat16 where the GPU has it, else float16.")
    ] = Precision.auto,
    splits: Annotated[
        Path | None,
        typer.Option(help="splits_final.json; with --split, predict the cases of one split only."),
    ] = None,
    split: Annotated[str | None, typer.Option(metavar="train|val|test|outlier", help="Split of --splits.")] = None,
    workers: Annotated[int, typer.Option(help="Predictions written while the next are computed.")] = 2,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict finished cases again.")] = False,
) -> None:
    """Predict images as the paper does: overlapping patches, mirrored rims, uniform mean of their probabilities.

    Writes what nnUNetv2_predict --save_probabilities writes. Several models share the loading of each image.
    Finished cases are kept when the command is run again, unless the model or the image has changed. Model folders
    are read as data: nothing in them can run code.
    """
    import warnings

    from nnunet_chordoma.training.prediction_inputs import cases_of_split
    from nnunet_chordoma.training.prediction_options import named_folders, protocol_of, usable_device

    named = named_folders(models)
    only = cases_of_split(splits, split)
    chosen_device = usable_device(device.value)
    # nnU-Net's imports make torch speak of its own future.
    warnings.filterwarnings("ignore", category=FutureWarning)
    from nnunet_chordoma.training.prediction_files import Wanted
    from nnunet_chordoma.training.predictor import predict_images
    from nnunet_chordoma.training.trained_model import read_model

    chosen_protocol = protocol_of(protocol.value, chosen_device, batch_size, precision.value)
    read = [read_model(name, folder, folds, checkpoint) for name, folder in named.items()]
    predicted = predict_images(images, output, read, chosen_protocol, Wanted(npz, compact), workers, overwrite, only)
    kept = f", kept {predicted.skipped} finished" if predicted.skipped else ""
    console.console().print(f"wrote {predicted.done} prediction(s) to {output}{kept}", soft_wrap=True, markup=False)


def main() -> None:
    console.run(app, list_options=("-m", "--model", "-f", "--folds"))


if __name__ == "__main__":
    main()
