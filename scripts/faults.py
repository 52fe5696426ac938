"""Breaks every stage in many ways, starts it again, and compares what it leaves with what an undisturbed one left.

    python scripts/faults.py [--rounds 20] [--seed 0] [--stages phantom,prepare] [--faults kill,disk] [--brief]

Every stage is started in a forked process on a tiny phantom. A fault strikes at a moment that chance chooses: at some
time, or right before one of the operations on files that the stage makes (open for writing, rename, remove, truncate,
make a folder). Then the same command is given again, without a fault. A round is survived if that ends well and every
file, of all folders, has the bytes of the undisturbed run, with nothing left over. A process that ends by itself must
say what is wrong without a traceback, with an exit code of its own. Times are cut out of JSON files before they are
compared, and the list of calls in manifest.json is left out.

Exit code 1 if anything was lost; each loss is told with the seed that brings it again.
"""

import argparse
import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the parent forks, so it must have no threads

SETTINGS = "--preset debug"
STAGES = {
    "phantom": f"phantom videos {SETTINGS} --videos 8 --val 2 --test 2 --workers 0",
    "prepare": f"prepare videos store {SETTINGS} --workers 0",
    "segment": f"segment store runs/css {SETTINGS} --loop.checkpoint-seconds 0",
    "mask": f"mask store runs/css {SETTINGS}",
    "regress": f"regress store runs/teacher {SETTINGS} --method teacher --masks runs/css --loop.checkpoint-seconds 0",
    "evaluate": f"evaluate runs/teacher {SETTINGS}",
    "predict": "predict clips -o results --model known/teacher",
}
"""In order: each stage finds what those before it left."""
INPUTS = {
    "phantom": (),
    "prepare": ("videos",),
    "segment": ("store",),
    "mask": ("store", "runs"),
    "regress": ("store", "runs"),
    "evaluate": ("store", "runs"),
    "predict": ("clips", "known"),
}
WITH_WORKERS = ("phantom", "prepare", "predict")
OWN_CODES = (0, 1, 2, 3, 130, 143)
LONGEST = 300.0
"""Seconds after which a stage is said to hang."""
TIMES = re.compile(r'"(started|ended|seconds|made|at|since|created)[a-z_]*": ("[^"]*"|[0-9.e+-]+)')


# ----------------------------------------------------------------------------------------- a stage in a process


@dataclass
class Blow:
    """What happens right before the n-th operation on a file."""

    number: int
    strike: Callable[[str, Path], None]


