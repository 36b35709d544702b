"""The numbers of frozen.json, which a change of the code's form must not move."""

import json

import frozen
import pytest
from threadpoolctl import threadpool_limits

WANTED = json.loads(frozen.FILE.read_text(encoding="utf-8"))
RTOL = 1e-10 if WANTED["machine"] == frozen.machine() else 1e-3
"""Elsewhere sums are rounded otherwise. Sweeps of learning make 1e-9 of it, and patterns of the
skull whose singular values are nearly equal 1e-4 (measured with three kinds of BLAS kernels)."""


@pytest.fixture(autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


def check(name, found, rtol=RTOL):
    assert not frozen.compare(found, WANTED[name], rtol, name)


def test_sep():
    check("sep", frozen.sep_numbers())


def test_sample_subject(auditory):
    check("sample", frozen.sample_numbers(*auditory))


def test_simulated_cells():
    pytest.importorskip("ot")
    check("simulated", frozen.simulated_numbers())


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_piunet(backend):
    pytest.importorskip(backend)
    check("piunet", frozen.piunet_numbers(backend), rtol=max(RTOL, 1e-5))


def test_distillation():
    pytest.importorskip("lightning_fabric")
    check("distillation", frozen.distillation_numbers(), rtol=max(RTOL, 1e-6))


def test_a_moved_number_is_seen():
    moved = {"cost": [1.0, 2.0], "stc": [3.0]}
    assert not frozen.compare(moved, {"cost": [1.0, 2.0], "stc": [3.0]}, 1e-10)
    assert frozen.compare(moved, {"cost": [1.0, 2.0 + 1e-9], "stc": [3.0]}, 1e-10) == [
        "/cost: off by 5e-10 of 2"
    ]
    assert frozen.compare(moved, {"cost": [1.0], "stc": [3.0]}, 1e-10)
    assert frozen.compare(moved, {"cost": [1.0, 2.0]}, 1e-10)
