"""The one training loop. It knows no method by name.

Why Lightning's Fabric and not its Trainer: the loop is the place where exact resume, selection and several losses'
gradients must be seen, and the Trainer's own batch bookkeeping is what has to be worked around for them. Fabric
keeps device, precision and process groups out of this file.

Nothing random is kept: order, starts, crops and dropout of step k are functions of (seed, k), and the learning
rate is one of k, so the resume point holds weights, optimiser state, k and the best value so far.
"""

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import DataLoader

from echocycle.checked import check_kinds
from echocycle.console import console, quiet_libraries
from echocycle.data.clips import StepData, passes
from echocycle.data.labels import TrainingData
from echocycle.errors import EchocycleError
from echocycle.files import replacing
from echocycle.runs import Run
from echocycle.settings.stages import LoopSettings, OptimiserSettings
from echocycle.training.log import RunLog
from echocycle.training.method import Method, StepResult


@dataclass(frozen=True)
class FitResult:
    """Where the best moment was."""

    steps: int
    best_step: int
    best_value: float
    metric: str


def learning_rate(settings: OptimiserSettings, step: int, steps: int, steps_per_epoch: int) -> float:
    """The learning rate of a step (0-based)."""
    if settings.schedule == "step":
        return settings.lr * settings.gamma ** (step // steps_per_epoch // settings.step_epochs)
    if settings.schedule == "one-step":
        return settings.lr * (settings.gamma if step >= settings.step_epochs * steps_per_epoch else 1.0)
    if settings.schedule == "one-cycle":
        rise = max(1, steps // 10)
        if step < rise:
            return settings.lr * (0.04 + 0.96 * (1 - math.cos(math.pi * step / rise)) / 2)
        return settings.lr * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2
    return settings.lr


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of dropout and the like in one step."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0])


def fit(
    method: Method,
    data: TrainingData,
    run: Run,
    *,
    loop: LoopSettings,
    optimiser: OptimiserSettings,
    save_best: Callable[[], None],
) -> FitResult:
    """Train a method, going on where the run was interrupted.

    Args:
        save_best: writes the bundle from the method's present weights; called at each new best.

    Raises:
        EchocycleError: a loss is not finite (the resume point before it is kept), or no stream has a video.
    """
    from lightning.fabric import Fabric

    from echocycle.device import choose_device

    quiet_libraries()  # again, since its import turns its notes on
    device = choose_device(loop.device)
    fabric = Fabric(
        accelerator="cuda" if device.type == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if loop.precision == "bf16" else "32-true",
    )
    seed = loop.seed
    steps_data = StepData(data, method.streams(), seed=seed, rank=fabric.global_rank, world=fabric.world_size)
    epoch = steps_data.steps_per_epoch
    total = loop.steps or loop.epochs * epoch
    every = loop.validate_every or epoch

    point = _read_point(run.path / "resume.ckpt", total)
    if point is None:
        method.prepare_start(data)
    fabric.to_device(method)
    # The method is not wrapped: the wrapper lets no gradient but the sum's be asked for (see `_gradient_norms`).
    optim: Any = fabric.setup_optimizers(method.optimiser(optimiser))
    best, best_step, start = math.inf, -1, 0
    if point is not None:
        _take_up(point, method, optim, run.path / "resume.ckpt")
        start, best, best_step = point["step"], point["best"], point["best_step"]
        console.print(f"Going on at step {start} of {total}.")

    log = RunLog(run.path, start, tensorboard=loop.tensorboard)
    loader = DataLoader(
        steps_data,
        batch_size=None,
        sampler=range(start, total),
        num_workers=loop.workers,
        multiprocessing_context="spawn" if loop.workers else None,
        prefetch_factor=4 if loop.workers else None,
    )
    validation = method.validation()
    saved = time.monotonic()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}"),
        console=console,
        transient=True,
    )
    with bar, closing(log):
        task = bar.add_task(method.name, total=total, completed=start, state="")
        for step, batches in zip(range(start, total), loader, strict=True):
            torch.manual_seed(step_seed(seed, step, fabric.global_rank))
            rate = learning_rate(optimiser, step, total, epoch)
            for group in optim.param_groups:
                group["lr"] = rate
            method.train()
            method.begin_step(step)
            with fabric.autocast():
                result: StepResult = method(fabric.to_device(batches), step)
            loss = torch.stack([value.float() for value in result.losses.values()]).sum()
            if not torch.isfinite(loss):
                named = ", ".join(f"{name} {value.item():g}" for name, value in result.losses.items())
                raise EchocycleError(
                    f"The loss of step {step} is not finite ({named}). Lower --optimiser.lr, or use "
                    "--loop.precision 32; what was trained before is kept in the run."
                )
            row = {name: value.item() for name, value in (result.losses | result.monitors).items()}
            if loop.gradient_every and step % loop.gradient_every == 0 and len(result.losses) > 1:
                row |= _gradient_norms(method, result)
            fabric.backward(loss)
            if optimiser.clip_norm:
                fabric.clip_gradients(method, optim, max_norm=optimiser.clip_norm, error_if_nonfinite=False)
            optim.step()
            optim.zero_grad(set_to_none=True)
            method.after_step(step)
            log.step(step, {**row, "total": loss.item(), "lr": rate})

            if (step + 1) % every == 0 or step + 1 == total:
                values = validate(method, data, validation.passes, fabric.autocast, device)
                log.validation(step, values)
                value = values[validation.metric]
                if value < best:
                    best, best_step = value, step
                    save_best()
                    saved = -math.inf  # the point follows at once: what is kept and what goes on stay one story
                bar.update(task, state=f"{validation.metric} {value:.4g} (best {best:.4g})")
            bar.update(task, completed=step + 1)
            if time.monotonic() - saved >= loop.checkpoint_seconds and step + 1 < total:
                log.flush()
                _check_finite(method, step)
                _write_point(run.path / "resume.ckpt", method, optim, step + 1, best, best_step)
                saved = time.monotonic()
    if best_step < 0:
        raise EchocycleError("No validation gave a finite value, so no model was kept; lower --optimiser.lr.")
    return FitResult(total, best_step, best, validation.metric)


