"""Stage 5, evaluation: from tables of predictions to numbers, figures and one page."""
