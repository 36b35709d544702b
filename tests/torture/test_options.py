"""Learning on arrays of any kind, with any options: a sound result, or a sentence by name.

Each case is drawn from its seed, which a failure names: ``play(seed)`` repeats it.
``pytest -m extended -s tests/torture/test_options.py`` prints how many were tried and refused.
"""

import re
from collections import Counter

import numpy as np
import pytest
from soundness import assert_sound

from mne_kronbayes.kernel.loop import dugh
from mne_kronbayes.kernel.noise import NOISE
from mne_kronbayes.kernel.temporal import TEMPORAL

pytestmark = pytest.mark.extended

BATCHES, CASES = 10, 150
REFUSED = re.compile('zero throughout|noise="fixed" takes the noise as given, but')

NO_NUMBER = [None, "3", "no", [], {}, np.nan, np.inf, -np.inf, -1, -0.5, 0, 0.5, 1j, np.ones(2)]
NO_NAME = [None, "", "bogus", 3, 1.5, [], {}, ("toeplitz",), b"full", np.ones(3)]
NO_SWITCH = [None, "no", "True", "off", 0, 1, 2.5, [], np.ones(2)]
NO_ARRAY = [
    None, "data", {}, [[1.0], [1.0, 2.0]], 3.0, np.zeros(0), np.ones(5), np.ones((2, 3)),
    np.ones((2, 3, 4, 5)), np.full((2, 6, 9), np.nan), np.full((6, 30), np.inf),
    1j * np.ones((6, 30)), np.zeros((2, 6, 9)), np.zeros((6, 30)), np.array([["a"]]),
    np.ma.masked_greater(np.ones((2, 6, 9)), 0), np.ma.masked_greater(np.ones((6, 30)), 0),
]  # fmt: skip
BAD = {
    "data": NO_ARRAY,
    "gain": NO_ARRAY,
    "n_orient": [*NO_NUMBER, 4, 7, 1.0, True],
    "temporal": [*NO_NAME, len, np.linalg.inv],
    "noise": NO_NAME,
    "noise_basis": [given for given in NO_ARRAY if given is not None],
    "noise_temporal": [
        *NO_NAME, -np.eye(9), np.ones((9, 9)), np.zeros(9), np.eye(8), np.eye(9)[:4],
        np.triu(np.ones((9, 9))), 1j * np.eye(9), np.full(9, np.nan), np.eye(9) - 1,
        np.ma.masked_less(np.eye(9), 1), 0.99999 ** np.arange(9.0) - 1, np.cos(np.arange(9)),
    ],
    "learn_orient": NO_SWITCH,
    "occam": NO_NUMBER,
    "select": NO_SWITCH,
    "max_iter": [*NO_NUMBER, 10.0, True],
    "tol": [given for given in NO_NUMBER if given is not NO_NUMBER[11]],
    "on_sweep": ["print", 3, []],
    "on_interrupt": NO_NAME,
}  # fmt: skip


