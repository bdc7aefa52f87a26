"""Contours to masks: time and correctness beside dcmrtstruct2nii and rt-utils, where they are installed.

All tools get the same DICOM files. `drawing` is what a tool does between its own parsed contours and the mask in
memory: transforming points and filling polygons (rt-utils turns text into numbers only here, the others while reading).
`reading` is what it does before: parsing the structure set and what it needs of the CT (the others decode all pixels,
chordoma-convert reads headers). Tools take turns within each repetition, one thread each. Differing voxels are counted
against the even-odd rule applied to the points in the files with matplotlib, pixel centre by pixel centre, exclusive or
over the contours of a slice.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contour_tools import OURS, Mask, Tool, available, chordoma_convert
from contoured_phantom import Phantom, write_phantom
from threadpoolctl import threadpool_limits

GOAL = 5.0


def reference(phantom: Phantom, name: str) -> Mask:
    """Even-odd by pixel centres with matplotlib, exclusive or within a slice."""
    from matplotlib.path import Path as Polygon

    columns, rows, slices = phantom.size
    mask = np.zeros((slices, rows, columns), dtype=bool)
    for points in phantom.rois[name]:
        index = (points - phantom.origin_mm) / phantom.spacing_mm
        low = np.maximum(np.floor(index[:, :2].min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(index[:, :2].max(axis=0)).astype(int) + 1, (columns, rows))
        x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
        inside = Polygon(index[:, :2]).contains_points(np.column_stack([x.ravel(), y.ravel()])).reshape(x.shape)
        mask[round(float(index[0, 2])), low[1] : high[1], low[0] : high[0]] ^= inside
    return mask


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    gc.disable()
    begin = time.perf_counter()
    try:
        result = function()
    finally:
        gc.enable()
    return time.perf_counter() - begin, result


def measure(phantom: Phantom, tools: list[Tool], repeats: int) -> None:
    """Fill in the times of all tools, and the voxels of the first repetition that differ from the reference."""
    for repeat in range(repeats):
        for tool in tools:
            seconds, parsed = timed(lambda tool=tool: tool.read(phantom))
            tool.reading_s.append(seconds)
            for name in phantom.rois:
                seconds, drawn = timed(lambda tool=tool, parsed=parsed, name=name: tool.draw(parsed, name))
                tool.drawing_s.setdefault(name, []).append(seconds)
                if repeat == 0:
                    tool.differing[name] = int((tool.as_mask(drawn) != reference(phantom, name)).sum())
        print(f"repetition {repeat + 1} of {repeats} done", file=sys.stderr)


def report(phantom: Phantom, tools: list[Tool], repeats: int) -> bool:
    """Print the tables; whether we are fast enough and draw no worse masks than the others."""
    ours, others = tools[0], tools[1:]
    size = " x ".join(str(n) for n in phantom.size)
    print(f"\n{size} voxels, {repeats} repetitions, one thread: " + ", ".join(f"{t.name} {t.version}" for t in tools))
    print("\nDrawing one structure, ms: min / median; in brackets how many times as long as ours (by min)")
    for name, contours in phantom.rois.items():
        cells = [_cell(tool.drawing_s[name], ours.drawing_s[name], tool is ours) for tool in tools]
        print(_line(name, f"{len(contours)} contours, {sum(map(len, contours))} points", cells))
    drawing = {tool.name: [sum(runs) for runs in zip(*tool.drawing_s.values(), strict=True)] for tool in tools}
    reading = {tool.name: tool.reading_s for tool in tools}
    whole = {name: [a + b for a, b in zip(reading[name], drawing[name], strict=True)] for name in drawing}
    for title, times in (("all: drawing", drawing), ("all: reading", reading), ("files to masks", whole)):
        print(_line(title, "", [_cell(times[tool.name], times[OURS], tool is ours) for tool in tools]))
    print("\nVoxels that differ from the even-odd rule")
    for name in phantom.rois:
        voxels = int(reference(phantom, name).sum())
        print(_line(name, f"{voxels} voxels", [str(tool.differing[name]) for tool in tools]))
    wrong = {tool.name: sum(tool.differing.values()) for tool in tools}
    print(_line("all", "", [str(wrong[tool.name]) for tool in tools]))
    print()
    for tool in others:
        slowest = min(min(tool.drawing_s[name]) / min(ours.drawing_s[name]) for name in phantom.rois)
        print(
            f"{OURS} draws {min(drawing[tool.name]) / min(drawing[OURS]):.1f} times as fast as {tool.name} "
            f"(at least {slowest:.1f} times for each structure; goal {GOAL:g}), "
            f"{min(whole[tool.name]) / min(whole[OURS]):.1f} times from files to masks; "
            f"differing voxels {wrong[OURS]} against {wrong[tool.name]}"
        )
    return wrong[OURS] == 0 and all(
        min(tool.drawing_s[name]) >= GOAL * min(ours.drawing_s[name]) for tool in others for name in phantom.rois
    )


def _cell(seconds: list[float], ours: list[float], is_ours: bool) -> str:
    text = f"{1e3 * min(seconds):.1f} / {1e3 * statistics.median(seconds):.1f}"
    return text if is_ours else f"{text} [{min(seconds) / min(ours):.1f}]"


def _line(title: str, what: str, cells: list[str]) -> str:
    return f"{title:<24}{what:<30}" + "".join(f"{cell:>28}" for cell in cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="512,512,150", metavar="X,Y,Z", help="voxels (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="repetitions (default: %(default)s)")
    parser.add_argument("--alone", action="store_true", help="only check and time our masks, beside no other tool")
    arguments = parser.parse_args()
    try:
        x, y, z = (int(part) for part in arguments.size.split(","))
    except ValueError:
        parser.error(f"--size {arguments.size}: expected X,Y,Z in voxels, for example 512,512,150")
    if min(x, y) < 16 or z < 8 or arguments.repeats < 1:
        parser.error("expected at least 16 x 16 x 8 voxels and one repetition")
    if x != y:
        parser.error(f"--size {arguments.size}: expected X = Y, rt-utils swaps rows and columns of others")
    tools = [chordoma_convert()] if arguments.alone else available()
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        phantom = write_phantom(Path(folder), (x, y, z))
        measure(phantom, tools, arguments.repeats)
        met = report(phantom, tools, arguments.repeats)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
