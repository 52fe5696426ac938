"""The safetensors format: eight bytes with the header's length, a JSON header, then the tensors' bytes."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def save_file(tensors: Mapping[str, Tensor], filename: Path | str) -> None:
    """Write named tensors."""
    header, blocks, position = {}, [], 0
    for name, tensor in tensors.items():
        block = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        shape, end = list(tensor.shape), position + len(block)
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": shape, "data_offsets": [position, end]}
        blocks.append(block)
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    Path(filename).write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blocks))


def load_file(filename: Path | str) -> dict[str, Tensor]:
    """Read named tensors."""
    content = Path(filename).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        dtype = DTYPES[entry["dtype"]]
        if math.prod(entry["shape"]) == 0:
            tensors[name] = torch.empty(entry["shape"], dtype=dtype)
        else:
            data = bytearray(content[start:end])
            tensors[name] = torch.frombuffer(data, dtype=dtype).reshape(entry["shape"])
    return tensors
