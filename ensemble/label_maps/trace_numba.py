"""`kernels.Kernels.trace`, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.compilation import compiled

TILE = 4096
"""Voxels handled at a time: what is found out about them stays in the processor's cache."""


@compiled
def trace(
    base: NDArray[np.float64],
    slope: NDArray[np.float64],
    codes: NDArray[np.int32],
    first: int,
    low: float,
    high: float,
    tolerance: float,
    size: int,
) -> tuple[NDArray[np.int64], tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]]:
    rivals, voxels = codes.shape
    found = np.zeros(size, dtype=np.int64)
    position = np.empty(voxels * (rivals - 1))
    leave = np.empty(position.size, dtype=np.int32)
    enter = np.empty(position.size, dtype=np.int32)
    if rivals == 2:
        events = _of_two(base, slope, codes, low, high, tolerance, found, position, leave, enter)
    else:
        events = _of_many(base, slope, codes, low, high, tolerance, found, position, leave, enter)
    offset = np.int32(first)
    return found, (position[:events].copy(), leave[:events] + offset, enter[:events] + offset)


@compiled
def _of_two(
    base: NDArray[np.float64],
    slope: NDArray[np.float64],
    codes: NDArray[np.int32],
    low: float,
    high: float,
    tolerance: float,
    found: NDArray[np.int64],
    position: NDArray[np.float64],
    leave: NDArray[np.int32],
    enter: NDArray[np.int32],
) -> int:
    """Voxels with two contenders, nearly all: they change once at most."""
    events = 0
    wins = np.empty(TILE, dtype=np.uint8)
    for begin in range(0, codes.shape[1], TILE):
        width = min(TILE, codes.shape[1] - begin)
        b0, b1 = base[0, begin : begin + width], base[1, begin : begin + width]
        s0, s1 = slope[0, begin : begin + width], slope[1, begin : begin + width]
        c0, c1 = codes[0, begin : begin + width], codes[1, begin : begin + width]
        for v in range(width):  # without branches, so that several voxels are handled at once
            at_low = b0[v] + low * s0[v] >= b1[v] + low * s1[v] - tolerance
            at_high = b0[v] + high * s0[v] >= b1[v] + high * s1[v] - tolerance
            wins[v] = np.uint8(at_low) + np.uint8(2) * np.uint8(at_high)
        for v in range(width):
            if wins[v] == 3:
                found[c0[v]] += 1
                continue
            if wins[v] == 0:
                found[c1[v]] += 1
                continue
            is_first = wins[v] == 1
            if is_first and b1[v] + low * s1[v] >= b0[v] + low * s0[v] - tolerance:
                is_first = s0[v] >= s1[v] - tolerance  # level at the beginning: the one that rises faster
            elif not is_first and b0[v] + low * s0[v] >= b1[v] + low * s1[v] - tolerance:
                is_first = s0[v] >= s1[v] - tolerance
            old, new = (c0[v], c1[v]) if is_first else (c1[v], c0[v])
            rise = s1[v] - s0[v] if is_first else s0[v] - s1[v]
            lead = b0[v] - b1[v] if is_first else b1[v] - b0[v]
            found[old] += 1
            if rise > tolerance:
                t = max(lead / rise, low)
                if t < high:
                    position[events], leave[events], enter[events] = t, old, new
                    events += 1
    return events


@compiled
def _of_many(
    base: NDArray[np.float64],
    slope: NDArray[np.float64],
    codes: NDArray[np.int32],
    low: float,
    high: float,
    tolerance: float,
    found: NDArray[np.int64],
    position: NDArray[np.float64],
    leave: NDArray[np.int32],
    enter: NDArray[np.int32],
) -> int:
    """Voxels with any number of contenders."""
    rivals, voxels = codes.shape
    events = 0
    for v in range(voxels):
        label = _winner(base, slope, v, low, tolerance)
        if label == _winner(base, slope, v, high, tolerance):
            found[codes[label, v]] += 1
            continue
        label = _steepest_winner(base, slope, v, low, tolerance)
        found[codes[label, v]] += 1
        t = low
        while True:
            nearest = np.inf
            for j in range(rivals):
                rise = slope[j, v] - slope[label, v]
                if rise > tolerance:
                    nearest = min(nearest, (base[label, v] - base[j, v]) / rise)
            t = max(nearest, t)
            if not t < high:
                break
            successor = _successor(base, slope, v, label, t, tolerance)
            position[events], leave[events], enter[events] = t, codes[label, v], codes[successor, v]
            events += 1
            label = successor
    return events


@compiled
def _winner(base: NDArray[np.float64], slope: NDArray[np.float64], v: int, t: float, tolerance: float) -> int:
    """First of the highest contenders at t."""
    least = _highest(base, slope, v, t) - tolerance
    j = 0
    while base[j, v] + t * slope[j, v] < least:
        j += 1
    return j


@compiled
def _steepest_winner(base: NDArray[np.float64], slope: NDArray[np.float64], v: int, t: float, tolerance: float) -> int:
    """Of the highest contenders at t the one that rises fastest, the first of equals."""
    least = _highest(base, slope, v, t) - tolerance
    steepest = -np.inf
    for j in range(len(base)):
        if base[j, v] + t * slope[j, v] >= least:
            steepest = max(steepest, slope[j, v])
    j = 0
    while base[j, v] + t * slope[j, v] < least or slope[j, v] < steepest - tolerance:
        j += 1
    return j


@compiled
def _highest(base: NDArray[np.float64], slope: NDArray[np.float64], v: int, t: float) -> float:
    highest = -np.inf
    for j in range(len(base)):
        highest = max(highest, base[j, v] + t * slope[j, v])
    return highest


@compiled
def _successor(
    base: NDArray[np.float64], slope: NDArray[np.float64], v: int, label: int, t: float, tolerance: float
) -> int:
    """Of the contenders that reach `label` at t the one that rises fastest, the first of equals."""
    steepest = -np.inf
    for j in range(len(base)):
        if _reaches(base, slope, v, j, label, t, tolerance):
            steepest = max(steepest, slope[j, v])
    j = 0
    while slope[j, v] < steepest - tolerance or not _reaches(base, slope, v, j, label, t, tolerance):
        j += 1
    return j


@compiled
def _reaches(
    base: NDArray[np.float64], slope: NDArray[np.float64], v: int, j: int, label: int, t: float, tolerance: float
) -> bool:
    rise = slope[j, v] - slope[label, v]
    if rise <= tolerance:
        return False
    # Rounding may leave the crossing line just below: it has been reached all the same.
    height = base[label, v] + t * slope[label, v]
    return bool(base[j, v] + t * slope[j, v] >= height - tolerance or (base[label, v] - base[j, v]) / rise <= t)
