"""Several new scans into a folder, one bad scan not stopping the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_chordoma.dataset_conversion.case_names import CASE_NAME
from nnunet_chordoma.dataset_conversion.case_source import SourceOptions
from nnunet_chordoma.dataset_conversion.cohort.cohort_file import COHORT_FILE
from nnunet_chordoma.dataset_conversion.quarantine import Quarantine, Quarantined
from nnunet_chordoma.dataset_conversion.scan.convert_scan import ConvertedScan, ScanJob, convert_scan
from nnunet_chordoma.dataset_conversion.scan.frame import Frame, read_frame
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import only_writer
from nnunet_chordoma.images import is_volume, stem


@dataclass(frozen=True)
class ScanOptions:
    """How scans are read: `ct_series` and `fixes` by case (see `SourceOptions` and `orientation.correction`)."""

    ct_series: Mapping[str, str] = field(default_factory=dict)
    fixes: Mapping[str, str] = field(default_factory=dict)
    unaligned: bool = False

    def job(self, case: str, path: Path, frame: Frame, out: Path) -> ScanJob:
        series = {case: self.ct_series[case]} if case in self.ct_series else {}
        sources = SourceOptions(ct_series=series, references=False)
        return ScanJob(case, path, frame, out, sources, self.fixes.get(case), self.unaligned)

    def require_known(self, cases: Sequence[str]) -> None:
        """Raise ChordomaError for an option that speaks of another case."""
        for option, named in (("--ct-series", self.ct_series), ("--fix-orientation", self.fixes)):
            unknown = sorted(set(named) - set(cases))
            if unknown:
                raise ChordomaError(f"{option} {unknown[0]}: unknown case; the cases are {', '.join(cases)}")


@dataclass(frozen=True)
class ScanResult:
    """What was converted, by case, and the cases that could not be, with the reason."""

    converted: Mapping[str, ConvertedScan]
    failed: tuple[Quarantined, ...]


def parse_scans(texts: Sequence[str]) -> dict[str, Path]:
    """Read `PATH` or `CASE=PATH` arguments, keeping their order; without a name it is that of the folder or volume.

    Raises ChordomaError on repeats, missing paths, and names that cannot be those of files.
    """
    scans: dict[str, Path] = {}
    for text in texts:
        name, separator, rest = text.partition("=")
        path = Path(text) if Path(text).exists() or not separator else Path(rest)
        if path == Path(text):
            place = path.resolve()
            name = stem(place).removesuffix("_0000") if is_volume(place) else place.name
        if not path.exists():
            raise ChordomaError(f"CT {text}: {path} does not exist; give a folder of CT DICOM or a volume")
        if not CASE_NAME.fullmatch(name):
            raise ChordomaError(
                f"CT {text}: '{name}' cannot be the name of a case (letters, digits, '.', '_' and '-' only); "
                f"name it: CASE={path}"
            )
        if name in scans:
            raise ChordomaError(f"CT {text}: two scans are called '{name}'; name them apart: CASE={path}")
        scans[name] = path
    return scans


def convert_scans(
    scans: Mapping[str, Path], dataset: Path, out: Path, options: ScanOptions, workers: int = 1
) -> ScanResult:
    """Convert new scans (case -> DICOM folder or volume) as the cases of `dataset` were, into `out`.

    Raises ChordomaError, before anything is written, for a dataset without its conversion records and options that
    name no case; and if no scan at all can be converted.
    """
    options.require_known(list(scans))
    frame = read_frame(dataset)
    if (out / COHORT_FILE).exists():
        raise ChordomaError(f"-o {out}: holds a converted dataset; choose another folder for new scans")
    out.mkdir(parents=True, exist_ok=True)
    quarantine = Quarantine(strict=False)
    try:
        with only_writer(out, f"-o {out}: another chordoma-convert scan writes there; wait until it has ended"):
            calls = [(case, (options.job(case, path, frame, out),)) for case, path in scans.items()]
            converted = quarantine.sift("conversion", convert_scan, calls, workers, "converting scans")
    finally:
        with suppress(OSError):
            # Which only succeeds where nothing came into it.
            out.rmdir()
    if not converted:
        if len(quarantine.cases) == 1:
            raise ChordomaError(quarantine.cases[0].reason)
        quarantine.report()
        raise ChordomaError(f"no scan can be converted, for the {len(quarantine.cases)} reasons listed above")
    return ScanResult(converted, tuple(quarantine.cases))
