"""chordoma-convert: planning CTs with contours to an nnU-Net raw dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnunet_chordoma import console
from nnunet_chordoma.errors import ChordomaError

if TYPE_CHECKING:
    from nnunet_chordoma.dataset_conversion.roi_map import RoiMap

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, epilog=console.EPILOG)

LIST_OPTIONS = ("--outliers",)

Source = Annotated[
    Path,
    typer.Argument(
        metavar="SRC", help="Folder with one sub-folder per case: CT DICOM + RTSTRUCT, or an image + masks."
    ),
]
RoiMapFile = Annotated[
    Path | None,
    typer.Option("--roi-map", metavar="FILE", help="YAML lines 'structure: ROI name, pattern or list of them'."),
]
Workers = Annotated[int, typer.Option(help="Cases at a time.")]
WORKERS = console.default_workers()


@app.callback()
def chordoma_convert() -> None:
    """Planning CTs with contours to an nnU-Net raw dataset."""


@app.command(epilog=console.EPILOG)
def run(
    source: Source,
    dataset_id: Annotated[int, typer.Option(metavar="N", help="Number of the dataset, 1 to 999.")],
    roi_map: RoiMapFile = None,
    workers: Workers = WORKERS,
    size: Annotated[
        str | None,
        typer.Option(metavar="X,Y,Z", help="Voxels of 2 mm.", show_default="182,157,216"),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="TRAIN,VAL,TEST", help="Case counts without outliers.", show_default="as 30:5:8"),
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Splits to use, in the format of splits_final.json."),
    ] = None,
    outliers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CASE ...",
            help="Outlier test cases.",
            show_default="cases without piriformis, if more than half have it",
        ),
    ] = None,
    no_outliers: Annotated[bool, typer.Option("--no-outliers", help="Split all cases alike.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing dataset once the new one is complete.")
    ] = False,
) -> None:
    """Convert a cohort to $nnUNet_raw/DatasetN_Chordoma."""
    if splits is not None and (split is not None or outliers is not None or no_outliers):
        raise ChordomaError("--splits names every case's split already; leave out --split and the options for outliers")
    if no_outliers and outliers is not None:
        raise ChordomaError("--no-outliers and --outliers contradict each other; leave one out")
    named = () if no_outliers else outliers
    from nnunet_chordoma.dataset_conversion.dataset import ConversionOptions, convert_cohort
    from nnunet_chordoma.dataset_conversion.field_of_view import DEFAULT_SIZE, parse_size
    from nnunet_chordoma.dataset_conversion.splits import SplitOptions, parse_counts
    from nnunet_chordoma.dataset_conversion.summary import print_conversion

    result = convert_cohort(
        ConversionOptions(
            source,
            dataset_id,
            _roi_map(roi_map),
            DEFAULT_SIZE if size is None else parse_size(size),
            SplitOptions(
                splits,
                None if split is None else parse_counts(split),
                None if named is None else tuple(named),
                seed,
            ),
            workers,
            overwrite,
        )
    )
    print_conversion(result, dataset_id)


@app.command(epilog=console.EPILOG)
def inspect(
    source: Source,
    roi_map: RoiMapFile = None,
    workers: Workers = WORKERS,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show which ROI is which structure, what is missing and what would stop a conversion; write nothing.

    Reads headers, contours and masks; the voxels of the CT are read by `run` alone.
    """
    from nnunet_chordoma.dataset_conversion.preflight import check_cohort
    from nnunet_chordoma.dataset_conversion.summary import print_inspection, print_inspection_json

    checked, cohort_problems = check_cohort(source, _roi_map(roi_map), workers)
    problems = [*cohort_problems, *(problem for case in checked for problem in case.problems)]
    if json:
        print_inspection_json(checked, cohort_problems)
    else:
        print_inspection(checked, problems)
    if problems:
        raise ChordomaError(f"{len(problems)} problem(s) would stop chordoma-convert run; they are listed above")


@app.command(epilog=console.EPILOG)
def rtstruct(
    ct_folder: Annotated[Path, typer.Argument(metavar="CT_DIR", help="Folder with one CT series.")],
    structure_file: Annotated[Path, typer.Argument(metavar="RTSTRUCT", help="Structure set drawn on that CT.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="New folder for the masks.")],
) -> None:
    """Write every ROI as DIR/ROI.nii.gz on the grid of the CT, and DIR/rois.json."""
    from nnunet_chordoma.dataset_conversion.structure_masks import write_masks
    from nnunet_chordoma.dataset_conversion.summary import print_masks

    print_masks(*write_masks(ct_folder, structure_file, out))


def _roi_map(path: Path | None) -> RoiMap:
    from nnunet_chordoma.dataset_conversion.roi_map import RoiMap, read_roi_map

    return RoiMap() if path is None else read_roi_map(path)


def main() -> None:
    console.run(app, list_options=LIST_OPTIONS)
