"""The command `echocycle`: the stages of `stages.py` and the pipelines of `pipeline.py`, wired to the shell.

A setting comes from, first to last: the command line, the environment (ECHOCYCLE_SEGMENT_LABELS_LABELLED), a file
(--config FILE, with a section for each command), the preset (--preset), its default. Exit code 0: done; 1: done,
and something was found; 2: wrong usage or input.
"""

import difflib
import os
import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Dict as DictConfig
from cyclopts.config import Env

from echocycle import __version__
from echocycle.console import console, quiet_libraries
from echocycle.errors import EchocycleError
from echocycle.phantom.settings import PhantomSettings
from echocycle.settings.convert import to_dict
from echocycle.settings.override import change
from echocycle.settings.presets import Preset, for_own_folder, preset
from echocycle.settings.stages import EvaluateSettings, MaskSettings, PrepareSettings, RegressSettings, SegmentSettings

Flat = Parameter(name="*")


app = App(
    name="echocycle",
    help="Left-ventricular ejection fraction from echocardiogram video when few videos are labelled.\n\n"
    "Research software, not a medical device.\n\n"
    "The stages, `train` and `experiment` take `--preset paper|phantom|tiny` and `--config FILE` (YAML, JSON or TOML "
    "with a section for each stage, such as `segment: {batch: 10, loop: {steps: 200}}`).",
    version=__version__,
    version_flags=["--version"],
    help_format="markdown",
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # `main` says what it means
    default_parameter=Parameter(show_env_var=False),
)


_place = count()


@app.command(sort_key=next(_place))
def phantom(out: Path, *, settings: Annotated[PhantomSettings, Flat] = PhantomSettings(), workers: int = 2) -> None:
    """Write synthetic clips with known EF and masks, in EchoNet-Dynamic's own layout.

    Args:
        out: Folder to write.
        workers: Processes that draw; the result does not depend on it.
    """
    from echocycle import stages

    stages.phantom(out, settings, workers=workers)


@app.command(sort_key=next(_place))
def check(path: Path, *, decode: bool = False, settings: Annotated[PrepareSettings, Flat] = PrepareSettings()) -> None:
    """Say what is in a folder of videos and what is wrong with it; nothing is written.

    Args:
        path: Folder with FileList.csv, VolumeTracings.csv and Videos/, or a CAMUS folder.
        decode: Read every video as well; takes minutes and finds damaged ones.
    """
    from echocycle import stages

    stages.check(path, settings, decode=decode)


@app.command(sort_key=next(_place))
def prepare(path: Path, store: Path, *, settings: Annotated[PrepareSettings, Flat] = PrepareSettings()) -> None:
    """Read every video of a folder once and write the frame store.

    Args:
        path: Folder with FileList.csv, VolumeTracings.csv and Videos/, or a CAMUS folder.
        store: Folder to write; it exists only when it is whole.
    """
    from echocycle import stages

    stages.prepare(path, store, settings)


@app.command(sort_key=next(_place))
def segment(store: Path, run: Path, *, settings: Annotated[SegmentSettings, Flat] = SegmentSettings()) -> None:
    """Train a segmenter of the left ventricle.

    Args:
        store: A frame store.
        run: Folder of the run; a started run is gone on with.
    """
    from echocycle import stages

    stages.segment(store, run, settings)


@app.command(sort_key=next(_place))
def mask(store: Path, run: Path, *, settings: Annotated[MaskSettings, Flat] = MaskSettings()) -> None:
    """Let a trained segmenter mark the left ventricle in every frame; the masks go into the store.

    Args:
        store: A frame store.
        run: The segmenter's run.
    """
    from echocycle import stages

    stages.mask(store, run, settings)


@app.command(sort_key=next(_place))
def regress(
    store: Path,
    run: Path,
    *,
    masks: Path | None = None,
    teacher: list[Path] | None = None,
    settings: Annotated[RegressSettings, Flat] = RegressSettings(),
) -> None:
    """Train an ejection-fraction network.

    Args:
        store: A frame store.
        run: Folder of the run; a started run is gone on with.
        masks: The segmentation run whose masks the method sees.
        teacher: The teacher's run, for methods that have one; again for each further teacher.
    """
    from echocycle import stages

    stages.regress(store, run, settings, masks=masks, teacher=teacher)


