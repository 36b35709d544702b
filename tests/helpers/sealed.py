"""HDF5 files of any contents with the header of ours: checksum and size are right."""

import hashlib
import io

import h5py

ROOM = 512


def seal(path, fill, *, kind="test", number=2):
    """Write what `fill` puts into an h5py.File as a file of ours, of any format number."""
    memory = io.BytesIO()
    with h5py.File(memory, "w", userblock_size=ROOM) as file:
        fill(file)
    contents = memory.getvalue()[ROOM:]
    return seal_bytes(path, contents, kind=kind, number=number)


def seal_bytes(path, contents, *, kind="test", number=2):
    """Write these bytes after a header that fits them."""
    checksum = hashlib.sha256(contents).hexdigest()
    size = ROOM + len(contents)
    header = f"mne-invkit file of format {number}: {kind}, {size} bytes, sha256 {checksum}\n"
    path.write_bytes(header.encode().ljust(ROOM) + contents)
    return path