def fields(rng, gain, shape, kind):
    """Data of one kind, shape (n_trials, n_sensors, n_times)."""
    n_trials, n_sensors, n_times = shape
    noise = rng.standard_normal(shape)
    chosen = rng.integers(gain.shape[1], size=rng.integers(1, 4))
    exact = gain[:, chosen] @ rng.standard_normal((n_trials, len(chosen), n_times))
    match kind:
        case "exact":
            return exact
        case "nearly exact":
            return exact + 10.0 ** rng.uniform(-14, -3) * noise
        case "one topography":
            return rng.standard_normal((n_trials, 1, n_times)) * rng.standard_normal((n_sensors, 1))
        case "constant":
            return np.repeat(exact[:, :, :1], n_times, axis=2)
        case "linear":
            return exact[:, :, :1] * np.arange(n_times)
        case "impulse":
            return exact * (np.arange(n_times) == n_times // 2)
        case "sine":
            return exact[:, :, :1] * np.sin(rng.uniform(0, 3) * np.arange(n_times))
        case "equal trials":
            return np.repeat((exact + 0.3 * noise)[:1], n_trials, axis=0)
        case "one trial of many":
            return (exact + 0.3 * noise) * (np.arange(n_trials) == 0)[:, None, None]
        case "quantized":
            return np.round(3 * (exact + noise)) / 3
        case "noise":
            return noise
        case "zero":
            return 0 * noise
    return exact + 0.3 * noise


KINDS = [
    "exact", "nearly exact", "one topography", "constant", "linear", "impulse", "sine",
    "equal trials", "one trial of many", "quantized", "noise", "zero", "usual",
]  # fmt: skip


def spoil(rng, data, gain):
    """Give data and gain one more peculiarity, or none."""
    data, gain = data.copy(), gain.copy()
    sensor, other = rng.integers(len(gain), size=2)
    match rng.choice(["none", "sensor", "flat", "column", "alike", "turned", "scale", "gain"]):
        case "sensor":
            data[:, sensor], gain[sensor] = data[:, other], gain[other]
        case "flat":
            data[:, sensor], gain[sensor] = 0, 0
        case "column":
            gain[:, rng.random(gain.shape[1]) < 0.4] = 0
        case "alike":
            gain[:, : gain.shape[1] // 2] = gain[:, :1]
        case "turned":
            gain[:] = gain[:, :1] * rng.standard_normal(gain.shape[1])
        case "scale":
            data *= 10.0 ** rng.uniform(-12, 12)
        case "gain":
            gain *= 10.0 ** rng.uniform(-12, 12)
    return data, gain


def draw(seed):
    """Data, gain and options of a case."""
    rng = np.random.default_rng(seed)
    n_orient = int(rng.choice([1, 2, 3]))
    shape = rng.choice([1, 2, 5, 20]), rng.integers(1, 20), rng.choice([1, 2, 3, 7, 20, 100])
    gain = rng.standard_normal((shape[1], rng.integers(1, 60) * n_orient))
    data, gain = spoil(rng, fields(rng, gain, shape, rng.choice(KINDS)), gain)
    times = np.arange(shape[2])
    own = ["shared", "white", 0.5**times, np.cos(times) + 1e-3 * (times == 0)]
    return data, gain, dict(
        n_orient=n_orient,
        temporal=str(rng.choice(sorted(TEMPORAL))),
        noise=str(rng.choice(sorted(NOISE))),
        noise_temporal=own[rng.integers(len(own))],
        learn_orient=bool(rng.integers(2)),
        select=bool(rng.integers(2)),
        occam=float(rng.choice([1, 1.5, 2, 10])),
        max_iter=int(rng.choice([1, 5, 60])),
        tol=float(rng.choice([1e-12, 1e-5, 1.0])),
    )  # fmt: skip


def play(seed):
    """Learn from a case; return what came out."""
    data, gain, options = draw(seed)
    try:
        assert_sound(dugh(data, gain, **options), data)
    except Exception as error:
        if isinstance(error, ValueError) and REFUSED.search(str(error)):
            return "refused"
        raise AssertionError(f"seed {seed}: {error!r}") from error
    return "learned"


@pytest.mark.parametrize("batch", range(BATCHES))
def test_whatever_the_data_the_result_is_sound(batch):
    seeds = range(batch * CASES, (batch + 1) * CASES)
    print(f"\nseeds {seeds.start} to {seeds.stop - 1}:", dict(Counter(map(play, seeds))))


@pytest.mark.parametrize("name", sorted(BAD))
def test_an_argument_without_meaning_is_named(name):
    """Before the first sweep, alone and together with other options."""
    rng = np.random.default_rng(0)
    arrays = dict(data=rng.standard_normal((2, 6, 9)), gain=rng.standard_normal((6, 30)))
    given = arrays | dict(on_sweep=lambda *_: pytest.fail(f"{name} was not checked before work"))
    for value in BAD[name]:
        for options in (dict(), dict(temporal="full", n_orient=3), dict(select=True, occam=2.0)):
            with pytest.raises((TypeError, ValueError), match=name):
                dugh(**given | options | {name: value})
    print(f"\n{name}: {3 * len(BAD[name])} refused")
