"""`python -m echocycle`, the same as the command."""

import sys

from echocycle.cli import main

sys.exit(main())
