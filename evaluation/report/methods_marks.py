"""Marks in the methods section for what each printed form writes in its own way: citations and names of models."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

# Control characters, which no name of a model or case has.
_CITE, _CITE_END, _NAME, _NAME_END = "\x02", "\x03", "\x04", "\x05"


def cite(*keys: str) -> str:
    """A citation, with a space before it; empty without keys."""
    return f" {_CITE}{','.join(dict.fromkeys(keys))}{_CITE_END}" if keys else ""


def name(text: str) -> str:
    """A name that is quoted as code where there is code."""
    return f"{_NAME}{text}{_NAME_END}"


def names(texts: Sequence[str]) -> str:
    return listed([name(text) for text in texts])


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else "none"


def numbered(texts: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Texts with numbers in brackets for citations, numbered as first cited, and the keys in that order."""
    order: list[str] = []

    def number(match: re.Match[str]) -> str:
        keys = match.group(1).split(",")
        order.extend(key for key in keys if key not in order)
        return f"[{', '.join(str(n) for n in sorted(order.index(key) + 1 for key in keys))}]"

    done = tuple(re.sub(f"{_CITE}([^{_CITE_END}]*){_CITE_END}", number, text) for text in texts)
    return done, tuple(order)


def written(text: str, of_names: Callable[[str], str], of_others: Callable[[str], str]) -> str:
    """The text with its names and everything between them as these functions write them."""
    parts = re.split(f"{_NAME}([^{_NAME_END}]*){_NAME_END}", text)
    return "".join(of_names(part) if index % 2 else of_others(part) for index, part in enumerate(parts))


def markdown(text: str) -> str:
    """Names as code, and the rest without what Markdown or its HTML would read as markup."""
    return written(text, _code, lambda other: re.sub(r"([*_<>`|\\])", r"\\\1", other))


def plain(text: str) -> str:
    return written(text, str, str)


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"
