"""How volumes change on the way from the models' grid to the scan, for ellipsoids of known volume.

    python benchmarks/export_volumes.py

Each ellipsoid is sampled on a grid of 2 mm and mapped back to 1 x 1 x 2.5 mm that lie a few degrees askew, at several
positions, as an export does it: by trilinear interpolation of probabilities. Probabilities are those of one sharp model
(0 or 1), of six sharp models of random weights that disagree by a shift (SD 0.7 mm along each axis), or of a logistic
edge of 1 mm. Next to it nearest neighbour of the label map, trilinear interpolation of log-odds, and cubic B-splines of
probabilities. Printed are the change of the volume from grid to scan and the Dice with the ellipsoid on the scan.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.special import expit, logit

GRID_MM, SCAN_MM, TURN_DEG = 2.0, (1.0, 1.0, 2.5), 4.0
EDGE_MM, SHIFT_MM, MODELS = 1.0, 0.7, 6
LEAST = 1 / 255
"""Probabilities are kept this far from 0 and 1 for log-odds: the step of the compact form."""

ELLIPSOIDS = {
    "sphere": (7.2, 7.2, 7.2),
    "thin": (3.0, 8.0, 12.0),
    "sphere ": (15.0, 15.0, 15.0),
    "thin ": (6.0, 20.0, 30.0),
    "muscle": (8.0, 25.0, 35.0),
    "large sphere": (45.0, 45.0, 45.0),
}
EDGES = ("sharp", "six sharp", "soft")

Points = NDArray[np.float64]


def depth_mm(points: Points, semi_axes: Points) -> NDArray[np.float64]:
    """About how far inside the ellipsoid a point lies, exact at its surface; negative outside."""
    level = np.linalg.norm(points / semi_axes, axis=-1)
    slope = np.linalg.norm(points / semi_axes**2, axis=-1)
    return np.asarray(level * (1 - level) / np.maximum(slope, 1e-9))


def turned(degrees: float) -> Points:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_z = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    return np.asarray(about_z @ about_x)


def lattice(half_width_mm: float, spacing_mm: tuple[float, float, float]) -> Points:
    axes = [np.arange(-(half_width_mm // step), half_width_mm // step + 1) * step for step in spacing_mm]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def probabilities(points: Points, semi_axes: Points, edge: str, rng: np.random.Generator) -> NDArray[np.float64]:
    if edge == "soft":
        return np.asarray(expit(depth_mm(points, semi_axes) / EDGE_MM))
    shifts = np.zeros((1, 3)) if edge == "sharp" else rng.normal(0, SHIFT_MM, (MODELS, 3))
    inside = [depth_mm(points + shift, semi_axes) > 0 for shift in shifts]
    return np.average(inside, axis=0, weights=rng.dirichlet(np.full(len(shifts), 5.0)))


def measure(semi_axes: Points, edge: str, draws: int, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """By way of mapping: volume on the scan over that on the grid, and Dice with the ellipsoid on the scan."""
    found = defaultdict(list)
    half_width_mm = float(semi_axes.max()) + 8
    steps = int(half_width_mm // GRID_MM)
    for _ in range(draws):
        turn, shift = turned(rng.uniform(0, 90)), rng.uniform(-1, 1, 3)
        grid = lattice(half_width_mm, (GRID_MM,) * 3)
        stored = probabilities((grid - shift) @ turn, semi_axes, edge, rng)
        scan = lattice(half_width_mm - 4, SCAN_MM) @ turned(TURN_DEG)
        index = (scan / GRID_MM + steps).reshape(-1, 3).T
        truth = (depth_mm((scan - shift) @ turn, semi_axes) > 0).ravel()
        mapped = {
            "trilinear (export)": map_coordinates(stored, index, order=1) > 0.5,
            "nearest": map_coordinates((stored > 0.5).astype(float), index, order=0) > 0.5,
            "log-odds": map_coordinates(logit(stored.clip(LEAST, 1 - LEAST)), index, order=1) > 0,
            "B-spline": map_coordinates(stored, index, order=3) > 0.5,
        }
        on_grid = np.count_nonzero(stored > 0.5) * GRID_MM**3
        for way, mask in mapped.items():
            volume = np.count_nonzero(mask) * np.prod(SCAN_MM)
            dice = 2 * np.count_nonzero(mask & truth) / (np.count_nonzero(mask) + np.count_nonzero(truth))
            found[way].append((volume / on_grid - 1, dice))
    return {
        way: (float(np.mean([v for v, _ in each])), float(np.mean([d for _, d in each]))) for way, each in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=12, help="positions of each ellipsoid")
    arguments = parser.parse_args()
    if arguments.draws < 1:
        parser.error("expected at least one draw")
    rng = np.random.default_rng(1)
    for name, semi_axes_mm in ELLIPSOIDS.items():
        semi_axes = np.array(semi_axes_mm)
        volume_cm3 = 4 / 3 * np.pi * semi_axes.prod() / 1000
        for edge in EDGES:
            draws = arguments.draws if volume_cm3 < 100 else max(1, arguments.draws // 4)
            ways = measure(semi_axes, edge, draws, rng)
            cells = " | ".join(f"{way} {change:+.1%} {dice:.3f}" for way, (change, dice) in ways.items())
            print(f"{name.strip():12s} {volume_cm3:6.1f} cm3, {edge:9s} | {cells}", flush=True)


if __name__ == "__main__":
    main()
