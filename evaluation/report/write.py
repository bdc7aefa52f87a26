"""One HTML page that needs nothing but itself, and its tables as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunet_chordoma import console
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.definitions import metric_named
from nnunet_chordoma.evaluation.inputs import require_writable
from nnunet_chordoma.evaluation.names import count, split_title
from nnunet_chordoma.evaluation.report.gallery import make_gallery, picture_model
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.report.sections.findings import findings_section
from nnunet_chordoma.evaluation.report.sections.methods import methods_section
from nnunet_chordoma.evaluation.report.sections.pictures import pictures_section
from nnunet_chordoma.evaluation.report.sections.provenance import provenance_section
from nnunet_chordoma.evaluation.report.sections.split import split_section
from nnunet_chordoma.evaluation.sidecar import read_sidecar
from nnunet_chordoma.evaluation.store import read_scores
from nnunet_chordoma.evaluation.summary import SplitSummary, summarise, unique
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
    sections = [
        findings_section(summaries),
        *(split_section(scores, summary, number) for number, summary in enumerate(summaries, 1)),
        pictures_section(gallery),
        methods_section([metric_named(key) for key in unique(scores["metric"])]),
        provenance_section(scores_file, summaries, sidecar, changed),
    ]
    page = _render(title, _extent_text(summaries), sections)
    for summary in summaries:
        write_text(output / "tables" / f"{table_file(summary.split)}.csv", summary_csv(summary))
        write_text(output / "tables" / f"{table_file(summary.split)}.md", markdown_table(summary))
    write_text(output / "index.html", page)
    return output / "index.html"


def table_file(split: str) -> str:
    """File name of a split's tables, whatever the split is called."""
    return "table_" + "".join(c if c.isalnum() or c in "-_" else "_" for c in split)


def _extent_text(summaries: Sequence[SplitSummary]) -> str:
    """`8 models on 4 cases (test) and 2 cases (outlier)`."""
    parts = [f"{count(len(s.cases), 'case')} ({split_title(s.split).lower()})" for s in summaries]
    return f"{count(len(summaries[0].models), 'model')} on {' and '.join(parts)}"


def _render(title: str, extent: str, sections: Sequence[Section]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader((TEMPLATES, TEMPLATES / "sections")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template("report.html.j2").render(title=title, extent=extent, sections=sections)


def _breakable(name: str) -> object:
    """A name that may break after its underscores, escaped for HTML."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))
