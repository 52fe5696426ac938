"""Long work speaks: a line a minute where there is no terminal, with what is done, how it stands and what is left."""

import pytest

from echocycle import progress
from echocycle.progress import minutes_of, track, training_progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that is set by hand."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_training_says_step_loss_and_what_is_left(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with training_progress("css", 300, 100) as tell:
        for step in range(101, 301):
            clock[0] += 3
            tell(step, f"loss {step / 10:g}")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 9  # 600 seconds; at the last step the caller says more
    assert lines[0] == "css: step 120 of 300, loss 12, about 9 min left"
    assert lines[-1] == "css: step 280 of 300, loss 28, about 60 s left"


def test_other_work_says_what_is_done(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with track("Masks") as tell:
        for done in (1, 2, 3, 4):
            clock[0] += 45
            tell(done, 4)
    assert capsys.readouterr().err.splitlines() == ["Masks: 2 of 4, about 90 s left".replace("90 s", "2 min")]


def test_short_work_says_nothing(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with track("Masks") as tell:
        clock[0] += 59
        tell(1, 2)
        tell(2, 2)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_there_is_a_bar_and_no_line(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress.console, "_force_terminal", True)
    shown: list[dict[str, object]] = []
    monkeypatch.setattr(progress.Progress, "update", lambda bar, task, **values: shown.append(values))
    with track("Masks") as tell:
        clock[0] += 100
        tell(1, 2)
    assert shown == [{"completed": 1, "total": 2, "state": ""}]
    assert "1 of 2" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.2, "3 s"), (89, "89 s"), (90, "2 min"), (3000, "50 min"), (9000, "2.5 h")]
)
def test_minutes(seconds: float, words: str) -> None:
    assert minutes_of(seconds) == words
