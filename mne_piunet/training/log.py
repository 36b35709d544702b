"""Table of a training run, as a CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from mne_invkit._files import write_whole
from mne_piunet.files import check_file


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
            found, *rows = read_table(path)
            if found != list(names):
                raise ValueError(f"{path} has the columns {found}, not {list(names)}: delete it.")
            rows = [row for row in rows if float(row[0]) <= step]
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


def read_table(path: Path) -> list[list[str]]:
    """Read a table of numbers.

    Parameters
    ----------
    path : pathlib.Path
        The file that a log wrote.

    Returns
    -------
    rows : list of list of str
        Names of the columns, then the rows of numbers.
    """
    mend = "restore it from a copy, or delete it to begin a new one"
    check_file(path, "the folder of a run that train-piunet made")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            names, *rows = csv.reader(file)
        for number, row in enumerate(rows, 2):
            if len(row) != len(names) or not all(math.isfinite(float(value)) for value in row):
                raise ValueError(f"line {number} does not hold {len(names)} numbers")
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} is damaged ({error}): {mend}.") from error
    return [names, *rows]
