"""Prepared operators as plain values and arrays, and back."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from scipy.sparse import csr_array

from mne_piunet.kernel.champagne import SparsePatches
from mne_piunet.kernel.gather import Gather
from mne_piunet.kernel.grid import Blocks, Grid
from mne_piunet.kernel.inputs import VoxelModel
from mne_piunet.kernel.pursuit import Pursuit


def pack_kernel(part: object) -> object:
    """Take apart what the kernel prepares.

    Parameters
    ----------
    part : VoxelModel | Gather
        What :func:`unpack_voxel_model` or :func:`unpack_gather` makes again. Or a part of it.

    Returns
    -------
    parts : dict
        Plain values and arrays.
    """
    if is_dataclass(part):
        return {field.name: pack_kernel(getattr(part, field.name)) for field in fields(part)}
    if isinstance(part, csr_array):
        return {name: getattr(part, name) for name in ("data", "indices", "indptr", "shape")}
    return part


def unpack_voxel_model(parts: dict) -> VoxelModel:
    """Make a voxel model again.

    Parameters
    ----------
    parts : dict
        What :func:`pack_kernel` made of it.

    Returns
    -------
    voxel_model : VoxelModel
        The voxel model.
    """
    grid = parts["grid"]
    inner = {
        "grid": Grid(**grid | {"scatter": _unpack_sparse(**grid["scatter"])}),
        "pursuit": Pursuit(**parts["pursuit"]),
        "sparse": SparsePatches(**parts["sparse"]),
        "blocks": Blocks(**parts["blocks"]),
    }
    return VoxelModel(**parts | inner)


def unpack_gather(parts: dict) -> Gather:
    """Make again what shares the moments of voxels among locations.

    Parameters
    ----------
    parts : dict
        What :func:`pack_kernel` made of it.

    Returns
    -------
    gather : Gather
        The prepared gain.
    """
    return Gather(**parts | {"near": _unpack_sparse(**parts["near"])})


def _unpack_sparse(data, indices, indptr, shape) -> csr_array:
    return csr_array((data, indices, indptr), shape=shape)
