"""Pictures that the tests of subdistill.vision share."""

import numpy as np
import pytest

COLOURS = {"blue": (0, 0, 1), "green": (0, 1, 0), "red": (1, 0, 0)}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Noisy pictures of one colour in folders."""
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("torchvision")
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for part, n in (("train", 20), ("test", 10)):
        for name, colour in COLOURS.items():
            (root / part / name).mkdir(parents=True)
            for number in range(n):
                pixels = 100 * np.array(colour) + rng.integers(0, 156, (12, 10, 3))
                picture = image.fromarray(pixels.astype(np.uint8))
                picture.save(root / part / name / f"{number}.png")
    return root
