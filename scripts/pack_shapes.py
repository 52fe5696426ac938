"""Put networks that have seen moving shapes into the package, as `--weights shapes` finds them.

    echocycle regress STORE RUN --preset tiny --method shapes --network r2plus1d_18     # once for each network
    python scripts/pack_shapes.py RUN...

Half precision and without the last layer, which has learnt nothing. The file's metadata say how it was made.
"""

import sys
from pathlib import Path

from safetensors.torch import save_file

from echocycle.bundle import load_bundle
from echocycle.files import replacing
from echocycle.models.regressor import SHAPES
from echocycle.runs import finished


def pack(run: Path, folder: Path = SHAPES) -> Path:
    """Write the weights of a run of method `shapes` into `folder`; gives the file."""
    done = finished(run, "regress")
    info = done.info
    if info["settings"]["method"] != "shapes":
        raise SystemExit(f"{run} was trained by {info['settings']['method']}, not by shapes.")
    part = load_bundle(done.model).regressor
    assert part is not None
    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in part.network.state_dict().items()
        if not name.startswith("fc.")
    }
    settings = info["settings"]
    made = {
        "made_by": f"echocycle regress STORE RUN --preset tiny --method shapes --network {part.spec.network}",
        "steps": str(settings["loop"]["steps"]),
        "batch": str(settings["batch"]),
        "input": f"{part.spec.frames} frames of {part.spec.size} x {part.spec.size} pixels",
        "torch": info["made_with"]["versions"]["torch"],
    }
    folder.mkdir(exist_ok=True)
    file = folder / f"{part.spec.network}-{'-'.join(map(str, part.spec.widths))}.safetensors"
    with replacing(file) as temporary:
        save_file(tensors, temporary, metadata=made)
    return file


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    for named in sys.argv[1:]:
        written = pack(Path(named))
        print(f"{written} ({written.stat().st_size / 1e6:.1f} MB)")
