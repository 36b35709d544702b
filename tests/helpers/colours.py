"""A small data set of pictures."""

import numpy as np

COLOURS = {"blue": (0, 0, 1), "green": (0, 1, 0), "red": (1, 0, 0)}


def write_colours(root):
    """Write noisy pictures of one colour into folders."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, n in (("train", 20), ("test", 10)):
        for name, colour in COLOURS.items():
            (root / part / name).mkdir(parents=True)
            for number in range(n):
                pixels = 100 * np.array(colour) + rng.integers(0, 156, (12, 10, 3))
                picture = Image.fromarray(pixels.astype(np.uint8))
                picture.save(root / part / name / f"{number}.png")
