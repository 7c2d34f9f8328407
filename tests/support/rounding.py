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
        dtype: of the computation.
        length: number of terms of the longest sum.
        depth: number of sums in a row, each over results of the previous one; twice the number for gradients.
        steepness: factor by which functions applied to the sums enlarge a relative error.
    """
    return steepness * float(ml_dtypes.finfo(dtype).eps) / 2 * math.sqrt(length * depth)


def distance(found, expected, size: float | None = None) -> tuple[float, float]:
    """Return the relative error of a tensor: of its norm, and of the element that differs most.

    Args:
        found: any shape.
        expected: the same shape.
        size: root mean square that errors are relative to; `None` for that of `expected`.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape and found.size
    size = np.sqrt(np.mean(expected**2)) if size is None else size
    difference = np.abs(found - expected)
    return np.sqrt(np.mean(difference**2)) / size, difference.max() / size


def assert_near(found, expected, dtype, *, size: float | None = None, **rounded) -> None:
    """Check that a tensor differs from the expected one by no more than rounding explains.

    Args:
        found: computed at least partly in `dtype`.
        expected: computed in a wider dtype, or in the same one in another way.
        dtype: as for `relative_error`.
        size: as for `distance`, for values that are 0 apart from rounding.
        rounded: the other arguments of `relative_error`.
    """
    allowed = relative_error(dtype, **rounded)
    of_norm, of_element = distance(found, expected, size)
    assert of_norm <= allowed, f"the norm has an error of {of_norm:.3g}; rounding to {dtype} explains {allowed:.3g}"
    assert of_element <= 6 * allowed, f"an element has an error of {of_element:.3g}; expected at most {6 * allowed:.3g}"
