"""Bars for all that takes longer than two seconds."""

from __future__ import annotations

import logging
from shutil import get_terminal_size

from mne.utils import logger
from tqdm import tqdm

_DELAY = 0.5  # s before a bar shows: what is over by then needs none


def progress_bar(total: float, name: str, unit: str) -> tqdm:
    """Make a bar on standard error, to be used as a context and moved by its method ``update``.

    It shows on a terminal only, never in a file or a pipe, and only at the log level INFO: DEBUG
    tells the same in lines.

    Parameters
    ----------
    total : float
        Number of units of the whole.
    name : str
        What is being done.
    unit : str
        What is counted.

    Returns
    -------
    bar : tqdm.tqdm
        The bar. It leaves nothing behind.
    """
    hidden = logger.getEffectiveLevel() != logging.INFO
    columns, rows = get_terminal_size()  # a size even where the terminal does not know its own
    return tqdm(
        total=total, desc=name, unit=unit, leave=False, delay=_DELAY, ncols=columns, nrows=rows,
        disable=hidden or None,  # None: unless it is a terminal
    )  # fmt: skip
