"""Arguments that several functions of kronbayes share, each described once."""

from __future__ import annotations

from mne_invkit._docs import ENTRIES, make_filler

fill_doc = make_filler(
    ENTRIES
    | {
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
    for its first column, or (n_times, n_times)), or that of a baseline. All but the first take
    time that grows with the cube of the number of times.""",
        "learn_orient": """\
learn_orient : bool
    Learn the covariance between the components of each source, by which most keep one
    orientation. Else they share one variance, with the shares that `loose` gives. With
    ``occam=2``, simulated sources come closer to the truth; real fields of few averages may be
    lost.""",
        "occam": """\
occam : float
    Weight of the sources' log-determinant (Occam) term, at least 1. 1 is the likelihood of the
    paper, which takes errors of the head model for sources; 2 leaves fewer of those. Where the
    signal is hardly above noise that is less smooth than it, 2 may leave no source at all: then
    use ``temporal="identity"``, or measured noise (`noise_temporal`).""",
        "select": """\
select : bool
    Switch off all sources that do not raise the evidence by their price (extended Bayesian
    information criterion), the least needed first. Simulated sources are found more purely
    so, but weak ones of few averages may be lost.""",
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
        "on_interrupt": """\
on_interrupt : "raise" | "keep"
    What Ctrl-C does while learning: raise KeyboardInterrupt, or return what was learned so
    far.""",
    }
)
