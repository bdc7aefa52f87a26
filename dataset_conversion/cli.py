"""chordoma-convert: planning CTs with contours to an nnU-Net raw dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnunet_chordoma import console
from nnunet_chordoma.dataset_conversion.cli_options import (
    PLACING,
    RUNNING,
    SPLITTING,
    WORKERS,
    CtSeries,
    FixOrientation,
    LabelNames,
    ResampleMasks,
    RoiMapFile,
    Source,
    Structures,
    Unaligned,
    Workers,
)
from nnunet_chordoma.dataset_conversion.export.options import (
    TOLERANCE_MM,
    ExportRequest,
    Format,
    Holes,
    chosen_options,
)
from nnunet_chordoma.errors import ChordomaError

if TYPE_CHECKING:
    from nnunet_chordoma.dataset_conversion.case_source import SourceOptions
    from nnunet_chordoma.dataset_conversion.rois.roi_map import RoiMap

app = console.new_app()

LIST_OPTIONS = ("--outliers", "--ct-series", "--rtstruct", "--fix-orientation")
INCOMPLETE = 3
"""Exit status of a command that did its work but had to leave something out."""


@app.callback()
def chordoma_convert() -> None:
    """Planning CTs with contours to an nnU-Net raw dataset."""


@app.command(epilog=console.EPILOG)
def run(
    source: Source,
    dataset_id: Annotated[int, typer.Option(metavar="N", help="Number of the dataset, 1 to 999.")],
    roi_map: RoiMapFile = None,
    label_names: LabelNames = None,
    resample_masks: ResampleMasks = False,
    ct_series: CtSeries = None,
    rtstruct: Structures = None,
    fix_orientation: FixOrientation = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="CASE",
            help="Case that the others are aligned to.",
            show_default="the most typical training case",
            rich_help_panel=PLACING,
        ),
    ] = None,
    no_align: Annotated[
        bool, typer.Option("--no-align", help="Leave every scan where it is.", rich_help_panel=PLACING)
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(metavar="X,Y,Z", help="Voxels of 2 mm.", show_default="182,157,216", rich_help_panel=PLACING),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="TRAIN,VAL,TEST",
            help="Counts of patients without outliers.",
            show_default="as 30:5:8",
            rich_help_panel=SPLITTING,
        ),
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Splits to use, in the format of splits_final.json.", rich_help_panel=SPLITTING
        ),
    ] = None,
    outliers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CASE ...",
            help="Outlier test cases.",
            show_default="cases without piriformis, if more than half have it",
            rich_help_panel=SPLITTING,
        ),
    ] = None,
    no_outliers: Annotated[
        bool, typer.Option("--no-outliers", help="Split all cases alike.", rich_help_panel=SPLITTING)
    ] = False,
    patient_ids: Annotated[
        bool,
        typer.Option(
            help="Whether cases with one PatientID are one patient, who must stay in one split.",
            rich_help_panel=SPLITTING,
        ),
    ] = True,
    pseudonymise: Annotated[
        bool,
        typer.Option(
            help="Hash the UIDs in the records, and leave out PatientIDs and what error messages quote.",
            rich_help_panel=SPLITTING,
        ),
    ] = True,
    seed: Annotated[int, typer.Option(help="Seed of the split and the alignment.", rich_help_panel=RUNNING)] = 0,
    workers: Workers = WORKERS,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Stop at the first bad case instead of leaving it out.", rich_help_panel=RUNNING),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace an existing dataset once the new one is complete; unchanged cases are used again.",
            rich_help_panel=RUNNING,
        ),
    ] = False,
) -> None:
    """Convert a cohort to $nnUNet_raw/DatasetN_Chordoma.

    Ends with status 3 if cases had to be left out; the reasons are listed.
    """
    if splits is not None and (split is not None or outliers is not None or no_outliers):
        raise ChordomaError("--splits names every case's split already; leave out --split and the options for outliers")
    if no_outliers and outliers is not None:
        raise ChordomaError("--no-outliers and --outliers contradict each other; leave one out")
    if no_align and reference is not None:
        raise ChordomaError("--no-align and --reference contradict each other; leave one out")
    named = () if no_outliers else outliers
    from nnunet_chordoma.dataset_conversion.alignment.field_of_view import DEFAULT_SIZE, parse_size
    from nnunet_chordoma.dataset_conversion.anatomy.orientation import parse_fixes
    from nnunet_chordoma.dataset_conversion.cohort.splits import SplitOptions, parse_counts
    from nnunet_chordoma.dataset_conversion.dataset import ConversionOptions, convert_cohort
    from nnunet_chordoma.dataset_conversion.summary import print_conversion

    result = convert_cohort(
        ConversionOptions(
            source,
            dataset_id,
            roi_map=_roi_map(roi_map),
            sources=_sources(ct_series, rtstruct, label_names, resample_masks),
            fixes=parse_fixes(fix_orientation or ()),
            size=DEFAULT_SIZE if size is None else parse_size(size),
            align=not no_align,
            reference=reference,
            splits=SplitOptions(
                splits,
                None if split is None else parse_counts(split),
                None if named is None else tuple(named),
                seed,
            ),
            patient_ids=patient_ids,
            pseudonymise=pseudonymise,
            strict=strict,
            workers=workers,
            overwrite=overwrite,
        )
    )
    print_conversion(result, dataset_id)
    if result.quarantined:
        raise typer.Exit(INCOMPLETE)


@app.command(epilog=console.EPILOG)
def inspect(
    source: Source,
    roi_map: RoiMapFile = None,
    label_names: LabelNames = None,
    resample_masks: ResampleMasks = False,
    ct_series: CtSeries = None,
    rtstruct: Structures = None,
    workers: Workers = WORKERS,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show which ROI is which structure, what is missing and what would keep a case out; write nothing.

    Reads headers, contours and masks; the voxels of the CT are read by `run` alone.
    """
    from nnunet_chordoma.dataset_conversion.inspection import print_inspection, print_inspection_json
    from nnunet_chordoma.dataset_conversion.preflight import check_cohort

    sources = _sources(ct_series, rtstruct, label_names, resample_masks)
    checked, cohort_problems = check_cohort(source, _roi_map(roi_map), workers, sources)
    problems = [*cohort_problems, *(problem for case in checked for problem in case.problems)]
    if json:
        print_inspection_json(checked, cohort_problems)
    else:
        print_inspection(checked, problems)
    if problems:
        raise ChordomaError(f"{len(problems)} problem(s) would keep cases out of a dataset; they are listed above")


