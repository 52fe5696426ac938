"""Plans: what is shared is one job, what differs is two, and every row of the paper's tables has its place."""

from dataclasses import replace
from pathlib import Path

import pytest

from echocycle.errors import EchocycleError
from echocycle.experiments import EXPERIMENTS
from echocycle.experiments.asked import find
from echocycle.experiments.collect import column_of, paper_numbers
from echocycle.experiments.plan import (
    Plan,
    Regressor,
    Row,
    Segmenter,
    Together,
    fraction_value,
    only,
    plan,
    student,
    teacher,
)
from echocycle.experiments.two_teachers import committee, mask_teacher
from echocycle.settings.presets import preset
from echocycle.settings.stages import RegressSettings

CSS = Segmenter("css")


def planned(rows: tuple[Row, ...], fractions: tuple[str, ...] = ("1/8",), seeds: int = 1, name: str = "tiny") -> Plan:
    return plan(rows, preset(name), Path("store"), "id", Path("runs"), fractions=fractions, seeds=range(seeds))


def stages_of(found: Plan) -> list[str]:
    return [job.kind for job in found.jobs.values()]


def test_a_student_brings_all_it_is_built_on() -> None:
    found = planned((Row("ours", student(CSS)),))
    assert stages_of(found) == ["segment css", "mask css", "regress teacher", "regress student", "evaluate student"]
    jobs = list(found.jobs.values())
    assert jobs[3].needs == (jobs[1].name, jobs[2].name)
    assert (jobs[3].masks, jobs[3].teachers) == (jobs[0].run, (jobs[2].run,))


def test_a_committee_waits_for_all_its_teachers() -> None:
    """They share masks and evaluations with the rows that show them alone."""
    alone = Row("f_m", teacher(CSS)), Row("masks alone", mask_teacher(CSS))
    found = planned((*alone, Row("both", committee(CSS))))
    assert stages_of(found) == [
        "segment css", "mask css", "regress teacher", "evaluate teacher", "regress mask_teacher",
        "evaluate mask_teacher", "regress committee", "evaluate committee",
    ]  # fmt: skip
    jobs = {job.kind: job for job in found.jobs.values()}
    both = jobs["regress committee"]
    assert both.teachers == (jobs["regress teacher"].run, jobs["regress mask_teacher"].run)
    assert both.needs == tuple(jobs[f"{name}"].name for name in ("mask css", "regress teacher", "regress mask_teacher"))
    one = planned((Row("one", committee(CSS, mask_teacher(CSS), start="weights")),))
    assert "regress teacher" not in stages_of(one)


def test_those_that_answer_together_are_trained_apart() -> None:
    members = teacher(CSS), mask_teacher(CSS)
    found = planned((Row("both", Together(members)),))
    assert stages_of(found) == [
        "segment css", "mask css", "regress teacher", "evaluate teacher", "regress mask_teacher", "evaluate mask_teacher",
    ]  # fmt: skip
    assert found.cells[0].runs == tuple(job.run for job in found.jobs.values() if job.stage == "regress")
    assert planned((Row("alone", members[0]), Row("both", Together(members)))).jobs.keys() == found.jobs.keys()


def test_a_segmenter_whose_training_is_cut_short_is_another() -> None:
    found = planned((Row("short", teacher(Segmenter("css", steps=10))), Row("whole", teacher(CSS))))
    assert [j.settings.loop.steps for j in found.jobs.values() if j.stage == "segment"] == [10, 300]  # type: ignore[union-attr]
    assert stages_of(found).count("mask css") == stages_of(found).count("regress teacher") == 2


def test_what_is_the_same_is_one_job() -> None:
    """The default said aloud is the default; one segmenter and one teacher serve two students."""
    same = Row("a", student(CSS)), Row("b", student(Segmenter("css", {"weight": "0.01"})))
    assert len(planned(same).jobs) == 5
    two = planned((Row("a", student(CSS)), Row("b", student(CSS, option={"weight": "2"}))))
    assert stages_of(two).count("regress teacher") == stages_of(two).count("segment css") == 1
    assert stages_of(two).count("regress student") == 2
    assert len(planned((same[0], Row("c", student(Segmenter("css", {"weight": "0.02"}))))).jobs) == 10


