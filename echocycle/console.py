"""Where people read: one console for progress and messages, on standard error; results go to standard output."""

import io
import logging
import sys
import warnings

from rich.console import Console

# No markup: file names and messages may hold square brackets.
console = Console(stderr=True, markup=False, emoji=False)
output = Console(soft_wrap=True, markup=False, emoji=False)


def quiet_libraries() -> None:
    """Keep other libraries' adverts and notes out of the way."""
    for name in ("lightning.fabric", "lightning.pytorch", "lightning_fabric", "lightning_utilities"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")


def escape_what_cannot_be_shown() -> None:
    """Let standard output and error escape what their encoding lacks (a Chinese path in a Windows log), not fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
