"""Pages that people read: one set of blocks for the run report, the experiments and the benchmark."""
