"""The grid of each case in the dataset, and the cases that do not fit into theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nnunet_chordoma import console
from nnunet_chordoma.dataset_conversion.alignment.align_case import Placement, count_cut
from nnunet_chordoma.dataset_conversion.alignment.field_of_view import Extent, common_field_of_view, enough, place
from nnunet_chordoma.dataset_conversion.quarantine import Quarantined
from nnunet_chordoma.dataset_conversion.survey import CaseSurvey
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry

Size = tuple[int, int, int]
AXES = range(3)


@dataclass(frozen=True)
class Grids:
    """Case to its grid of `size` voxels (x, y, z).

    `common` is the grid that all share and `lay` gives it for another size; both are None without alignment.
    """

    size: Size
    targets: Mapping[str, Geometry]
    common: Geometry | None
    lay: Callable[[Size], Geometry] | None


def lay_grids(
    surveys: Mapping[str, CaseSurvey],
    placements: Mapping[str, Placement],
    training: Sequence[str],
    reference: str | None,
    size: Size,
) -> Grids:
    """One field of view from all structures of the training cases, or one grid per scan without a reference case.

    Raises ChordomaError if no training case is left to lay it around.
    """
    if reference is None:
        return Grids(size, {name: place(surveys[name].anchor, size) for name in placements}, None, None)
    known = [placements[name] for name in training if name in placements]
    structures = [placement.structures for placement in known if placement.structures is not None]
    if not structures:
        raise ChordomaError("no training case with structures is left to lay the field of view around; see the reasons")
    lay = partial(common_field_of_view, structures, [placement.body for placement in known], surveys[reference].anchor)
    common = lay(size)
    return Grids(size, dict.fromkeys(placements, common), common, lay)


def cut_cases(
    surveys: Mapping[str, CaseSurvey], placements: Mapping[str, Placement], grids: Grids, dataset: Path
) -> list[Quarantined]:
    """Cases whose structures their grid cuts, with the voxels lost and the size that would hold all of them."""
    cut = {
        name: placement.structures
        for name, placement in placements.items()
        if placement.structures is not None and placement.structures.overhang_mm(grids.targets[name]).any()
    }
    if not cut:
        return []
    x, y, z = _enough_for(surveys, grids, placements)
    left_out = []
    for name in console.track(cut, "counting cut voxels", len(cut)):
        counts = count_cut(surveys[name], placements[name], grids.targets[name], dataset)
        listed = ", ".join(f"{structure} {lost} of {whole}" for structure, (lost, whole) in counts.items())
        reason = (
            f"case '{name}': the field of view of {grids.size[0]},{grids.size[1]},{grids.size[2]} voxels cuts "
            f"structures (voxels of the scan lost: {listed}); use --size {x},{y},{z} or larger"
        )
        left_out.append(Quarantined(name, "field of view", reason))
    return left_out


def _enough_for(surveys: Mapping[str, CaseSurvey], grids: Grids, placements: Mapping[str, Placement]) -> Size:
    """A size that cuts no case: a larger grid may lie elsewhere, so those that fit now count too."""
    extents = {name: placed.structures for name, placed in placements.items() if placed.structures is not None}
    if grids.lay is not None:
        return enough(grids.lay, grids.size, Extent.around(list(extents.values())))
    size = grids.size
    for _ in AXES:
        for name, extent in extents.items():
            size = enough(partial(place, surveys[name].anchor), size, extent)
    return size
