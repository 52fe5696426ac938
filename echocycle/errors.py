"""The two ways in which a command ends early; everything else is a bug."""


class EchocycleError(Exception):
    """Wrong usage or bad input. The message names the file or setting and says what to do. Exit code 2."""

    exit_code = 2


class Finding(EchocycleError):
    """The command worked, and what it found is not all right (a damaged video, a refused row). Exit code 1."""

    exit_code = 1


class UnlabelledAnnotationError(EchocycleError):
    """Somebody asked for a label or a tracing of a video that is declared unlabelled."""