@app.command(sort_key=next(_place))
def evaluate(
    run: Path,
    *,
    store: Path | None = None,
    external: Path | None = None,
    settings: Annotated[EvaluateSettings, Flat] = EvaluateSettings(),
) -> None:
    """Predict every video of the splits asked for; leave tables and metrics in RUN/evaluation.

    Args:
        run: A finished run.
        store: The frame store, if it has moved.
        external: Another frame store to be tried on; its results go into RUN/external-ID, ID being that store's.
    """
    from echocycle import stages

    stages.evaluate(run, settings, store=store, external=external)


@app.command(sort_key=next(_place))
def report(*runs: Path, out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("report.html")) -> None:
    """One self-contained HTML page on evaluated runs, with a Markdown twin beside it.

    Args:
        runs: Evaluated runs, in the order to show.
        out: The page to write.
    """
    from echocycle import stages
    from echocycle.console import output

    output.print(str(stages.report(*runs, out=out)))


@app.command(sort_key=next(_place))
def predict(
    *inputs: Path,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    model: Annotated[Path, Parameter(name=["--model", "-m"])] = Path("zero"),
    device: Literal["auto", "cpu", "cuda"] = "auto",
    stride: int = 4,
) -> None:
    """EF and masks of recordings as JSON, CSV and overlay video.

    Args:
        inputs: Recordings (AVI, MP4, MOV, DICOM) or folders of them.
        out: Folder for the results.
        model: A bundle, or the run that holds it; `zero` comes with the package and has seen synthetic clips only.
        device: `auto` takes a GPU where there is one.
        stride: Frames between two clips whose EF are averaged.
    """
    from echocycle import stages

    stages.predict(*inputs, out=out, model=model, device=device, stride=stride)


@app.command(sort_key=next(_place))
def bench(
    *,
    quick: bool = False,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("echocycle-runs/bench"),
    device: Literal["auto", "cpu", "cuda"] = "auto",
    page: Path | None = None,
) -> None:
    """Measure the stages beside the usual way of doing them: time, memory, and how far the results agree.

    Args:
        quick: Fewer and smaller rounds; under ten minutes on two cores.
        out: Folder for comparison.json and the page; a comparison that was interrupted there is gone on with.
        device: `auto` takes a GPU where there is one.
        page: Write the page here as well, its chart in `images/` beside it.
    """
    from echocycle.benchmarks import run

    run.bench(out, quick=quick, device=device, page=page)


@app.command(sort_key=next(_place))
def info(bundle: Path | None = None, *, json: bool = False) -> None:
    """Versions, devices, methods and presets; or what a trained model is made of.

    Args:
        bundle: A bundle, the run that holds it, or `zero`.
        json: Print JSON.
    """
    from echocycle import info as installation

    installation.info(bundle, json=json)


@app.command(sort_key=next(_place))
def train(
    path: Path,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("echocycle-runs/own"),
    store: Path | None = None,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
) -> None:
    """All stages on an own folder: store, segmenter, masks, teacher, student, evaluation, report. Resumable.

    Every training video with a label counts as labelled, every other as unlabelled; `--set
    segment.labels.labelled=1/8 --set regress.labels.labelled=1/8` takes fewer. Where all are labelled there is no
    student, and the teacher is the model; where none is traced, a video-only network.

    Args:
        path: Folder with FileList.csv, VolumeTracings.csv and Videos/.
        out: Folder for the runs and the report.
        store: Where to keep the frame store; by default inside `out`.
        set_: A stage's setting, such as `--set segment.loop.steps=200`.
    """
    from echocycle import pipeline

    chosen = for_own_folder(preset(_asked.preset or "paper"))
    pipeline.train(path, out, change(chosen, _asked.values, set_), store=store)


