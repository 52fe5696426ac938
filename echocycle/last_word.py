"""The last word of `train` and `demo`: what the model is worth. Nobody shall trust a bad one by accident."""

from pathlib import Path
from typing import TYPE_CHECKING

from echocycle.console import console, output
from echocycle.errors import EchocycleError
from echocycle.runs import Run

if TYPE_CHECKING:
    from echocycle.verdict import Verdict


def keep_verdict(run: Path) -> "Verdict | None":
    """The verdict on an evaluated EF network, which its model keeps; None where too few videos are held out."""
    from echocycle.evaluation.held_out import verdict_of_run
    from echocycle.verdict import write_verdict

    try:
        verdict = verdict_of_run(run)
    except EchocycleError as error:
        console.print(str(error), soft_wrap=True, highlight=False)
        return None
    write_verdict(Run(run).model, verdict)
    return verdict


def say_verdict(verdict: "Verdict | None") -> None:
    """Say last what the model is worth."""
    worth = verdict.sentence() if verdict else "How good this model is, is not known: too few videos are held out."
    output.print(worth, highlight=False)
