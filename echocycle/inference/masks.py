"""Stage `mask`: a trained segmenter looks at every frame of every video, and leaves a mask set in the store."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from echocycle.bundle import Bundle, load_bundle
from echocycle.console import console
from echocycle.data.mask_set import MaskSet, MaskWriter, mask_set_name
from echocycle.data.store import Store
from echocycle.device import choose_device, choose_precision
from echocycle.errors import EchocycleError
from echocycle.locks import alone_in
from echocycle.models.specs import Part
from echocycle.models.video_segmenter import VideoSegmenter
from echocycle.progress import track
from echocycle.settings.stages import MaskSettings


def segmenter_of(bundle: Bundle, store: Store | None = None) -> Part:
    """The bundle's segmenter; it must have been trained on frames like the store's."""
    if bundle.segmenter is None:
        raise EchocycleError(f"The model {bundle.path} has no segmenter; name a run of stage `segment`.")
    if store is not None:
        check_color(bundle.segmenter, bundle.path, store)
    return bundle.segmenter


def check_color(part: Part, path: Path | None, store: Store) -> None:
    """Refuse a store of RGB frames for a network of grey ones, and the reverse; `path` names the model."""
    if part.spec.color != store.color:
        kinds = {True: "RGB", False: "grey"}
        raise EchocycleError(
            f"The model {path} was trained on {kinds[part.spec.color]} frames and {store.path} holds "
            f"{kinds[store.color]} ones; prepare the videos again {'with' if part.spec.color else 'without'} --color."
        )


def mask_id(run: Path, segmenter: Part) -> str:
    """The name that a run's mask set is given."""
    return mask_set_name(run, segmenter.hash)


@torch.no_grad()
def probabilities(
    segmenter: Part, frames: np.ndarray, batch: int, device: torch.device, precision: str = "32"
) -> Iterator[np.ndarray]:
    """Left-ventricle probabilities of frames uint8 (time, height, width[, 3]), in blocks of at most `batch`.

    Yields uint8 (block, size, size), 255 standing for 1.
    """
    network = segmenter.network
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")

    def images(numbers: Tensor) -> Tensor:
        block = torch.from_numpy(np.array(frames[numbers.numpy()])).to(device)
        return segmenter.preprocess.frames(block, block.ndim == 4)

    if isinstance(network, VideoSegmenter):
        with autocast:
            whole = network.video(images, len(frames), batch)
        yield from map(_as_bytes, whole.split(batch))
        return
    for first in range(0, len(frames), batch):
        with autocast:
            logits = network(images(torch.arange(first, min(first + batch, len(frames))))).logits
        yield _as_bytes(torch.sigmoid(logits.float()))


def _as_bytes(probabilities: Tensor) -> np.ndarray:
    return (probabilities * 255).round().to(torch.uint8).cpu().numpy()


def write_masks(
    store: Store,
    run: Path,
    settings: MaskSettings,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> MaskSet:
    """Masks of every frame of the splits asked for, or resume them; a finished set is only opened."""
    device = choose_device(settings.device)
    bundle = load_bundle(run, device)
    segmenter = segmenter_of(bundle, store)
    videos = [int(v) for split in settings.splits for v in store.videos(split)]
    if (found := _made_before(store, segmenter.hash, videos)) is not None:
        return found
    precision = choose_precision(settings.precision, device)
    meta = {
        "size": segmenter.spec.size,
        "segmenter": segmenter.hash,
        "store": store.meta["id"],
        "splits": list(settings.splits),
        "precision": precision,
        "provenance": bundle.provenance,
    }
    folder = store.path / "masks" / mask_id(run, segmenter)
    with alone_in(folder):
        if (found := _made_before(store, segmenter.hash, videos)) is not None:  # by who was first, just now
            return found
        writer = MaskWriter(folder, len(store), meta)
        for number, video in enumerate(videos, 1):
            if not writer.is_done(video):
                blocks = probabilities(segmenter, store.frames(video), settings.batch, device, precision)
                writer.add(video, np.concatenate(list(blocks)))
            if progress:
                progress(number, len(videos))
        writer.finish()
    return store.masks(folder.name)


def _made_before(store: Store, segmenter: str, videos: list[int]) -> MaskSet | None:
    """A segmenter's finished mask set, if there is one; it must cover these videos."""
    found = store.masks_of(segmenter)
    if found is None or all(found.has(video) for video in videos):
        return found
    raise EchocycleError(
        f"The masks {found.id} of {store.path} cover {', '.join(map(str, found.meta.get('splits', [])))} only. Delete "
        f"{found.folder} and run `echocycle mask` with all the splits you need."
    )


def mark(store: Path, run: Path, settings: MaskSettings) -> MaskSet:
    """`write_masks` with a bar, and a word on what was made."""
    with track("Masks") as progress:
        masks = write_masks(Store(store), Path(run), settings, progress=progress)
    size = (masks.folder / "blob.bin").stat().st_size
    console.print(f"Masks {masks.id}: {masks.meta['videos']} videos, {size / 1e6:.1f} MB.")
    return masks
