"""`python -m echocycle.zero OUT`: makes the model in the package anew."""

import argparse
from pathlib import Path

import torch

from echocycle.zero.make import TINY, Recipe, make, seeded


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m echocycle.zero", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the model; what is done there is not done again")
    parser.add_argument("--seed", type=int, help="another seed than the package's")
    parser.add_argument("--tiny", action="store_true", help="a few steps: shows that it works, gives no model")
    parser.add_argument("--threads", type=int, default=1, help="cores (the numbers depend on how many)")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    recipe = TINY if given.tiny else Recipe()
    make(given.out, recipe if given.seed is None else seeded(recipe, given.seed), lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
