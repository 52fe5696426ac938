"""Memory of this machine, from Linux's /proc/meminfo."""

from pathlib import Path
from typing import NamedTuple


class VirtualMemory(NamedTuple):
    """Bytes."""

    total: int
    available: int


def virtual_memory() -> VirtualMemory:
    """Installed and available memory."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    sizes = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines if line.endswith("kB")}
    return VirtualMemory(sizes["MemTotal"], sizes["MemAvailable"])
