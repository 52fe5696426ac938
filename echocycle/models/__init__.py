"""Networks only: what they are made of, what goes in and comes out, how given weights are loaded."""
