"""From a configuration to the file of a student."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
yaml = pytest.importorskip("yaml")

from distill_cases import learn
from torch.utils.data import DataLoader

from subdistill.evaluate import accuracy
from subdistill.subtask import select_classes
from subdistill.vision.config import Config, read_config
from subdistill.vision.images import image_transform, load_images
from subdistill.vision.models import SmallCNN, load_model
from subdistill.vision.run import run


def test_options_replace_entries_of_the_file(tmp_path):
    path = tmp_path / "config.yaml"
    entries = dict(teacher="a", student="b", data="c", size=8, recipe=dict(epochs=2, weight=3.0))
    path.write_text(yaml.safe_dump(entries))
    found = read_config(path, ["size=16", "recipe.weight=2", "classes=[cat, [1, 2]]"])
    assert found == Config(
        "a", "b", "c", size=16, recipe=dict(epochs=2, weight=2), classes=["cat", [1, 2]]
    )
    alone = read_config(None, ["teacher=a", "student=b", "data=c"])
    assert alone == Config("a", "b", "c")


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="teacher is missing: pass --set teacher="):
        read_config(None, [])
    with pytest.raises(ValueError, match="no entry 'teacha': pass one of teacher, student"):
        read_config(None, ["teacha=1"])
    with pytest.raises(ValueError, match="--set takes NAME=VALUE, got 'teacher'"):
        read_config(None, ["teacher"])


def test_student_of_two_of_three_colours(folder, tmp_path):
    torch.manual_seed(0)
    teacher = SmallCNN(3)
    data = DataLoader(load_images(folder, transform=image_transform(8)), 20, shuffle=True)
    learn(teacher, data, epochs=4)
    torch.save(teacher.state_dict(), tmp_path / "teacher.pt")
    config = Config(
        "small_cnn", "small_cnn", str(folder), teacher_weights=str(tmp_path / "teacher.pt"),
        classes=["red", "blue"], size=8, batch_size=9, validation=0.3,
        recipe=dict(epochs=12, learning_rate=0.01, schedule="cosine"),
    )  # fmt: skip
    found = run(config, tmp_path / "run")
    assert min(found[f"accuracy of the {model}"] for model in ("teacher", "student")) > 0.85
    student = load_model("small_cnn", weights=found["student"])
    test = load_images(folder, train=False, transform=image_transform(8))
    again = accuracy(student, DataLoader(select_classes(test, [2, 0]), 20))
    assert again == found["accuracy of the student"]
    assert run(config, tmp_path / "run") == found  # only read
    config.recipe["weight"] = 2
    with pytest.raises(ValueError, match=r"another configuration \(weight was 10\.0, is 2\)"):
        run(config, tmp_path / "run")
