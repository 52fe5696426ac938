"""What the picture shows where the reader traces the cavity in a way of his own."""

from dataclasses import replace

from echocycle.phantom.heart import Heart
from echocycle.phantom.look import Look


def as_seen(heart: Heart, look: Look) -> Heart:
    """The cavity that the picture shows where the reader traces a shorter one: `heart` is what is traced."""
    if not (look.reader_apex or look.reader_base or look.reader_side):
        return heart
    _, _, along_x, along_y, _ = heart.axis(0.0)
    return replace(
        heart,
        length=heart.length + look.reader_apex + look.reader_base,
        apex_x=heart.apex_x - look.reader_apex * along_x + look.reader_side * along_y,
        apex_y=heart.apex_y - look.reader_apex * along_y - look.reader_side * along_x,
    )


def moved_less(seen: Heart, look: Look) -> Heart:
    """The walls of the visible cavity, which move less than a tight reader's outline; the base moves with it."""
    if look.reader_apex_tightness:
        held = look.reader_apex_tightness * seen.shortening * seen.length
        seen = replace(seen, apex_descent=seen.apex_descent - held, shortening=seen.shortening - held / seen.length)
    if look.reader_tightness:
        seen = replace(seen, narrowing=seen.narrowing * (1 - look.reader_tightness))
    return seen
