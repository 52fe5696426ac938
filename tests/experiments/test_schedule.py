"""The engine, with stages that only leave their marks: nothing twice, one failure alone, masks gone with their last user."""

import time
from pathlib import Path
from typing import Any

import pytest

from echocycle.errors import EchocycleError
from echocycle.experiments import estimate
from echocycle.experiments.estimate import check_disk, disk_needed, minutes_of
from echocycle.experiments.plan import Job, Plan, Regressor, Row, Segmenter, plan, student, teacher
from echocycle.experiments.schedule import Outcome, work
from echocycle.settings.presets import preset

CSS, SUPERVISED = Segmenter("css"), Segmenter("supervised")
ROWS = (
    Row("video", Regressor("supervised")),
    Row("f_m", teacher(SUPERVISED)),
    Row("f_e", student(SUPERVISED)),
    Row("f_m css", teacher(CSS)),
    Row("f_e css", student(CSS)),
)


class Fake:
    """Stages whose result is a file."""

    def __init__(self, folder: Path, fails: str = "", seconds: float = 0.0) -> None:
        self.folder, self.fails, self.seconds = folder, fails, seconds
        self.events: list[str] = []

    def file(self, job: Job) -> Path:
        return self.folder / job.name

    def perform(self, job: Job) -> None:
        time.sleep(self.seconds)
        self.events.append(job.kind)
        if job.kind == self.fails:
            raise EchocycleError("it broke")
        self.file(job).touch()

    def is_done(self, job: Job) -> bool:
        return self.file(job).exists()

    def remove(self, job: Job) -> None:
        if self.is_done(job):
            self.events.append(f"delete {job.method}")
            self.file(job).unlink()

    def work(self, plan: Plan, minutes: float | None = None) -> Outcome:
        return work(
            plan,
            self.folder / "jobs",
            minutes=minutes,
            perform=self.perform,
            is_done=self.is_done,
            remove=self.remove,
        )


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    return plan(ROWS, preset("tiny"), tmp_path / "s", "id", tmp_path / "runs", fractions=["1/8"], seeds=[0])


