"""SubDistill beside other distillations, on subtasks of CIFAR-10 with a pretrained ResNet-56.

``teacher``
    Accuracy of the teacher, on all classes and on the subtasks, and of its projections.
``grid``
    Students of about 18,400 parameters learn subtasks of 3 to 5 classes from 10 % and 50 % of the
    training images, of which a fifth chooses the best epoch. All methods have the same students,
    batches, epochs (with five times the images, fewer by the square root of five) and optimizer.
    Subspaces have four dimensions in all layers. Each method's weight of the layers is the one
    with which it is best on the validation images of the first seed, in the mean over all
    subtasks: 10, 100 or 1000, and 1 where 10 was best. The four dimensions, batches and learning
    rate were chosen for SubDistill on training images of "animals" that the first seed leaves.
``ablation``
    The grid, at 10 %, of SubDistill without one of its choices each.
``table``
    Tables and the picture of what the grid has found so far.
``speed``
    Seconds of the subspaces beside passes over the data, and of a step beside a plain loop.

Data and weights are looked for in the folder MNE_INVKIT_DATA, else beside the checkout. Results of
``grid`` and ``ablation`` are appended to a CSV file, so that they can be interrupted and resumed.
``--smoke`` runs a tiny version on made-up images, and writes nothing.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import time
from functools import partial

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm
from vision_ablation import NotCentred, NotNormalized, NotRotated
from vision_data import LAYERS, SUBTASKS, Cifar, Images, MadeUp, block, explained
from vision_report import FIELDS, RESULTS, best_weights, plot, read_rows, table, write_report

from subdistill.engine import distill
from subdistill.evaluate import accuracy, projected_accuracy
from subdistill.explain import heatmaps, similarity
from subdistill.moments import Moments, measure_moments
from subdistill.objectives import Objective, Pair
from subdistill.subspace import make_subspace
from subdistill.training import Recipe
from subdistill.vision.models import SmallCNN

FRACTIONS, SEEDS = (0.1, 0.5), (0, 1, 2)
SEARCH = SEEDS[0]  # where each method's weight is chosen
WEIGHTS = (1.0, 10.0, 100.0, 1000.0)  # the first only where the second is the best
COMMANDS = "teacher", "grid", "ablation", "table", "speed"
RANK = 4  # of the subspaces of all layers
METHODS = {  # objective and subspace
    "SubDistill": ("subdistill", "prca"),
    "PCA": ("subdistill", "pca"),
    "gradient PCA": ("subdistill", "gradient_pca"),
    "plain PRCA": ("subdistill", "plain_prca"),
    "random": ("subdistill", "random"),
    "KD": ("kd", None),
    "FitNet": ("fitnet", None),
    "AT": ("at", None),
    "VID": ("vid", None),
    "VkD": ("vkd", None),
}
ABLATION = {
    "not centred": (NotCentred, "prca"),
    "not rotated": (NotRotated, "prca"),
    "not normalized": (NotNormalized, "prca"),
}


# %% The grid


def run_cell(cell: tuple, epochs: int, source: type = Cifar) -> dict:
    """Distill a student and score it."""
    torch.set_num_threads(1)
    subtask, fraction, seed, method, weight = cell
    objective, subspace = (METHODS | ABLATION)[method]
    epochs = max(1, round(epochs * (FRACTIONS[0] / fraction) ** 0.5))
    shared, start = block(source, subtask, fraction, seed), time.perf_counter()
    torch.manual_seed(seed)
    student = SmallCNN(len(shared.classes)).to(memory_format=torch.channels_last)
    subspaces = {
        layer: make_subspace(shared.moments[layer], RANK, subspace, seed=seed)
        for layer in LAYERS
        if subspace
    }
    found = distill(
        shared.remembering, student, shared.train, layers=LAYERS, objective=objective,
        subspace=subspaces, classes=shared.classes, validation=shared.validation,
        recipe=Recipe(
            epochs=epochs, weight=weight, learning_rate=1e-2, schedule="cosine", seed=seed
        ),
    )  # fmt: skip
    seconds = time.perf_counter() - start
    images, decisions, theirs = explained(source, subtask)
    agreements = {
        name: similarity(maps, heatmaps(student, images, decisions, name)).mean().item()
        for name, maps in theirs.items()
    }
    return dict(zip(FIELDS, cell, strict=False)) | agreements | dict(
        epochs=epochs, validation=max(row["score"] for row in found.history),
        accuracy=accuracy(student, shared.test), best_epoch=found.best_epoch,
        seconds=round(seconds, 1),
    )  # fmt: skip


def run_grid(args) -> None:
    """Run all methods, then write the report."""
    for fraction in args.fractions:
        run_methods(list(METHODS), fraction, args)
    write_report(list(METHODS), list(ABLATION), SEARCH)


def run_ablation(args) -> None:
    """Run SubDistill without one choice each, then write the report."""
    run_methods(list(ABLATION), FRACTIONS[0], args)
    write_report(list(METHODS), list(ABLATION), SEARCH)


def run_methods(names: list[str], fraction: float, args) -> None:
    """Search the weight of each method at one seed, then run all with the best ones."""

    def places(seeds, methods):
        return itertools.product(SUBTASKS, [fraction], seeds, methods)

    layered = [method for method in names if method != "KD"]
    _run_cells([(*p, w) for p in places([SEARCH], layered) for w in WEIGHTS[1:]], args)
    best = best_weights(read_rows(), SEARCH)
    low = [m for m in layered if best[fraction, m] == WEIGHTS[1]]
    _run_cells([(*p, WEIGHTS[0]) for p in places([SEARCH], low)], args)
    best = best_weights(read_rows(), SEARCH) | {(fraction, "KD"): 0.0}
    _run_cells([(*p, best[fraction, p[-1]]) for p in places(SEEDS, names)], args)


def _run_cells(cells: list[tuple], args) -> None:
    done = {tuple(row[name] for name in FIELDS[:5]) for row in read_rows()}
    todo = [cell for cell in cells if cell not in done]
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        parallel = Parallel(
            n_jobs=args.jobs, return_as="generator_unordered", pre_dispatch="n_jobs"
        )
        jobs = map(delayed(partial(run_cell, epochs=args.epochs)), todo)
        for row in tqdm(parallel(jobs), total=len(todo), unit="run"):
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})
            file.flush()


# %% Teacher and speed


def run_teacher(args) -> None:
    """Print what the teacher knows, and how much of it few dimensions keep."""
    teacher = Cifar.teacher()
    tenth = Images(*(part[::10] for part in Cifar.images("test")))
    print(f"all classes: {accuracy(teacher, tenth.batches()):.3f}")
    for subtask in SUBTASKS:
        shared = block(Cifar, subtask, 0.1, 0)
        test = tenth.choose(shared.classes).batches()
        found = f"{subtask}: {accuracy(teacher, test, shared.classes):.3f}"
        for name in ("prca", "pca", "gradient_pca", "plain_prca", "random"):
            whole = make_subspace(shared.moments["layer3"], 32, name)
            kept = projected_accuracy(
                teacher, test, "layer3", whole, [2, 4, 8, 16], classes=shared.classes
            )
            found += f"; {name} " + " ".join(f"{k}: {v:.3f}" for k, v in kept.items())
        for layer, moments in shared.moments.items():
            ranks = RANK, len(moments.mean) // 2
            alike = " ".join(f"{k}: {overlap(moments, k):.2f}" for k in ranks)
            found += f"; prca within pca in {layer} {alike}"
        print(found)


def overlap(moments: Moments, rank: int, one: str = "prca", other: str = "pca") -> float:
    """Share of one subspace that lies in another, from 0 to 1."""
    bases = [make_subspace(moments, rank, name).basis for name in (one, other)]
    return (bases[0].T @ bases[1]).square().sum().item() / rank


def run_speed(teacher: nn.Module, data: DataLoader, classes: list[int]) -> None:
    """Time subspaces and steps, each as the fastest of three."""

    def seconds(function) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)

    four = ["layer1", "layer2", "layer3", "bn1"]

    def passes():
        for images, _ in data:
            teacher(images)[:, classes].amax(dim=1).sum().backward()
        teacher.zero_grad()

    fit = seconds(lambda: measure_moments(teacher, data, four, classes=classes))
    print(f"subspaces of 4 layers: {fit / seconds(passes):.2f} forward-backward passes")

    moments = measure_moments(teacher, data, LAYERS, classes=classes)
    ranks = dict(zip(LAYERS, (8, 16, 32), strict=True))
    subspaces = {name: make_subspace(moments[name], rank) for name, rank in ranks.items()}

    def engine():
        distill(
            teacher, SmallCNN(len(classes)), data, layers=LAYERS, subspace=subspaces,
            classes=classes, recipe=Recipe(epochs=1),
        )  # fmt: skip

    def plain():
        student = SmallCNN(len(classes))
        kept, ours, handles = {}, {}, []

        def record(store, name):
            return lambda module, inputs, output: store.__setitem__(name, output)

        for theirs, own in LAYERS.items():
            for model, name, store in ((teacher, theirs, kept), (student, own, ours)):
                hook = model.get_submodule(name).register_forward_hook(record(store, theirs))
                handles.append(hook)
        pairs = {name: Pair(ranks[name], 2 * ranks[name], subspaces[name]) for name in LAYERS}
        losses = Objective(pairs)
        parameters = [*student.parameters(), *losses.parameters()]
        optimizer = torch.optim.AdamW(parameters, 1e-3)
        for images, _ in data:
            with torch.no_grad():
                wanted = teacher(images)[:, classes]
            output = student(images)
            loss = losses(output, wanted, {name: (ours[name], kept[name]) for name in LAYERS})
            optimizer.zero_grad()
            loss["loss"].backward()
            optimizer.step()
        for handle in handles:
            handle.remove()

    print(f"a step of the engine: {seconds(engine) / seconds(plain):.2f} of a plain loop's")


def smoke() -> None:
    """Run everything once on made-up images."""
    rows = [
        run_cell(("vehicles", 0.5, 0, method, WEIGHTS[0]), epochs=1, source=MadeUp)
        for method in METHODS | ABLATION
    ]
    if not np.isfinite([[row["accuracy"], row["lrp"]] for row in rows]).all():
        raise SystemExit(f"A score is not finite: {rows}")
    print(table(rows, [*METHODS, *ABLATION], 0.5))
    plot(rows, list(METHODS))
    shared = block(MadeUp, "vehicles", 0.5, 0)
    run_speed(shared.teacher, shared.train, shared.classes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", nargs="?", choices=COMMANDS)
    parser.add_argument("--smoke", action="store_true", help="a tiny version, nothing is written")
    parser.add_argument("--epochs", type=int, default=15, help="epochs with 10 % of the images")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument(
        "--fractions", nargs="+", type=float, default=FRACTIONS, help="of the images"
    )
    args = parser.parse_args()
    if args.smoke:
        smoke()
    elif args.command == "table":
        write_report(list(METHODS), list(ABLATION), SEARCH)
    elif args.command == "speed":
        shared = block(Cifar, "animals", 0.1, 0)
        run_speed(shared.teacher, shared.train, shared.classes)
    elif args.command:
        {"teacher": run_teacher, "grid": run_grid, "ablation": run_ablation}[args.command](args)
    else:
        parser.error("a command or --smoke is needed")


if __name__ == "__main__":
    main()
