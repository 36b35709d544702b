"""Arguments that several functions of kronbayes share, each described once."""

from __future__ import annotations

from mne_invkit._docs import ENTRIES, make_filler

fill_doc = make_filler(
    ENTRIES
    | {
        "inst": """\
evoked : mne.Evoked | list of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
    The data. Several Evokeds must share channels and times. Raw is cut into windows, which
    are treated as trials.""",
        "temporal": """\
temporal : "identity" | "full" | "toeplitz" | "ar1" | "squared-exponential" | callable
    Temporal covariance of the sources: white, any, stationary, or stationary with one parameter.
    "full" needs many more sensors and trials than times; with fewer, it is learned on the leading
    temporal components. A callable makes a family of your own.""",
        "noise_model": """\
noise : "fixed" | "scalar" | "diagonal" | "full" | callable
    Noise model: as given, one factor for the given covariance, a variance for each sensor,
    or any covariance, shrunk toward the shape of the given one. Errors of the head model act
    as noise, and the covariance of an averaged baseline is far too small for them, hence the
    default. A callable makes a model of your own.""",
        "noise_temporal": """\
noise_temporal : "shared" | "white" | ndarray | mne.BaseEpochs
    Temporal covariance of the noise: that of the sources, white, as given (shape (n_times,)
    for its first column, or (n_times, n_times); for Raw, of a window), or that of a baseline.
    All but the first take
    time that grows with the cube of the number of times.""",
        "learn_orient": """\
learn_orient : bool
    Learn the covariance between the components of each source. Most sources then keep one
    orientation. If False, the components of a source share one variance, in the proportions
    that `loose` gives. With ``occam=2``, simulated sources come closer to the truth, but sources
    of real averages of few trials may be lost.""",
        "occam": """\
occam : float
    Weight of the sources' log-determinant (Occam) term, at least 1. 1 is the likelihood of the
    paper, which takes errors of the head model for sources; 2 leaves fewer of those. If the
    signal is weak and smoother in time than the noise, 2 may leave no source at all: then use
    ``temporal="identity"``, or measured noise (`noise_temporal`).""",
        "select": """\
select : bool
    Switch off all sources that do not raise the evidence by their price (extended Bayesian
    information criterion), the least needed first. In simulations fewer false sources remain,
    but weak sources in averages of few trials may be lost.""",
        "max_iter": """\
max_iter : int
    Maximum number of sweeps.""",
        "tol": """\
tol : float
    Stop when a sweep lowers the cost by less than this share of its quadratic term.""",
        "buffer_size": """\
buffer_size : int
    Number of samples of a window, for Raw. Windows are treated as trials; their length is the
    longest lag that the temporal covariance spans.""",
        "sparse": """\
sparse : bool
    Return only the sources. Else the estimate has all locations, zero where there is none.""",
    }
)
