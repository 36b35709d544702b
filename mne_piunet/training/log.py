"""Table of a training run, as a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from mne_invkit._files import write_whole


class Log:
    """Rows of a CSV file that begin with the step.

    Parameters
    ----------
    path : pathlib.Path
        The file. If it exists its rows are kept, up to those of `step`.
    names : sequence of str
        Names of the columns.
    step : int
        Step at which a resumed run goes on. It will write the later rows again.
    """

    def __init__(self, path: Path, names: Sequence[str], step: int):
        self._path = path
        rows = []
        if path.exists():
            with path.open(newline="") as file:
                rows = [row for row in list(csv.reader(file))[1:] if int(row[0]) <= step]
        self._rows = [list(names), *rows]
        self._write()

    def add(self, *values: float) -> None:
        """Add a row.

        Parameters
        ----------
        *values : int | float
            Values of the columns.
        """
        self._rows.append([f"{v:.5g}" if isinstance(v, float) else v for v in values])
        self._write()

    def _write(self) -> None:
        with write_whole(self._path) as part, part.open("w", newline="") as file:
            csv.writer(file).writerows(self._rows)
