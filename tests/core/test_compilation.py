"""Loops compiled where nothing can be kept."""

from numba.typed import Dict  # noqa: F401 - which numba else imports at the first call, compiling parts of its own

from nnunet_chordoma import compilation


def test_loops_are_compiled_without_a_place_to_keep_them(monkeypatch):
    original = compilation.numba.njit

    def nowhere(**options):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return original(**options)

    monkeypatch.setattr(compilation.numba, "njit", nowhere)
    assert compilation.compiled(lambda x: x + 1)(2) == 3
