"""One HTML page that needs nothing but itself, and its tables as files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from nnunet_chordoma import __version__, console
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.definitions import (
    EMPTY_RULES,
    MEAN_RULE,
    REFERENCE_IMPLEMENTATION,
    SPACING_RULE,
    metric_named,
)
from nnunet_chordoma.evaluation.gallery import make_gallery, picture_model
from nnunet_chordoma.evaluation.inputs import require_writable
from nnunet_chordoma.evaluation.page import extent_text, missed_text, page_findings, page_gallery, page_split
from nnunet_chordoma.evaluation.pictures import WINDOW_HU
from nnunet_chordoma.evaluation.plots import FEWEST_FOR_A_BOX
from nnunet_chordoma.evaluation.sidecar import Sidecar, read_sidecar
from nnunet_chordoma.evaluation.store import read_scores
from nnunet_chordoma.evaluation.summary import DDOF, SplitSummary, summarise, unique
from nnunet_chordoma.evaluation.tables import markdown_table, summary_csv
from nnunet_chordoma.files import sha256, write_text

TEMPLATES = Path(__file__).parent / "templates"


def write_report(
    scores_file: Path,
    output: Path,
    *,
    images: Path | None = None,
    title: str = "Segmentation report",
    shown_model: str | None = None,
) -> Path:
    """Write `output`/index.html and `output`/tables/; returns the page's path.

    Everything is made before anything is written, the page comes last. Raises ChordomaError for a bad scores
    file, an unknown picture model (`shown_model`), or an image folder that was named and does not serve.
    """
    if output.exists() and not output.is_dir():
        raise ChordomaError(f"-o {output}: is a file, expected a folder for the report")
    require_writable(output, f"-o {output}")
    scores, sidecar = read_scores(scores_file), read_sidecar(scores_file)
    changed = sidecar is not None and sha256(scores_file) != sidecar.scores_sha256
    if sidecar is None:
        console.warn(f"{scores_file}: no .json sidecar beside it; the report lacks pictures and versions")
    elif changed:
        console.warn(f"{scores_file} was changed after scoring; the report says so")
    summaries = summarise(scores)
    first = summaries[0]
    gallery = make_gallery(scores, first, sidecar, picture_model(first, shown_model), images)
    page = _render(
        title=title,
        extent=extent_text(summaries),
        models=first.models,
        findings=page_findings(summaries),
        missed=[text for summary in summaries if (text := missed_text(summary))],
        splits=[page_split(scores, summary) for summary in summaries],
        gallery=page_gallery(gallery),
        window_hu=WINDOW_HU,
        metrics=[metric_named(key) for key in unique(scores["metric"])],
        ddof=DDOF,
        fewest_for_a_box=FEWEST_FOR_A_BOX,
        empty_rules=EMPTY_RULES,
        mean_rule=MEAN_RULE,
        spacing_rule=SPACING_RULE,
        implementation=REFERENCE_IMPLEMENTATION,
        provenance=_provenance(scores_file, summaries, sidecar, changed),
    )
    for summary in summaries:
        write_text(output / "tables" / f"{table_file(summary.split)}.csv", summary_csv(summary))
        write_text(output / "tables" / f"{table_file(summary.split)}.md", markdown_table(summary))
    write_text(output / "index.html", page)
    return output / "index.html"


def table_file(split: str) -> str:
    """File name of a split's tables, whatever the split is called."""
    return "table_" + "".join(c if c.isalnum() or c in "-_" else "_" for c in split)


def _render(**values: object) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template("report.html.j2").render(**values)


def _breakable(name: str) -> object:
    """A name that may break after its underscores, escaped for HTML."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _provenance(
    scores_file: Path, summaries: list[SplitSummary], sidecar: Sidecar | None, changed: bool
) -> list[tuple[str, str]]:
    """Rows of (what, value) that say where the numbers come from."""
    rows = [
        ("Report written", datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")),
        ("Report by", f"nnunet-chordoma {__version__}"),
        ("Scores", scores_file.name),
        *((f"Cases, {s.split}", ", ".join(s.cases)) for s in summaries),
    ]
    if sidecar is None:
        return rows
    rows += [
        ("Scored", sidecar.created.replace("T", " ")),
        ("Scored by", f"nnunet-chordoma {sidecar.package_version}"),
        ("Versions", ", ".join(f"{name} {number}" for name, number in sidecar.versions.items())),
        ("SHA-256 of the scores", sidecar.scores_sha256),
        ("References", str(sidecar.reference)),
        *((f"Label maps of {model}", str(folder)) for model, folder in sidecar.models.items()),
    ]
    if sidecar.missing:
        rows.append(("Not predicted", ", ".join(f"{model} {case}" for model, case in sidecar.missing)))
    if changed:
        rows.append(("Note", "The scores file was changed after scoring; it is not the one of the sidecar."))
    return rows
