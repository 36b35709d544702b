"""A random head in arrays: its source space, sensors and two forward models."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from mne_invkit._files import write_whole

_PEAK = 1e4  # largest entry of each row in float16, which ends at 65,504


@dataclass(frozen=True, eq=False)
class Head:
    """A head with a source space, sensors and two forward models.

    Attributes
    ----------
    seed : int
        The seed it was drawn from.
    positions : ndarray, shape (n_locations, 3)
        Locations of the source space in the head frame (m).
    normals : ndarray, shape (n_locations, 3) | None
        Normals of the cortex; None for a volume.
    gain : ndarray of float32, shape (n_sensors, 3 * n_locations)
        Model for the inverse solution, in V/(A m), T/(A m) or T/m/(A m). Each location has three
        columns: its components along x, y and z of the head frame. The EEG reference is
        arbitrary.
    data_gain : ndarray of float32, shape (n_sensors, 3 * n_locations)
        Model that makes the data: the same locations in a slightly different head with other
        conductivities, and the sensors moved by about 2 mm.
    sensors : ndarray, shape (n_sensors, 3)
        Positions of the sensors in the head frame (m), as the inverse solution assumes them.
    kinds : ndarray of str, shape (n_sensors,)
        "eeg", "mag" or "grad".
    names : ndarray of str, shape (n_sensors,)
        Names of the sensors.
    """

    seed: int
    positions: np.ndarray
    normals: np.ndarray | None
    gain: np.ndarray
    data_gain: np.ndarray
    sensors: np.ndarray
    kinds: np.ndarray
    names: np.ndarray

    def pick(self, rows: np.ndarray) -> Head:
        """Keep some of the sensors.

        Parameters
        ----------
        rows : ndarray of int, shape (n_picked,)
            Indices of the sensors, such as those of
            :func:`mne_invkit.population.montages.draw_montage`.

        Returns
        -------
        head : Head
            The head with these sensors.
        """
        per_sensor = ("gain", "data_gain", "sensors", "kinds", "names")
        return replace(self, **{name: getattr(self, name)[rows] for name in per_sensor})

    def save(self, path: str | Path) -> None:
        """Write the head to a file, as a whole or not at all.

        Parameters
        ----------
        path : path-like
            The file, ending in ``.npz``. Gains are stored as float16 with one factor for each
            sensor, so their relative error is below 5e-4.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("gain", "data_gain"):
            factor = np.abs(values[name]).max(axis=1, keepdims=True) / _PEAK
            values[name] = (values[name] / factor).astype(np.float16)
            values[f"{name}_factor"] = factor
        for name in ("positions", "sensors"):
            values[name] = values[name].astype(np.float32)
        values["normals"] = (
            np.empty((0, 3)) if self.normals is None else self.normals.astype(np.float32)
        )
        with write_whole(path) as made:
            np.savez(made, **values)

    @classmethod
    def load(cls, path: str | Path) -> Head:
        """Read a head from a file.

        Parameters
        ----------
        path : path-like
            A file written by :meth:`save`.

        Returns
        -------
        head : Head
            The head.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no file of a head {path}: build the population.")
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                values = {f.name: stored[f.name] for f in fields(cls)}
                for name in ("gain", "data_gain"):
                    values[name] = values[name].astype(np.float32)
                    values[name] *= stored[f"{name}_factor"]
            values["seed"] = int(values["seed"])
        except Exception as error:
            raise ValueError(
                f"{path} is damaged, or no file of a head ({error}): delete it, and build the "
                "population again."
            ) from error
        if not len(values["normals"]):
            values["normals"] = None
        return cls(**values)
