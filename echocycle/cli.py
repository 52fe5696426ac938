"""The command `echocycle`: the stages of `stages.py` and what calls several of them, wired to the shell.

A command is the Python function itself: its signature gives the options, its docstring the help. One meta command
holds what belongs to all of them: `--preset`, `--config`, `--set` and `--threads`.

A setting comes from, first to last: the command line, `--set`, the environment (ECHOCYCLE_SEGMENT_LABELS_LABELLED), a
file (--config FILE, with a section for each command), the preset (--preset), its default. Exit code 0: done; 1: done,
and something was found; 2: wrong usage or input; 3: the system refused (no space, no permission, no memory).
"""

import difflib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Argument, ArgumentCollection, CycloptsError, Group, Parameter
from cyclopts.config import Dict as DictConfig
from cyclopts.config import Env

from echocycle import __version__, demo, info, pipeline, stages
from echocycle.benchmarks import run as benchmarks
from echocycle.console import console, escape_what_cannot_be_shown, quiet_libraries
from echocycle.errors import EchocycleError, is_refusal, refusal
from echocycle.experiments import run as experiments
from echocycle.files import printable
from echocycle.given import require_folder
from echocycle.settings.override import STAGES, change, read_config, sections_of
from echocycle.settings.presets import Preset, for_own_folder, preset
from echocycle.threads import use_threads

VARIABLES = ("ECHOCYCLE_CAMUS",)
"""Environment variables that set nothing of a command: the real data of some tests."""

HELP = """Left-ventricular ejection fraction from echocardiogram video when few videos are labelled.

Research software, not a medical device."""

Words = Parameter(show=False, allow_leading_hyphen=True)
"""What the meta command passes on to the command."""


def command_line() -> App:
    """The application: every command, in the order of the flow, and the meta command around them."""
    app = App(
        name="echocycle",
        help=HELP,
        version=__version__,
        version_flags=["--version"],
        help_format="markdown",
        result_action="return_value",
        suppress_keyboard_interrupt=False,  # `main` says what it means
        default_parameter=Parameter(show_env_var=False),
    )
    commands: tuple[Callable[..., Any], ...] = (
        stages.phantom,
        stages.check,
        stages.prepare,
        stages.segment,
        stages.mask,
        stages.regress,
        stages.evaluate,
        stages.report,
        stages.predict,
        stages.adopt,
        stages.deidentify,
        benchmarks.bench,
        info.info,
        pipeline.train,
        demo.demo,
        experiments.experiment,
    )
    for place, command in enumerate(commands):
        app.command(command, sort_key=place)
    app.meta.suppress_keyboard_interrupt = False
    app.meta.group_parameters = Group("For all commands", sort_key=1)

    @app.meta.default
    def with_settings(
        *words: Annotated[str, Words],
        preset: str | None = None,
        config: Path | None = None,
        set_: Annotated[tuple[str, ...], Parameter(name="--set", negative="", show_default=False)] = (),
        threads: int | None = None,
    ) -> Any:
        """Run a command with settings from a preset, a file and assignments.

        Args:
            preset: Settings of all stages that belong together: `paper`, `phantom`, `tiny`, or
                `debug`, which takes seconds and whose numbers mean nothing.
            config: A settings file (YAML, JSON or TOML) with a section for each stage, such as `segment: {batch: 10,
                loop: {steps: 200}}`.
            set_: A stage's setting, such as `--set segment.loop.steps=200`; again for each further one.
            threads: Threads that compute, by default one per core; fewer leave room for others, results stay the same
                but for rounding.
        """
        if threads is not None:
            use_threads(threads)
        asked = Asked(preset, config, set_)
        app.config = asked.layers([name for name in app if not name.startswith("-")])
        function, bound, _ = app.parse_args(words, exit_on_error=False, print_error=True)
        given: dict[str, Any] = {}
        if function is pipeline.train:
            given["chosen"] = asked.chosen_for_train(bound.arguments["path"])
        elif function is experiments.experiment:
            given["chosen"] = asked.chosen_for_experiment(quiet=not bound.arguments.get("name"))
        return function(*bound.args, **bound.kwargs, **given)

    return app


# ----------------------------------------------------------------------------- where settings come from

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


# ------------------------------------------------------------------------------------------------ running


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives its exit code."""
    quiet_libraries()
    escape_what_cannot_be_shown()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        command_line().meta(words, exit_on_error=False, print_error=True)
    except EchocycleError as error:
        return _tell(error)
    except CycloptsError:
        return 2
    except KeyboardInterrupt:
        console.print("Interrupted; the same command resumes.")
        return 130
    except BrokenPipeError:
        return 141
    except Exception as error:
        if not is_refusal(error):
            raise
        return _tell(refusal(error, _output_of(words)))
    return 0


def _tell(error: EchocycleError) -> int:
    console.print("echocycle: ", style="bold red", end="")
    console.print(printable(str(error)), soft_wrap=True, highlight=False)
    return error.exit_code


OUTPUT = {"prepare": "store", "mask": "store", "segment": "run", "regress": "run", "evaluate": "run"}
"""What a command writes into, where it is not called `out`."""


def _output_of(words: list[str]) -> Path | None:
    """Where a command writes: what a full disk is told of, whose error names no file."""
    app = command_line()
    try:
        _, outer, _ = app.meta.parse_args(words, exit_on_error=False, print_error=False)
        inner = outer.arguments.get("words", ())
        _, bound, _ = app.parse_args(inner, exit_on_error=False, print_error=False)
    except Exception:
        return None
    bound.apply_defaults()
    place = bound.arguments.get(OUTPUT.get(inner[0], "out"))
    return Path(place) if place is not None else None


if __name__ == "__main__":
    sys.exit(main())
