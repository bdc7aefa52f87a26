"""The folder of an ensemble's predictions: what lies in it from earlier runs, and what may be replaced."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nnunet_chordoma import console
from nnunet_chordoma.cases import accompanying_file
from nnunet_chordoma.ensemble.prediction.disagreement import merge
from nnunet_chordoma.ensemble.prediction.outputs import DISAGREEMENT, UNCERTAINTY, Outputs
from nnunet_chordoma.ensemble.prediction.record import (
    FILE_NAME,
    CaseRecord,
    Entry,
    Finished,
    read_entries,
    release,
    take,
    wait_for_workers,
)
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import ASIDE, only_writer, written_aside
from nnunet_chordoma.layout import FILE_ENDING

DISAGREEMENT_FILE = "disagreement.csv"
PLANS = ("dataset.json", "plans.json")


def require_other_folder(output: Path, models: Mapping[str, Path]) -> None:
    """Raise ChordomaError if the output folder is that of a model, or a file."""
    for name, folder in models.items():
        if output.resolve() == folder.resolve():
            raise ChordomaError(f"-o {output} is the folder of model '{name}', whose predictions it would replace")
    if output.exists() and not output.is_dir():
        raise ChordomaError(f"-o {output} is a file; name a folder")


@contextmanager
def writable(output: Path) -> Iterator[str]:
    """Hold the folder, made if need be, against other processes; take a new one away if it ends without label maps.

    Gives the word for `require_owner`, which is no longer true from the first error on.
    """
    output.mkdir(parents=True, exist_ok=True)
    with only_writer(output, f"-o {output}: another chordoma-ensemble is writing there; wait until it is done"):
        is_new = not any(output.iterdir())
        owner = take(output)
        _sweep(output)
        try:
            yield owner
        except BaseException:
            release(output, owner)
            _sweep(output)
            if is_new and not any(path.name.endswith(FILE_ENDING) for path in output.iterdir()):
                for name in (FILE_NAME, DISAGREEMENT_FILE, *PLANS):
                    (output / name).unlink(missing_ok=True)
                _remove_if_empty(output)
            raise
        release(output, owner)


def _sweep(output: Path) -> None:
    """Remove what is half-written by workers that were ended, or whose run has ended.

    A worker that is just putting a case in place comes first: it has moved the earlier files aside.
    """
    wait_for_workers(output)
    for folder in (output, output / UNCERTAINTY, output / DISAGREEMENT):
        for partial in folder.glob(f"{ASIDE}*"):
            partial.unlink(missing_ok=True)


def refuse_foreign(
    output: Path, entries: Mapping[str, Entry], cases: Iterable[str], models: Mapping[str, Path]
) -> None:
    """Raise ChordomaError if a file that would be replaced or removed is not in the record of this command."""
    paths = [path for case in cases if case not in entries for path in Outputs.of(output, case).all]
    for case, entry in entries.items():
        if entry.sha256 is None and entry.replaces is None:
            # It was to be written, but the run did not come so far.
            paths.append(Outputs.of(output, case).label_map)
    if not entries:
        paths.append(output / DISAGREEMENT_FILE)
        for target, source in _plans(models, output).items():
            if target.exists() and target.read_bytes() != source.read_bytes():
                paths.append(target)
    # Not even with --overwrite: they may be references, another model's predictions or nnU-Net's preprocessed data.
    for path in paths:
        if path.exists():
            raise ChordomaError(
                f"-o {output}: {path.relative_to(output)} was not written by this command, which replaces and removes "
                "only its own files; choose another folder"
            )


def finished_cases(output: Path, entries: Mapping[str, Entry]) -> dict[str, Finished]:
    """What the label maps in the folder are made of."""
    found = {case: entry.describing(Outputs.of(output, case).label_map) for case, entry in entries.items()}
    return {case: finished for case, finished in found.items() if finished is not None}


def settled_entries(output: Path) -> dict[str, Entry]:
    """The record after a run that broke off: finished cases as they are, the others as planned."""
    return {case: entry.settled(Outputs.of(output, case).label_map) for case, entry in read_entries(output).items()}


def protect_changed(output: Path, entries: Mapping[str, Entry], to_do: Iterable[str], kept: Iterable[str]) -> None:
    """Raise ChordomaError if a label map that is to be replaced was changed by somebody; warn of a kept one."""

    def changed(cases: Iterable[str]) -> list[Path]:
        paths = {case: Outputs.of(output, case).label_map for case in cases if case in entries}
        return [path for case, path in paths.items() if entries[case].changed_since(path)]

    for path in changed(to_do):
        raise ChordomaError(
            f"{path} has changed since this command wrote it, perhaps corrected by hand, and would be replaced; "
            "move it elsewhere or choose another output folder"
        )
    for path in changed(kept):
        console.warn(f"{path} has changed since this command wrote it and is kept as it is")


def warn_of_earlier(
    output: Path, finished: Mapping[str, Finished], records: Mapping[str, CaseRecord], overwrite: bool
) -> None:
    """Say which label maps in the folder are of other inputs, and which have no part in this run."""
    stale = [case for case in records if case in finished and finished[case].record != records[case]]
    if stale and not overwrite:
        console.warn(f"{output}: {len(stale)} case(s) are of other weights or changed files and are predicted again")
    left = sorted(set(finished) - set(records))
    if left:
        console.warn(f"{output} also holds {len(left)} case(s) of an earlier run, left as they are: {', '.join(left)}")


def copy_plans(models: Mapping[str, Path], output: Path) -> None:
    """Copy what nnU-Net and the evaluation want to find beside label maps."""
    for target, source in _plans(models, output).items():
        with written_aside(target) as aside:
            shutil.copyfile(source, aside)


def _plans(models: Mapping[str, Path], output: Path) -> dict[Path, Path]:
    """Where each of `PLANS` goes, and that of the first model that has it."""
    found = {}
    for name in PLANS:
        sources = (accompanying_file(folder, name) for folder in models.values())
        source = next((path for path in sources if path is not None), None)
        if source is not None:
            found[output / name] = source
    return found


def tidy(output: Path, cases: Iterable[str]) -> None:
    """Write disagreement.csv of all cases in the folder that have a table, if any has; remove empty folders."""
    parts = [path for case in sorted(cases) if (path := Outputs.of(output, case).disagreement).is_file()]
    if parts:
        merge(output / DISAGREEMENT_FILE, parts)
    else:
        (output / DISAGREEMENT_FILE).unlink(missing_ok=True)
    _remove_if_empty(output / UNCERTAINTY, output / DISAGREEMENT)


def _remove_if_empty(*folders: Path) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
