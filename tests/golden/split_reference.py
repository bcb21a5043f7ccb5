#!/usr/bin/env python3
"""Takes what a fixture says about its model out of the model's own file: `reference.*` (ids,
lengths, token weights, loss, logits) and `grad.*` of DIR/model.safetensors go into
DIR/reference.safetensors, so that DIR is a model directory and nothing else.  (A model with a
tensor that nothing binds is refused.)  Bytes and their order stay.  The makers of networks call
split(); by hand, for directories of before:

    python3 tests/golden/split_reference.py DIR..."""
import json
import os
import struct
import sys


def read(path):
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + n]), data[8 + n:]


def write(path, metadata, entries, data):
    header, parts, at = dict(metadata), [], 0
    for name, entry in entries:
        begin, end = entry["data_offsets"]
        header[name] = dict(entry, data_offsets=[at, at + end - begin])
        parts.append(data[begin:end])
        at += end - begin
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


def split(folder):
    model = os.path.join(folder, "model.safetensors")
    header, data = read(model)
    metadata = {k: v for k, v in header.items() if k == "__metadata__"}
    tensors = sorted(((k, v) for k, v in header.items() if k not in metadata),
                     key=lambda entry: entry[1]["data_offsets"])
    about = [entry for entry in tensors if entry[0].startswith(("reference.", "grad."))]
    if about:
        write(os.path.join(folder, "reference.safetensors"), {}, about, data)
        write(model, metadata, [entry for entry in tensors if entry not in about], data)


if __name__ == "__main__":
    for directory in sys.argv[1:]:
        split(directory)
