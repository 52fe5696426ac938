"""Training: the contract of a method, the one loop, its log, its set-up."""
