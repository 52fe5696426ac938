"""Settings survive a file, unknown keys are refused with a hint, and values have the type they say."""

import json
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any

import pytest

from echocycle import regression, segmentation
from echocycle.errors import EchocycleError
from echocycle.settings.convert import from_dict, to_dict
from echocycle.settings.presets import PRESETS, preset
from echocycle.settings.stages import (
    EvaluateSettings,
    LoopSettings,
    MaskSettings,
    OptimiserSettings,
    PrepareSettings,
    RegressSettings,
    SegmentSettings,
)

STAGES = (PrepareSettings, SegmentSettings, MaskSettings, RegressSettings, EvaluateSettings)


def every_preset_setting() -> list[Any]:
    found: list[Any] = [stage() for stage in STAGES]
    for name in PRESETS:
        chosen = preset(name)
        found += [chosen.segment, chosen.mask, chosen.evaluate, *chosen.regress.values()]
        found += [chosen.regression(method) for method in regression.METHODS]
        found += [chosen.segmentation(method) for method in segmentation.METHODS]
    return found


@pytest.mark.parametrize("settings", every_preset_setting(), ids=lambda s: type(s).__name__)
def test_settings_survive_json(settings: Any) -> None:
    again = from_dict(type(settings), json.loads(json.dumps(to_dict(settings))))
    assert again == settings
    assert hash(json.dumps(to_dict(again))) == hash(json.dumps(to_dict(settings)))


def test_a_later_field_leaves_the_settings_of_earlier_runs_as_they_were() -> None:
    """run.json of a run made before the field, and the name that an experiment gave it, are those of today's default."""
    labels = to_dict(RegressSettings())["labels"]
    assert "untraced" not in labels
    assert from_dict(type(RegressSettings().labels), labels).untraced == "keep"
    dropping = replace(RegressSettings(), labels=replace(RegressSettings().labels, untraced="drop"))
    assert to_dict(dropping)["labels"]["untraced"] == "drop"
    assert to_dict(RegressSettings(), whole=True)["labels"] == {**labels, "untraced": "keep", "calibration": "0"}


@pytest.mark.parametrize("kind", [m for ms in (segmentation.METHODS, regression.METHODS) for m in ms.values()])
def test_options_survive_text(kind: Any) -> None:
    """As the command line gives them: every value a string."""
    options = kind.Options()
    assert from_dict(kind.Options, {key: str(value) for key, value in asdict(options).items()}) == options


@pytest.mark.parametrize("name", PRESETS)
def test_a_presets_options_are_its_methods(name: str) -> None:
    chosen = preset(name)
    for method, kind in segmentation.METHODS.items():
        assert chosen.segmentation(method).method == method
        from_dict(kind.Options, chosen.segmentation(method).option)
    for method, kind in regression.METHODS.items():
        assert chosen.regression(method).method == method
        from_dict(kind.Options, chosen.regression(method).option)


