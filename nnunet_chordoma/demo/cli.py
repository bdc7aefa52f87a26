"""`chordoma-demo`: a phantom cohort through every command, with all six trainers, on a small configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from nnunet_chordoma import console

app = console.new_app()


@app.command(epilog=console.EPILOG)
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything; run again with it to continue.")],
    cases: Annotated[int, typer.Option(help="Patients to draw, two of them outliers without piriformis.")] = 16,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of each training (default: 6).")] = None,
    patches_per_image: Annotated[
        int | None, typer.Option(min=1, help="Patches of each image in an epoch (default: 15).")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Trainings at a time (default: 2 where there are 2 cores).")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: cuda where there is one.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of the cohort.")] = 2023,
) -> None:
    """Draw phantom patients and take them from DICOM to a report, and a new one to contours, in about ten minutes.

    The logs of all commands are in OUT/logs; each begins with the command as you would type it.
    """
    from nnunet_chordoma.demo.cohort import CohortPlan
    from nnunet_chordoma.demo.pipeline import run_demo
    from nnunet_chordoma.demo.steps import DemoOptions

    cohort = CohortPlan(cases=cases, seed=seed)
    options = DemoOptions(
        out.resolve(), cohort, epochs=epochs, patches_per_image=patches_per_image, device=_device(device)
    )
    run_demo(options, jobs or min(2, os.cpu_count() or 1))


def _device(name: str) -> str:
    from nnunet_chordoma.errors import ChordomaError

    if name not in ("auto", "cpu", "cuda"):
        raise ChordomaError(f"--device {name}: expected auto, cpu or cuda")
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def main() -> None:
    console.run(app)
