"""The model in the package that has seen no patient: trained on the phantom alone."""
