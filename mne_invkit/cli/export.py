"""Estimates in files: which formats there are, what each can hold, and how it is written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import mne

from mne_invkit._files import check_new, write_whole
from mne_invkit.inverse.files import save_stc
from mne_invkit.inverse.stc import Estimate, dense_data

FORMATS = {
    ".h5": "any estimate",
    ".stc": "values on the cortex or in one volume",
    ".nii": "values on a grid of an MRI",
    ".nii.gz": "values on a grid of an MRI",
    ".gii": "values on the cortex, with its surface",
}
"""What the formats hold, by the ending of the file."""

_HEMIS = ("lh", "rh")
_PARTS = {
    ".stc": {"surface": [f"-{hemi}.stc" for hemi in _HEMIS], "volume": ["-vl.stc"]},
    ".gii": {"surface": [f"-{hemi}{end}" for hemi in _HEMIS for end in (".gii", ".time.gii")]},
}
"""What stands in the place of the ending where an estimate takes several files."""


@dataclass(frozen=True)
class Output:
    """Where an estimate goes.

    Attributes
    ----------
    stem : pathlib.Path
        The file without its ending.
    ending : str
        Its ending, a key of :data:`FORMATS`.
    """

    stem: Path
    ending: str

    @classmethod
    def parse(cls, path: Path) -> Output:
        """Find the format by the ending of a file.

        Parameters
        ----------
        path : pathlib.Path
            The file.

        Returns
        -------
        output : Output
            Where the estimate goes.
        """
        for ending in FORMATS:
            if path.name.endswith(ending) and path.name != ending:
                stem = path.name.removesuffix(ending)
                if ending in _PARTS:
                    stem = re.sub(r"-(lh|rh|vl)$", "", stem)
                return cls(path.with_name(stem), ending)
        formats = ", ".join(f"{ending} ({what})" for ending, what in FORMATS.items())
        raise ValueError(f"--output must end in {formats}; got {path}.")

    def named(self, name: str) -> Output:
        """Where one of several estimates goes.

        Parameters
        ----------
        name : str
            What tells it from the others, such as a condition.

        Returns
        -------
        output : Output
            The same with the name in it, before a final ``-stc``.
        """
        stem = self.stem.name.removesuffix("-stc")
        name = re.sub(r"[^\w.+-]+", "_", name)
        end = self.stem.name[len(stem) :]
        return replace(self, stem=self.stem.with_name(f"{stem}-{name}{end}"))

    def files(self, kind: str | None = None) -> list[Path]:
        """Files that are written.

        Parameters
        ----------
        kind : str | None
            Kind of the source space; None for the files of any kind.

        Returns
        -------
        files : list of pathlib.Path
            The files.
        """
        parts = _PARTS.get(self.ending, {})
        every = [end for ends in parts.values() for end in ends]
        ends = parts.get(kind) or every or [self.ending]
        return [self.stem.with_name(f"{self.stem.name}{end}") for end in ends]

    def check(self, overwrite: bool, inputs: Iterable[Path]) -> None:
        """Raise if the files may not be written.

        Parameters
        ----------
        overwrite : bool
            Whether they may replace others.
        inputs : iterable of pathlib.Path
            Files that are read, which are never replaced.
        """
        for path in self.files():
            check_output(path, overwrite, inputs)

    def check_holds(self, src: mne.SourceSpaces) -> None:
        """Raise if the format cannot hold an estimate of a source space.

        Parameters
        ----------
        src : mne.SourceSpaces
            The source space.
        """
        kinds = [s["type"] for s in src]
        fits = {
            ".h5": True,
            ".stc": kinds == ["surf", "surf"] or (len(kinds) == 1 and kinds != ["surf"]),
            ".gii": kinds == ["surf", "surf"],
        }.get(self.ending, set(kinds) == {"vol"} and "mri_ras_t" in src[0])
        if not fits:
            raise ValueError(
                f"A {self.ending} file holds {FORMATS[self.ending]}, which does not fit a "
                f"{src.kind} source space of {len(kinds)} parts: pass an --output that ends in "
                ".h5, which holds any estimate."
            )
        if self.ending == ".gii" and any(s["use_tris"] is None or not s["nuse_tri"] for s in src):
            raise ValueError(
                "The source space has no triangles for a .gii file: pass an --output that ends in "
                ".h5 or .stc."
            )

    def check_scalar(self, vector: bool, is_complex: bool) -> None:
        """Raise if the format cannot hold vectors or complex values.

        Parameters
        ----------
        vector, is_complex : bool
            What the estimate holds.
        """
        if self.ending != ".h5" and (vector or is_complex):
            raise ValueError(
                f"A {self.ending} file cannot hold {'vectors' if vector else 'complex values'}: "
                "pass an --output that ends in .h5."
            )

    def write(self, stc: Estimate, src: mne.SourceSpaces) -> list[Path]:
        """Write an estimate, all of its files or none.

        Parameters
        ----------
        stc : source estimate
            Any of the six classes of MNE.
        src : mne.SourceSpaces
            Its source space.

        Returns
        -------
        files : list of pathlib.Path
            The files.
        """
        self.check_scalar(stc.data.ndim == 3, stc.data.dtype.kind == "c")
        files = self.files(src.kind if src.kind == "surface" else "volume")
        if self.ending == ".h5":
            save_stc(stc, files[0])
            return files
        with ExitStack() as stack:
            made = [stack.enter_context(write_whole(path)) for path in files]
            stem = made[0].with_name(self.stem.name)
            if self.ending == ".stc":
                stc.save(stem, ftype="stc", overwrite=True, verbose="error")
            elif self.ending == ".gii":
                _dense(stc, src).save_as_surface(stem, _with_whole_triangles(src))
            else:
                _write_image(_dense(stc, src), src, made[0].with_name(files[0].name))
            for path, place in zip(files, made, strict=True):  # all lie beside the first
                os.replace(made[0].with_name(path.name), place)
        return files


def check_output(path: Path, overwrite: bool, inputs: Iterable[Path]) -> None:
    """Raise if a file may not be written.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    overwrite : bool
        Whether it may replace another.
    inputs : iterable of pathlib.Path
        Files that are read, which it never replaces.
    """
    check_new(path, overwrite, how="--overwrite")
    for read in inputs:
        if path.exists() and read.exists() and path.samefile(read):
            raise ValueError(f"{path} is one of the files to read: choose another output.")


def _dense(stc, src: mne.SourceSpaces):
    """Fill a sparse estimate with zeros: these formats have all locations."""
    vertices = [s["vertno"] for s in src]
    return type(stc)(dense_data(stc, src), vertices, stc.tmin, stc.tstep, stc.subject)


def _with_whole_triangles(src: mne.SourceSpaces) -> mne.SourceSpaces:
    """Keep the triangles of which the forward solution has all corners."""
    src = src.copy()
    for s in src:
        s["use_tris"] = s["use_tris"][s["inuse"][s["use_tris"]].all(axis=1)]
    return src


def _write_image(stc, src: mne.SourceSpaces, path: Path) -> None:
    """Write a NIfTI image that also knows when its first sample is."""
    import nibabel

    image = stc.as_volume(src)
    image.header["toffset"] = 1e3 * stc.tmin  # MNE gives the unit as ms
    nibabel.save(image, path)
