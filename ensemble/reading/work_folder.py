"""Finished cases of an unfinished fit, on disk beside its output, so that an interrupted fit goes on where it was."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma import __version__
from nnunet_chordoma.ensemble.prediction.record import Fingerprint
from nnunet_chordoma.ensemble.reading.agreement import CLEAR_MARGIN
from nnunet_chordoma.ensemble.reading.compression import CompressedCase
from nnunet_chordoma.ensemble.reading.spill import SpilledProbabilities
from nnunet_chordoma.ensemble.results import CaseSource
from nnunet_chordoma.ensemble.soft.statistics import SoftStatistics
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import only_writer, read_document, write_document
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.probabilities import ProbabilityMaps

SCHEMA, SCHEMA_VERSION = "chordoma-ensemble-work", 1
KEPT, ARRAYS, DOCUMENT = "probabilities.f32", "counts.npz", "case.json"


@dataclass(frozen=True)
class CaseKey:
    """What a compressed case was made of and by which code; another key means that it must be made again."""

    files: tuple[tuple[str, str, Fingerprint], ...]
    margin: float = CLEAR_MARGIN
    package_version: str = __version__

    @classmethod
    def of(cls, maps: Sequence[ProbabilityMaps], reference: Path) -> CaseKey:
        """Key of one case's files as they are now: path, size and time of modification."""
        named = [(each.model, path) for each in maps for path in (each.npz, each.label_map)]
        named.append(("reference", reference))
        return cls(tuple((name, str(path.resolve()), Fingerprint.of(path)) for name, path in named))

    def to_json(self) -> dict[str, Any]:
        files = [[name, path, *asdict(fingerprint).values()] for name, path, fingerprint in self.files]
        return {"files": files, "margin": self.margin, "package_version": self.package_version}


class WorkFolder:
    """Context manager around a fit: `.NAME.work` beside the output NAME, or a temporary folder if there is none.

    The folder goes when the fit has succeeded; when it fails or is interrupted, the cases finished so far stay
    for the next one. Raises ChordomaError if another process is fitting to the same output.
    """

    def __init__(self, output: Path | None = None) -> None:
        self._output = output
        self._held = ExitStack()
        self.folder = Path()

    def __enter__(self) -> WorkFolder:
        if self._output is None:
            self.folder = Path(tempfile.mkdtemp(prefix="chordoma-ensemble-"))
            return self
        self.folder = self._output.with_name(f".{self._output.name}.work")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held.enter_context(
            only_writer(
                self.folder, f"another fit is writing {self._output}; wait until it has finished or name another file"
            )
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._held:
            for partial in self.folder.glob(".partial-*"):
                shutil.rmtree(partial, ignore_errors=True)
            if error is None or self._output is None or not any(self.folder.iterdir()):
                shutil.rmtree(self.folder, ignore_errors=True)

    def find(self, case: str, key: CaseKey, scheme: LabelScheme) -> tuple[CompressedCase, CaseSource] | None:
        """A case that an earlier fit has finished from the same files, whole and undamaged; else None."""
        folder = self.folder / case
        try:
            found_scheme, content = read_document(folder / DOCUMENT, SCHEMA, SCHEMA_VERSION)
            if found_scheme == scheme and content["key"] == key.to_json():
                return _read(case, folder, content)
        except (ChordomaError, OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error):
            # Whatever is wrong with it: the case is read again.
            pass
        return None

    @contextmanager
    def new(self, case: str) -> Iterator[Path]:
        """A folder to write `case` into; it counts as finished only when the block ends without an error."""
        aside = self.folder / f".partial-{os.getpid()}-{case}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            yield aside
            final = self.folder / case
            shutil.rmtree(final, ignore_errors=True)
            aside.replace(final)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def kept(self, case: str, shape: tuple[int, int, int]) -> SpilledProbabilities:
        """The kept probabilities of a finished case."""
        return SpilledProbabilities(self.folder / case / KEPT, shape)


def write_case(
    folder: Path, case: CompressedCase, source: CaseSource, key: CaseKey, scheme: LabelScheme, checksums: Sequence[int]
) -> None:
    """Write everything but the kept probabilities, which are in `folder` already, with `checksums` of each model."""
    np.savez(folder / ARRAYS, **_arrays(case))  # type: ignore[arg-type]
    content = {
        "key": key.to_json(),
        "voxels": case.voxels,
        "shape": list(case.probabilities.shape),
        "probabilities_crc32": list(checksums),
        "reference_sha256": source.reference_sha256,
        "probabilities_sha256": list(source.probabilities_sha256),
    }
    write_document(folder / DOCUMENT, SCHEMA, SCHEMA_VERSION, scheme, content)


def _arrays(case: CompressedCase) -> dict[str, NDArray[Any]]:
    return {
        "agreed_predicted": case.agreed_predicted,
        "agreed_intersection": case.agreed_intersection,
        "reference_count": case.reference_count,
        "reference": case.reference,
        "soft_intersection": case.soft.intersection,
        "soft_predicted": case.soft.predicted,
        "soft_reference": case.soft.reference,
    }


def _read(case: str, folder: Path, content: Mapping[str, Any]) -> tuple[CompressedCase, CaseSource]:
    models, labels, voxels = (int(size) for size in content["shape"])
    probabilities = SpilledProbabilities(folder / KEPT, (models, labels, voxels))
    if list(probabilities.checksums()) != content["probabilities_crc32"]:
        raise ValueError("damaged")
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        found = CompressedCase(
            case,
            int(content["voxels"]),
            agreed_predicted=arrays["agreed_predicted"],
            agreed_intersection=arrays["agreed_intersection"],
            reference_count=arrays["reference_count"],
            probabilities=probabilities,
            reference=arrays["reference"],
            soft=SoftStatistics(arrays["soft_intersection"], arrays["soft_predicted"], arrays["soft_reference"]),
        )
    return found, CaseSource(case, content["reference_sha256"], tuple(content["probabilities_sha256"]))