@dataclass
class Started:
    """A stage at work."""

    pid: int
    log: Path
    mark: Path
    begun: float = field(default_factory=time.monotonic)

    def wait(self, longest: float = LONGEST) -> int | None:
        """Its exit code, negative for a signal; None if it does not end."""
        while time.monotonic() - self.begun < longest:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        return None

    def kill(self, number: int = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    @property
    def struck(self) -> bool:
        return self.mark.exists()

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")


def start(words: str, room: Path, scratch: Path, blow: Blow | None = None, limit: int | None = None) -> Started:
    """Start a command of echocycle in the folder `room`, in a process of its own.

    Args:
        limit: bytes that no file may exceed (RLIMIT_FSIZE), for a full disk where nothing can be mounted.
    """
    log, mark = scratch / f"log{random.getrandbits(40)}", scratch / f"mark{random.getrandbits(40)}"
    pid = os.fork()
    if pid:
        return Started(pid, log, mark)
    code = 70
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.setsid()
        os.chdir(room)
        sys.argv = ["echocycle", *words.split()]
        if limit is not None:
            import resource

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        _count_operations(room, mark, blow)
        from echocycle.cli import main

        code = main()
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


OPERATIONS = {"os.rename": 1, "os.remove": 0, "os.truncate": 0, "os.mkdir": 0, "os.rmdir": 0, "shutil.rmtree": 0}
"""Audit events and which of their arguments is the path of interest."""


def _count_operations(room: Path, mark: Path, blow: Blow | None) -> None:
    """Strike at the n-th operation below `room`; without a blow, count them into `mark`."""
    count, within = 0, False
    beginning = f"{room}{os.sep}"

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count, within
        if within or (event != "open" and event not in OPERATIONS):
            return
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not writes or isinstance(path, int):
                return
        else:
            path = arguments[OPERATIONS[event]]
        place = os.path.join(os.getcwd(), os.fsdecode(path))
        if not place.startswith(beginning):
            return
        count += 1
        within = True
        try:
            if blow is None:
                mark.write_text(str(count))
            elif count == blow.number:
                mark.touch()
                blow.strike(event, Path(place))
        finally:
            within = False

    sys.addaudithook(hook)


# -------------------------------------------------------------------------------------------------- comparing


def contents(room: Path) -> dict[str, bytes | str]:
    """Every file below a folder, JSON without times."""
    found: dict[str, bytes | str] = {}
    for path in sorted(room.rglob("*")):
        name = str(path.relative_to(room))
        if not path.is_file() or path.name == "manifest.json":
            continue
        data = path.read_bytes()
        found[name] = TIMES.sub(r'"\1": 0', data.decode()) if path.suffix == ".json" else data
    return found


def differences(room: Path, whole: Path) -> list[str]:
    """In words, how two folders differ."""
    now, before = contents(room), contents(whole)
    told = [f"{name} is missing" for name in before if name not in now]
    told += [f"{name} is left over" for name in now if name not in before]
    return told + [f"{name} differs" for name in before if name in now and now[name] != before[name]]


# ---------------------------------------------------------------------------------------------------- faults


@dataclass
class Trial:
    """One stage, one fault, one round."""

    stage: str
    room: Path
    before: Path
    whole: Path
    scratch: Path
    seconds: float
    operations: int
    rng: random.Random

    @property
    def words(self) -> str:
        return STAGES[self.stage]

    def begin(self, **options: Any) -> Started:
        return start(self.words, self.room, self.scratch, **options)

    def anywhere(self, strike: Callable[[str, Path], None]) -> Started:
        return self.begin(blow=Blow(self.rng.randint(1, self.operations), strike))

    def sometime(self, begun: Started, longest: float | None = None) -> None:
        """Wait a while of the time that the stage takes."""
        time.sleep(self.rng.uniform(0, longest or self.seconds))


@dataclass
class Struck:
    """How a disturbed stage ended."""

    code: int | None
    said: str
    restore: Callable[[], object] = lambda: None
    """What makes the surroundings sound again."""
    may_finish: bool = False
    """Whether it may have ended with less than all, if it says so by this word."""
    about: str = ""


def _ended(started: Started, struck: bool | None = None) -> Struck | None:
    code = started.wait()
    if code is None:
        os.killpg(started.pid, signal.SIGKILL)
        os.waitpid(started.pid, 0)
    if not (started.struck if struck is None else struck):
        return None
    return Struck(code, started.said)


def kill_at_some_time(trial: Trial) -> Struck | None:
    """SIGKILL after a random time."""
    started = trial.begin()
    trial.sometime(started)
    started.kill()
    code = started.wait()
    return None if code is not None and code >= 0 else Struck(code, started.said)


def kill_before_an_operation(trial: Trial) -> Struck | None:
    """SIGKILL right before an operation on a file."""
    return _ended(trial.anywhere(lambda event, path: os.kill(os.getpid(), signal.SIGKILL)))


def terminate(trial: Trial) -> Struck | None:
    """SIGTERM after a random time; the exit code is 143."""
    started = trial.begin()
    trial.sometime(started)
    started.kill(signal.SIGTERM)
    ended = _ended(started, struck=True)
    assert ended is not None
    if ended.code == 0 or ended.code == -signal.SIGTERM:  # it was done; or had not begun to listen
        return None if ended.code == 0 else Struck(143, ended.said)
    if ended.code != 143:
        ended.said += f"\nTraceback: SIGTERM ended it with {ended.code}"
    return ended


def _refused(number: int) -> Callable[[Trial], Struck | None]:
    def fault(trial: Trial) -> Struck | None:
        def strike(event: str, path: Path) -> None:
            raise OSError(number, os.strerror(number), str(path))

        return _ended(trial.anywhere(strike))

    return fault


def no_memory(trial: Trial) -> Struck | None:
    """An operation finds no memory."""

    def strike(event: str, path: Path) -> None:
        raise MemoryError

    return _ended(trial.anywhere(strike))


def limited_files(trial: Trial) -> Struck | None:
    """No file may grow beyond a size (RLIMIT_FSIZE), which tears the write that crosses it."""
    sizes = [path.stat().st_size for path in trial.whole.rglob("*") if path.is_file()]
    started = trial.begin(limit=trial.rng.randint(0, max(sizes)))
    ended = _ended(started, struck=True)
    return ended if ended is not None and ended.code else None


def full_disk(trial: Trial) -> Struck | None:
    """The disk, a small tmpfs, has room for a part of what the stage writes."""
    size = sum(path.stat().st_size for path in trial.before.rglob("*") if path.is_file())
    growth = sum(path.stat().st_size for path in trial.whole.rglob("*") if path.is_file()) - size
    place = trial.room
    shutil.rmtree(place)
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", str(place)], check=True)
    shutil.copytree(trial.before, place, dirs_exist_ok=True)
    used = shutil.disk_usage(place).used
    left = trial.rng.randrange(0, max(8192, int(growth * 1.1)))
    subprocess.run(["mount", "-o", f"remount,size={used + left}", str(place)], check=True)
    ended = _ended(trial.begin(), struck=True)
    subprocess.run(["mount", "-o", "remount,size=2g", str(place)], check=True)
    return ended if ended is not None and ended.code else None


def removed_input(trial: Trial) -> Struck | None:
    """A file of what the stage reads is removed in the middle, and is there again for the second call."""
    files = [each for name in INPUTS[trial.stage] for each in sorted((trial.room / name).rglob("*")) if each.is_file()]
    if not files:
        return None
    victim = trial.rng.choice(files)
    name = victim.relative_to(trial.room)

    def strike(event: str, path: Path) -> None:
        victim.unlink(missing_ok=True)

    ended = _ended(trial.anywhere(strike))
    if ended is not None:
        ended.restore = lambda: shutil.copy2(trial.before / name, victim)
        ended.about = victim.stem
    return ended


def removed_output(trial: Trial) -> Struck | None:
    """The stage is killed, and a file of what it has left is removed."""
    ended = _ended(trial.anywhere(lambda event, path: os.kill(os.getpid(), signal.SIGKILL)))
    if ended is None:
        return None
    kept = set(contents(trial.before))
    made = [name for name in contents(trial.room) if name not in kept]
    if not made:
        return None
    victim = trial.rng.choice(made)
    (trial.room / victim).unlink()
    ended.about = f"removed {victim}"
    return ended


def hanging(trial: Trial) -> Struck | None:
    """An operation hangs, as on a network drive that is gone; a second process is told so, SIGTERM ends the first."""
    started = trial.anywhere(lambda event, path: time.sleep(3600))
    while not started.struck:
        pid, _ = os.waitpid(started.pid, os.WNOHANG)
        if pid:
            return None
        time.sleep(0.01)
    started.kill(signal.SIGTERM)
    code = started.wait(30)
    if code is None:
        started.kill()
        started.wait()
    return Struck(code, started.said)


def two_at_once(trial: Trial) -> Struck | None:
    """Two processes with the same command; the second is told of the first, or finds all done."""
    first = trial.begin()
    trial.sometime(first, trial.seconds / 2)
    second = trial.begin()
    codes = sorted((first.wait(), second.wait()), key=lambda code: (code is None, code))
    said = first.said + second.said
    if codes[0] == 0 and codes[1] in (0, 2) and (codes[1] == 0 or "is being written by" in said):
        return Struck(0, said)
    return Struck(codes[1], f"{said}\nTraceback: exit codes {codes}")


def killed_worker(trial: Trial) -> Struck | None:
    """A worker process gets SIGKILL, as from a kernel that is out of memory."""
    if trial.stage not in WITH_WORKERS:
        return None
    words = f"{trial.words.replace(' --workers 0', '')} --workers 2"
    started = start(words, trial.room, trial.scratch)
    end = time.monotonic() + 60
    victims: list[int] = []
    while not victims and time.monotonic() < end:
        if os.waitpid(started.pid, os.WNOHANG)[0]:
            return None
        victims = _workers_of(started.pid)
        time.sleep(0.02)
    time.sleep(trial.rng.uniform(0, 4))
    if victims := _workers_of(started.pid):
        with suppress(ProcessLookupError):
            os.kill(trial.rng.choice(victims), signal.SIGKILL)
    ended = _ended(started, struck=bool(victims))
    return ended if ended is not None and ended.code else None


def _workers_of(pid: int) -> list[int]:
    """The spawned workers of a process, by the words they were started with."""
    import psutil

    with suppress(psutil.Error):
        return [each.pid for each in psutil.Process(pid).children() if "spawn_main" in " ".join(each.cmdline())]
    return []


FAULTS: dict[str, Callable[[Trial], Struck | None]] = {
    "kill": kill_at_some_time,
    "kill-op": kill_before_an_operation,
    "term": terminate,
    "no-space": _refused(errno.ENOSPC),
    "file-limit": limited_files,
    "full-disk": full_disk,
    "io-error": _refused(errno.EIO),
    "hang": hanging,
    "memory": no_memory,
    "worker": killed_worker,
    "no-input": removed_input,
    "no-output": removed_output,
    "two": two_at_once,
}
"""By name. `full-disk` mounts a tmpfs, which takes root."""
BRIEF = ("kill-op", "term", "io-error", "no-space", "no-input")
"""Those of the short form, the first in every stage and one of the others in turn; they need no root and no workers."""


# ------------------------------------------------------------------------------------------------- everything


def warm() -> None:
    """Import what the stages import, once for all forks."""
    import pandas  # noqa: F401
    import torch

    import echocycle.cli
    import echocycle.datasets.prepare
    import echocycle.evaluation.evaluate
    import echocycle.inference.batch
    import echocycle.inference.masks
    import echocycle.phantom.write
    import echocycle.recordings.video
    import echocycle.regression.train
    import echocycle.segmentation.train
    import echocycle.writers.overlay  # noqa: F401

    torch.set_num_threads(1)


def undisturbed(base: Path, room: Path, scratch: Path, stages: list[str]) -> dict[str, tuple[float, int]]:
    """Run the chain once and keep its folders before and after each stage; seconds and operations of each."""
    known = {}
    base.mkdir()
    state = base / "nothing"
    state.mkdir()
    last = max(list(STAGES).index(stage) for stage in stages)
    for stage in list(STAGES)[: last + 1]:
        if stage == "predict":
            _prepare_predict(state)
        _fill(room, state)
        started = start(STAGES[stage], room, scratch)
        code = started.wait()
        if code != 0:
            raise SystemExit(f"{stage} fails without a fault ({code}): {started.said}")
        known[stage] = (time.monotonic() - started.begun, int(started.mark.read_text()))
        (base / stage).mkdir()
        os.rename(state, base / stage / "before")
        shutil.copytree(room, base / stage / "whole")
        state = base / "state"
        shutil.copytree(room, state)
    return known


def _prepare_predict(state: Path) -> None:
    """A model that has learnt some masks, and three recordings; in a process of its own, see `OMP_NUM_THREADS`."""
    pid = os.fork()
    if not pid:
        code = 70
        try:
            from helpers.predicting import SPAN, make_model, write_short

            from echocycle.data.store import Store

            make_model(Store(state / "store"), state / "known" / "teacher")
            (state / "clips").mkdir()
            for number in range(3):
                write_short(state / "videos", state / "clips" / f"clip{number}.avi", SPAN + 1, number)
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(pid, 0)[1]:
        raise SystemExit("The model for predict could not be made.")


def _fill(room: Path, state: Path) -> None:
    """Make a folder what another is; it may be a mounted one."""
    if os.path.ismount(room):
        subprocess.run(["umount", "-l", str(room)], check=True)
    shutil.rmtree(room, ignore_errors=True)
    shutil.copytree(state, room)


def outcome(trial: Trial, struck: Struck) -> str:
    """Empty if the round was survived, else what was lost."""
    if struck.code is None:
        return "it hangs"
    if struck.code >= 0 and ("Traceback" in struck.said or struck.code not in OWN_CODES):
        return f"exit code {struck.code}: {struck.said[-1500:]}"
    if struck.about and struck.code in (0, 1) and struck.about in struck.said:
        return ""  # it left out what was not there, and said so
    struck.restore()
    again = trial.begin()
    code = again.wait()
    if code == 2 and struck.about.startswith("removed ") and re.search("[Dd]elete|Choose", again.said):
        return ""  # a file was taken from it: it says which, and what to do
    if code != 0:
        return f"({struck.about}) the second call ends with {code}: {again.said[-1500:]}"
    return "; ".join(differences(trial.room, trial.whole)[:5])


def main() -> int:
    """Strike, count, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="of each fault and stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--minutes", type=float, default=1e9, help="no new round after so many")
    parser.add_argument("--brief", action="store_true", help="the short form: two faults in each stage")
    asked = parser.parse_args()
    faults = BRIEF if asked.brief else asked.faults.split(",")
    rounds = 1 if asked.brief else asked.rounds
    stages = [stage for stage in STAGES if stage in asked.stages.split(",")]
    begun = time.monotonic()
    injected: Counter[tuple[str, str]] = Counter()
    lost: Counter[tuple[str, str]] = Counter()
    warm()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        home = Path(folder)
        room, scratch = home / "room", home / "scratch"
        scratch.mkdir()
        known = undisturbed(home / "base", room, scratch, stages)
        try:
            for number in range(rounds):
                for stage in stages:
                    others = BRIEF[1:]
                    turn = (BRIEF[0], others[list(STAGES).index(stage) % len(others)])
                    for fault in turn if asked.brief else faults:
                        if time.monotonic() - begun > asked.minutes * 60:
                            continue
                        base = home / "base" / stage
                        rng = random.Random(f"{asked.seed} {number} {stage} {fault}")
                        trial = Trial(stage, room, base / "before", base / "whole", scratch, *known[stage], rng)
                        _fill(room, trial.before)
                        struck = FAULTS[fault](trial)
                        if struck is None:  # it was done before, or there is nothing of that kind
                            continue
                        injected[stage, fault] += 1
                        if what := outcome(trial, struck):
                            lost[stage, fault] += 1
                            print(f"LOST {stage} {fault} round {number} seed {asked.seed}: {what}\n", flush=True)
        finally:
            if os.path.ismount(room):
                subprocess.run(["umount", "-l", str(room)], check=True)
    _print_table(injected, lost, stages, list(faults))
    print(json.dumps({"injected": injected.total(), "lost": lost.total(), "seed": asked.seed}))
    return int(lost.total() > 0)


def _print_table(
    injected: Counter[tuple[str, str]], lost: Counter[tuple[str, str]], stages: list[str], faults: list[str]
) -> None:
    print("| fault | " + " | ".join(stages) + " | injected | lost |")
    print("|---" * (len(stages) + 3) + "|")
    for fault in faults:
        cells = [injected[stage, fault] for stage in stages]
        gone = sum(lost[stage, fault] for stage in stages)
        print(f"| {fault} | " + " | ".join(str(each) if each else "" for each in cells) + f" | {sum(cells)} | {gone} |")
    sums = [sum(injected[stage, fault] for fault in faults) for stage in stages]
    print("| all | " + " | ".join(map(str, sums)) + f" | {injected.total()} | {lost.total()} |")


if __name__ == "__main__":
    sys.exit(main())
