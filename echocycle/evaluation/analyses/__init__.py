"""What a trained model does, beside its numbers: where it looks, what its features do, which of the paper's claims
hold.

Each file is one analysis: pure functions on stored predictions, features, gradients or masks. Those that need a model
(`attention`, `features`, `masks`, `data`) leave their arrays in RUN/analyses/NAME, from which the report is made.
"""
