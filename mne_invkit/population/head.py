"""A random head: its sources, sensors and two forward models, in arrays."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

_PEAK = 1e4  # largest number of each row in float16, which ends at 65,504


@dataclass(frozen=True, eq=False)
class Head:
    """A head with sources and sensors, and two forward models.

    Attributes
    ----------
    seed : int
        The seed it was drawn from.
    positions : ndarray, shape (n_sources, 3)
        Sources in the head frame (m).
    normals : ndarray, shape (n_sources, 3) | None
        Normals of the cortex; None for sources in a volume.
    gain : ndarray of float32, shape (n_sensors, 3 * n_sources)
        Model for the inverse: sensors by sources with x, y and z of the head frame, in
        V/(A m), T/(A m) or T/m/(A m). Its EEG reference is arbitrary.
    data_gain : ndarray of float32, shape (n_sensors, 3 * n_sources)
        Model that makes the data: the same sources in a slightly different head of other
        conductivities, with the sensors moved by about 2 mm.
    sensors : ndarray, shape (n_sensors, 3)
        Sensors in the head frame (m), where the inverse believes them.
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
            Indices of the sensors, such as those of :func:`draw_montage`.

        Returns
        -------
        head : Head
            The head with these sensors.
        """
        per_sensor = ("gain", "data_gain", "sensors", "kinds", "names")
        return replace(self, **{name: getattr(self, name)[rows] for name in per_sensor})

    def save(self, path: str | Path) -> None:
        """Write to a file of about half the size, in one step.

        Parameters
        ----------
        path : path-like
            The file, ending in ``.npz``. Gains are kept as float16 with one factor for each
            sensor: their relative error is below 5e-4.
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
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
            np.savez(Path(folder) / path.name, **values)
            os.replace(Path(folder) / path.name, path)

    @classmethod
    def load(cls, path: str | Path) -> Head:
        """Read a file.

        Parameters
        ----------
        path : path-like
            A file written by :meth:`save`.

        Returns
        -------
        head : Head
            The head.
        """
        with np.load(path) as stored:
            values = {f.name: stored[f.name] for f in fields(cls)}
            for name in ("gain", "data_gain"):
                values[name] = values[name].astype(np.float32)
                values[name] *= stored[f"{name}_factor"]
        values["seed"] = int(values["seed"])
        if not len(values["normals"]):
            values["normals"] = None
        return cls(**values)
