"""How far values may be from exact ones because they were computed in a narrower dtype, on whatever machine.

Machines multiply matrices in different ways: in another order, with partial sums kept in float32 or rounded to the
narrow dtype every few terms, with a product and a sum rounded together or one after the other. A tolerance that was
measured on one machine holds for that machine. What holds everywhere follows from the dtype and the sizes:

- Rounding to a dtype changes a value by at most the share u = eps / 2 (2**-8 for bfloat16, 2**-11 for float16).
- In a sum of n products every partial sum may be rounded: n roundings, each by at most u of the sum. They go up as
  often as down, so that their squares add up, and the sum is off by up to u * sqrt(n) of its size. (By u * n if all
  roundings went the same way, which does not happen.)
- What comes out of `depth` such sums, each made of the results of the one before, is off by up to
  u * sqrt(n * depth). Softmax and normalization between them make errors somewhat larger or smaller; a rounding is off
  by u / sqrt(3) in the root mean square and not by u, which leaves them a factor of 1.7.

That is about the elements of a tensor together, so they are compared together: the norm of the difference with the
norm of what is expected. A mean over many elements is near what is expected where a single one need not be. Single
elements are compared besides, so that one wrong element among thousands does not drown: of ten thousand errors that
are distributed normally, the largest is below four deviations, and six are allowed.
"""

import math

import ml_dtypes
import numpy as np


def relative_error(dtype, *, length: int, depth: int, steepness: float = 1.0) -> float:
    """Return the share of a tensor's norm by which rounding may change it.

    Args:
        dtype: that was computed in.
        length: number of terms of the longest sum.
        depth: number of sums, each of results of the one before. The gradient of a function takes as many again.
        steepness: how many times larger an error becomes by what is done with the sums, relative to the results: the
            derivative of that, where it is large.
    """
    return steepness * float(ml_dtypes.finfo(dtype).eps) / 2 * math.sqrt(length * depth)


def distance(found, expected, size: float | None = None) -> tuple[float, float]:
    """Return how far a tensor is from another: all of it by its norm, and the element that is farthest.

    Args:
        found: any shape.
        expected: the same shape.
        size: root mean square of an element that differences are compared with; `None` for that of `expected`.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape and found.size
    size = np.sqrt(np.mean(expected**2)) if size is None else size
    difference = np.abs(found - expected)
    return np.sqrt(np.mean(difference**2)) / size, difference.max() / size


def assert_near(found, expected, dtype, *, size: float | None = None, **rounded) -> None:
    """Check that a tensor differs from an exact one by no more than rounding explains.

    Args:
        found: computed in `dtype`, or with parts of it.
        expected: computed in a wider dtype, or in the same one in another way.
        dtype: as for `relative_error`.
        size: as for `distance`, for what is 0 but for rounding.
        rounded: the other arguments of `relative_error`.
    """
    allowed = relative_error(dtype, **rounded)
    together, farthest = distance(found, expected, size)
    assert together <= allowed, f"off by {together:.3g} of the norm; rounding to {dtype} explains {allowed:.3g}"
    assert farthest <= 6 * allowed, (
        f"an element is off by {farthest:.3g} of the norm's mean; expected {6 * allowed:.3g}"
    )
