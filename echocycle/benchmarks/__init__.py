"""The comparison with the usual way: reference.py does it plainly, measure.py times both, report.py shows it."""