def test_everything_once_and_masks_go_with_their_last_user(planned: Plan, tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    outcome = fake.work(planned)
    assert fake.events == [
        "regress supervised", "evaluate supervised",
        "segment supervised", "mask supervised", "regress teacher", "evaluate teacher", "regress student",
        "delete supervised", "evaluate student",
        "segment css", "mask css", "regress teacher", "evaluate teacher", "regress student", "delete css",
        "evaluate student",
    ]  # fmt: skip
    assert not outcome.failed
    assert not outcome.blocked
    assert outcome.seconds >= 0
    fake.events.clear()
    again = fake.work(planned)
    assert fake.events == []
    assert set(again.done) == {name for name, job in planned.jobs.items() if job.stage != "mask"}


def test_a_new_row_makes_only_what_is_new(planned: Plan, tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    fake.work(planned)
    fake.events.clear()
    more = (*ROWS, Row("other", student(CSS, option={"weight": "2"})))
    wider = plan(more, preset("tiny"), tmp_path / "s", "id", tmp_path / "runs", fractions=["1/8"], seeds=[0])
    fake.work(wider)
    assert fake.events == ["mask css", "regress student", "delete css", "evaluate student"]


def test_a_killed_plan_goes_on(planned: Plan, tmp_path: Path) -> None:
    fake = Fake(tmp_path)

    class Killed(BaseException):
        pass

    def perform(job: Job) -> None:
        if job.kind == "regress student":
            raise Killed
        fake.perform(job)

    with pytest.raises(Killed):
        work(planned, tmp_path / "jobs", perform=perform, is_done=fake.is_done, remove=fake.remove)
    assert fake.events[-1] == "evaluate teacher"
    fake.events.clear()
    fake.work(planned)
    assert fake.events[:2] == ["regress student", "delete supervised"]  # its masks were still there


def test_masks_that_a_kill_left_behind_are_deleted(planned: Plan, tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    fake.work(planned)
    left = next(job for job in planned.jobs.values() if job.kind == "mask css")
    fake.file(left).touch()
    fake.work(planned)
    assert not fake.is_done(left)


def test_a_failure_stays_alone(planned: Plan, tmp_path: Path) -> None:
    """What is built on it is not tried, the rest is done, and the next call tries again."""
    fake = Fake(tmp_path, fails="segment supervised")
    outcome = fake.work(planned)
    assert [name.split("-")[0] for name in outcome.failed] == ["segment segment"]
    (log,) = outcome.failed.values()
    assert "it broke" in log.read_text()
    assert "Traceback" in log.read_text()
    assert len(outcome.blocked) == 5
    assert set(outcome.blocked.values()) == set(outcome.failed)
    assert fake.events[-1] == "evaluate student"
    assert fake.events.count("regress student") == 1
    fake.fails = ""
    fake.events.clear()
    assert not fake.work(planned).failed
    assert fake.events[0] == "segment supervised"
    assert "segment css" not in fake.events
    assert not log.exists()


def test_a_failed_user_does_not_keep_masks(planned: Plan, tmp_path: Path) -> None:
    fake = Fake(tmp_path, fails="regress student")
    fake.work(planned)
    assert fake.events.count("delete supervised") == fake.events.count("delete css") == 1


def test_masks_for_nobody_are_not_made(tmp_path: Path) -> None:
    """The start of all networks fails: no masks are made for them, and none that were being made then stay."""
    rows = (Row("f_m", teacher(SUPERVISED)), Row("f_m css", teacher(CSS)))
    phantom = plan(rows, preset("phantom"), tmp_path / "s", "id", tmp_path / "runs", fractions=["1/8"], seeds=[0])
    fake = Fake(tmp_path, fails="regress shapes")
    outcome = fake.work(phantom)
    assert fake.events[:3] == ["segment supervised", "mask supervised", "regress shapes"]
    assert "mask css" not in fake.events
    assert list(fake.folder.glob("mask *")) == []
    assert len(outcome.blocked) == 4

    class Waits:
        """Two slots: what is begun first is done when the other is."""

        slots, pause = 2, 0.0

        def __init__(self) -> None:
            self.tasks: list[Later] = []

        def begin(self, perform: Any, job: Job, log: Path, seconds: float | None) -> Any:
            self.tasks.append(Later(self, perform, job))
            return self.tasks[-1]

    class Later:
        def __init__(self, executor: Waits, perform: Any, job: Job) -> None:
            self.executor, self.perform, self.job, self.asked = executor, perform, job, 0

        def done(self) -> bool:
            self.asked += 1
            return self.asked > (6 if self.job.stage == "mask" else 1)

        def result(self) -> None:
            self.perform(self.job)

        def cancel(self) -> None:
            raise AssertionError

    fake = Fake(tmp_path / "two", fails="regress shapes")
    fake.folder.mkdir()
    work(phantom, tmp_path / "jobs", executor=Waits(), perform=fake.perform, is_done=fake.is_done, remove=fake.remove)
    assert fake.events.index("regress shapes") < fake.events.index("mask supervised")
    assert fake.events[fake.events.index("mask supervised") + 1] == "delete supervised"
    assert list(fake.folder.glob("mask *")) == []


def test_the_time_given_is_kept(planned: Plan, tmp_path: Path) -> None:
    """A job that takes too long is interrupted, and nothing is begun that is known not to fit."""
    fake = Fake(tmp_path, seconds=0.3)
    outcome = fake.work(planned, minutes=0.75 / 60)
    assert 1 <= len(outcome.done) <= 2
    assert set(outcome.left) | set(outcome.done) == set(planned.jobs)
    assert outcome.left
    fake.events.clear()
    outcome = fake.work(planned, minutes=0.1 / 60)  # a regression is known to take 0.3 s
    assert "regress teacher" not in fake.events
    assert not outcome.failed
    fake.seconds = 0.0
    assert not fake.work(planned).left
    assert all(fake.is_done(job) for job in planned.jobs.values() if job.stage != "mask")


def test_remaining_time_is_told_from_jobs_of_the_kind(planned: Plan, tmp_path: Path) -> None:
    clock = estimate.Clock(tmp_path / "seconds.json", None)
    names = list(planned.jobs)
    assert "unknown" in clock.remaining(planned.jobs, names)
    (tmp_path / "seconds.json").write_text(
        '{"segment css": {"a": 60, "b": 120}, "mask css": {"a": 1}, "evaluate x": {"a": 2}, "regress x": {"a": 3}}'
    )
    clock = estimate.Clock(tmp_path / "seconds.json", None)
    assert clock.expected(next(j for j in planned.jobs.values() if j.kind == "segment css")) == 90
    # 2 segmenters of 90 s, 2 mask sets of 1 s, 5 trainings of 3 s, 5 evaluations of 2 s
    assert clock.remaining(planned.jobs, names) == f"about {minutes_of(207)} left"


def test_disk_is_told_before(planned: Plan, tmp_path: Path) -> None:
    few, many = disk_needed(planned, 1_000), disk_needed(planned, 1_000_000)
    assert many - few == 2 * (999_000 * 2800 // 2)  # half the size: half the outline; two sets at once at most
    check_disk(few, tmp_path)
    with pytest.raises(EchocycleError, match="--seeds"):
        check_disk(10**18, tmp_path)