@app.command(epilog=console.EPILOG)
def rtstruct(
    ct_folder: Annotated[Path, typer.Argument(metavar="CT_DIR", help="Folder with one CT series.")],
    structure_file: Annotated[Path, typer.Argument(metavar="RTSTRUCT", help="Structure set drawn on that CT.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="New folder for the masks.")],
    ct_series: Annotated[
        str | None,
        typer.Option("--ct-series", metavar="UID", help="Which of several CT series in CT_DIR to use."),
    ] = None,
) -> None:
    """Write every ROI as DIR/ROI.nii.gz on the grid of the CT, and DIR/rois.json.

    Ends with status 3 if a ROI cannot be drawn on this CT; the reasons are listed.
    """
    from nnunet_chordoma.dataset_conversion.dicom.structure_masks import write_masks
    from nnunet_chordoma.dataset_conversion.summary import print_masks

    rois, warnings = write_masks(ct_folder, structure_file, out, ct_series)
    print_masks(rois, warnings)
    if any(roi.refused for roi in rois):
        raise typer.Exit(INCOMPLETE)


@app.command(epilog=console.EPILOG)
def cohort(
    dataset_id: Annotated[int, typer.Argument(metavar="N", help="Number of the converted dataset.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="DIR", help="Also write cohort.md, cohort.csv and cohort.json there."),
    ] = None,
) -> None:
    """Describe a converted cohort: positions, ages, resolutions and volumes per split (the paper's Table 2)."""
    from nnunet_chordoma.dataset_conversion.cohort.cohort_report import write_cohort_tables
    from nnunet_chordoma.dataset_conversion.cohort.cohort_table import cohort_tables
    from nnunet_chordoma.dataset_conversion.cohort.cohort_text import print_cohort_tables
    from nnunet_chordoma.layout import find_dataset

    tables = cohort_tables(find_dataset(dataset_id))
    print_cohort_tables(tables)
    if out is not None:
        for path in write_cohort_tables(tables, out):
            typer.echo(str(path))


@app.command(epilog=console.EPILOG)
def scan(
    scans: Annotated[
        list[str],
        typer.Argument(metavar="[CASE=]CT...", help="Folders of CT DICOM, or volumes, of one patient each."),
    ],
    dataset: Annotated[Path, typer.Option(metavar="DIR", help="Converted dataset that the models were trained on.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for images and their records.")],
    ct_series: CtSeries = None,
    fix_orientation: FixOrientation = None,
    unaligned: Unaligned = False,
    workers: Workers = WORKERS,
) -> None:
    """Convert new CTs without structures, as the cases of a dataset were, for prediction.

    Structure sets beside the CT are left aside. Ends with status 3 if scans had to be left out; the reasons are listed.
    """
    from nnunet_chordoma.dataset_conversion.anatomy.orientation import parse_fixes
    from nnunet_chordoma.dataset_conversion.case_source import parse_choices
    from nnunet_chordoma.dataset_conversion.scan.scan_summary import print_scans
    from nnunet_chordoma.dataset_conversion.scan.scans import ScanOptions, convert_scans, parse_scans

    options = ScanOptions(parse_choices(ct_series or (), "--ct-series"), parse_fixes(fix_orientation or ()), unaligned)
    result = convert_scans(parse_scans(scans), dataset, out, options, workers)
    print_scans(result, out)
    if result.failed:
        raise typer.Exit(INCOMPLETE)


@app.command(epilog=console.EPILOG)
def export(
    predictions: Annotated[
        list[Path], typer.Argument(metavar="PREDICTION...", help="Folders of predictions, or single CASE.nii.gz.")
    ],
    conversion: Annotated[
        Path, typer.Option(metavar="DIR", help="Converted dataset that the predictions were made for.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for one folder per case.")],
    formats: Annotated[
        list[Format] | None,
        typer.Option(
            "--format", metavar="rtstruct|seg|nifti", help="What to write; may be repeated.", show_default="rtstruct"
        ),
    ] = None,
    ct: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the original DICOM lies, for rtstruct and seg."),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Map label maps back by nearest neighbour instead of probabilities.")
    ] = False,
    holes: Annotated[
        Holes | None,
        typer.Option(help="How an RTSTRUCT stores contours with holes.", show_default=Holes.KEYHOLE.value),
    ] = None,
    tolerance_mm: Annotated[
        float | None,
        typer.Option(
            metavar="MM",
            help="How far an RTSTRUCT's contours may be from those traced, to save points.",
            show_default=str(TOLERANCE_MM),
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Export although contours differ from the label map (Dice below 0.98)."),
    ] = False,
    despite_stop: Annotated[
        bool, typer.Option("--despite-stop", help="Export although the gate's verdict is stop.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what was exported before.")] = False,
    verdicts: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="What chordoma-gate check wrote: cases it stops, or does not know, are not exported, and the verdict "
            "goes into the description.",
        ),
    ] = None,
    workers: Workers = WORKERS,
) -> None:
    """Bring predictions back to the original CT, as drafts: RTSTRUCT, DICOM SEG or label map.

    Every file is read back and compared before it is put in place. Ends with status 3 if cases could not be exported;
    the reasons are listed.
    """
    from nnunet_chordoma.dataset_conversion.export.export import export_cases
    from nnunet_chordoma.dataset_conversion.export.export_summary import print_export

    options = chosen_options(formats, labels, holes, tolerance_mm)
    result = export_cases(
        ExportRequest(
            predictions=tuple(predictions),
            conversion=conversion,
            out=out,
            options=options,
            ct=ct,
            force=force,
            overwrite=overwrite,
            workers=workers,
            verdicts=verdicts,
            despite_stop=despite_stop,
        )
    )
    print_export(result, out)
    if result.failed:
        raise typer.Exit(INCOMPLETE)


def _sources(
    ct_series: list[str] | None, rtstruct: list[str] | None, label_names: Path | None, resample_masks: bool
) -> SourceOptions:
    from nnunet_chordoma.dataset_conversion.case_source import SourceOptions, parse_choices

    return SourceOptions(
        parse_choices(ct_series or (), "--ct-series"),
        parse_choices(rtstruct or (), "--rtstruct"),
        label_names,
        resample_masks,
    )


def _roi_map(path: Path | None) -> RoiMap:
    from nnunet_chordoma.dataset_conversion.rois.roi_map import RoiMap, read_roi_map

    return RoiMap() if path is None else read_roi_map(path)


def main() -> None:
    console.run(app, list_options=LIST_OPTIONS)
