"""Jobs in processes of their own and through submitit: side by side, in order, one failure or death alone."""

import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from helpers.chain import copied, loop_settings, segment_settings

from echocycle import stages
from echocycle.data.store import Store, mask_names
from echocycle.errors import EchocycleError
from echocycle.experiments.executors import Cluster, Executor, Processes, Serial, choose_executor
from echocycle.experiments.plan import Job, Plan, Regressor, Row, Segmenter, plan, student, teacher
from echocycle.experiments.schedule import work
from echocycle.settings.presets import preset

ROWS = (
    Row("video", Regressor("supervised")),
    Row("other", Regressor("adacon")),
    Row("f_m", teacher(Segmenter("css"))),
    Row("f_e", student(Segmenter("css"))),
)


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    chosen = plan(ROWS, preset("tiny"), tmp_path / "s", "id", tmp_path / "runs", fractions=["1/8"], seeds=[0])
    chosen.jobs = {name: job for name, job in chosen.jobs.items() if job.stage != "evaluate"}
    return chosen


def leave_mark(
    job: Job, *, folder: Path, dies: str = "", fails: str = "", seconds: float = 0.0, meets: int = 1
) -> None:
    """A stage that says who did it and when; it ends when so many have begun, itself among them."""
    begun = time.time()
    (folder / f"{job.name} begun").touch()
    while len(list(folder.glob("* begun"))) < meets:
        time.sleep(0.01)
    print(f"doing {job.name}")
    if job.kind == dies:
        os.kill(os.getpid(), signal.SIGKILL)
    if job.kind == fails:
        raise EchocycleError("the folder is empty")
    time.sleep(seconds)
    (folder / job.name).write_text(f"{os.getpid()} {begun} {time.time()}")


def is_done(job: Job, folder: Path) -> bool:
    return (folder / job.name).exists()


def done_by(executor: Executor, planned: Plan, folder: Path, **how: object):
    """The outcome of a plan, and by kind of job who did it and from when to when."""
    outcome = work(
        planned,
        folder / "jobs",
        executor=executor,
        perform=partial(leave_mark, folder=folder, **how),
        is_done=partial(is_done, folder=folder),
        remove=lambda job: None,
    )
    marks = {job.kind: folder / name for name, job in planned.jobs.items() if is_done(job, folder)}
    return outcome, {kind: [float(word) for word in file.read_text().split()] for kind, file in marks.items()}


@pytest.mark.slow
def test_processes_work_side_by_side_and_in_order(planned: Plan, tmp_path: Path) -> None:
    outcome, marks = done_by(Processes(2), planned, tmp_path, meets=2)
    assert not outcome.failed
    assert set(outcome.done) == set(planned.jobs)
    assert len({int(pid) for pid, _, _ in marks.values()} - {os.getpid()}) == len(planned.jobs)
    begins, ends = ({kind: mark[slot] for kind, mark in marks.items()} for slot in (1, 2))
    assert begins["mask css"] >= ends["segment css"]
    assert begins["regress student"] >= ends["regress teacher"] >= begins["regress teacher"] >= ends["mask css"]
    crowd = [sum(begins[k] <= moment < ends[k] for k in marks) for moment in begins.values()]
    assert max(crowd) == 2  # two at once, never three
    assert not list((tmp_path / "jobs" / "logs").glob("*"))  # nothing failed, so no log is kept


@pytest.mark.slow
def test_a_killed_and_a_failed_process_stay_alone(planned: Plan, tmp_path: Path) -> None:
    outcome, marks = done_by(Processes(2), planned, tmp_path, dies="regress supervised", fails="mask css")
    said = {name.split()[0] + " " + planned.jobs[name].method: log.read_text() for name, log in outcome.failed.items()}
    assert set(said) == {"regress supervised", "mask css"}
    assert "signal 9" in said["regress supervised"]
    assert "doing mask" in said["mask css"]
    assert "the folder is empty" in said["mask css"]
    assert set(marks) == {"regress adacon", "segment css"}
    assert len(outcome.blocked) == 2  # f_m and f_e, which need the masks
    again, marks = done_by(Processes(2), planned, tmp_path)
    assert not again.failed
    assert len(marks) == len(planned.jobs)


