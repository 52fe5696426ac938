"""Shapes in signatures, which are only read by people here: `Float[Tensor, "batch"]` is `Tensor`."""

from typing import Any


class _Shaped:
    def __class_getitem__(cls, item: Any) -> Any:
        return item[0]


class Float(_Shaped):
    """A tensor of floats."""


class Int(_Shaped):
    """A tensor of whole numbers."""


class Bool(_Shaped):
    """A tensor of booleans."""
