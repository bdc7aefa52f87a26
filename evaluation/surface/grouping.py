"""Label values in groups that fit into the eight bits of a lattice corner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MEMBERS = 8
NO_HOLE = 0


@dataclass(frozen=True)
class Group:
    """The values `first` to `last`, at most `MEMBERS`, without `hole` (`NO_HOLE` where none is left out).

    A value's member index is its distance from `first`.
    """

    first: int
    last: int
    hole: int = NO_HOLE

    @property
    def span(self) -> int:
        return self.last - self.first + 1


def group_values(values: Iterable[int]) -> list[Group]:
    """Groups that hold every one of the values (1 to 255) and no other value."""
    groups: list[Group] = []
    for value in sorted(set(values)):
        if not 1 <= value <= 255:
            raise ValueError(f"a label of {value}, expected 1 to 255")
        if groups:
            group = groups[-1]
            hole = value - 1 if value == group.last + 2 and group.hole == NO_HOLE else group.hole
            if value - group.first < MEMBERS and (value == group.last + 1 or hole == value - 1):
                groups[-1] = Group(group.first, value, hole)
                continue
        groups.append(Group(value, value))
    return groups
