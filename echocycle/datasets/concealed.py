"""Patients of a store under names that tell nothing: a salted hash each, by which they still belong together."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from echocycle.datasets.findings import Finding
from echocycle.recordings.deidentify import read_salt, salted
from echocycle.settings.stages import PrepareSettings

OF_PATIENTS = "patient-in-several-splits"
"""The kind of finding whose names are patients."""


@dataclass(frozen=True)
class Names:
    """What patients are called in a store."""

    salt: str = ""
    """The secret; without it patients keep their names."""

    @property
    def mark(self) -> dict[str, str]:
        """What a store keeps of the secret, so that it is not resumed with another; it does not tell the secret."""
        return {"salt": salted(self.salt, "which salt")} if self.salt else {}

    def patient(self, patient: str, video: str) -> str:
        """A patient's name in the store. One who is called as the video is, because no list says more, stays so."""
        return salted(self.salt, f"patient {patient}") if self.salt and patient != video else patient

    def findings(self, found: Iterable[Finding]) -> list[Finding]:
        """Findings whose names are the store's."""
        return [
            replace(each, names=tuple(self.patient(name, "") for name in each.names))
            if each.kind == OF_PATIENTS
            else each
            for each in found
        ]


def names_for(settings: PrepareSettings, store: Path) -> Names:
    """How a store's patients are called.

    Raises:
        EchocycleError: the file of the secret lies in the store, or holds too short a one.
    """
    return Names(read_salt(Path(settings.salt_file), store)) if settings.patients == "hashed" else Names()
