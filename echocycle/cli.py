"""The command `echocycle`: the stages of `stages.py` and what calls several of them, wired to the shell.

A command is the Python function itself: its signature gives the options, its docstring the help. One meta command
holds what belongs to all of them: `--preset`, `--config`, `--set` and `--threads`.

A setting comes from, first to last: the command line, `--set`, the environment (ECHOCYCLE_SEGMENT_LABELS_LABELLED), a
file (--config FILE, with a section for each command), the preset (--preset), its default. Exit code 0: done; 1: done,
and something was found; 2: wrong usage or input; 3: the system refused (no space, no permission, no memory).
"""

import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Group, Parameter

from echocycle import __version__, demo, info, pipeline, stages
from echocycle.asked import Asked
from echocycle.benchmarks import run as benchmarks
from echocycle.console import console, escape_what_cannot_be_shown, quiet_libraries
from echocycle.errors import EchocycleError, is_refusal, refusal
from echocycle.experiments import run as experiments
from echocycle.files import printable
from echocycle.labelling import commands as labelling
from echocycle.threads import use_threads

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
        pipeline.check,
        stages.prepare,
        stages.segment,
        stages.mask,
        stages.regress,
        stages.evaluate,
        stages.analyse,
        stages.report,
        stages.predict,
        stages.export,
        stages.adopt,
        stages.deidentify,
        benchmarks.bench,
        info.info,
        pipeline.train,
        demo.demo,
        experiments.experiment,
        labelling.label,
        labelling.suggest,
        labelling.relink,
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
        if function is pipeline.train or (function is pipeline.check and bound.arguments.get("forecast")):
            given["chosen"] = asked.chosen_for_train(bound.arguments["path"])
        elif function is experiments.experiment:
            given["chosen"] = asked.chosen_for_experiment(quiet=not bound.arguments.get("name"))
        return function(*bound.args, **bound.kwargs, **given)

    return app


# ------------------------------------------------------------------------------------------------ running


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives its exit code."""
    quiet_libraries()
    escape_what_cannot_be_shown()
    end_as_by_hand()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        command_line().meta(words, exit_on_error=False, print_error=True)
    except EchocycleError as error:
        return _tell(error)
    except CycloptsError:
        return 2
    except KeyboardInterrupt as stopped:
        console.print("Interrupted; the same command resumes.")
        return 143 if isinstance(stopped, Terminated) else 130
    except BrokenPipeError:
        return 141
    except Exception as error:
        if not is_refusal(error):
            raise
        return _tell(refusal(error, _output_of(words)))
    return 0


class Terminated(KeyboardInterrupt):
    """Another program asked for the end (SIGTERM), as a queue does whose time is up."""


def end_as_by_hand() -> None:
    """Let SIGTERM end a command as Ctrl-C does: what is under way is put in order first."""

    def stop(*_: object) -> None:
        raise Terminated

    # a program that calls `main` may have a handler of its own; only the main thread may set one
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, stop)


def _tell(error: EchocycleError) -> int:
    console.print("echocycle: ", style="bold red", end="")
    console.print(printable(str(error)), soft_wrap=True, highlight=False)
    return error.exit_code


OUTPUT = {"prepare": "store", "mask": "store", "segment": "run", "regress": "run", "evaluate": "run", "analyse": "run"}
OUTPUT |= dict.fromkeys(("label", "suggest", "relink"), "folder")
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