def test_seeds_and_fractions_are_runs_of_their_own_and_4_32_is_1_8() -> None:
    rows = (Row("video", Regressor("supervised")),)
    assert len(planned(rows, ("1/8", "1/4"), seeds=3).jobs) == 12
    assert planned(rows, ("4/32",)).jobs.keys() == planned(rows, ("1/8",)).jobs.keys()
    job = next(iter(planned(rows, ("1/8",), seeds=2).jobs.values()))
    assert job.settings.labels.labelled == "1/8"  # type: ignore[union-attr]
    assert [j.settings.loop.seed for j in planned(rows, seeds=2).jobs.values() if j.stage == "regress"] == [0, 1]  # type: ignore[union-attr]


def test_with_all_labels_only_what_learns_from_labels_is_run() -> None:
    rows = (Row("video", Regressor("supervised"), all_labels=True), Row("ours", student(CSS)))
    found = planned(rows, ("1/8", "All"))
    assert [(cell.row.name, cell.fraction) for cell in found.cells] == [
        ("video", "1/8"), ("video", "All"), ("ours", "1/8"),
    ]  # fmt: skip
    with pytest.raises(EchocycleError, match="all labels"):
        planned(rows[1:], ("All",))


def test_one_segmenters_rows_follow_one_another() -> None:
    """However the table orders them, so that one mask set can be deleted before the next is written."""
    supervised = Segmenter("supervised")
    rows = tuple(Row(str(n), teacher(masks)) for n, masks in enumerate((CSS, supervised)))
    rows += tuple(Row(f"{n} taught", student(masks)) for n, masks in enumerate((CSS, supervised)))
    found = planned(rows)
    order = [job.masks.name.split("-")[1] for job in found.jobs.values() if job.stage == "regress" and job.masks]
    assert order == ["css", "css", "supervised", "supervised"]
    assert [cell.row.name for cell in found.cells] == ["0", "1", "0 taught", "1 taught"]


def test_a_start_that_does_not_come_with_the_package_is_made_once() -> None:
    """For all seeds, fractions and methods of one network; what has a start in the package keeps its name."""
    rows = Row("R2+1D", Regressor("supervised")), Row("MC3", Regressor("supervised", network="mc3_18"))
    more = Row("MC3, UCVME", Regressor("ucvme", network="mc3_18"))
    found = planned((*rows, more), ("1/8", "1/4"), seeds=2)
    (start,) = [job for job in found.jobs.values() if job.method == "shapes"]
    assert isinstance(start.settings, RegressSettings)
    assert (start.settings.network, start.settings.weights) == ("mc3_18", "none")
    trained = [job for job in found.jobs.values() if job.stage == "regress" and job is not start]
    assert len(trained) == 12
    for job in trained:
        assert isinstance(job.settings, RegressSettings)
        begins = job.settings.network == "mc3_18"
        assert (job.start, job.needs) == ((start.run, (start.name,)) if begins else (None, ()))
    assert not [job for job in planned(rows, name="paper").jobs.values() if job.start]
    (full,) = [job for job in planned(rows[:1], name="phantom").jobs.values() if job.method == "shapes"]
    assert isinstance(full.settings, RegressSettings)
    assert (full.settings.widths, full.settings.size) == ((64, 128, 256, 512), 112)


def test_all_labels_are_all() -> None:
    """The paper's pool of 7360 belongs to its fractions; with all labels it has 7465."""
    row = Row("video", Regressor("supervised"), all_labels=True)
    pools = {
        fraction: {
            job.settings.labels.pool
            for job in planned((row,), (fraction,), name="paper").jobs.values()
            if isinstance(job.settings, RegressSettings)
        }
        for fraction in ("1/8", "All")
    }
    assert pools == {"1/8": {"7360"}, "All": {"all"}}


