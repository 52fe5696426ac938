"""`python -m echocycle.experiments`: experiments on a machine that is lent for an hour.

Such a machine may lack some of this package's requirements. `--standins FOLDER` names a folder of modules that stand
in for them (`scripts/standins/`, which `scripts/gpu.sh` passes). An installed package always wins, and the command says
which stand-ins are in use.
"""

import argparse
import importlib.util
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def stand_in(folder: Path) -> list[str]:
    """Let what is not installed be found in a folder, here and in started processes; gives its names."""
    names = sorted(path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists())
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        sys.path.append(str(folder))
    return missing


@contextmanager
def packed(folder: Path, *, wanted: bool) -> Iterator[None]:
    """Leave what the block writes into a folder as one archive, whether it ends well or not; folders stay."""
    archive = folder / "results.tar.gz"
    try:
        yield
    finally:
        found = sorted(folder.glob("*")) if wanted else []
        files = [file for file in found if file.is_file() and file != archive]
        if files:
            from echocycle.files import replacing

            with replacing(archive) as temporary, tarfile.open(temporary, "w:gz") as opened:
                for file in files:
                    opened.add(file, file.name)
            for file in files:
                file.unlink()


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives its exit code."""
    parser = argparse.ArgumentParser(prog="python -m echocycle.experiments", description=__doc__)
    parser.add_argument("--standins", type=Path, help="folder of modules in place of packages that are not installed")
    commands = parser.add_subparsers(dest="command", required=True)
    chain = commands.add_parser("chain", help="rows of Tables I and IV and our own, as many seeds as fit the time")
    chain.add_argument("out", type=Path, help="folder for tables, predictions, curves and JSON")
    chain.add_argument("--minutes", type=float, required=True, help="time for everything")
    chain.add_argument("--work", type=Path, help="folder for phantom, store and runs; else one that is deleted")
    chain.add_argument("--fraction", default="1/8", help="labelled share of the training videos")
    chain.add_argument("--steps", type=int, help="steps of every training, its start's too; else the preset's")
    chain.add_argument("--videos", type=int, help="videos of the phantom, at least 1000")
    chain.add_argument("--experiments", nargs="*", default=[], help="by default table-4 own-row table-1")
    chain.add_argument("--only", nargs="*", default=[], help="rows, by their name or method")
    chain.add_argument("--seeds", type=int, help="at most so many seeds")
    chain.add_argument("--first-seed", type=int, default=0, help="the first of them, so that calls can share the work")
    chain.add_argument("--workers", type=int, default=8, help="processes that draw and decode videos")
    chain.add_argument("--pack", action="store_true", help="leave one file, results.tar.gz, in place of all others")
    chain.add_argument("--smoke", action="store_true", help="everything as small as it can be, on any machine")
    merge = commands.add_parser("merge", help="tables of several chains on the same phantom, as one")
    merge.add_argument("out", type=Path, help="folder for the tables")
    merge.add_argument("folders", type=Path, nargs="+", help="what the chains left")
    asked = parser.parse_args(arguments)
    sys.argv[0] = parser.prog  # as results name their command

    missing = stand_in(asked.standins) if asked.standins else []
    from echocycle.console import console, quiet_libraries
    from echocycle.errors import EchocycleError
    from echocycle.experiments.borrowed import chain as chains
    from echocycle.experiments.flow import MOST_SEEDS

    quiet_libraries()
    if missing:
        console.print(f"Not installed, so stood in for: {', '.join(missing)}.", soft_wrap=True)
    try:
        if asked.command == "merge":
            from echocycle.experiments.results import merge_results

            for page in merge_results(asked.folders, asked.out):
                console.print(f"{page} written.", soft_wrap=True)
            return 0
        most = asked.seeds or (1 if asked.smoke else MOST_SEEDS)
        with tempfile.TemporaryDirectory(prefix="echocycle-") as temporary, packed(asked.out, wanted=asked.pack):
            chains.chain(
                asked.out,
                asked.work or Path(temporary),
                chains.chain_preset(asked.steps, asked.videos, smoke=asked.smoke),
                minutes=asked.minutes,
                fraction=asked.fraction,
                names=asked.experiments or chains.NAMES,
                rows=asked.only,
                seeds=range(asked.first_seed, asked.first_seed + most),
                workers=asked.workers,
            )
    except EchocycleError as error:
        console.print(f"echocycle: {error}", soft_wrap=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
