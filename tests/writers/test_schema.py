"""The JSON of a result: its schema file, what is written, and the page that explains it say the same."""

import json
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from helpers.results import full_result

from echocycle.prediction import EfInterval, Flag, MeasuredBeat, Prediction
from echocycle.writers.as_json import LEFT_OUT, SCHEMA_VERSION, write_json

SCHEMA: dict[str, Any] = json.loads((files("echocycle.writers") / "prediction.schema.json").read_text(encoding="utf-8"))
PAGE = Path(__file__).resolve().parents[2] / "docs" / "predict.md"


def check(path: Path) -> dict[str, Any]:
    """A result's content, valid."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(content, SCHEMA, cls=jsonschema.Draft202012Validator)
    return content


def test_the_schema_is_sound_and_knows_every_field() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    known = SCHEMA["properties"]
    assert known["schema_version"]["const"] == SCHEMA_VERSION
    assert set(known) == {each.name for each in fields(Prediction)} - set(LEFT_OUT) | {"schema_version", "disclaimer"}
    for kind, part in (
        (Flag, known["flags"]["items"]),
        (EfInterval, known["interval"]),
        (MeasuredBeat, known["beats"]["items"]),
    ):
        assert set(part["properties"]) == {each.name for each in fields(kind)}, kind


def test_results_are_valid(tmp_path: Path) -> None:
    content = check(write_json(full_result(), tmp_path))
    assert content["beats"][0]["ed"] == 0
    check(write_json(full_result(source="b", result="b", stored_frames=[0, 0, 1]), tmp_path))
    check(write_json(Prediction("c.avi", None, "all", float("nan"), 0), tmp_path))


@pytest.mark.parametrize(
    "wrong",
    [{"ef": 101}, {"ef": "60"}, {"fps": None, "extra": 1}, {"schema_version": 1}, {"headline": "both"},
     {"flags": [{"code": "a", "sentence": "b", "severity": "bad"}]}, {"spacing_mm": [1]}],
)  # fmt: skip
def test_what_is_wrong_is_not_valid(tmp_path: Path, wrong: dict[str, Any]) -> None:
    content = check(write_json(full_result(), tmp_path))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, **wrong}, SCHEMA)


def rows(properties: dict[str, Any], before: str = "") -> list[str]:
    """The lines of the page's table, with the fields of nested objects."""
    found = []
    for name, field in properties.items():
        cells = (f"`{before}{name}`", field.get("unit", ""), field.get("source", ""), field["description"])
        found.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        inside = field.get("items", field)
        if "properties" in inside and name not in ("interval_by_discs", "category_probabilities"):
            found += rows(inside["properties"], f"{before}{name}{'[]' if 'items' in field else ''}.")
    return found


def test_the_page_explains_every_field_with_unit_and_source() -> None:
    """The table of docs/predict.md is that of the schema; print it with `python -m tests.writers.test_schema`."""
    text = PAGE.read_text(encoding="utf-8")
    missing = [row for row in rows(SCHEMA["properties"]) if row not in text]
    assert not missing


if __name__ == "__main__":
    print("\n".join(rows(SCHEMA["properties"])))
