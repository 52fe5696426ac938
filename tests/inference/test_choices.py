"""What a call of `predict` may ask for, and what contradicts itself."""

from typing import Any

import pytest

from echocycle.errors import EchocycleError
from echocycle.inference.choices import Choices, choose


def test_what_is_asked_for_nothing_else() -> None:
    assert choose() == Choices()
    assert choose().formats == ("masks", "json", "overlay", "csv")
    assert choose().protocol_in_words("frames") == "clips every 4 frames, mean; time in frames"
    assert choose(fast=True).stride == 16
    assert choose(stride=2).stride == 2
    words = {
        choose(protocol=name).protocol_in_words("seconds") for name in ("one-clip", "all-clips", "beats", "strided")
    }
    assert len(words) == 4


def test_formats_are_names_with_commas_in_the_order_of_writing() -> None:
    assert choose(formats="overlay, csv,json").formats == ("json", "overlay", "csv")
    assert choose(formats=["sr", "seg,html"]).formats == ("json", "seg", "sr", "html")
    assert choose(formats="png").formats == ("json", "png")  # the next call reads the JSON


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"protocol": "all"}, "must be one of one-clip, all-clips, strided, beats"),
        ({"protocol": "beats", "stride": 4}, "--stride belongs to --protocol strided"),
        ({"protocol": "one-clip", "fast": True}, "--fast belongs to --protocol strided"),
        ({"stride": 4, "fast": True}, "--fast means --stride 16"),
        ({"stride": 0}, "must be above 0"),
        ({"formats": "json,pdf"}, "no format 'pdf'"),
        ({"formats": ""}, "no format ''"),
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(EchocycleError, match=message):
        choose(**asked)
