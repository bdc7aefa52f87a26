"""Loops compiled where nothing can be kept."""

from types import SimpleNamespace

import numba

from nnunet_chordoma import compilation


def test_loops_are_compiled_without_a_place_to_keep_them(monkeypatch):
    def nowhere(**options):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**options)

    # For this module alone: numba compiles parts of its own when it first needs them.
    monkeypatch.setattr(compilation, "numba", SimpleNamespace(njit=nowhere))
    assert compilation.compiled(lambda x: x + 1)(2) == 3
