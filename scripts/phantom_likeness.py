"""How much the phantom looks like real clips: the same as `python -m echocycle.phantom.realism`."""

from echocycle.phantom.realism.__main__ import main

raise SystemExit(main())
