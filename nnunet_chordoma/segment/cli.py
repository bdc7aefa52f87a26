"""`chordoma-segment`: new patients from CT to contours, in one call."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from nnunet_chordoma import console
from nnunet_chordoma.dataset_conversion.export.options import ExportOptions, Format, chosen_formats

app = console.new_app()

LIST_OPTIONS = ("-m", "--model", "--ct-series", "--fix-orientation")
INCOMPLETE = 3
"""Exit status if a patient was not exported."""

SCAN = "If a scan is refused"


class Device(str, Enum):
    auto = "auto"
    cuda = "cuda"
    cpu = "cpu"
    mps = "mps"


@app.command(epilog=console.EPILOG)
def segment(
    scans: Annotated[
        list[str],
        typer.Argument(metavar="[CASE=]CT...", help="Folders of CT DICOM, or volumes, of one patient each."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Gets one folder per patient.")],
    models: Annotated[
        list[str],
        typer.Option("-m", "--model", metavar="NAME=DIR ...", help="Folders that nnUNetv2_train wrote."),
    ],
    dataset: Annotated[Path, typer.Option(metavar="DIR", help="Converted dataset that the models were trained on.")],
    weights: Annotated[
        str, typer.Option("-w", "--weights", metavar="FILE|average", help="What chordoma-ensemble fit wrote.")
    ] = "average",
    qa: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What chordoma-gate fit wrote: check before anything is exported."),
    ] = None,
    formats: Annotated[
        list[Format] | None,
        typer.Option(
            "--format", metavar="rtstruct|seg|nifti", help="What to write; may be repeated.", show_default="rtstruct"
        ),
    ] = None,
    device: Annotated[
        Device, typer.Option("-device", "--device", help="Where the networks run; auto: the GPU if there is one.")
    ] = Device.auto,
    ct_series: Annotated[
        list[str] | None,
        typer.Option(
            "--ct-series", metavar="CASE=UID ...", help="Which of several CT series to use.", rich_help_panel=SCAN
        ),
    ] = None,
    fix_orientation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CASE=FIX ...",
            help="True position of a patient whose scan says otherwise (such as HFP), flip-x, flip-y, flip-z, or keep.",
            rich_help_panel=SCAN,
        ),
    ] = None,
    unaligned: Annotated[
        bool,
        typer.Option(
            "--unaligned",
            help="Accept scans that cannot be aligned to the reference case, shifted by the centroids of bone.",
            rich_help_panel=SCAN,
        ),
    ] = False,
    despite_stop: Annotated[bool, typer.Option("--despite-stop", help="Export although the check says stop.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Export although contours differ from the label map.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace exported files even if they were changed since.")
    ] = False,
) -> None:
    """Convert, predict, combine, check and export new patients, as drafts. Not for clinical use.

    Run again to go on: only what is new or changed is done. Ends with status 3 if a patient was not exported; the
    reasons are listed.
    """
    from nnunet_chordoma.dataset_conversion.anatomy.orientation import parse_fixes
    from nnunet_chordoma.dataset_conversion.case_source import parse_choices
    from nnunet_chordoma.dataset_conversion.scan.scans import ScanOptions, parse_scans
    from nnunet_chordoma.segment.pipeline import segment as run
    from nnunet_chordoma.segment.request import SegmentRequest
    from nnunet_chordoma.segment.table import print_patients
    from nnunet_chordoma.training.prediction_options import named_folders

    patients = run(
        SegmentRequest(
            parse_scans(scans),
            out,
            named_folders(models),
            dataset,
            weights,
            qa,
            ExportOptions(chosen_formats(formats)),
            ScanOptions(parse_choices(ct_series or (), "--ct-series"), parse_fixes(fix_orientation or ()), unaligned),
            device.value,
            force,
            overwrite,
            despite_stop,
        )
    )
    print_patients(patients, out)
    if any(patient.exported is None for patient in patients):
        raise typer.Exit(INCOMPLETE)


def main() -> None:
    console.run(app, list_options=LIST_OPTIONS)


if __name__ == "__main__":
    main()
