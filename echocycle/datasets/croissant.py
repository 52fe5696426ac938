"""croissant.json beside a frame store: what it holds, in the form that other tools read (MLCommons Croissant 1.0).

It names the store's files with their SHA-256, the columns of its index and the number of videos in each split. Nothing
in it tells a patient: the columns that could (patient, file) are not described. The same store gives the same bytes.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echocycle.data.store import CHECKSUMS, COLUMNS, SIZE, SUMMED, Store
from echocycle.files import read_json, sha256, sweep, write_json
from echocycle.locks import alone_in

NAME = "croissant.json"
UNKNOWN = "unknown"
LEFT_OUT = ("patient", "file", "sha256")
"""Columns that are not described: they may tell whose video it is."""
INTEGERS = ("frames", "listed_frames", "offset", "ed_frame", "es_frame", "authors_rank")
TEXTS = ("name", "split", "annotation", "affine")
TERMS = (
    *("citeAs", "column", "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes"),
    *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated"),
    *("replace", "separator", "source", "subField", "transform"),
)
"""Words of the vocabulary that have their own name in it."""
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in TERMS},
}
FORMATS = {"index.csv": "text/csv", "frames.u8": "application/octet-stream", "traces.npy": "application/octet-stream"}


def write_croissant(store: Path, license: str = UNKNOWN) -> Path:
    """Describe a finished store.

    Args:
        license: of the videos, as a name or an address; a store does not know it.
    """
    opened = Store(store)
    folder, meta, splits = opened.path, opened.meta, Counter(opened.index["split"].tolist())
    sums = read_json(folder / CHECKSUMS) if (folder / CHECKSUMS).exists() else {}
    files = {name: sums.get(name) or sha256(folder / name) for name in ("index.csv", *SUMMED)}
    content = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": f"echocycle-store-{meta['id']}",
        "description": _about(meta, splits),
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": license,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": name,
                "name": name,
                "contentUrl": name,
                "encodingFormat": FORMATS[name],
                "sha256": digest,
            }
            for name, digest in files.items()
        ],
        "recordSet": [_videos(), _splits(splits)],
    }
    path = folder / NAME
    with alone_in(folder):  # what is half-written here is then nobody's who still writes
        sweep(folder)
        write_json(path, content)
    return path


def _about(meta: Mapping[str, Any], splits: Mapping[str, int]) -> str:
    channels = "RGB" if meta["color"] else "grey"
    counted = ", ".join(f"{splits[split]} {split}" for split in ("train", "val", "test") if splits.get(split))
    synthetic = " Synthetic videos (phantom)." if meta.get("phantom_version") is not None else ""
    return (
        f"A frame store of echocycle: {meta['videos']} echocardiogram videos ({counted}), {meta['frames']} frames of "
        f"{SIZE}x{SIZE} pixels, 8 bits, {channels}, one after the other in frames.u8 (first frame of a video: column "
        "offset); ED and ES masks bit-packed in traces.npy; time in "
        f"{meta['job']['settings'].get('time', 'frames')}.{synthetic}"
    )


def _videos() -> dict[str, Any]:
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"videos/{column}",
            "name": column,
            "description": meaning,
            "dataType": "sc:Integer" if column in INTEGERS else "sc:Text" if column in TEXTS else "sc:Float",
            "source": {"fileObject": {"@id": "index.csv"}, "extract": {"column": column}},
        }
        for column, meaning in COLUMNS.items()
        if column not in LEFT_OUT
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "videos",
        "name": "videos",
        "description": "One record a video.",
        "key": {"@id": "videos/name"},
        "field": fields,
    }


def _splits(splits: Mapping[str, int]) -> dict[str, Any]:
    kinds = {"split": ("sc:Text", "train, val or test"), "videos": ("sc:Integer", "number of videos")}
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "Videos in each split.",
        "key": {"@id": "splits/split"},
        "field": [
            {"@type": "cr:Field", "@id": f"splits/{name}", "name": name, "description": text, "dataType": kind}
            for name, (kind, text) in kinds.items()
        ],
        "data": [{"splits/split": split, "splits/videos": splits[split]} for split in sorted(splits)],
    }
