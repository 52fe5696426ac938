"""How a parameter of a stage function is written on the command line, where its name and type do not say it all."""

from cyclopts import Parameter

Flat = Parameter(name="*")
"""Settings whose fields are options of their own: `--batch`, not `--settings.batch`."""
Out = Parameter(alias="-o")
"""The folder or page that is written."""
Model = Parameter(alias="-m")
"""A trained model."""
Several = Parameter(negative="", consume_multiple=True)
"""One or more values after one option."""
Flag = Parameter(negative="")
"""A switch without an opposite."""
Unseen = Parameter(parse=False)
"""For the Python call alone."""
