"""What is asked for: an experiment by name, fractions as the paper prints them, settings that suit its tables."""

from dataclasses import replace

from echocycle.errors import EchocycleError
from echocycle.experiments import EXPERIMENTS
from echocycle.experiments.plan import Experiment, fraction_value
from echocycle.settings.presets import Preset


def find(name: str) -> Experiment:
    """The experiment of that name.

    Raises `EchocycleError` for an unknown one, and for one that cannot be run yet.
    """
    experiment = EXPERIMENTS.get(name.lower())
    if experiment is None:
        raise EchocycleError(f"There is no experiment {name!r}; choose one of {', '.join(EXPERIMENTS)}.")
    if experiment.lacks:
        raise EchocycleError(f"{experiment.name} cannot be run yet: it lacks {experiment.lacks}.")
    return experiment


def with_one_clip(chosen: Preset) -> Preset:
    """The preset, evaluated on one random clip a video too."""
    evaluate = chosen.evaluate
    if "one-clip" in evaluate.protocol:
        return chosen
    return replace(chosen, evaluate=replace(evaluate, protocol=(*evaluate.protocol, "one-clip")))


def as_printed(fraction: str, experiment: Experiment) -> str:
    """A fraction as the paper's table writes it: 1/8 is 4/32 in Table IV."""
    value = fraction_value(fraction)
    return next((each for each in experiment.fractions if fraction_value(each) == value), fraction)