@app.command(sort_key=next(_place))
def demo(out: Path = Path("echocycle-runs/demo"), *, smoke: bool = False) -> None:
    """The whole pipeline on a phantom, and EF of a real ultrasound recording.

    Args:
        out: Folder for everything.
        smoke: A run of seconds that only shows that every stage works.
    """
    from echocycle import demo as demonstration

    demonstration.demo(out, smoke=smoke)


@app.command(sort_key=next(_place))
def experiment(
    name: str = "",
    *,
    store: Path | None = None,
    seeds: int = 1,
    fractions: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = (),
    only: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = (),
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("echocycle-runs/experiments"),
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    at_once: int = 1,
    slurm: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = (),
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
) -> None:
    """A table of the paper by name, with our numbers beside the printed ones; without a name, the list of them.

    Resumable: what is done is never done again, by whatever experiment with the same `--out`. `--preset` is `tiny`
    if it is not given.

    Args:
        name: Such as table-1, table-a1, figure-7 or own-row.
        store: A frame store; by default the preset's phantom is drawn.
        seeds: Trainings of each row.
        fractions: Labelled shares such as 1/8 or All; by default those of the table.
        only: Rows to run, by their name in the table or by their method.
        out: Folder for the phantom, the runs and the tables.
        dry_run: Say what would be run, and stop.
        at_once: Jobs at once: several are done in processes of their own, which share the cores and the GPUs.
        slurm: Send the jobs to a SLURM cluster, with parameters as submitit names them: `--slurm timeout_min=240
            gpus_per_node=1`.
        set_: A stage's setting, such as `--set regress.loop.steps=200`.
    """
    from echocycle.console import output
    from echocycle.experiments import run

    if not name:
        output.print(run.list_experiments())
        return
    chosen = change(preset(_asked.preset or "tiny"), _asked.values, set_)
    run.experiment(
        name,
        chosen,
        store=store,
        seeds=seeds,
        fractions=fractions,
        only=only,
        out=out,
        dry_run=dry_run,
        at_once=at_once,
        slurm=slurm,
    )


# ----------------------------------------------------------------------------- where settings come from


@dataclass
class _Asked:
    """What `--preset` and `--config` gave."""

    preset: str = ""
    values: dict[str, Any] = field(default_factory=dict)


_asked = _Asked()


def _take(tokens: list[str], option: str) -> str | None:
    """Take `option VALUE` or `option=VALUE` out of the tokens."""
    for place, token in enumerate(tokens):
        if token == option:
            if place + 1 == len(tokens):
                raise EchocycleError(f"{option} needs a value.")
            value = tokens[place + 1]
            del tokens[place : place + 2]
            return value
        if token.startswith(f"{option}="):
            del tokens[place]
            return token.split("=", 1)[1]
    return None


STAGES = {"phantom", "prepare", "segment", "mask", "regress", "evaluate"}
"""Commands that have a section in a settings file."""