def test_the_papers_values() -> None:
    chosen = preset("paper")
    segment, student = chosen.segment, chosen.regression("student")
    assert (segment.batch, segment.optimiser.lr, segment.optimiser.name, segment.optimiser.momentum) == (
        20,
        1e-5,
        "sgd",
        0.9,
    )
    assert (student.frames, student.period, student.pad, student.span, student.batch) == (32, 2, 12, 63, 20)
    rule = student.optimiser
    assert (rule.lr, rule.weight_decay, rule.schedule, rule.step_epochs, rule.gamma) == (1e-4, 1e-4, "step", 15, 0.1)
    assert student.fc_bias == 55.6
    assert (student.labels.labelled, student.labels.pool, student.labels.seed) == ("920", "7360", 0)
    assert chosen.regression("supervised").loop.epochs == 45
    assert chosen.evaluate.protocol == ("all-clips",)


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(EchocycleError, match="'bach' in SegmentSettings. Did you mean 'batch'"):
        from_dict(SegmentSettings, {"bach": 3})
    with pytest.raises(EchocycleError, match=r"loop\.'stepz' in LoopSettings. Did you mean 'steps'"):
        from_dict(SegmentSettings, {"loop": {"stepz": 3}})
    with pytest.raises(EchocycleError, match=r"option\.'zzz' in CSSOptions. It takes: .*temperature"):
        from_dict(segmentation.METHODS["css"].Options, {"zzz": 1}, "option.")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch": "many"}, "batch is 'many'; it takes int"),
        ({"batch": 2.5}, "batch is 2.5; it takes int"),
        ({"loop": 5}, "loop takes named settings"),
        ({"loop": {"tensorboard": "perhaps"}}, "takes bool"),
        ({"loop": {"device": "tpu"}}, "choose one of auto, cpu, cuda"),
        ({"optimiser": {"lr": "fast"}}, r"optimiser\.lr is 'fast'; it takes float"),
        ({"batch": 0}, "above 0"),
        ({"batch": -3}, "above 0"),
        ({"size": 8}, "16 to 1024"),
        ({"optimiser": {"lr": 0}}, "above 0"),
        ({"loop": {"steps": 0}}, "loop.steps is 0"),
        ({"loop": {"epochs": 0}}, "loop.epochs is 0"),
        ({"loop": {"workers": -1}}, "negative"),
        ({"labels": {"labelled": "lots"}}, "labels.labelled is 'lots'"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(EchocycleError, match=message):
        from_dict(SegmentSettings, values)


def test_text_becomes_the_right_type() -> None:
    made = from_dict(
        RegressSettings,
        {
            "widths": "4,8,8,8",
            "fc_bias": "none",
            "batch": "3",
            "loop": {"steps": "7", "tensorboard": "False"},
            "labels": {"labelled": 12},
            "option": {"weight": 5},
        },
    )
    assert made.widths == (4, 8, 8, 8)
    assert made.fc_bias is None
    assert (made.batch, made.loop.steps, made.loop.tensorboard) == (3, 7, False)
    assert made.labels.labelled == "12"
    assert made.option == {"weight": 5}
    assert from_dict(EvaluateSettings, {"protocol": "one-clip,strided"}).protocol == ("one-clip", "strided")


@pytest.mark.parametrize("widths", ["4,8,8", "1,2,3,4,5", "0,1,1,1"])
def test_widths_are_four(widths: str) -> None:
    with pytest.raises(EchocycleError, match="widths takes four"):
        from_dict(RegressSettings, {"widths": widths})


def test_settings_are_frozen() -> None:
    for settings in (LoopSettings(), OptimiserSettings(), *(stage() for stage in STAGES)):
        first = fields(settings)[0].name
        with pytest.raises(AttributeError):
            setattr(settings, first, 1)


def documented(kind: type) -> list[str]:
    """Names of fields with a sentence under them."""
    import ast
    import inspect
    import itertools

    body = ast.parse(inspect.getsource(kind)).body[0].body  # type: ignore[attr-defined]
    return [
        a.target.id  # type: ignore[attr-defined]
        for a, b in itertools.pairwise(body)
        if isinstance(a, ast.AnnAssign) and isinstance(b, ast.Expr) and isinstance(b.value, ast.Constant)
    ]


@pytest.mark.parametrize(
    "kind",
    [
        *STAGES,
        LoopSettings,
        OptimiserSettings,
        *(m.Options for m in regression.METHODS.values()),
        *(m.Options for m in segmentation.METHODS.values()),
    ],
)
def test_every_setting_has_a_sentence(kind: Any) -> None:
    values = {f.name: getattr(kind(), f.name) for f in fields(kind)}
    assert set(documented(kind)) >= {name for name, value in values.items() if not is_dataclass(value)}


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(EchocycleError, match="no preset 'papers'; choose one of paper, phantom, tiny"):
        preset("papers")


@dataclass(frozen=True)
class _Maybe:
    number: int | None = 3
    flag: bool = True


def test_none_and_no_can_be_said() -> None:
    assert from_dict(_Maybe, {"number": "none", "flag": "no"}) == replace(_Maybe(), number=None, flag=False)
    assert from_dict(_Maybe, {"number": None, "flag": False}) == _Maybe(None, False)
