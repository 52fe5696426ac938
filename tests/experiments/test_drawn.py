"""An experiment's numbers as a figure: by share of labels, by setting; none where there is nothing to draw."""

from pathlib import Path

import pandas as pd
import pytest

from echocycle.experiments.drawn import _by_setting, drawn_section, write_figures
from echocycle.reporting.blocks import Figure


def tidy(*rows: tuple[str, str, str, str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["row", "column", "label_fraction", "mean", "std"])
    return frame.assign(metric="MAE", protocol="strided")


def test_the_error_against_the_share_of_labels(tmp_path: Path) -> None:
    table = tidy(("Ours", "1/8 labels", "1/8", "4.0", "0.1"), ("Ours", "1/2 labels", "1/2", "3.0", ""),
                 ("Video", "1/8 labels", "1/8", "5.0", "0.2"))  # fmt: skip
    section = drawn_section("table-4", table)
    assert section is not None
    write_figures(tmp_path, section)
    svg = (tmp_path / "table-4.svg").read_text()
    assert all(words in svg for words in ("Ours", "Video", "1/8", "MAE, EF points (strided)"))
    assert (tmp_path / "table-4.png").stat().st_size > 5000
    (figure,) = section.blocks
    assert isinstance(figure, Figure)
    assert figure.file == "table-4.svg"


def test_the_error_against_each_setting() -> None:
    rows = [(f"s={s}", "f_e", "1/8", f"{4 + s / 10}", "") for s in (2, 4, 5)]
    table = tidy(*rows, ("tau=1", "f_e", "1/8", "5.0", ""), ("s=3, c=2, tau=10", "f_e", "1/8", "4.0", ""))
    found = _by_setting(table)
    assert set(found) == {"s", "tau"}  # of c there is the usual value alone
    assert sorted(point[:2] for point in found["s"]["f_e"]) == [(2, 4.2), (3, 4.0), (4, 4.4), (5, 4.5)]
    section = drawn_section("figure-7", table)
    assert section is not None
    (figure,) = section.blocks
    assert isinstance(figure, Figure)
    assert "frames in a phase, s" in figure.picture.svg


@pytest.mark.parametrize("rows", [[("Ours", "1/8 labels", "1/8", "4.0", "")], []])
def test_nothing_to_draw(rows: list[tuple[str, str, str, str, str]], tmp_path: Path) -> None:
    section = drawn_section("table-1", tidy(*rows))
    assert section is None
    write_figures(tmp_path, section)
    assert not list(tmp_path.iterdir())
