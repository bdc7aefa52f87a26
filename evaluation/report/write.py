"""One HTML page that needs nothing but itself, and its tables as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nnunet_chordoma import console
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.definitions import metric_named
from nnunet_chordoma.evaluation.fitted_weights import read_fitted_weights
from nnunet_chordoma.evaluation.inputs import require_writable
from nnunet_chordoma.evaluation.names import count, split_title
from nnunet_chordoma.evaluation.report.comparisons import find_comparisons
from nnunet_chordoma.evaluation.report.gallery import make_gallery, picture_model
from nnunet_chordoma.evaluation.report.methods_text import methods_text
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.report.sections.agreement import agreement_section
from nnunet_chordoma.evaluation.report.sections.comparison import comparison_section
from nnunet_chordoma.evaluation.report.sections.editing_minutes import editing_minutes_section, usable_model
from nnunet_chordoma.evaluation.report.sections.ensemble import ensemble_section
from nnunet_chordoma.evaluation.report.sections.findings import findings_section
from nnunet_chordoma.evaluation.report.sections.gate import gate_section, read_verdicts
from nnunet_chordoma.evaluation.report.sections.improvements import improvements_section
from nnunet_chordoma.evaluation.report.sections.methods import methods_section
from nnunet_chordoma.evaluation.report.sections.overview import overview_section
from nnunet_chordoma.evaluation.report.sections.paper import paper_section
from nnunet_chordoma.evaluation.report.sections.pictures import pictures_section
from nnunet_chordoma.evaluation.report.sections.provenance import provenance_section
from nnunet_chordoma.evaluation.report.sections.split import split_section
from nnunet_chordoma.evaluation.report.sections.volume import volume_section
from nnunet_chordoma.evaluation.report.sections.worst import worst_section
from nnunet_chordoma.evaluation.report.viewed import FOLDER, PageWriter, ViewerLinks, viewed_case, worst_cases
from nnunet_chordoma.evaluation.report.worst import find_worst
from nnunet_chordoma.evaluation.sidecar import EDITED, edited_since, read_sidecar
from nnunet_chordoma.evaluation.store import read_scores
from nnunet_chordoma.evaluation.summary import SplitSummary, summarise, unique
from nnunet_chordoma.evaluation.tables.delimited import delimited
from nnunet_chordoma.evaluation.tables.latex import latex
from nnunet_chordoma.evaluation.tables.markdown import markdown
from nnunet_chordoma.evaluation.tables.table import Column, Entry, Kind, Layout
from nnunet_chordoma.files import write_text

LONGEST_WHOLE = 10
"""Characters of a name that no column is too narrow for."""

TEMPLATES = Path(__file__).parent / "templates"
WRITTEN = ".written"
"""List of the report's files in a folder; what else lies there is somebody's own."""


def write_report(
    scores_file: Path,
    output: Path,
    *,
    images: Path | None = None,
    title: str = "Segmentation report",
    shown_model: str | None = None,
    ensembles: Sequence[str] = (),
    paper: bool = False,
    comparisons: Sequence[Path] = (),
    weights: Sequence[Path] = (),
    gate: Path | None = None,
    editing_minutes: Path | None = None,
    viewer: int = 0,
    page_writer: PageWriter | None = None,
) -> Path:
    """Write `output`/index.html and `output`/tables/; returns the page's path.

    `ensembles` names the models that section 3.1's improvements are about, `paper` asks for the published numbers,
    `comparisons` are files of chordoma-eval compare (by default those of these scores beside them), `weights` of
    chordoma-ensemble fit, `gate` is a folder of verdicts, `editing_minutes` a model of chordoma-eval review-summary.
    `page_writer` makes pages of the `viewer` worst cases, in `output`/viewer, to which the page links.
    Everything is made before anything is written, the page comes last. Raises ChordomaError for a bad scores file, an
    unknown model (`shown_model`, `ensembles`), an image folder that was named and does not serve, a comparison of other
    scores, a bad weights file or verdict, or a model of minutes that is bad or of another label scheme.
    """
    if output.exists() and not output.is_dir():
        raise ChordomaError(f"-o {output}: is a file, expected a folder for the report")
    require_writable(output, f"-o {output}")
    scores, sidecar = read_scores(scores_file), read_sidecar(scores_file)
    changed = edited_since(scores_file, sidecar)
    if sidecar is None:
        console.warn(f"{scores_file}: no .json sidecar beside it; the report lacks pictures and versions")
    elif changed:
        console.warn(f"{EDITED.format(scores=scores_file)}; the report says so")
    summaries = summarise(scores)
    first = summaries[0]
    shown = picture_model(first, shown_model)
    compared = find_comparisons(scores_file, comparisons)
    fits = [read_fitted_weights(path) for path in weights]
    scored = [case for summary in summaries for case in summary.cases]
    verdicts = read_verdicts(gate, scored) if gate is not None else []
    minutes = usable_model(editing_minutes, scores, sidecar) if editing_minutes is not None else None
    improvements = improvements_section(summaries, ensembles)
    metrics = [metric_named(key) for key in unique(scores["metric"])]
    text = methods_text(metrics, summaries, sidecar, compared, bool(improvements.tables))
    gallery = make_gallery(scores, first, sidecar, shown, images)
    if viewer and page_writer is None:
        raise ChordomaError("--viewer: nothing here makes pages; use the command chordoma-eval")
    worst = [find_worst(scores, summary, sidecar, shown, images) for summary in summaries]
    cases = worst_cases([each.listed for each in worst], viewer)
    viewed = [viewed_case(case, sidecar, shown, images) for case in cases] if sidecar is not None else []
    links = ViewerLinks(frozenset(each.name for each in viewed))
    sections = [
        findings_section(summaries, compared),
        *(split_section(scores, summary, number) for number, summary in enumerate(summaries, 1)),
        improvements,
        overview_section(scores, summaries, shown),
        worst_section(worst, links),
        pictures_section(gallery, links),
        volume_section(scores, summaries, shown),
        agreement_section(scores, summaries, shown),
        *([editing_minutes_section(minutes, scores, summaries)] if minutes is not None else []),
        *([gate_section(verdicts, scores, summaries, sidecar, shown)] if verdicts else []),
        comparison_section(scores_file, first, compared),
        *([ensemble_section(fits, summaries)] if fits else []),
        *([paper_section(summaries)] if paper else []),
        methods_section(metrics, text),
        provenance_section(scores_file, summaries, sidecar, changed, compared, fits),
    ]
    caution = f"{EDITED.format(scores=scores_file.name)}." if changed else ""
    page = _render(title, _extent_text(summaries), caution, sections)
    pages = page_writer(viewed) if page_writer is not None and viewed else {}
    _write_files(output / "tables", _table_files(sections))
    _write_files(output / FOLDER, pages)
    write_text(output / "index.html", page)
    return output / "index.html"


def _write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write what belongs to this page, and remove what belonged to an earlier page and this one does not have."""
    listed = folder / WRITTEN
    if not files and not listed.is_file():
        return
    earlier = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    # Both until the earlier are gone, in case this is interrupted.
    write_text(listed, "".join(f"{name}\n" for name in sorted({*earlier, *files})))
    for name, content in files.items():
        write_text(folder / name, content)
    for name in set(earlier) - set(files):
        (folder / name).unlink(missing_ok=True)
    write_text(listed, "".join(f"{name}\n" for name in sorted(files)))


