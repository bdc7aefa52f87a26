"""A whole cohort to one nnU-Net raw dataset: checked first, built aside, put in place when complete."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_chordoma import console
from nnunet_chordoma.dataset_conversion.convert_case import convert_case
from nnunet_chordoma.dataset_conversion.field_of_view import DEFAULT_SIZE
from nnunet_chordoma.dataset_conversion.preflight import check_cohort, require_sound
from nnunet_chordoma.dataset_conversion.record import RECORDS, TRAINING, CaseFiles, CaseRecord
from nnunet_chordoma.dataset_conversion.roi_map import RoiMap
from nnunet_chordoma.dataset_conversion.splits import SplitOptions, make_splits
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import write_json
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.layout import (
    FILE_ENDING,
    RAW,
    SPLITS_FILE,
    Splits,
    dataset_name,
    nnunet_folder,
    write_splits,
)


@dataclass(frozen=True)
class ConversionOptions:
    """What `chordoma-convert run` was asked to do; `size` is in voxels of 2 mm (x, y, z)."""

    source: Path
    dataset_id: int
    roi_map: RoiMap = field(default_factory=RoiMap)
    size: tuple[int, int, int] = DEFAULT_SIZE
    splits: SplitOptions = field(default_factory=SplitOptions)
    workers: int = 1
    overwrite: bool = False


@dataclass(frozen=True)
class ConversionResult:
    """The finished dataset, the record of each case in order, and remarks on the cohort as a whole."""

    dataset: Path
    splits: Splits
    records: tuple[CaseRecord, ...]
    warnings: tuple[str, ...]


def convert_cohort(options: ConversionOptions) -> ConversionResult:
    """Convert all cases and put the dataset in place.

    Everything that can be checked is checked for all cases before anything is written. Finished cases are kept
    when a later one fails, and used again by the next run. Raises ChordomaError for bad input.
    """
    name = dataset_name(options.dataset_id)
    raw = nnunet_folder(RAW)
    final = raw / name
    _require_free(raw, options, final)
    checked, cohort_problems = check_cohort(options.source, options.roi_map, options.workers)
    require_sound(checked, cohort_problems, options.source)
    chosen = make_splits({case.case: case.volumes_cm3 for case in checked}, options.splits)
    split_of = chosen.splits.split_of
    # The leading dot keeps nnU-Net, which looks for Dataset*, from finding an unfinished dataset.
    with _built_aside(raw / f".{name}.partial") as build:
        calls = [(case, options.size, build, split_of[case.case]) for case in checked]
        records = console.parallel(convert_case, calls, options.workers, "converting")
        _complete(build, chosen.splits, records)
        _put_in_place(build, final)
    return ConversionResult(final, chosen.splits, tuple(records), chosen.warnings)


def _require_free(raw: Path, options: ConversionOptions, final: Path) -> None:
    others = [p.name for p in sorted(raw.glob(f"Dataset{options.dataset_id:03d}_*")) if p != final]
    if others:
        raise ChordomaError(
            f"--dataset-id {options.dataset_id}: taken by {', '.join(others)} in {raw}; choose another number"
        )
    if final.exists() and not options.overwrite:
        raise ChordomaError(
            f"{final} exists already; add --overwrite to replace it once the new one is complete, "
            "or choose another --dataset-id"
        )


@contextmanager
def _built_aside(build: Path) -> Iterator[Path]:
    build.mkdir(parents=True, exist_ok=True)
    try:
        yield build
    except BaseException as error:
        finished = len(list((build / RECORDS).glob("*.json")))
        if not finished:
            shutil.rmtree(build, ignore_errors=True)
            raise
        if isinstance(error, ChordomaError):
            raise ChordomaError(
                f"{error}; {finished} finished case(s) are kept in {build} and used again when you repeat the command"
            ) from error
        raise


def _complete(build: Path, splits: Splits, records: Sequence[CaseRecord]) -> None:
    """Write dataset.json and splits_final.json, and remove what an earlier attempt left behind."""
    split_of = splits.split_of
    training = sum(split in TRAINING for split in split_of.values())
    write_json(build / "dataset.json", describe_dataset(training))
    write_splits(build / SPLITS_FILE, splits)
    expected = {build / "dataset.json", build / SPLITS_FILE}
    for record in records:
        files = CaseFiles.of(build, record.case, split_of[record.case])
        expected |= {files.image, files.labels, files.record}
    for path in sorted(build.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in expected:
            path.unlink()


def describe_dataset(training_cases: int) -> dict[str, object]:
    """Content of nnU-Net's dataset.json."""
    return {
        "name": "Chordoma",
        "description": "Planning CT at 2 mm with sacral chordoma and five muscle pairs, left and right merged; "
        "background is outside the body",
        "licence": "research use only",
        "channel_names": {"0": "CT"},
        "labels": CHORDOMA.to_nnunet(),
        "numTraining": training_cases,
        "file_ending": FILE_ENDING,
        "overwrite_image_reader_writer": "SimpleITKIO",
    }


def _put_in_place(build: Path, final: Path) -> None:
    replaced = final.with_name(f".{final.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if final.exists():
        final.rename(replaced)
    build.rename(final)
    shutil.rmtree(replaced, ignore_errors=True)
