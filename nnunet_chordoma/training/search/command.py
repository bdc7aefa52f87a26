"""What `chordoma-search` does, from its options to the tables it leaves."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import typer
from optuna.trial import TrialState

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import write_json
from nnunet_chordoma.layout import RESULTS, nnunet_folder
from nnunet_chordoma.training import trainers
from nnunet_chordoma.training.base_trainer import ChordomaTrainer
from nnunet_chordoma.training.overrides import read_overrides
from nnunet_chordoma.training.search.definition import (
    INCOMPARABLE,
    Base,
    Definition,
    Measure,
    Pruner,
    check_class_weights,
    check_unchanged,
    claim,
    read_base,
    settings_to_use,
    trial_settings,
)
from nnunet_chordoma.training.search.display import ProgressDisplay, print_table
from nnunet_chordoma.training.search.loop import Options, Search
from nnunet_chordoma.training.search.picture import draw
from nnunet_chordoma.training.search.results import BEST, PICTURE, commands, header, rows_of, table, write_tables
from nnunet_chordoma.training.search.sampler import UnrepeatedSampler, parameters_of
from nnunet_chordoma.training.search.space import Space, paper_space, read_space
from nnunet_chordoma.training.search.study import SearchStudy
from nnunet_chordoma.training.search.training import Command

_FOLDER = "chordoma_search"


@dataclass(frozen=True)
class SearchOptions:
    """The options of the command."""

    dataset_id: int
    trainer: str
    trials: int
    configuration: str
    fold: int = 0
    epochs: int = 20
    patches_per_image: int = 15
    space: Path | None = None
    settings: Path | None = None
    measure: str = "auto"
    pruner: str = "median"
    workers: int = 1
    device: str = "auto"
    keep_checkpoints: bool = False
    out: Path | None = None


def run_search(options: SearchOptions, command: Command | None = None) -> None:
    """Search until there are `options.trials`, then print and write what was found.

    `command` is run for every trial in place of nnUNetv2_train.
    """
    base = read_base(options.dataset_id, options.configuration, options.fold)
    definition = define(options, base)
    folder = _folder(options, definition)
    claim(definition, folder)
    sampler = UnrepeatedSampler(definition.space, lambda chosen: _identity(definition, base, chosen))
    study = SearchStudy(folder, definition, sampler)
    device = _device(options.device)
    with ProgressDisplay() as show:
        show.say(f"search in {folder}; compared by {definition.measure}{_why(options, definition)}")
        different = sampler.untried([])
        if different is not None:
            every = math.prod(len(axis.to_json()) for axis in definition.space.axes.values())
            show.say(f"{len(different)} of {every} combinations differ within {definition.epochs} epochs")
        taking_part = Options(options.trials, _environments(options.workers, device), options.keep_checkpoints)
        run = command or Command.of_nnunet(definition, options.dataset_id, device)

        def still() -> None:
            check_unchanged(definition, read_base(options.dataset_id, options.configuration, options.fold))

        search = Search(study, definition, base, run, taking_part, show, still)
        try:
            search.run(lambda: _write(study, definition, base, options.dataset_id, folder))
        finally:
            _write(study, definition, base, options.dataset_id, folder)
    _print(study, definition, options.dataset_id, folder)


def define(options: SearchOptions, base: Base) -> Definition:
    """What the options ask for, checked; raises ChordomaError in one line."""
    known = _trainer_names()
    if options.trainer not in known:
        raise ChordomaError(f"--trainer {options.trainer}: expected one of {', '.join(known)}")
    if options.pruner not in get_args(Pruner):
        raise ChordomaError(f"--pruner {options.pruner}: expected one of {', '.join(get_args(Pruner))}")
    space = read_space(options.space) if options.space else paper_space(options.trainer, options.configuration)
    if "class_weights" in space.axes and not options.trainer.endswith("WCE"):
        raise ChordomaError(
            f"--space {options.space}: {options.trainer} has no class weights to search; choose a trainer whose name "
            "ends with WCE"
        )
    common = read_overrides(options.settings) if options.settings else {}
    definition = Definition(
        dataset=base.dataset,
        trainer=options.trainer,
        configuration=options.configuration,
        fold=options.fold,
        epochs=options.epochs,
        patches_per_image=options.patches_per_image,
        measure=_measure(options.measure, space),
        pruner=options.pruner,  # type: ignore[arg-type]
        space=space,
        common={name: value for name, value in common.items() if name not in space.axes},
        plans=base.plans,
        splits=base.splits,
    )
    combinations = space.combinations()
    if combinations is not None and all(trial_settings(definition, base, chosen) is None for chosen in combinations):
        raise ChordomaError(
            "no combination can be trained: every patch_stride is larger than every patch_size, or every patch is too "
            "small for the levels of the network"
        )
    if options.trainer.endswith("WCE"):
        check_class_weights(definition, base)
    return definition


def _trainer_names() -> list[str]:
    classes = [value for value in vars(trainers).values() if isinstance(value, type)]
    return [c.__name__ for c in classes if issubclass(c, ChordomaTrainer) and c.__module__ == trainers.__name__]


def _measure(name: str, space: Space) -> Measure:
    if name not in ("auto", *get_args(Measure)):
        raise ChordomaError(f"--measure {name}: expected auto, {' or '.join(get_args(Measure))}")
    incomparable = [setting for setting in INCOMPARABLE if setting in space.axes]
    if name == "val_loss" and "class_weights" in incomparable:
        raise ChordomaError(
            "--measure val_loss: losses with different class_weights cannot be compared; give --measure mean_iou"
        )
    if name == "mean_iou" or (name == "auto" and incomparable):
        return "mean_iou"
    return "val_loss"


def _why(options: SearchOptions, definition: Definition) -> str:
    searched = [name for name in INCOMPARABLE if name in definition.space.axes]
    if options.measure == "auto" and searched:
        return f" (losses with different {' and '.join(searched)} cannot be compared)"
    return ""


def _identity(definition: Definition, base: Base, chosen: Mapping[str, str | int | float | bool]) -> str | None:
    settings = trial_settings(definition, base, chosen)
    return None if settings is None else settings.identity


def _folder(options: SearchOptions, definition: Definition) -> Path:
    if options.out is not None:
        return options.out.resolve()
    name = f"{definition.trainer}__{definition.configuration}__fold_{definition.fold}"
    return nnunet_folder(RESULTS).resolve().parent / _FOLDER / definition.dataset / name


def _device(name: str) -> str:
    if name not in ("auto", "cpu", "cuda"):
        raise ChordomaError(f"--device {name}: expected auto, cpu or cuda")
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise ChordomaError("--device cuda: torch finds no GPU here; give --device cpu or repair the driver")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _environments(workers: int, device: str) -> list[dict[str, str]]:
    """One environment for each training at a time: the GPUs in turn, the cores shared, unless the user has chosen."""
    environments = []
    for place in range(workers):
        environment = dict(os.environ)
        if workers > 1:
            cores = str(max(1, (os.cpu_count() or 1) // workers))
            environment.setdefault("nnUNet_n_proc_DA", cores)
            if device == "cpu":
                environment.setdefault("OMP_NUM_THREADS", cores)
            else:
                environment["CUDA_VISIBLE_DEVICES"] = _gpus()[place % len(_gpus())]
        environments.append(environment)
    return environments


def _gpus() -> Sequence[str]:
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(i) for i in range(max(1, torch.cuda.device_count()))]


def _write(study: SearchStudy, definition: Definition, base: Base, dataset_id: int, folder: Path) -> None:
    rows = rows_of(study.trials(), definition)
    best = study.best()
    advice: list[str] = []
    if best is not None:
        write_json(folder / BEST, settings_to_use(definition, base, parameters_of(best)))
        plan, train = commands(definition, dataset_id, folder)
        advice = [f"Best: trial {best.number}. For all trainers: `{plan}`; for this one alone: `{train}`."]
    write_tables(rows, definition, folder, advice)
    draw(rows, definition, folder / PICTURE)


def _print(study: SearchStudy, definition: Definition, dataset_id: int, folder: Path) -> None:
    rows = rows_of(study.trials(), definition)
    print_table(header(definition), table(rows, definition), left_out=("best_epoch", "remark"))
    best = study.best()
    if best is None and any(trial.state == TrialState.RUNNING for trial in study.trials()):
        typer.echo("no trial has finished yet; other processes are running those that are left and will tell the best")
        return
    if best is None:
        raise ChordomaError(f"no trial has finished, so there is no best one; see the remarks and {folder}/trials/*/")
    chosen = ", ".join(f"{name} {value}" for name, value in parameters_of(best).items())
    plan, train = commands(definition, dataset_id, folder)
    typer.echo(f"best: trial {best.number}, {definition.measure} {best.value:.4f}: {chosen}")
    typer.echo(f"to put it into the plans, for all trainers:\n  {plan}")
    typer.echo(f'to train with it once, after eval "$(python -m nnunet_chordoma)":\n  {train}')
    typer.echo(f"tables and picture: {folder}")
