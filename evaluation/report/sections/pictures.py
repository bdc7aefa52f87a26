"""Slices of the best, the median and the worst case with contours."""

from __future__ import annotations

from dataclasses import dataclass

from nnunet_chordoma.evaluation.names import split_title, structure_title
from nnunet_chordoma.evaluation.report.figures.planes import WINDOW_HU, View
from nnunet_chordoma.evaluation.report.gallery import CasePicture, Gallery
from nnunet_chordoma.evaluation.report.section import Section, data_uri
from nnunet_chordoma.evaluation.report.viewed import NO_LINKS, ViewerLinks
from nnunet_chordoma.evaluation.style import structure_colours


@dataclass(frozen=True)
class PageView:
    uri: str
    alt: str
    caption: str
    ratio: str


@dataclass(frozen=True)
class PagePicture:
    """One case: heading, (structure, Dice, colour), three views, the viewer's command, and its page or empty."""

    heading: str
    dice: tuple[tuple[str, str, str], ...]
    views: tuple[PageView, ...]
    viewer: str
    page: str


@dataclass(frozen=True)
class PageGallery:
    """Pictures with their legend of (structure, colour), or the reason why there are none."""

    model: str
    split: str
    legend: tuple[tuple[str, str], ...]
    pictures: tuple[PagePicture, ...]
    reason: str
    window_hu: tuple[float, float] = WINDOW_HU


def pictures_section(gallery: Gallery, links: ViewerLinks = NO_LINKS) -> Section:
    """The gallery's cases, or why there are none."""
    colours = structure_colours(gallery.structures)
    content = PageGallery(
        gallery.model,
        split_title(gallery.split).lower(),
        tuple((structure_title(s), colour) for s, colour in colours.items()),
        tuple(_picture(case, colours, links) for case in gallery.pictures),
        gallery.reason,
    )
    return Section("pictures", "Pictures", "pictures.html.j2", content)


def _picture(case: CasePicture, colours: dict[str, str], links: ViewerLinks) -> PagePicture:
    return PagePicture(
        f"{case.ranked.rank}: {case.ranked.case}, mean Dice {100 * case.ranked.mean:.1f} %",
        tuple((structure_title(s), f"{100 * value:.1f}", colours[s]) for s, value in case.ranked.dice.items()),
        tuple(page_view(view) for view in case.views),
        case.viewer,
        links.to_slice(case.ranked.case, case.slice_index),
    )


def page_view(view: View) -> PageView:
    """A slice as the page shows it."""
    caption = f"{view.name.capitalize()}, {view.place}"
    return PageView(data_uri(view.png, "image/png"), view.alt, caption, f"{view.ratio:.3f}")
