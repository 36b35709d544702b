"""All that a result can be asked for, so that nothing fails once the work is done."""

import inspect
from dataclasses import fields

import matplotlib.pyplot as plt
import mne
import numpy as np

ARGUMENTS = {"components": (0,), "check_trial": (0,)}
APART = {"save", "unpack"}  # tests of files


def ask_for_all(result):
    """Return every public property of a result, and what its methods return, by name."""
    names = {name for name in dir(type(result)) if not name.startswith("_")} - APART
    names |= {"__repr__", "_repr_html_", *(field.name for field in fields(result))}
    found = {}
    for name in sorted(names):
        value = getattr(result, name)
        if inspect.ismethod(value):
            value = value(*ARGUMENTS.get(name, ()))
            value = list(value) if inspect.isgenerator(value) else value
        found[name] = value
        plt.close("all")
    assert len(found["__repr__"]) < 200
    assert found["_repr_html_"].startswith("<table")
    return found


def the_same(one, other):
    """Whether two things of a result are the same to the bit, as far as a test can tell."""
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            the_same(first, second)
    elif isinstance(one, mne.BaseEpochs | mne.io.BaseRaw):
        np.testing.assert_array_equal(one.get_data(), other.get_data())
        np.testing.assert_array_equal(one.times, other.times)
        assert one.ch_names == other.ch_names
    elif isinstance(one, mne.Dipole):
        np.testing.assert_array_equal(one.amplitude, other.amplitude)
        np.testing.assert_array_equal(one.pos, other.pos)
    elif hasattr(one, "vertices"):
        assert type(one) is type(other)
        assert (one.subject, one.tmin, one.tstep) == (other.subject, other.tmin, other.tstep)
        np.testing.assert_array_equal(one.data, other.data)
        for first, second in zip(one.vertices, other.vertices, strict=True):
            np.testing.assert_array_equal(first, second)
    elif isinstance(one, mne.Evoked):
        np.testing.assert_array_equal(one.data, other.data)
        assert (one.comment, one.nave, one.kind) == (other.comment, other.nave, other.kind)
        assert (one.baseline, one.ch_names) == (other.baseline, other.ch_names)
    elif isinstance(one, np.ndarray | float | int | str):
        np.testing.assert_array_equal(one, other)
