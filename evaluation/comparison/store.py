"""The files of a comparison: two tidy CSVs, the tables, and a JSON document with everything."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.comparison.documents import latex, markdown
from nnunet_chordoma.evaluation.comparison.results import SCORES, Comparison, Effect, Procedure, Result, Source
from nnunet_chordoma.evaluation.inputs import require_writable
from nnunet_chordoma.evaluation.sidecar import read_sidecar, sidecar_path
from nnunet_chordoma.files import read_document, read_json, write_document, write_text
from nnunet_chordoma.labels import LabelScheme

SCHEMA, SCHEMA_VERSION = "chordoma-comparison", 1
COLUMNS = (
    *("metric", "model", "baseline", "structure", "n"),
    *("p_raw", "p_corrected", "test", "correction", "alpha"),
)
T = TypeVar("T")


def output_files(output: Path) -> tuple[Path, ...]:
    """comparison.csv -> itself, comparison_effects.csv, comparison.md, comparison.tex, comparison.json."""
    effects = output.with_name(f"{output.stem}_effects.csv")
    return (output, effects, *(output.with_suffix(suffix) for suffix in (".md", ".tex", ".json")))


def check_output(output: Path, source: Path) -> None:
    """Raise ChordomaError for a name that is no .csv, cannot be written, or whose files would replace others."""
    if output.suffix != ".csv":
        raise ChordomaError(f"-o {output}: expected a name that ends in .csv (.md, .tex and .json go beside it)")
    if output.is_dir():
        raise ChordomaError(f"-o {output}: is a folder, expected the name of a .csv file")
    require_writable(output.parent, f"-o {output}")
    kept = {source.resolve(), sidecar_path(source).resolve()}
    taken = [path for path in output_files(output) if path.resolve() in kept]
    document = output.with_suffix(".json")
    if document.is_file():
        content = read_json(document)
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            taken.append(document)
    else:
        # Without the document of an earlier comparison these are somebody's own.
        taken += [path for path in output_files(output) if path.exists()]
    if taken:
        raise ChordomaError(f"-o {output}: would replace {taken[0]}, which is no comparison; choose another name")


def write_comparison(output: Path, comparison: Comparison) -> tuple[Path, ...]:
    """Write all files of a comparison, the document last; returns their paths."""
    table, effects, md, tex, document = output_files(output)
    # All texts first, so that no fault can leave one file of this comparison beside another's.
    texts = {
        table: _csv(COLUMNS, [[getattr(r, column) for column in COLUMNS] for r in comparison.results]),
        effects: _csv(*_effect_rows(comparison)),
        md: markdown(comparison),
        tex: latex(comparison),
    }
    for path, text in texts.items():
        write_text(path, text)
    content = _json(asdict(comparison))
    content.pop("package_version")
    write_document(document, SCHEMA, SCHEMA_VERSION, _scheme(comparison), content)
    return (*texts, document)


def read_comparison(path: Path) -> Comparison:
    """Read what `write_comparison` wrote, by the name of its .json or .csv; raises ChordomaError if it is malformed."""
    document = path.with_suffix(".json")
    _, content = read_document(document, SCHEMA, SCHEMA_VERSION)
    try:
        lists = {key: tuple(content[key]) for key in ("metrics", "baselines", "models", "structures", "notes")}
        source = dict(content["source"])
        source |= {key: tuple(source[key]) for key in ("other_splits", "cases")}
        return Comparison(
            created=content["created"],
            package_version=content["package_version"],
            versions=dict(content["versions"]),
            source=Source(**source),
            seed=content["seed"],
            resamples=content["resamples"],
            confidence=content["confidence"],
            procedures=tuple(_record(Procedure, entry) for entry in content["procedures"]),
            results=tuple(_record(Result, entry) for entry in content["results"]),
            effects=tuple(_record(Effect, entry) for entry in content["effects"]),
            **lists,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ChordomaError(f"{document}: incomplete ({error!r}); write it again with chordoma-eval compare") from None


def _record(kind: type[T], entry: Mapping[str, Any]) -> T:
    """A dataclass from its JSON object; null stands for NaN, and no field may be missing or of another kind."""
    kinds = {"str": str, "int": int, "float": float}
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        value = entry[field.name]
        if field.type == "float":
            value = math.nan if value is None else float(value)
        if not isinstance(value, kinds[str(field.type)]):
            raise TypeError(f"{field.name} is {value!r}")
        values[field.name] = value
    return kind(**values)


def _effect_rows(comparison: Comparison) -> tuple[Sequence[str], list[list[object]]]:
    names = [field.name for field in fields(Effect)]
    rows = [[comparison.source.split, *(getattr(e, name) for name in names)] for e in comparison.effects]
    return ["split", *names], rows


def _csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Numbers with all their digits; what could not be had as `nan`."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[repr(v) if isinstance(v, float) else v for v in row] for row in rows])
    return stream.getvalue()


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _scheme(comparison: Comparison) -> LabelScheme:
    """The labels that the scores were taken with, as their sidecar tells; else just the structures compared."""
    source = comparison.source
    sidecar = read_sidecar(Path(source.file)) if source.kind == SCORES else None
    if sidecar is not None and sidecar.scores_sha256 == source.sha256:
        return sidecar.scheme
    return LabelScheme(("background", *comparison.structures))
