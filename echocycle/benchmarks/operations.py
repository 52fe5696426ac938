"""What is compared, from the recording to the evaluation: each operation done by both sides on the same batches.

Our side is what the stages run: the store, the samplers, the loop of `train.py` with its methods, and the inference of
the stages `mask` and `evaluate`. The other side is `reference.py`.
"""

from collections.abc import Callable, Iterator

from echocycle.benchmarks.clip_loading import measure_input
from echocycle.benchmarks.ground import Ground
from echocycle.benchmarks.measure import Operation
from echocycle.benchmarks.regression import measure_regression
from echocycle.benchmarks.segmentation import measure_segmentation

GROUPS: dict[str, Callable[[Ground], Iterator[Operation]]] = {
    "input": measure_input,
    "segmentation": measure_segmentation,
    "regression": measure_regression,
}
"""What is measured together, in order."""
