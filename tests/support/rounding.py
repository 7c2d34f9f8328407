"""Tolerances for values computed in a narrow dtype that hold on every machine.

Machines multiply matrices in different ways: in another order, with partial sums kept in float32 or rounded to the
narrow dtype every few terms, with multiply and add fused or separate. A tolerance measured on one machine holds only
there. These bounds follow from the dtype and the sizes alone:

- Rounding to a dtype has a relative error of at most u = eps / 2 (2**-8 for bfloat16, 2**-11 for float16).
- In a sum of n products every partial sum may be rounded. The n errors have random signs, so the relative error of the
  sum grows as u * sqrt(n), not as the worst case u * n.
- After `depth` such sums, each over results of the previous one, it is about u * sqrt(n * depth). Softmax and
  normalization in between change errors somewhat; the root mean square of a rounding error is u / sqrt(3), not u,
  which leaves a margin of 1.7.

These bounds are about a tensor as a whole, so its norm is compared. A wrong element among thousands would hardly change
the norm, so single elements are compared too: the largest of ten thousand normally distributed errors is below four
standard deviations, and six are allowed.
"""

import math

import ml_dtypes
import numpy as np


def relative_error(dtype, *, length: int, depth: int, steepness: float = 1.0) -> float:
    """Return the relative error of a tensor's norm that rounding explains.

    Args:
        dtype: the dtype of the computation.
        length: the number of terms of the longest sum.
        depth: the number of consecutive sums, each over results of the previous one; twice as many for gradients.
        steepness: the factor by which functions applied to the sums enlarge a relative error.
    """
    return steepness * float(ml_dtypes.finfo(dtype).eps) / 2 * math.sqrt(length * depth)


def distance(actual, expected, size: float | None = None) -> tuple[float, float]:
    """Return the relative error of a tensor: of its norm, and of the element that differs most.

    Args:
        actual: a tensor of any shape.
        expected: a tensor of the same shape.
        size: the root mean square that errors are relative to; `None` for that of `expected`.
    """
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape and actual.size
    size = np.sqrt(np.mean(expected**2)) if size is None else size
    difference = np.abs(actual - expected)
    return np.sqrt(np.mean(difference**2)) / size, difference.max() / size


def assert_near(actual, expected, dtype, *, size: float | None = None, **rounded) -> None:
    """Check that a tensor differs from the expected one by no more than rounding explains.

    Args:
        actual: the tensor computed at least partly in `dtype`.
        expected: the tensor computed in a wider dtype, or in the same dtype in another way.
        dtype: see `relative_error`.
        size: see `distance`; given for values that are 0 apart from rounding.
        rounded: the other arguments of `relative_error`.
    """
    allowed = relative_error(dtype, **rounded)
    norm_error, element_error = distance(actual, expected, size)
    assert norm_error <= allowed, (
        f"the norm has an error of {norm_error:.3g}; rounding to {dtype} explains {allowed:.3g}"
    )
    assert element_error <= 6 * allowed, (
        f"an element has an error of {element_error:.3g}; expected at most {6 * allowed:.3g}"
    )
