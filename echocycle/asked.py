"""Where a command's settings come from: `--preset`, `--config`, `--set` and the environment, as layers of cyclopts."""

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclopts import App, Argument, ArgumentCollection
from cyclopts.config import Dict as DictConfig
from cyclopts.config import Env

from echocycle.console import console
from echocycle.errors import EchocycleError
from echocycle.given import require_folder
from echocycle.settings.override import STAGES, change, read_config, sections_of
from echocycle.settings.presets import Preset, for_own_folder, preset

VARIABLES = ("ECHOCYCLE_CAMUS",)
"""Environment variables that set nothing of a command: the real data of some tests."""

Layer = Callable[[App, tuple[str, ...], ArgumentCollection], None]
"""A place that settings come from, as cyclopts takes it: it fills the arguments that are still empty."""


class Asked:
    """What `--preset`, `--config` and `--set` gave."""

    def __init__(self, name: str | None, file: Path | None, assignments: tuple[str, ...]) -> None:
        self._preset = preset(name) if name is not None else None
        self._file, self._assignments = file, assignments
        self._sections = read_config(file) if file is not None else {}
        sections_of(assignments)  # what is misspelt is said first

    def chosen_for_experiment(self, *, quiet: bool) -> Preset:
        """The settings of all stages; `tiny` on every machine, which no table of the paper is made with by chance."""
        if self._preset is None and not quiet:
            console.print("Preset tiny; --preset paper is the paper's own.", soft_wrap=True)
        return change(self._preset or preset("tiny"), self._sections, self._assignments)

    def chosen_for_train(self, folder: Path) -> Preset:
        """The settings of all stages with every label of the folder taken, unless something else is said."""
        if self._preset is None:
            require_folder(folder)  # before PyTorch is imported, which alone knows whether there is a GPU
            from echocycle.device import usual_preset

            usual = preset(usual_preset())
            why = "there is a GPU" if usual.name == "paper" else "there is no GPU"
            console.print(f"Preset {usual.name}, since {why}; --preset names another.", soft_wrap=True)
        else:
            usual = self._preset
        return change(for_own_folder(usual), self._sections, self._assignments)

    def layers(self, commands: list[str]) -> tuple[Layer, ...]:
        """Where a command's settings come from below the command line, first to last."""
        layers: list[Layer] = [_Assigned(self._assignments), Env("ECHOCYCLE_")]
        if self._file is not None:
            layers.append(DictConfig(_with_check(self._sections), source=str(self._file)))
        if self._preset is not None:
            layers.append(_FromPreset(self._preset))
        asked = [name for name, value in (("--preset", self._preset), ("--config", self._file)) if value is not None]
        return (_Unread(commands, asked), *map(_AddingOptions, layers))


@dataclass(frozen=True)
class _Assigned:
    """Assignments of `--set` for a command that is a stage."""

    assignments: tuple[str, ...]

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        sections = _with_check(sections_of(self.assignments))
        if commands and commands[0] not in ("train", "experiment"):
            for stage in sections:
                if stage not in (commands[0], "prepare" if commands[0] == "check" else "", "check"):
                    raise EchocycleError(f"`{commands[0]}` does not read --set {stage}...; leave it out.")
        DictConfig(sections, source="--set")(app, commands, arguments)


@dataclass(frozen=True)
class _FromPreset:
    """What a preset says of a command, and of the method that the layers above have named."""

    chosen: Preset

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        method = _argument(arguments, "--method")
        named = method.tokens[-1].value if method is not None and method.tokens else None
        sections = _with_check(self.chosen.sections(named))
        DictConfig(sections, source=f"preset {self.chosen.name}")(app, commands, arguments)


@dataclass(frozen=True)
class _AddingOptions:
    """A layer whose `option.NAME` add to those of the layers above; of other dictionaries, cyclopts takes the first
    that says anything."""

    layer: Layer

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        option = _argument(arguments, "--option")
        above = option.tokens if option is not None else []
        if option is not None:
            option.tokens = []
        self.layer(app, commands, arguments)
        if option is not None:
            said = {_spelt(token.keys) for token in above}
            option.tokens = [*above, *(token for token in option.tokens if _spelt(token.keys) not in said)]


@dataclass(frozen=True)
class _Unread:
    """Refuse variables ECHOCYCLE_... that no command reads: they are misspelt, and would be passed over in silence.
    Say which settings a command does not read."""

    known: list[str]
    asked: list[str]

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        (command,) = commands or ("",)
        if command not in (*STAGES, "check", "train", "experiment", ""):
            for option in self.asked:
                console.print(f"`{command}` has no settings of stages; {option} changes nothing.")
        prefixes = {f"ECHOCYCLE_{name.upper()}_": name for name in self.known}
        for variable in sorted(name for name in os.environ if name.startswith("ECHOCYCLE_") and name not in VARIABLES):
            prefix = next((each for each in prefixes if variable.startswith(each)), None)
            if prefix is None:
                raise EchocycleError(
                    f"No command reads the environment variable {variable}. They are called ECHOCYCLE_COMMAND_SETTING, "
                    f"such as ECHOCYCLE_SEGMENT_BATCH, and begin with {', '.join(prefixes)}."
                )
            if command in ("train", "experiment") and prefixes[prefix] in STAGES:
                setting = variable.removeprefix(prefix).lower()
                told = f"`{command}` does not read {variable}; use --set {prefixes[prefix]}.{setting}=VALUE."
                console.print(told, soft_wrap=True)
            if prefixes[prefix] == command and not variable.startswith(f"{prefix}OPTION_"):
                _refuse_unknown(variable, prefix, command, arguments)


def _refuse_unknown(variable: str, prefix: str, command: str, arguments: ArgumentCollection) -> None:
    """Refuse a variable that is no setting of the command, naming the nearest that is."""
    names = [name.lstrip("-").replace(".", "_").replace("-", "_").upper() for each in arguments for name in each.names]
    if variable.removeprefix(prefix) not in names:
        near = difflib.get_close_matches(variable.removeprefix(prefix), names, n=1)
        hint = f" Did you mean {prefix}{near[0]}?" if near else ""
        raise EchocycleError(f"`{command}` has no setting for the environment variable {variable}.{hint}")


def _argument(arguments: ArgumentCollection, name: str) -> Argument | None:
    return next((each for each in arguments if name in each.names), None)


def _spelt(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key.replace("-", "_") for key in keys)


def _with_check(sections: dict[str, Any]) -> dict[str, Any]:
    """Sections of stages, with that of `prepare` for `check` too, which reads the same folder."""
    return {**sections, "check": sections["prepare"]} if "prepare" in sections else sections
