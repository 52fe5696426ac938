"""One settings object changed by a file's sections and by `--set` words."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from echocycle.errors import EchocycleError
from echocycle.settings.convert import from_dict, to_dict
from echocycle.settings.presets import Preset

STAGES = ("evaluate", "mask", "phantom", "prepare", "regress", "segment")
"""Sections of a settings file: the commands whose settings a preset holds."""


def read_config(path: Path) -> dict[str, Any]:
    """A settings file: YAML, JSON or TOML, with a section for each command.

    Raises `EchocycleError` for a file that cannot be read, and for what is no section.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise EchocycleError(f"The settings file {path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise EchocycleError(f"The settings file {path} is no text in UTF-8 ({error}). Save it as UTF-8.") from None
    try:
        if path.suffix == ".toml":
            import tomllib

            values: Any = tomllib.loads(text)
        elif path.suffix == ".json":
            import json

            values = json.loads(text)
        else:
            import yaml

            values = yaml.safe_load(text)
    except Exception as error:
        raise EchocycleError(f"The settings file {path} is not readable: {error}") from None
    if not isinstance(values, dict) or not set(values) <= set(STAGES):
        wrong = ", ".join(sorted(map(str, set(values) - set(STAGES)))) if isinstance(values, dict) else "no sections"
        raise EchocycleError(f"{path} has {wrong}; it takes the sections {', '.join(STAGES)}.")
    for name, section in values.items():
        if not isinstance(section, dict):
            raise EchocycleError(f"{path}: the section {name} is {section!r}; it takes named settings.")
    return values


def sections_of(assignments: tuple[str, ...]) -> dict[str, Any]:
    """`stage.setting=value` assignments as the sections of a settings file; of two for one setting the later counts.

    Raises `EchocycleError` for what is no assignment, and for an unknown stage.
    """
    sections: dict[str, Any] = {}
    for assignment in assignments:
        path, found, value = assignment.partition("=")
        if not found or "." not in path:
            raise EchocycleError(f"--set takes stage.setting=value, not {assignment!r}.")
        nested: Any = value
        for key in reversed(path.split(".")):
            nested = {key.replace("-", "_"): nested}
        sections = _merge(sections, nested)
    for stage in sections:
        if stage not in STAGES:
            raise EchocycleError(f"There is no stage {stage!r} to set; choose one of {', '.join(STAGES)}.")
    return sections


def change(chosen: Preset, sections: dict[str, Any], assignments: tuple[str, ...]) -> Preset:
    """A preset with a settings file's sections and `stage.setting=value` assignments laid over it.

    What is said of a stage holds for all its methods, but for `option`, which is of the one that `method` names (by
    default the preset's segmenter, and the student), and for what belongs to a network in methods that have another.
    """
    said = _merge(sections, sections_of(assignments))
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
        else:
            assert stage == "phantom"
            chosen = replace(chosen, phantom={**chosen.phantom, **values})
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
