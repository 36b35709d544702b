"""Estimates in files: what is read again is what was written."""

from contextlib import nullcontext
from pathlib import Path

import mne
import nibabel
import numpy as np
import pytest

from mne_invkit.cli.export import Output


def estimate(forward, vector=False, every=1):
    """Random estimate of some of the locations, three samples from -10 ms on."""
    src = forward["src"]
    vertices = [s["vertno"][::every] for s in src]
    n = sum(map(len, vertices))
    data = np.random.default_rng(0).random((n, 3, 3) if vector else (n, 3))
    name = ("Vector" if vector else "") + "SourceEstimate"
    classes = dict(surface=f"{name}", volume=f"Vol{name}", mixed=f"Mixed{name}")
    stc_class = getattr(mne, classes.get(src.kind, f"Vol{name}"))
    return stc_class(data, vertices, -0.01, 0.005, subject=src[0].get("subject_his_id"))


@pytest.mark.parametrize("kind", ["surface", "volume", "discrete", "mixed"])
@pytest.mark.parametrize("vector", [False, True])
def test_h5_holds_any_estimate(forwards, tmp_path, kind, vector):
    stc = estimate(forwards[kind], vector)
    (path,) = Output.parse(tmp_path / "a.h5").write(stc, forwards[kind]["src"])
    again = mne.read_source_estimate(path)
    assert type(again) is type(stc)
    np.testing.assert_array_equal(again.data, stc.data)


@pytest.mark.parametrize("name", ["a.stc", "a-lh.stc", "a-vl.stc"])
@pytest.mark.parametrize(
    ("kind", "names"), [("surface", ["a-lh.stc", "a-rh.stc"]), ("discrete", ["a-vl.stc"])]
)
def test_stc(forwards, tmp_path, name, kind, names):
    stc = estimate(forwards[kind])
    paths = Output.parse(tmp_path / name).write(stc, forwards[kind]["src"])
    assert paths == [tmp_path / name for name in names]
    assert sorted(tmp_path.iterdir()) == paths
    again = mne.read_source_estimate(paths[0])
    np.testing.assert_allclose(again.data, stc.data, rtol=1e-6)
    np.testing.assert_allclose(again.times, stc.times, atol=1e-6)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_image_has_the_values_where_the_sources_are(forwards, tmp_path, ending):
    forward = forwards["volume"]
    src, stc = forward["src"], estimate(forward, every=2)
    (path,) = Output.parse(tmp_path / f"a{ending}").write(stc, src)
    image = nibabel.load(path)
    positions = mne.transforms.apply_trans(
        mne.transforms.invert_transform(forward["mri_head_t"]), forward["source_rr"][::2]
    )
    voxels = mne.transforms.apply_trans(np.linalg.inv(image.affine), 1e3 * positions)
    values = image.get_fdata()[tuple(np.round(voxels).astype(int).T)]
    np.testing.assert_allclose(values, stc.data, rtol=1e-6)
    assert image.get_fdata().sum() == pytest.approx(stc.data.sum())  # and none elsewhere
    assert image.header["toffset"] == pytest.approx(-10)
    assert image.header["pixdim"][4] == pytest.approx(5)


@pytest.fixture
def triangles(forwards):
    """Source space with triangles between its locations, of which the forward lacks some."""
    src = forwards["surface"]["src"].copy()
    for s in src:
        vertices = s["vertno"]
        s["use_tris"] = np.column_stack([vertices[:-2], vertices[1:-1], vertices[2:]])
        s["nuse_tri"] = len(s["use_tris"])
        s["inuse"][vertices[5]] = 0
        s["vertno"] = np.flatnonzero(s["inuse"])
        s["nuse"] = len(s["vertno"])
    return src


def test_gifti_has_the_values_and_the_surface(triangles, tmp_path):
    stc = estimate(dict(src=triangles), every=3)
    output = Output.parse(tmp_path / "a.gii")
    output.check_holds(triangles)
    paths = output.write(stc, triangles)
    assert [path.name for path in paths] == [
        "a-lh.gii", "a-lh.time.gii", "a-rh.gii", "a-rh.time.gii",
    ]  # fmt: skip
    points, corners = (array.data for array in nibabel.load(paths[0]).darrays)
    left = triangles[0]
    np.testing.assert_allclose(points, 1e3 * left["rr"][left["vertno"]], rtol=1e-5)
    assert corners.shape == (left["nuse_tri"] - 3, 3)  # those at the vertex that is not used
    values = np.column_stack([array.data for array in nibabel.load(paths[1]).darrays])
    np.testing.assert_allclose(values[::3], stc.lh_data, rtol=1e-6)
    assert not values[1::3].any()


def test_gifti_needs_triangles(triangles):
    for s in triangles:
        s["use_tris"], s["nuse_tri"] = None, 0
    with pytest.raises(ValueError, match=r"no triangles for a \.gii file"):
        Output.parse(Path("a.gii")).check_holds(triangles)


@pytest.mark.parametrize(
    ("kind", "endings"),
    [
        ("surface", {".h5", ".stc"}),
        ("volume", {".h5", ".stc", ".nii", ".nii.gz"}),
        ("discrete", {".h5", ".stc"}),
        ("mixed", {".h5"}),
    ],
)
def test_what_a_format_cannot_hold_is_refused(forwards, kind, endings):
    for ending in (".h5", ".stc", ".nii", ".nii.gz"):
        fault = pytest.raises(ValueError, match=r"pass an --output that ends in \.h5")
        with nullcontext() if ending in endings else fault:
            Output.parse(Path(f"a{ending}")).check_holds(forwards[kind]["src"])


def test_vectors_and_complex_values_need_h5(forwards, tmp_path):
    stc = estimate(forwards["volume"], vector=True)
    with pytest.raises(ValueError, match=r"cannot hold vectors: pass an --output"):
        Output.parse(tmp_path / "a.nii").write(stc, forwards["volume"]["src"])
    with pytest.raises(ValueError, match=r"cannot hold complex values"):
        Output.parse(Path("a.stc")).check_scalar(vector=False, is_complex=True)
    assert not list(tmp_path.iterdir())


def test_an_error_leaves_all_files_as_they_are(forwards, tmp_path, monkeypatch):
    src, stc = forwards["surface"]["src"], estimate(forwards["surface"])
    output = Output.parse(tmp_path / "a.stc")
    for path in output.files("surface"):
        path.write_text("old")

    def fails_in_the_middle(self, fname, **_):
        Path(f"{fname}-lh.stc").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mne.SourceEstimate, "save", fails_in_the_middle)
    with pytest.raises(OSError, match="No space left"):
        output.write(stc, src)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a-lh.stc": "old", "a-rh.stc": "old",
    }  # fmt: skip


def test_names_of_several_estimates():
    output = Output.parse(Path("folder/sub-01-stc.h5"))
    assert output.named("left ear/tone").files() == [Path("folder/sub-01-left_ear_tone-stc.h5")]
    assert Output.parse(Path("a.nii.gz")).named("x").files() == [Path("a-x.nii.gz")]