def test_a_start_is_not_asked_to_begin_from_itself() -> None:
    chosen = preset("paper")
    shapes = replace(chosen, regress={name: replace(each, weights="shapes") for name, each in chosen.regress.items()})
    rows = (Row("video", Regressor("supervised")),)
    found = plan(rows, shapes, Path("store"), "id", Path("runs"), fractions=["1/8"], seeds=[0])
    (start,) = [job for job in found.jobs.values() if job.method == "shapes"]
    assert isinstance(start.settings, RegressSettings)
    assert start.settings.weights == "none"


@pytest.mark.parametrize("name", ["own-parts", "precision"])
@pytest.mark.parametrize("chosen", ["tiny", "paper", "phantom"])
def test_what_a_study_compares_differs(name: str, chosen: str) -> None:
    rows = EXPERIMENTS[name].rows
    cells = planned(rows, name=chosen).cells
    assert len({cell.runs for cell in cells}) == len(rows)


def test_masks_are_needed_in_use_only_by_networks_that_see_them() -> None:
    found = planned((Row("f_m", teacher(CSS)), Row("f_e", student(CSS))))
    needs = {job.method: len(job.needs) for job in found.jobs.values() if job.stage == "evaluate"}
    assert needs == {"teacher": 2, "student": 1}


@pytest.mark.parametrize("name", ["tiny", "phantom", "paper"])
def test_every_experiment_can_be_planned(name: str) -> None:
    for experiment in EXPERIMENTS.values():
        if experiment.lacks:
            with pytest.raises(EchocycleError, match="lacks"):
                find(experiment.name)
        else:
            found = planned(experiment.rows, experiment.fractions, name=name)
            assert all(need in found.jobs for job in found.jobs.values() for need in job.needs)


def test_every_number_of_the_paper_has_its_row() -> None:
    """Each cell that the paper prints is a cell of ours, and but for the rows marked as extra the other way round."""
    for experiment in EXPERIMENTS.values():
        if experiment.lacks or not experiment.paper or experiment.paper == "VI":
            continue
        found = planned(experiment.rows, experiment.fractions).cells
        ours = {(cell.row.name, column_of(cell), cell.fraction) for cell in found if "not in the" not in cell.row.name}
        table = paper_numbers(experiment.paper)
        assert ours == set(zip(table["row"], table["column"], table["label_fraction"], strict=True)), experiment.name
    assert {row.name for row in EXPERIMENTS["table-6"].rows} == set(paper_numbers("VI")["row"])


def test_comparisons_name_rows() -> None:
    for experiment in EXPERIMENTS.values():
        assert {name for pair in experiment.compare for name in pair} <= {row.name for row in experiment.rows}


def test_fractions() -> None:
    assert fraction_value("4/32") == fraction_value("1/8") == fraction_value("0.125")
    assert fraction_value("All") == 1
    for wrong in ("0", "9/8", "many", "1/0"):
        with pytest.raises(EchocycleError, match="fraction"):
            fraction_value(wrong)


def test_only_some_rows() -> None:
    rows = EXPERIMENTS["table-4"].rows
    assert [row.name for row in only(rows, ["Video Only", "student"])] == [rows[0].name, rows[3].name, rows[4].name]
    assert only(rows, []) == rows
    with pytest.raises(EchocycleError, match="Video Only"):
        only(rows, ["nobody"])


def test_unknown_names_are_told() -> None:
    with pytest.raises(EchocycleError, match="table-4"):
        find("table-44")
    with pytest.raises(EchocycleError, match="supervised"):
        planned((Row("x", Regressor("nobody")),))
    with pytest.raises(EchocycleError, match="option"):
        planned((Row("x", Regressor("student", {"wieght": "2"})),))
