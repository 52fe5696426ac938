"""Settings to plain values and back, with unknown names refused; and which of them make a result another one."""

import difflib
import json
import types
import typing
from dataclasses import asdict, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from echocycle.errors import EchocycleError

T = TypeVar("T")

LATER = {"later": True}
"""Metadata of a field that came after runs had been made. At its default `to_dict` leaves it out, so that the settings
of those runs, and the names that experiments make from settings, stay what they were."""


def require(condition: bool, message: str) -> None:
    """Refuse a setting, saying which and what it may be."""
    if not condition:
        raise EchocycleError(message)


# ------------------------------------------------------------------------------- what makes a result another

OPERATIONAL = {"operational": True}
"""Metadata of a field that says how to compute and changes no result: a device, a number of workers."""


def identity(settings: Any) -> dict[str, Any]:
    """The settings that make a result another one, all but those that are `OPERATIONAL`, as JSON gives them back."""
    found: dict[str, Any] = json.loads(json.dumps(identity_of(type(settings), to_dict(settings))))
    return found


def identity_of(cls: Any, values: Any) -> Any:
    """The same of settings of class `cls` that were saved, whatever else their file holds."""
    if not isinstance(values, dict):
        return values
    kinds = get_type_hints(cls)
    without = {f.name for f in fields(cls) if f.metadata.get("operational")}
    return {
        name: identity_of(kinds[name], value) if is_dataclass(kinds.get(name)) else value
        for name, value in values.items()
        if name not in without
    }


# ------------------------------------------------------------------------------------ saving and reading


def to_dict(settings: Any, *, whole: bool = False) -> dict[str, Any]:
    """Settings as plain JSON values.

    Args:
        whole: also with the fields of `LATER` that have their default.
    """
    values = asdict(settings)
    return values if whole else _as_before(settings, values)


def _as_before(settings: Any, values: dict[str, Any]) -> dict[str, Any]:
    """`values` of `settings` without the fields of `LATER` that have their default."""
    for each in fields(settings):
        value = getattr(settings, each.name)
        if each.metadata.get("later") and value == each.default:
            del values[each.name]
        elif is_dataclass(value):
            _as_before(value, values[each.name])
    return values


def from_dict(cls: type[T], values: dict[str, Any], where: str = "") -> T:
    """Settings of class `cls` from plain values (JSON, or strings of the command line).

    Raises `EchocycleError` for an unknown key (with the nearest known one) and for a value of the wrong type.
    """
    hints = get_type_hints(cls)
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" It takes: {', '.join(sorted(known)) or 'none'}."
            raise EchocycleError(f"There is no setting {where}{key!r} in {cls.__name__}.{hint}")
    return cls(**{key: _convert(hints[key], value, f"{where}{key}") for key, value in values.items()})


def _convert(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind`: a scalar, Literal, optional, tuple, dictionary or nested settings."""
    origin = get_origin(kind)
    if is_dataclass(kind):
        require(isinstance(value, dict), f"{where} takes named settings, not {value!r}.")
        return from_dict(kind, value, f"{where}.")  # type: ignore[arg-type]
    if origin is Literal:
        for choice in get_args(kind):
            if str(value) == str(choice):
                return choice
        raise EchocycleError(f"{where} is {value!r}; choose one of {', '.join(map(str, get_args(kind)))}.")
    if origin in (typing.Union, types.UnionType):
        inner = [k for k in get_args(kind) if k is not type(None)]
        return None if value is None or str(value).lower() == "none" else _convert(inner[0], value, where)
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else list(value)
        return tuple(_convert(get_args(kind)[0], item, where) for item in items)
    if origin is dict:
        return {str(k): v if isinstance(v, str) else str(v) for k, v in value.items()}
    try:
        if kind is bool and isinstance(value, str):
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
        if kind is int and isinstance(value, float) and not value.is_integer():
            raise ValueError
        return kind(value)
    except (TypeError, ValueError, KeyError):
        raise EchocycleError(f"{where} is {value!r}; it takes {kind.__name__}.") from None