def validate(
    method: Method, data: TrainingData, rounds: int, autocast: Callable[[], Any], device: torch.device
) -> dict[str, float]:
    """The mean of each of the method's metrics over seeded passes of the validation videos."""
    validation = method.validation()
    method.eval()
    sums: dict[str, tuple[float, int]] = {}
    with torch.no_grad(), autocast():
        for seed in range(rounds):
            for batch in passes(data, validation.stream, seed=seed):
                moved = type(batch)(*(t.to(device) if isinstance(t, torch.Tensor) else t for t in batch))
                for name, (part, number) in method.score(moved).items():
                    total, count = sums.get(name, (0.0, 0))
                    sums[name] = (total + part, count + number)
    return {name: total / count if count else math.nan for name, (total, count) in sums.items()}


def _gradient_norms(method: Method, result: StepResult) -> dict[str, float]:
    """The norm of each loss's own gradient: losses are balanced by these, not by their values."""
    watched = list(method.watched())
    norms = {}
    for name, value in result.losses.items():
        if not value.requires_grad:
            norms[f"gradient/{name}"] = 0.0
            continue
        parts = torch.autograd.grad(value, watched, retain_graph=True, allow_unused=True)
        squares = [part.float().square().sum() for part in parts if part is not None]
        norms[f"gradient/{name}"] = torch.stack(squares).sum().sqrt().item() if squares else 0.0
    return norms


def _check_finite(method: Method, step: int) -> None:
    """Refuse to keep weights that a gradient has broken: the run could never get past them."""
    broken = [name for name, value in method.state_dict().items() if not torch.isfinite(value).all()]
    if broken:
        raise EchocycleError(
            f"After step {step} the weights {broken[0]} are not finite. Lower --optimiser.lr, or use "
            "--loop.precision 32; what was trained before is kept in the run."
        )


POINT = {"method": dict, "optimiser": dict, "step": int, "best": float, "best_step": int}
"""What a resume point holds."""


def _cannot_resume(path: Path, why: object) -> EchocycleError:
    said = str(why).strip().partition("\n")[0]
    return EchocycleError(f"{path} cannot be resumed from ({said}). {_ANEW.format(path=path)}")


_ANEW = "Delete {path}, and the run begins at its first step."


def _read_point(path: Path, steps: int) -> dict[str, Any] | None:
    """The resume point of a run of so many steps, if it has one.

    Raises `EchocycleError` for a file that is none, or of another run.
    """
    if not path.exists():
        return None
    try:
        point: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # the readers of archives and of pickles raise what they like
        raise _cannot_resume(path, error or type(error).__name__) from None
    check_kinds(point, POINT, f"{path}: ", _ANEW.format(path=path))
    if not -1 <= point["best_step"] < point["step"] or not 0 < point["step"] < steps:
        raise _cannot_resume(path, f"step {point['step']}, best {point['best_step']}, of {steps}")
    return point


def _take_up(point: dict[str, Any], method: Method, optim: Any, path: Path) -> None:
    """Give weights and optimiser what the point holds."""
    try:
        method.load_state_dict(point["method"])
        optim.load_state_dict(point["optimiser"])
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _cannot_resume(path, f"it is of another network: {type(error).__name__}") from None


def _write_point(path: Path, method: Method, optim: Any, step: int, best: float, best_step: int) -> None:
    point = {
        "method": method.state_dict(),
        "optimiser": optim.state_dict(),
        "step": step,
        "best": best,
        "best_step": best_step,
    }
    with replacing(path) as temporary:
        try:
            torch.save(point, temporary)
        except RuntimeError as error:  # so PyTorch's own archive writer says that the disk is full
            raise OSError(f"{path} could not be written: {str(error).partition(chr(10))[0]}") from None
