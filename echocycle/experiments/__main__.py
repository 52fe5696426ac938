"""`python -m echocycle.experiments`: see `borrowed/__main__.py`."""

import sys

from echocycle.experiments.borrowed.__main__ import main

if __name__ == "__main__":  # started processes import this module again
    sys.exit(main())
