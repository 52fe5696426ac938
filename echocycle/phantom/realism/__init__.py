"""How much the phantom looks like real clips: it is measured as they were; `python -m echocycle.phantom.realism`."""