def _read_config(path: Path) -> dict[str, Any]:
    """A settings file: YAML, JSON or TOML, with a section for each command."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise EchocycleError(f"The settings file {path} cannot be read ({error.strerror}).") from None
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
    if not isinstance(values, dict) or not set(values) <= STAGES:
        wrong = ", ".join(sorted(map(str, set(values) - STAGES))) if isinstance(values, dict) else "no sections"
        raise EchocycleError(f"{path} has {wrong}; it takes the sections {', '.join(sorted(STAGES))}.")
    for name, section in values.items():
        if not isinstance(section, dict):
            raise EchocycleError(f"{path}: the section {name} is {section!r}; it takes named settings.")
    return values


def _method(command: str, tokens: list[str]) -> str | None:
    """The method that a command is asked for, wherever it is said."""
    if command not in tokens[:1]:
        return None
    said = _take(list(tokens), "--method") or os.environ.get(f"ECHOCYCLE_{command.upper()}_METHOD")
    return said or _asked.values.get(command, {}).get("method")


def _options_as_tokens(tokens: list[str], sections: dict[str, Any]) -> list[str]:
    """A method's own settings from preset, file and environment as tokens, so that those on the command line add to
    them instead of taking the place of all."""
    command = tokens[0] if tokens else ""
    found: dict[str, Any] = {}
    for layer in (sections, _asked.values):
        options = layer.get(command, {}).get("option")
        found |= options if isinstance(options, dict) else {}
    prefix = f"ECHOCYCLE_{command.upper()}_OPTION_"
    found |= {name.removeprefix(prefix).lower(): v for name, v in os.environ.items() if name.startswith(prefix)}
    said = {token.split("=")[0].replace("-", "_") for token in tokens if token.startswith("--option.")}
    return [f"--option.{name}={value}" for name, value in found.items() if f"__option.{name}" not in said]


VARIABLES = ("ECHOCYCLE_CAMUS",)
"""Environment variables that set nothing of a command: the real data of some tests."""


def _refuse_unknown_variables(command: str) -> None:
    """Refuse ECHOCYCLE_ variables that no command reads: they are misspelt, and would be passed over in silence."""
    commands = {f"ECHOCYCLE_{name.upper()}_": name for name in app if not name.startswith("-")}
    for variable in sorted(name for name in os.environ if name.startswith("ECHOCYCLE_") and name not in VARIABLES):
        prefix = next((each for each in commands if variable.startswith(each)), None)
        if prefix is None:
            known = ", ".join(commands.values())
            raise EchocycleError(
                f"No command reads the environment variable {variable}. They are called ECHOCYCLE_COMMAND_SETTING, "
                f"such as ECHOCYCLE_SEGMENT_BATCH, and begin with {known}."
            )
        if command in ("train", "experiment") and commands[prefix] in STAGES:
            setting = variable.removeprefix(prefix).lower()
            told = f"`{command}` does not read {variable}; use --set {commands[prefix]}.{setting}=VALUE."
            console.print(told, soft_wrap=True)
        if commands[prefix] != command or variable.startswith(f"{prefix}OPTION_"):
            continue
        settings = app[command].assemble_argument_collection(parse_docstring=False)
        names = [
            name.lstrip("-").replace(".", "_").replace("-", "_").upper() for each in settings for name in each.names
        ]
        if variable.removeprefix(prefix) not in names:
            near = difflib.get_close_matches(variable.removeprefix(prefix), names, n=1)
            hint = f" Did you mean {prefix}{near[0]}?" if near else ""
            raise EchocycleError(f"`{command}` has no setting for the environment variable {variable}.{hint}")


def _sections(chosen: Preset, tokens: list[str]) -> dict[str, Any]:
    """A preset as a settings file would say it."""
    settings = {
        "segment": chosen.segmentation(_method("segment", tokens) or chosen.segment.method),
        "mask": chosen.mask,
        "regress": chosen.regression(_method("regress", tokens) or "student"),
        "evaluate": chosen.evaluate,
    }
    sections = {name: to_dict(values) for name, values in settings.items()}
    return {**sections, "phantom": chosen.phantom}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives its exit code."""
    quiet_libraries()
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _asked.preset = _take(tokens, "--preset") or ""
        file = _take(tokens, "--config")
        _asked.values = _read_config(Path(file)) if file else {}
        layers: list[Any] = [Env("ECHOCYCLE_")]
        if _asked.values:
            layers.append(DictConfig(_asked.values, source=str(file)))
        sections = _sections(preset(_asked.preset), tokens) if _asked.preset else {}
        if sections:
            layers.append(DictConfig(sections, source=f"preset {_asked.preset}"))
        _refuse_unknown_variables(tokens[0] if tokens else "")
        tokens += _options_as_tokens(tokens, sections)
        app.config = tuple(layers)
        app(tokens, exit_on_error=False, print_error=True)
    except EchocycleError as error:
        console.print("echocycle: ", style="bold red", end="")
        console.print(str(error), soft_wrap=True, highlight=False)
        return error.exit_code
    except CycloptsError:
        return 2
    except KeyboardInterrupt:
        console.print("Interrupted; the same command goes on where it was.")
        return 130
    except BrokenPipeError:
        return 141
    return 0


if __name__ == "__main__":
    sys.exit(main())
