"""tensors: safetensors files, read and written with the standard library alone.

read(path)   -> {name: Tensor}, whose data are views of the mapped file
write(path, entries)   entries: (name, dtype, shape, bytes or None); None is a hole in the file, which reads as zeros and takes no room
"""
import json
import math
import mmap
from collections import namedtuple

Tensor = namedtuple("Tensor", "dtype shape data")
SIZES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "U32": 4}


def read(path):
    with open(path, "rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    start = 8 + int.from_bytes(view[:8], "little")
    header = json.loads(bytes(view[8:start]))
    header.pop("__metadata__", None)
    return {name: Tensor(t["dtype"], tuple(t["shape"]), view[start + t["data_offsets"][0]:start + t["data_offsets"][1]])
            for name, t in header.items()}


def write(path, entries):
    header, at = {}, 0
    for name, dtype, shape, _ in entries:
        size = math.prod(shape) * SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, _, _, data in entries:
            start, end = header[name]["data_offsets"]
            if data is None:
                file.seek(end - start, 1)
            else:
                file.write(data)
        file.truncate(8 + len(text) + at)
