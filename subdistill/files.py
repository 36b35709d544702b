"""Files that are written as a whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a new file beside an old one, and replace the old one at the end.

    If an error occurs in the context, the new file is deleted and the old one stays as it is.

    Parameters
    ----------
    path : str | pathlib.Path
        File to write.

    Yields
    ------
    new : pathlib.Path
        Where to write in the meantime: in the same folder, with the same suffix.

    Examples
    --------
    >>> from subdistill.files import replacing
    >>> with replacing("log.csv") as new:  # doctest: +SKIP
    ...     new.write_text("epoch,loss")
    """
    path = Path(path)
    new = path.with_name(f".{path.stem}.new{path.suffix}")
    try:
        yield new
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
