"""Pages of the viewer for the report: the one place where evaluation and viewer meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_chordoma.evaluation.report.viewed import ViewedCase


def viewer_pages(cases: Sequence[ViewedCase]) -> dict[str, str]:
    """A page per case, CASE.html, and what they share, by file name.

    Raises ChordomaError for label maps on another grid than their CT, and files that cannot be read.
    """
    from nnunet_chordoma.viewer.contents import Contents, Overlay, ViewerCase, check_grids
    from nnunet_chordoma.viewer.standalone import linked_page, shared_files

    contents = []
    for each in cases:
        overlays = (Overlay("reference", "reference", each.reference), Overlay(each.model, "model", each.prediction))
        case = ViewerCase(each.name, each.image, overlays)
        check_grids(case)
        contents.append(Contents(f"{each.name}, {each.model}", each.scheme, (case,)))
    return shared_files() | {f"{each.cases[0].name}.html": linked_page(each) for each in contents}
