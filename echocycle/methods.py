"""Every method by its stage and name, and the settings that are its own."""

from typing import Any

from echocycle.errors import EchocycleError
from echocycle.settings.convert import from_dict
from echocycle.settings.stages import RegressSettings, SegmentSettings


def options_of(settings: SegmentSettings | RegressSettings) -> Any:
    """The method's own settings, checked."""
    from echocycle import regression, segmentation  # they import torch, which `--help` need not wait for

    methods: Any = segmentation.METHODS if isinstance(settings, SegmentSettings) else regression.METHODS
    if settings.method not in methods:
        raise EchocycleError(f"There is no method {settings.method!r}; choose one of {', '.join(methods)}.")
    values = {key.replace("-", "_"): value for key, value in settings.option.items()}
    return from_dict(methods[settings.method].Options, values, "option.")
