"""One settings object changed by a file's sections and by `--set` words."""

from dataclasses import replace
from typing import Any

from echocycle.errors import EchocycleError
from echocycle.settings.convert import from_dict, to_dict
from echocycle.settings.presets import Preset


def change(chosen: Preset, sections: dict[str, Any], assignments: tuple[str, ...]) -> Preset:
    """A preset with a settings file's sections and `stage.setting=value` assignments laid over it.

    What is said of a stage holds for all its methods, but for `option`, which is of the one that `method` names (by
    default the preset's segmenter, and the student), and for what belongs to a network in methods that have another.
    """
    said = sections
    for assignment in assignments:
        path, found, value = assignment.partition("=")
        if not found or "." not in path:
            raise EchocycleError(f"--set takes stage.setting=value, not {assignment!r}.")
        nested: Any = value
        for key in reversed(path.split(".")):
            nested = {key.replace("-", "_"): nested}
        said = _merge(said, nested)
    for stage, values in said.items():
        common = {name: value for name, value in values.items() if name not in ("method", "option")}
        if stage == "regress":
            method = values.get("method", "student")
            methods = {name: _over(each, common) for name, each in chosen.regress.items()}
            if "option" in values:
                own = replace(methods.get(method, methods["default"]), method=method)
                methods[method] = _over(own, {"option": values["option"]})
            chosen = replace(chosen, regress=methods)
        elif stage == "segment":
            others = {
                name: _over(each, common if each.network == chosen.segment.network else _without_network(common))
                for name, each in chosen.segment_others.items()
            }
            base = chosen.segmentation(values.get("method", chosen.segment.method))
            chosen = replace(chosen, segment=_over(base, values), segment_others=others)
        elif stage in ("prepare", "mask", "evaluate"):
            chosen = replace(chosen, **{stage: _over(getattr(chosen, stage), values)})
        elif stage == "phantom":
            chosen = replace(chosen, phantom={**chosen.phantom, **values})
        else:
            raise EchocycleError(
                f"There is no stage {stage!r} to set; choose prepare, segment, mask, regress or evaluate."
            )
    return chosen


def _without_network(values: dict[str, Any]) -> dict[str, Any]:
    """Without what suits one network and not another: its weights, and how much fits into a step."""
    return {name: value for name, value in values.items() if name not in ("network", "width", "weights", "batch")}


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Nested settings laid over others."""
    both = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            both[key] = _merge(below[key], above[key])
    return both


def _over(settings: Any, values: dict[str, Any]) -> Any:
    below = to_dict(settings)
    if "method" in values and values["method"] != below.get("method"):
        below["option"] = {}  # they are those of another method
    return from_dict(type(settings), _merge(below, values))
