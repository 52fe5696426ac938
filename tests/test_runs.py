"""A run's folder: every key of run.json, which settings make another run, and who resumes what."""

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from echocycle.errors import EchocycleError
from echocycle.files import read_json, write_json
from echocycle.runs import KINDS, Run, finished, versions
from echocycle.settings.convert import identity, identity_of, to_dict
from echocycle.settings.presets import preset
from echocycle.settings.stages import (
    EvaluateSettings,
    LoopSettings,
    MaskSettings,
    PrepareSettings,
    RegressSettings,
    SegmentSettings,
)

FACTS = {
    "data": {"id": "abc", "source": "videos", "phantom_version": None},
    "budget": {
        "labelled": 1,
        "unlabelled": 2,
        "validation": 3,
        "labels_used_in_all": 4,
        "unlabelled_annotation_allowed": False,
    },
    "reads_unlabelled_annotation": False,
}
WHERE = {"store": "somewhere"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    begun = Run(tmp_path / "run")
    assert begun.start("segment", SegmentSettings(), FACTS, WHERE)
    return begun


def keys(of: dict[str, Any], *before: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for key, kind in of.items():
        found.append((*before, key))
        if isinstance(kind, dict):
            found += keys(kind, *before, key)
    return found


@pytest.mark.parametrize("where", keys(KINDS), ids=".".join)
def test_every_key_of_run_json(run: Run, where: tuple[str, ...]) -> None:
    """Missing, null or of another kind: reading it and going on with it are one sentence that names file and key."""
    content = json.dumps(read_json(run.path / "run.json"))

    def said(change: Callable[[dict[str, Any], str], object]) -> list[str]:
        copy = json.loads(content)
        inside = copy
        for key in where[:-1]:
            inside = inside[key]
        change(inside, where[-1])
        write_json(run.path / "run.json", copy)
        found = []
        for read in (
            lambda: run.info,
            lambda: finished(run.path),
            lambda: run.start("segment", SegmentSettings(), FACTS, WHERE),
        ):
            with pytest.raises(EchocycleError) as raised:
                read()
            found.append(str(raised.value))
        return found

    for text in said(lambda values, key: values.pop(key)):
        assert where[-1] in text
    for value in (None, [1], -2.5, {"a": [2]}):
        if where == ("data", "phantom_version") and value is None:
            continue
        for text in said(lambda values, key, value=value: values.update({key: value})):
            assert where[-1] in text or "settings" in text
            assert "run.json" in text or str(run.path) in text


def test_a_run_json_that_is_no_table_of_values(run: Run) -> None:
    for text in ("", "{", "[]", "3", "null", '"x"'):
        (run.path / "run.json").write_text(text)
        for read in (lambda: run.info, lambda: run.start("segment", SegmentSettings(), FACTS, WHERE)):
            with pytest.raises(EchocycleError, match=r"run\.json"):
                read()


def test_what_says_how_to_compute_makes_no_other_run(run: Run) -> None:
    loop = LoopSettings(device="cpu", workers=3, checkpoint_seconds=1.0, tensorboard=False)
    assert run.start("segment", SegmentSettings(loop=loop), FACTS, {"store": "moved"})
    for other in (
        SegmentSettings(batch=21),
        SegmentSettings(loop=LoopSettings(seed=1)),
        SegmentSettings(option={"a": "1"}),
    ):
        with pytest.raises(EchocycleError, match="holds a run with other settings"):
            run.start("segment", other, FACTS, WHERE)
    with pytest.raises(EchocycleError, match=r"settings \(data\.id was 'abc', is 'other'\)"):
        run.start("segment", SegmentSettings(), {**FACTS, "data": {**FACTS["data"], "id": "other"}}, WHERE)
    with pytest.raises(EchocycleError, match="stage was 'segment'"):
        run.start("regress", SegmentSettings(), FACTS, WHERE)


def test_a_finished_run_is_done_and_its_resume_point_goes(run: Run) -> None:
    (run.path / "resume.ckpt").write_bytes(b"left")
    run.finish({"steps": 3})
    assert run.closed
    (run.path / "resume.ckpt").write_bytes(b"left by a kill")
    assert run.done
    assert not run.closed
    assert not run.start("segment", SegmentSettings(), FACTS, WHERE)
    assert run.closed


# ------------------------------------------------------------------------------------------------- identity

OPERATIONAL = {
    SegmentSettings: {"loop": {"device", "workers", "checkpoint_seconds", "tensorboard"}},
    RegressSettings: {"loop": {"device", "workers", "checkpoint_seconds", "tensorboard"}},
    MaskSettings: {"": {"batch", "device"}},
    EvaluateSettings: {"": {"batch", "device"}},
    PrepareSettings: {"": {"workers", "allow_mixed", "license"}},
}


BESIDE: dict[str, dict[str, str]] = {"rate": {"time": "seconds"}, "salt_file": {"patients": "hashed"}}
"""What a setting needs another to be."""


@pytest.mark.parametrize("cls", OPERATIONAL, ids=lambda cls: cls.__name__)
def test_the_settings_that_make_a_result_another(cls: type) -> None:
    """Exactly these are left out; of the others each that is changed shows."""
    settings = cls()
    found, whole = identity(settings), json.loads(json.dumps(to_dict(settings)))
    for name, left_out in OPERATIONAL[cls].items():
        inside, all_of = (found[name], whole[name]) if name else (found, whole)
        assert set(all_of) - set(inside) == left_out
    for field in fields(cls):
        if field.name in OPERATIONAL[cls].get("", ()) or is_dataclass(get_type_hints(cls)[field.name]):
            continue
        value = getattr(settings, field.name)
        others = {bool: not value, int: 77, float: 7.5, str: "other"}
        other = (
            ("other",) if isinstance(value, tuple) or value is None else {"a": "b"} if isinstance(value, dict) else None
        )
        if field.name == "widths":
            other = (1, 2, 3, 4)
        if other is None:
            other = others[type(value)]
        beside = BESIDE.get(field.name, {})
        without = found if field.name == "salt_file" else identity(replace(settings, **beside))
        assert identity(replace(settings, **beside, **{field.name: other})) != without, field.name


def test_the_identity_of_saved_settings_is_that_of_the_settings() -> None:
    for name in ("tiny", "phantom", "paper"):
        settings = preset(name).regression("student")
        saved = json.loads(json.dumps(to_dict(settings)))
        assert identity_of(RegressSettings, saved) == identity(settings)
    assert identity_of(RegressSettings, None) is None
    assert identity_of(RegressSettings, {"loop": None, "new": 3}) == {"loop": None, "new": 3}


def test_versions_are_what_a_run_must_say() -> None:
    assert {"versions", "machine", "command"} == set(versions())