def _table_files(sections: Sequence[Section]) -> dict[str, str]:
    """Contents of the folder `tables` by file name: each table of the page in three forms, and other texts."""
    files = {name: text for section in sections for name, text in section.files}
    for table in (table for section in sections for table in section.tables):
        files |= {
            f"{table.name}.csv": delimited(table),
            f"{table.name}.md": markdown(table),
            f"{table.name}.tex": latex(table),
        }
    return files


def _extent_text(summaries: Sequence[SplitSummary]) -> str:
    """`8 models on 4 cases (test) and 2 cases (outlier)`."""
    parts = [f"{count(len(s.cases), 'case')} ({split_title(s.split).lower()})" for s in summaries]
    return f"{count(len(summaries[0].models), 'model')} on {' and '.join(parts)}"


def _render(title: str, extent: str, caution: str, sections: Sequence[Section]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader((TEMPLATES, TEMPLATES / "sections")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    environment.filters["cell_class"] = _cell_class
    template = environment.get_template("report.html.j2")
    return template.render(title=title, extent=extent, caution=caution, sections=sections)


def _breakable(name: str) -> object:
    """A name that may break after its underscores, escaped for HTML; short ones stay whole."""
    from markupsafe import Markup, escape

    if len(name) <= LONGEST_WHOLE:
        return escape(name)
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _cell_class(column: Column, entry: Entry, layout: Layout) -> object:
    """The class attribute of a table's cell, with a space before it; empty where there is nothing to set apart."""
    from markupsafe import Markup

    classes = ["best"] if entry.best else []
    classes += ["mean"] if column.kind is Kind.OVERALL else []
    classes += ["value"] if column.kind is Kind.VALUE and layout is Layout.NARROW else []
    return Markup(f' class="{" ".join(classes)}"') if classes else ""
