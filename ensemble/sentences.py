"""Sentences of results on stdout: wrapped between words for a person, one a line for a file."""

from __future__ import annotations

from collections.abc import Iterable


def print_sentences(sentences: Iterable[str]) -> None:
    from rich.console import Console

    out = Console(highlight=False)
    for sentence in sentences:
        out.print(sentence, soft_wrap=not out.is_terminal, markup=False)
