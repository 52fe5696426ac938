"""A model's verdict says what it is worth, stays with its weights, and is read again as it was."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from echocycle.errors import EchocycleError
from echocycle.files import write_json
from echocycle.verdict import Verdict, read_verdict, write_verdict

BAD = Verdict("test", 6, 15.3, 11.0, 19.0, 50.2, 10.4, "all-clips")
UNSURE = replace(BAD, error=9.0, low=7.0, high=11.0)
GOOD = replace(BAD, videos=120, error=4.38, low=3.73, high=5.06)


def bundle(folder: Path, weights: str = "a" * 64) -> Path:
    """The description of a bundle, which is all that a verdict needs."""
    parts = {"regressor": {"sha256": weights, "spec": {}}}
    write_json(folder / "settings.json", {"format": 1, "parts": parts, "provenance": {}, "reference": {}})
    return folder


def test_the_sentence() -> None:
    assert BAD.sentence() == (
        "On 6 test videos this model errs by 15.3 points; always answering 50.2 % errs by 10.4. Do not use it."
    )
    assert UNSURE.sentence() == (
        "On 6 test videos this model errs by 9.0 points (95 % interval 7.0 to 11.0); always answering 50.2 % errs by "
        "10.4. It is not shown to be better than that."
    )
    assert GOOD.sentence() == (
        "On 120 test videos this model errs by 4.4 points (95 % interval 3.7 to 5.1); always answering 50.2 % errs by "
        "10.4."
    )
    assert "6 validation videos" in replace(BAD, split="val").sentence()
    assert (BAD.bad, UNSURE.bad, GOOD.bad) == (True, False, False)
    assert (BAD.shown, UNSURE.shown, GOOD.shown) == (False, False, True)
    assert replace(BAD, error=10.4).bad  # as good as not looking is not good
    assert not replace(GOOD, low=None, high=None).shown


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = bundle(tmp_path / "run" / "model").parent
    assert read_verdict(run) is None
    assert write_verdict(run, GOOD) == run / "model" / "verdict.json"
    assert read_verdict(run) == read_verdict(run / "model") == GOOD
    write_verdict(run / "model", replace(GOOD, low=None, high=None))
    assert read_verdict(run) == replace(GOOD, low=None, high=None)


def test_it_is_about_these_weights_only(tmp_path: Path) -> None:
    write_verdict(bundle(tmp_path), GOOD)
    bundle(tmp_path, "b" * 64)  # trained again
    assert read_verdict(tmp_path) is None


def test_what_is_no_verdict_is_refused(tmp_path: Path) -> None:
    write_verdict(bundle(tmp_path), GOOD)
    content = json.loads((tmp_path / "verdict.json").read_text())
    wrong = [
        {name: value} for name in content if name not in ("weights", "sentence") for value in (None, "many", True, [])
    ]
    wrong = [
        each for each in wrong if each not in ({"low": None}, {"high": None}, {"split": "many"}, {"protocol": "many"})
    ]
    for change in [*wrong, {"videos": 0}, {"error": -1.0}]:
        (tmp_path / "verdict.json").write_text(json.dumps({**content, **change}))
        with pytest.raises(EchocycleError, match="not a readable verdict"):
            read_verdict(tmp_path)
    for missing in content.keys() - {"sentence"}:
        (tmp_path / "verdict.json").write_text(json.dumps({k: v for k, v in content.items() if k != missing}))
        with pytest.raises(EchocycleError, match="not a readable verdict"):
            read_verdict(tmp_path)
    for text in ("[]", "3", "null"):
        (tmp_path / "verdict.json").write_text(text)
        with pytest.raises(EchocycleError, match="not a readable verdict"):
            read_verdict(tmp_path)
    (tmp_path / "verdict.json").write_text("{torn")
    with pytest.raises(EchocycleError, match="not readable JSON"):
        read_verdict(tmp_path)
    with pytest.raises(ValueError, match="no verdict"):
        replace(GOOD, error=math.nan)
