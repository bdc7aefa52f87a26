"""What the gate measures, and from which side each quantity is suspicious. The ranges are fitted, not stated here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nnunet_chordoma.gate.intervals import Scale, Side
from nnunet_chordoma.labels import MUSCLES, LabelScheme

GTV, PIRIFORMIS = "gtv", "piriformis"
ANY = "any"
"""The row of a disagreement table that counts all structures."""

DISAGREEMENT = "disagreement"

TITLES = {"gtv": "GTV"}


@dataclass(frozen=True)
class Measure:
    """A quantity of a case: GROUP/WHAT, its title and unit, and how a range of it is made (see `intervals`).

    `least_spread` is the standard deviation below which training cases count as alike: in the measure's unit on the
    scale LINEAR, relative on the others.
    """

    name: str
    title: str
    unit: str
    side: Side
    scale: Scale
    least_spread: float

    @property
    def group(self) -> str:
        return self.name.split("/")[0]


def structure_title(structure: str) -> str:
    """`gluteus_maximus` -> `gluteus maximus`."""
    return TITLES.get(structure, structure.replace("_", " "))


def muscles_of(scheme: LabelScheme) -> tuple[str, ...]:
    """The paired muscles that the scheme has."""
    return tuple(name for name in scheme.structures if name in MUSCLES)


def measures_of(scheme: LabelScheme) -> dict[str, Measure]:
    """All measures for a label scheme by name, in the order in which they are reported."""
    return {measure.name: measure for measure in _measures(scheme)}


def _measures(scheme: LabelScheme) -> Iterator[Measure]:
    linear, log, from_one = Scale.LINEAR, Scale.LINEAR_AND_LOG, Scale.FROM_ONE
    muscles = muscles_of(scheme)
    yield Measure("scan/pixel_mm", "in-plane spacing of the scan", "mm", Side.BOTH, log, 0.05)
    yield Measure("scan/slice_mm", "slice spacing of the scan", "mm", Side.BOTH, log, 0.05)
    yield Measure("scan/covered", "share of the field of view that the scan covers", "", Side.LOW, linear, 0.02)
    yield Measure("alignment/overlap", "bone overlap (Dice) after alignment", "", Side.LOW, from_one, 0.1)
    yield Measure("alignment/correlation", "bone correlation after alignment", "", Side.LOW, from_one, 0.1)
    yield Measure("alignment/rotation_deg", "rotation of the alignment", "degrees", Side.HIGH, linear, 1.0)
    yield Measure("hu/outside", "median HU outside the body", "HU", Side.BOTH, linear, 5.0)
    yield Measure("hu/body", "median HU of the body", "HU", Side.BOTH, linear, 5.0)
    yield Measure("hu/muscle", "median HU of the muscles", "HU", Side.BOTH, linear, 3.0)
    yield Measure("hu/not_muscle", "share of the muscles outside -50 to 200 HU", "", Side.HIGH, linear, 0.01)
    yield Measure("hu/bone", "share of the body above 200 HU", "", Side.BOTH, linear, 0.005)
    yield Measure("hu/metal", "share of the body above 2500 HU", "", Side.HIGH, linear, 0.0001)
    for axis in "xyz":
        yield Measure(f"position/muscles_{axis}", f"muscles' centre, {axis} (LPS)", "mm", Side.BOTH, linear, 1.0)
    if GTV in scheme.structures:
        for axis in "xyz":
            title = f"GTV's centre from the muscles', {axis} (LPS)"
            yield Measure(f"position/gtv_{axis}", title, "mm", Side.BOTH, linear, 2.0)
    for structure in scheme.structures:
        yield Measure(f"volume/{structure}", f"{structure_title(structure)} volume", "cm3", Side.BOTH, log, 0.05)
    for muscle in muscles:
        title = f"{structure_title(muscle)} asymmetry (left - right) / (left + right)"
        yield Measure(f"symmetry/{muscle}", title, "", Side.BOTH, linear, 0.01)
    if PIRIFORMIS in muscles:
        yield Measure("obliterated/piriformis", "smaller piriformis", "cm3", Side.LOW, log, 0.05)
    for structure in scheme.structures:
        title = f"{structure_title(structure)} cut by the crop border, share"
        yield Measure(f"border/{structure}", title, "", Side.HIGH, linear, 0.003)
    for structure in scheme.structures:
        yield Measure(f"parts/{structure}", f"{structure_title(structure)} parts", "", Side.HIGH, linear, 1.0)
        kept = "two largest parts" if structure in muscles else "largest part"
        title = f"{structure_title(structure)} outside its {kept}, share"
        yield Measure(f"crumbs/{structure}", title, "", Side.HIGH, linear, 0.01)
    yield Measure(f"{DISAGREEMENT}/{ANY}", "models disagree, share of the body", "", Side.HIGH, linear, 0.002)
    for structure in scheme.structures:
        title = f"{structure_title(structure)} agreement of models (mean Dice)"
        yield Measure(f"{DISAGREEMENT}/{structure}", title, "", Side.LOW, from_one, 0.1)
