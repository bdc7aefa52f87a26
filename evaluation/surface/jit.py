"""What the compiled loops share: unsigned numbers, and bits counted in one instruction."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

U8, U64 = np.uint8, np.uint64
ONE, THREE, SIX, EIGHT, LAST, BYTE = U64(1), U64(3), U64(6), U64(8), U64(63), U64(255)
"""Unsigned, because numba looks whether a signed index is negative."""


@intrinsic
def trailing_zeros(typing, word):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Number of zeros below the lowest one of a uint64 other than 0."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ARG001
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@intrinsic
def leading_zeros(typing, word):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Number of zeros above the highest one of a uint64 other than 0."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ARG001
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate
