"""Judge a folder of predictions; finished verdicts of unchanged files are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma import __version__, console
from nnunet_chordoma.cases import common_scheme, existing_folder, label_map_files
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import ASIDE, only_writer, read_json, sha256
from nnunet_chordoma.gate.disagreement import read_disagreements
from nnunet_chordoma.gate.inputs import CaseInputs, common_grid, find_inputs
from nnunet_chordoma.gate.judge import judge
from nnunet_chordoma.gate.measuring import measure_case
from nnunet_chordoma.gate.ranges import Qa, read_qa
from nnunet_chordoma.gate.table import write_table
from nnunet_chordoma.verdicts import SCHEMA, Level, Verdict, read_verdict, worst, write_verdict

TABLE = "verdicts.csv"


@dataclass(frozen=True)
class Checked:
    """Verdicts of all cases of a run by case name, and which of them an earlier run had finished."""

    verdicts: tuple[Verdict, ...]
    kept: tuple[str, ...]


def check_folder(
    predictions: Path,
    dataset: Path,
    qa_file: Path,
    output: Path,
    cases: Sequence[str] = (),
    workers: int = 1,
    overwrite: bool = False,
) -> Checked:
    """Write `output`/CASE.json for every label map of a folder (or for `cases`), and a table of all in `output`.

    `dataset` holds images and conversion records. Raises ChordomaError, before anything is judged, for a missing
    qa.json, other labels or grids, and cases without image or record.
    """
    qa = read_qa(qa_file)
    predicted = label_map_files(predictions, "predictions")
    label_maps = _chosen(predicted, cases, predictions)
    scheme = common_scheme({"predictions": predictions, "dataset": existing_folder(dataset, "dataset")})
    if scheme != qa.scheme:
        raise ChordomaError(
            f"{qa_file} was fitted to the labels {', '.join(qa.scheme.names)}, found {', '.join(scheme.names)} in "
            f"{predictions}; fit it on the dataset that the models were trained on"
        )
    if output.exists() and not output.is_dir():
        raise ChordomaError(f"-o {output} is a file; name a folder")
    inputs = find_inputs(dataset, label_maps, read_disagreements(predictions))
    common_grid(inputs, qa.grid, f"{qa_file}, fitted to another dataset")
    output.mkdir(parents=True, exist_ok=True)
    with only_writer(output, f"-o {output}: another chordoma-gate is writing there; wait until it is done"):
        for partial in output.glob(f"{ASIDE}*"):
            partial.unlink(missing_ok=True)
        digest = sha256(qa_file)
        hashes = [_hashes(each) for each in inputs]
        earlier = [None if overwrite else _earlier(output / f"{each.case}.json") for each in inputs]
        kept = [
            found.case
            for found, hashed in zip(earlier, hashes, strict=True)
            if found and (found.input_sha256, found.qa_sha256, found.software) == (hashed, digest, __version__)
        ]
        calls = [
            (each, qa, digest, hashed, output)
            for each, hashed in zip(inputs, hashes, strict=True)
            if each.case not in kept
        ]
        if calls:
            console.parallel(judge_case, calls, workers, "checking")
        write_table(output / TABLE, list(_readable(output, predicted)))
    return Checked(tuple(read_verdict(output / f"{each.case}.json") for each in inputs), tuple(kept))


def judge_case(
    inputs: CaseInputs, qa: Qa, qa_sha256: str, input_sha256: tuple[tuple[str, str], ...], output: Path
) -> None:
    """Measure and judge one case, and write its verdict."""
    checks, unjudged = judge(measure_case(inputs, qa.scheme), qa)
    verdict = Verdict(inputs.case, checks, unjudged, qa_sha256, input_sha256)
    write_verdict(output / f"{inputs.case}.json", verdict, qa.scheme)


def exit_status(verdicts: Sequence[Verdict], strict: bool) -> int:
    """0 if everything may go out, 3 if a case is STOP, or with `strict` LOOK."""
    level = worst(verdict.level for verdict in verdicts)
    return 3 if level is Level.STOP or (strict and level is Level.LOOK) else 0


def _chosen(label_maps: dict[str, Path], cases: Sequence[str], folder: Path) -> dict[str, Path]:
    unknown = [case for case in cases if case not in label_maps]
    if unknown:
        raise ChordomaError(f"--case {unknown[0]}: no label map {unknown[0]}.nii.gz in {folder}; check the name")
    return {case: path for case, path in label_maps.items() if not cases or case in cases}


def _hashes(inputs: CaseInputs) -> tuple[tuple[str, str], ...]:
    files = {"prediction": inputs.label_map, "image": inputs.image, "record": inputs.record}
    found = {role: sha256(path) for role, path in files.items()}
    if inputs.disagreement is not None:
        found["disagreement"] = hashlib.sha256(repr(sorted(inputs.disagreement.items())).encode()).hexdigest()
    if inputs.models is not None:
        found["models"] = hashlib.sha256(repr(inputs.models.to_json()).encode()).hexdigest()
    return tuple(found.items())


def _readable(output: Path, predicted: Iterable[str]) -> Iterator[Verdict]:
    """Verdicts in `output` on cases that are predicted; other files there are warned about and left out."""
    known = set(predicted)
    for path in sorted(output.glob("*.json")):
        if path.stem not in known:
            console.warn(f"{path}: not on a case of these predictions, left out of {TABLE}")
            continue
        try:
            yield read_verdict(path)
        except ChordomaError as error:
            console.warn(f"left out of {TABLE}: {error}")


def _earlier(path: Path) -> Verdict | None:
    """The verdict that lies there, None if there is none or a damaged one. Raises ChordomaError for another file."""
    if not path.exists():
        return None
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ChordomaError(f"{path} is no verdict and would be replaced; choose another output folder")
    try:
        return read_verdict(path)
    except ChordomaError:
        return None
