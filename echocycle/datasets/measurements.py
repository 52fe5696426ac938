"""The list of EchoNet-LVH (MeasurementsList.csv): a row for each measured line, so a video stands there many times.

As far as it is described, a row names the video (HashedFileName), its split, what was measured (Calc: IVSd, LVIDd,
LVIDs, LVPWd), the value, the frame and both ends of the line. There is no EF, and the views are parasternal, so the
videos can only be unlabelled ones. Not tried on the files themselves.
"""

from pathlib import Path

import pandas as pd

from echocycle.datasets.findings import FindingList

MEASUREMENTS = "MeasurementsList.csv"


def is_measurements(table: Path) -> bool:
    """Whether a list is one of measured lines."""
    return table.name.casefold() == MEASUREMENTS.casefold()


def one_row_a_video(listing: pd.DataFrame, table: Path, findings: FindingList) -> pd.DataFrame:
    """The first row of each video, without labels; what is left out is said."""
    first = listing.drop_duplicates("written")
    findings.add_for_folder(
        "warning",
        "measurements-without-ef",
        f"{table.name} lists {len(listing)} measured lines of {len(first)} videos. Diameters and wall thickness are no "
        "EF and no tracing of the cavity; they are not read, and no EF is computed from diameters. The videos show the "
        "parasternal long axis, which networks for the apical view do not know: keep them out of their training.",
    )
    return first
