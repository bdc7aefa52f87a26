"""A kit for blinded review: made aside as a whole, then put in place, with its key elsewhere."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from nnunet_chordoma import console
from nnunet_chordoma.dataset_conversion.export.case_folder import built_aside
from nnunet_chordoma.dataset_conversion.export.original_ct import CtFolder
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.names import count
from nnunet_chordoma.files import only_writer, write_json, write_text
from nnunet_chordoma.rating_sheet import write_sheet
from nnunet_chordoma.review.blinding import Assignment, assign, even_out_times, secret_seed
from nnunet_chordoma.review.key import Key, write_key
from nnunet_chordoma.review.kit_cases import (
    KitSources,
    candidates,
    find_sources,
    image_files,
    record_files,
    require_grids,
)
from nnunet_chordoma.review.kit_patient import PatientJob, make_patient
from nnunet_chordoma.review.kit_place import key_place, require_free, sweep
from nnunet_chordoma.review.kit_splits import find_pool
from nnunet_chordoma.review.kit_texts import (
    READ_ME,
    SHEET,
    SPREADSHEET,
    VIEWER,
    blank_ratings,
    instructions,
    viewer_manifest,
)


@dataclass(frozen=True)
class KitRequest:
    """`chordoma-eval review-kit` as it was asked for.

    Patients are shown on `images`, or on the CTs in `ct` that `conversion` was made from. `named` are the cases to use
    instead of `cases` random ones of `split` in the file `splits` (see `find_pool`). `copies` is the number of
    reviewers.
    """

    reference: Path
    models: tuple[tuple[str, Path], ...]
    output: Path
    images: Path | None = None
    conversion: Path | None = None
    ct: Path | None = None
    key: Path | None = None
    cases: int = 5
    named: tuple[str, ...] = ()
    splits: Path | None = None
    split: str | None = None
    seed: int | None = None
    copies: int = 1
    spreadsheets: bool = False
    workers: int = 1


@dataclass(frozen=True)
class MadeKit:
    """Where kit and key lie, how many patients, sets of contours of each, and structures there are to rate.

    `pool` says in words what cases the patients were drawn from.
    """

    folder: Path
    key: Path
    patients: int
    sources: int
    structures: int
    pool: str


def make_kit(request: KitRequest) -> MadeKit:
    """Write kit and key; if anything is wrong or interrupted, neither is there.

    Raises ChordomaError for cases and files that do not fit together, a key within the kit, and a folder or a key
    that exists: nothing is ever overwritten.
    """
    if request.copies < 1:
        raise ChordomaError(f"--copies must be 1 or more, found {request.copies}")
    output = request.output.absolute()
    require_free(output)
    key_path = key_place(output, request.key)
    sources = find_sources(request.reference, request.models, _shown(request))
    pool = find_pool(request.reference, request.splits, request.split, bool(request.named))
    cases = candidates(sources, request.cases, request.named, pool)
    seed = secret_seed() if request.seed is None else request.seed
    patients = len(cases) if request.named else request.cases
    assignments = assign(cases, patients, sources.names, seed)
    for each in assignments:
        require_grids(sources, each.case, with_image=request.ct is None)
    ct = None if request.ct is None else CtFolder.of(request.ct, [each.case for each in assignments])
    sweep(output)
    with built_aside(output) as aside, only_writer(aside, f"{output}: another kit is being made there"):
        first = aside if request.copies == 1 else aside / "reviewer_1"
        first.mkdir(exist_ok=True)
        calls = [
            (PatientJob(first, each, sources.of(each.case), sources.images[each.case], ct, sources.scheme),)
            for each in assignments
        ]
        made = console.parallel(make_patient, calls, request.workers, "preparing patients")
        _write_texts(first, assignments, sources, request.spreadsheets)
        for number in range(2, request.copies + 1):
            shutil.copytree(first, aside / f"reviewer_{number}")
        even_out_times(aside)
        items = tuple(item for patient in made for item in patient)
        key = Key(sources.scheme.structures, sources.names, items, date.today(), seed, pool.drawn_from)
        _put_in_place(aside, output, key_path, key)
    drawn = pool.words if request.named else f"{pool.words} ({count(len(cases), 'case')} to draw from)"
    return MadeKit(output, key_path, len(assignments), len(sources.names), len(sources.scheme.structures), drawn)


def _shown(request: KitRequest) -> dict[str, Path]:
    """Case to CT on the dataset's grid or, for the original CT, to conversion record."""
    if (request.conversion is None) != (request.ct is None):
        raise ChordomaError("--conversion and --ct go together: the records of the conversion, and the CTs it was of")
    if request.conversion is not None and request.images is not None:
        raise ChordomaError("--images and --conversion are two ways to show patients; leave one of them out")
    if request.conversion is not None:
        return record_files(request.conversion)
    if request.images is None:
        raise ChordomaError("expected --images, or --conversion with --ct, to show the patients; give one of them")
    return image_files(request.images)


def _write_texts(kit: Path, assignments: tuple[Assignment, ...], sources: KitSources, spreadsheet: bool) -> None:
    write_text(kit / READ_ME, instructions(assignments, sources.scheme, spreadsheet))
    write_json(kit / VIEWER, viewer_manifest(assignments, sources.scheme))
    ratings = blank_ratings(assignments, sources.scheme)
    write_sheet(kit / SHEET, ratings)
    if spreadsheet:
        write_sheet(kit / SPREADSHEET, ratings)


def _put_in_place(aside: Path, output: Path, key_path: Path, key: Key) -> None:
    # The key comes first: a kit without one is worth nothing.
    write_key(key_path, key)
    try:
        aside.replace(output)
    except BaseException:
        key_path.unlink(missing_ok=True)
        raise
