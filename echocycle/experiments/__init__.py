"""The paper's tables and our own, by name. A new one is a function in a file of its group and one line here."""

from echocycle.experiments import ablations, comparisons, mask_quality
from echocycle.experiments import two_teachers as own
from echocycle.experiments.plan import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        comparisons.table_1(),
        comparisons.table_2(),
        mask_quality.table_3(),
        ablations.table_4(),
        mask_quality.table_5(),
        mask_quality.table_6(),
        ablations.table_7(),
        ablations.table_8(),
        comparisons.table_9(),
        comparisons.table_10(),
        comparisons.table_a1(),
        ablations.figure_6(),
        ablations.figure_7(),
        mask_quality.css_study(),
        own.own_row(),
        own.own_parts(),
        own.bad_masks(),
        own.precision(),
    )
}
