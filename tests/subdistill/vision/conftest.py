"""Pictures that the tests of subdistill.vision share."""

import pytest
from colours import write_colours


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Noisy pictures of one colour in folders."""
    pytest.importorskip("PIL.Image")
    pytest.importorskip("torchvision")
    root = tmp_path_factory.mktemp("images")
    write_colours(root)
    return root
