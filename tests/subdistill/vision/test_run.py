"""From a configuration to the file of a student."""

import dataclasses
import shutil

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
pytest.importorskip("yaml")

from distill_cases import learn
from torch.utils.data import DataLoader

from subdistill.evaluate import accuracy
from subdistill.subtask import select_classes
from subdistill.vision.config import Config
from subdistill.vision.images import image_transform, load_images
from subdistill.vision.models import SmallCNN, load_model
from subdistill.vision.run import run


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
    for changed, what in _others(folder, tmp_path):
        with pytest.raises(ValueError, match=what):
            run(dataclasses.replace(config, **changed), tmp_path / "run")
    assert run(dataclasses.replace(config, workers=0, root="elsewhere"), tmp_path / "run") == found
    config.recipe["weight"] = 2
    with pytest.raises(ValueError, match=r"another configuration \(weight was 10\.0, is 2\)"):
        run(config, tmp_path / "run")


def _others(folder, tmp_path):
    """Changes of a configuration, and what a run of it says in the same folder."""
    fewer = tmp_path / "fewer"
    shutil.copytree(folder, fewer)
    (fewer / "train" / "red" / "0.png").unlink()
    torch.manual_seed(1)
    torch.save(SmallCNN(3).state_dict(), tmp_path / "other.pt")
    torch.save(SmallCNN(2).state_dict(), tmp_path / "start.pt")
    return [
        (dict(fraction=0.5), "fraction was 1.0, is 0.5"),
        (dict(size=12), "size was 8, is 12"),
        (dict(classes=["red", "green"]), "classes was .*blue.*, is .*green"),
        (dict(data=str(fewer)), r"images was 60 and 30, checksum \w+, is 59 and 30"),
        (dict(teacher_weights=str(tmp_path / "other.pt")), "weights of the teacher was"),
        (dict(student_weights=str(tmp_path / "start.pt")), "weights of the student was None, is"),
    ]


def test_files_of_others_stay(folder, tmp_path):
    weights = tmp_path / "teacher.pt"
    torch.save(SmallCNN(3).state_dict(), weights)
    config = Config("small_cnn", "small_cnn", str(folder), teacher_weights=str(weights), size=8)
    (tmp_path / "student.safetensors").write_text("theirs")
    with pytest.raises(FileExistsError, match=r"student.safetensors exists and belongs to no run"):
        run(config, tmp_path)
    assert (tmp_path / "student.safetensors").read_text() == "theirs"
    with pytest.raises(NotADirectoryError, match=r"teacher.pt is a file: pass a folder"):
        run(config, weights)


def test_a_mistake_does_not_bind_the_folder(folder, tmp_path):
    weights = tmp_path / "teacher.pt"
    torch.save(SmallCNN(3).state_dict(), weights)
    config = Config(
        "small_cnn", "small_cnn", str(folder), teacher_weights=str(weights), size=8,
        recipe=dict(epochs=1), objective="magic",
    )  # fmt: skip
    with pytest.raises(ValueError, match="no objective 'magic'"):
        run(config, tmp_path / "run")
    assert run(dataclasses.replace(config, objective="kd"), tmp_path / "run")["best epoch"] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(classes=[]), "list of classes is empty"),
        (dict(fraction=0.01), "No image is left to train on: of 3, all go to the validation"),
        (dict(validation=0.999), "No image is left to train on: of 60, all"),
    ],
)
def test_nothing_to_learn_from_is_told_before_a_model_is_loaded(change, words, folder, tmp_path):
    config = Config("no_model", "no_model", str(folder), size=8, **change)
    with pytest.raises(ValueError, match=words):
        run(config, tmp_path / "run")


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_weights_that_are_not_finite_or_of_another_model_are_named(suffix, tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / f"weights.{suffix}"
    state = SmallCNN(3).state_dict()
    save = torch.save if suffix == "pt" else save_file
    for value in (torch.nan, torch.inf):
        state["linear.bias"][1] = value
        save(state, path)
        with pytest.raises(ValueError, match=rf"weights.{suffix} .* 'linear.bias' are infinite"):
            load_model("small_cnn", weights=path)
    save(SmallCNN(3).state_dict(), path)
    with pytest.raises(ValueError, match=rf"weights.{suffix} holds no weights of cifar_resnet20"):
        load_model("cifar_resnet20", weights=path)
    save({"a": torch.ones(2)}, path)
    with pytest.raises(ValueError, match=rf"weights.{suffix} has no 'linear.bias'"):
        load_model("small_cnn", weights=path)
