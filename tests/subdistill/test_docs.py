"""Descriptions that several functions share."""

import pytest

pytest.importorskip("torch")

from subdistill._docs import SHARED, fill_doc


def test_description_takes_the_place_of_its_name():
    @fill_doc
    def function(classes):
        """Do something.

        Parameters
        ----------
        %(classes)s
        """

    lines = [line.strip() for line in function.__doc__.splitlines()]
    assert [line.strip() for line in SHARED["classes"].splitlines()] == lines[4:-1]
    starts = [line for line in function.__doc__.splitlines() if "classes : sequence" in line]
    indent = len(starts[0]) - len(starts[0].lstrip())
    assert f"\n{' ' * (indent + 4)}Outputs of the model" in function.__doc__


def test_unknown_name_is_an_error():
    def function():
        """Do something.

        %(magic)s
        """

    with pytest.raises(KeyError, match="magic"):
        fill_doc(function)