KILLED = """
import sys, time
from pathlib import Path
from echocycle.data import mask_set
from echocycle.experiments.executors import Processes
from echocycle.experiments.perform import is_done, perform
from echocycle.experiments.plan import Job
from echocycle.experiments.schedule import work
from echocycle.experiments.plan import Plan
from echocycle.settings.stages import MaskSettings

def slowly(job):
    add = mask_set.MaskWriter.add
    def wait(*arguments):
        add(*arguments)
        time.sleep(0.5 if "--slowly" in sys.argv else 0)
    mask_set.MaskWriter.add = wait
    perform(job)

def keep(job):
    pass

if __name__ == "__main__":
    store, out = Path(sys.argv[1]), Path(sys.argv[2])
    made = [Job("mask", Path(run), store, MaskSettings(), "css") for run in sys.argv[3:5]]
    # masks for nobody are not made: each set has an evaluation that needs it and is taken for undone
    from echocycle.settings.stages import EvaluateSettings
    users = [Job("evaluate", job.run, store, EvaluateSettings(splits=("val",)), "css", needs=(job.name,)) for job in made]
    plan = Plan({job.name: job for job in (*made, *users)})
    outcome = work(plan, out, executor=Processes(2), perform=slowly, is_done=is_done, remove=keep)
    assert not outcome.failed, outcome
"""
"""Two mask sets made at once, each in a process of its own."""


@pytest.mark.slow
def test_jobs_end_with_their_experiment_and_the_next_call_finds_whole_masks(store: Store, tmp_path: Path) -> None:
    """SIGKILL to the parent alone: its children end, and nothing that they left is mixed with what a restart writes."""
    script = tmp_path / "both.py"
    script.write_text(KILLED)
    alone = copied(store, tmp_path / "alone").path
    mine = copied(store, tmp_path / "killed").path
    runs = [tmp_path / f"css-{seed}" for seed in range(2)]
    for seed, run in enumerate(runs):
        stages.segment(alone, run, segment_settings("css", loop=loop_settings(steps=2, seed=seed)))
        stages.mask(alone, run)
    line = [sys.executable, str(script), str(mine), str(tmp_path / "jobs"), *map(str, runs)]
    with open(tmp_path / "log", "w") as log:
        parent = subprocess.Popen([*line, "--slowly"], stdout=log, stderr=log)
        try:
            journals = []
            while len(journals) < 2:  # both are at work
                assert parent.poll() is None, (tmp_path / "log").read_text()
                journals = [file for file in (mine / "masks").glob("*.partial/journal.bin") if file.stat().st_size]
                time.sleep(0.05)
            children = psutil.Process(parent.pid).children(recursive=True)
            assert len(children) >= 2
        finally:
            parent.kill()
            parent.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    for process in alive:
        process.kill()
    assert not alive
    assert len(list((mine / "masks").glob("*.partial"))) == 2
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = {str(file.relative_to(mine)): file.read_bytes() for file in (mine / "masks").rglob("*") if file.is_file()}
    whole = {str(file.relative_to(alone)): file.read_bytes() for file in (alone / "masks").rglob("*") if file.is_file()}
    assert made == whole
    assert len(made) == 12  # truth and two more, of four files each
    for name in mask_names(mine):
        assert Store(mine).masks(name).verify()


@pytest.mark.slow
def test_processes_end_with_the_time(planned: Plan, tmp_path: Path) -> None:
    start = time.monotonic()
    outcome = work(
        planned,
        tmp_path / "jobs",
        minutes=0.15,
        executor=Processes(2),
        perform=partial(leave_mark, folder=tmp_path, seconds=60.0),
        is_done=partial(is_done, folder=tmp_path),
        remove=lambda job: None,
    )
    assert time.monotonic() - start < 45
    assert set(outcome.left) == set(planned.jobs)
    assert not outcome.failed


@pytest.mark.slow
def test_a_cluster_through_submitit(planned: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Submitit's own executor of this machine stands for a cluster."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # where its processes find `leave_mark`
    executor = Cluster(tmp_path / "cluster", 2, {"timeout_min": 5}, kind="local")
    outcome, marks = done_by(executor, planned, tmp_path, fails="mask css")
    assert set(marks) == {"regress supervised", "regress adacon", "segment css"}
    assert os.getpid() not in {int(pid) for pid, _, _ in marks.values()}
    (log,) = outcome.failed.values()
    assert "the folder is empty" in log.read_text()


def test_the_crew_is_chosen(tmp_path: Path) -> None:
    assert isinstance(choose_executor(1, (), tmp_path), Serial)
    assert choose_executor(3, (), tmp_path).slots == 3
    with pytest.raises(EchocycleError, match="--at-once is 0"):
        choose_executor(0, (), tmp_path)
    with pytest.raises(EchocycleError, match=r"NAME=VALUE.*'partition'"):
        choose_executor(1, ("partition",), tmp_path)
    if shutil.which("srun") is None:
        with pytest.raises(EchocycleError, match="no slurm here"):
            choose_executor(1, ("timeout_min=5",), tmp_path)


def test_one_process_does_the_same(planned: Plan, tmp_path: Path) -> None:
    outcome, marks = done_by(Serial(), planned, tmp_path)
    assert set(outcome.done) == set(planned.jobs)
    assert {int(pid) for pid, _, _ in marks.values()} == {os.getpid()}
