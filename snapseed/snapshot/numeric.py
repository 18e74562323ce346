"""Arrow decimals as PostgreSQL's binary `numeric`: a header of four int16, then digits in base 10,000.

Source: `numeric_send` and `NumericVar` in PostgreSQL's `src/backend/utils/adt/numeric.c`. Exact for all 38 digits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_BASE = 10_000
_BASE_DIGITS = 4
_NEGATIVE = 0x4000
_LOW_32 = np.uint64(0xFFFFFFFF)


def encode_numeric(column: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The bytes of all values, and the number of bytes of each row (0 where null)."""
    scale: int = column.type.scale
    groups_below = -(-scale // _BASE_DIGITS)  # base-10,000 digits after the decimal point
    padding = int(10 ** (groups_below * _BASE_DIGITS - scale))
    limbs, negative = _magnitude_limbs(column)
    limbs = _multiplied(limbs, padding)
    groups = -(-(column.type.precision + _BASE_DIGITS) // _BASE_DIGITS) + 1
    digits = np.empty((len(column), groups), dtype=np.uint16)  # most significant first
    for group in range(groups - 1, -1, -1):
        limbs, digits[:, group] = _divided(limbs, _BASE)

    used = digits != 0
    any_used = used.any(axis=1)
    first = np.where(any_used, used.argmax(axis=1), 0)
    last = np.where(any_used, groups - 1 - used[:, ::-1].argmax(axis=1), -1)
    count = last - first + 1

    rows = np.zeros((len(column), 4 + groups), dtype=">u2")
    rows[:, 0] = count
    rows[:, 1] = np.where(any_used, groups - groups_below - 1 - first, 0).astype(np.int16).view(np.uint16)
    rows[:, 2] = np.where(negative & any_used, _NEGATIVE, 0)
    rows[:, 3] = scale
    rows[:, 4:] = digits
    position = np.arange(groups)
    kept = np.ones(rows.shape, dtype=bool)
    kept[:, 4:] = (position >= first[:, None]) & (position <= last[:, None])
    if column.null_count:
        kept &= column.is_valid().to_numpy(zero_copy_only=False)[:, None]
    return rows[kept].view(np.uint8), kept.sum(axis=1) * 2


def _magnitude_limbs(column: pa.Array) -> tuple[list[npt.NDArray[np.uint64]], npt.NDArray[np.bool_]]:
    """Absolute values as 32-bit limbs, least significant first, with room for a factor of 1,000; and their signs."""
    words = np.frombuffer(column.buffers()[1], dtype="<u8", count=2 * len(column), offset=16 * column.offset)
    low, high = words[0::2], words[1::2]
    negative = high.view(np.int64) < 0
    # Two's complement negation across the two words: invert both, add one, carry into the high word.
    low = np.where(negative, ~low + np.uint64(1), low)
    high = np.where(negative, ~high + (low == 0), high)
    limbs = [low & _LOW_32, low >> np.uint64(32), high & _LOW_32, high >> np.uint64(32), np.zeros_like(low)]
    return limbs, negative


def _multiplied(limbs: list[npt.NDArray[np.uint64]], factor: int) -> list[npt.NDArray[np.uint64]]:
    carry = np.zeros_like(limbs[0])
    result = []
    for limb in limbs:
        product = limb * np.uint64(factor) + carry
        result.append(product & _LOW_32)
        carry = product >> np.uint64(32)
    return result


def _divided(
    limbs: list[npt.NDArray[np.uint64]], divisor: int
) -> tuple[list[npt.NDArray[np.uint64]], npt.NDArray[np.uint64]]:
    """The quotient's limbs and the remainder of a long division, for all rows at once."""
    remainder = np.zeros_like(limbs[0])
    quotient = []
    for limb in reversed(limbs):
        part = (remainder << np.uint64(32)) | limb
        quotient.append(part // np.uint64(divisor))
        remainder = part % np.uint64(divisor)
    return quotient[::-1], remainder
