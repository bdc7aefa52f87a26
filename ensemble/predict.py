"""Label maps of an ensemble, from the probability maps of its models (paper, 2.4)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma import console
from nnunet_chordoma.cases import common_scheme
from nnunet_chordoma.ensemble.combination import combine, label_map
from nnunet_chordoma.ensemble.inputs import check_grids, find_cases, require_model_count
from nnunet_chordoma.ensemble.prediction.fusion import Rule
from nnunet_chordoma.ensemble.prediction.output_folder import (
    copy_plans,
    finished_cases,
    protect_changed,
    refuse_foreign,
    require_other_folder,
    settled_entries,
    tidy,
    warn_of_earlier,
    writable,
)
from nnunet_chordoma.ensemble.prediction.outputs import Outputs, Wanted
from nnunet_chordoma.ensemble.prediction.predict_case import Job, predict_case
from nnunet_chordoma.ensemble.prediction.record import CaseRecord, Entry, read_entries, release, write_entries
from nnunet_chordoma.ensemble.prediction.stream import threads_per_worker
from nnunet_chordoma.ensemble.weights import AVERAGE, EnsembleWeights
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.probabilities import ProbabilityMaps


@dataclass(frozen=True)
class Prediction:
    """Cases predicted by this run, and those that an earlier run had finished."""

    done: tuple[str, ...]
    skipped: tuple[str, ...]


def predict(maps: Iterable[NDArray[np.float32]], weights: EnsembleWeights) -> NDArray[np.uint8]:
    """Label map (z, y, x) of probability maps (label, z, y, x), one per model in the order of `weights.names`."""
    used = (values for values, weight in zip(maps, weights.values, strict=True) if weight > 0)
    return label_map(combine(used, weights.used_values))


def chosen(text: str, models: Sequence[str]) -> tuple[Rule, EnsembleWeights, LabelScheme | None]:
    """What a command line's `-w` asks for: `average`, `vote`, `staple`, or the weights of a weights.json.

    The label scheme is that of the file. `vote` and `staple` count every model alike. A file of one of these names is
    given with its folder, as ./vote.
    """
    if text == AVERAGE:
        return Rule.MEAN, EnsembleWeights.average(models), None
    if text in (Rule.VOTE.value, Rule.STAPLE.value):
        return Rule(text), EnsembleWeights.average(models), None
    if not Path(text).exists():
        raise ChordomaError(f"-w {text}: no such file; give a weights.json, or one of {AVERAGE}, vote, staple")
    return Rule.MEAN, *EnsembleWeights.read(Path(text))


def predict_folders(
    models: Mapping[str, Path],
    weights: EnsembleWeights,
    output: Path,
    scheme: LabelScheme | None = None,
    save_probabilities: bool = False,
    workers: int = 1,
    overwrite: bool = False,
    rule: Rule = Rule.MEAN,
    uncertainty: bool = False,
    disagreement: bool = False,
    cluster: str | None = None,
) -> Prediction:
    """Write CASE.nii.gz for every case of the model folders (name -> folder), in the original geometry.

    `models` may come in any order. `scheme` is the label scheme the weights were fitted with, if any. Models of weight
    zero are not read; the others are read once, block by block. The label maps are those of `rule`; `vote` and
    `staple` take equal weights. With

    * `save_probabilities` also CASE.npz (the weighted mean, float32) and CASE.pkl, for nnUNetv2_ensemble;
    * `uncertainty` also uncertainty/CASE_entropy.nii.gz and CASE_mutual_information.nii.gz (see `Uncertainty`);
    * `disagreement` also disagreement/CASE.csv and, of all cases in the folder, disagreement.csv.

    With `cluster`, the address of a Dask scheduler whose workers see the same files, the cases are predicted there
    instead of in `workers` processes.

    Cases that an earlier run made of the same files in the same way are skipped unless `overwrite`; one that lacks
    something of this is predicted again, with what there is of it besides. A case's earlier files are replaced when its
    new ones are complete, not before; files that this command has not written never are. Raises ChordomaError, before
    anything is written, if models, label schemes, cases, grids, shapes or the output folder do not fit; and naming file
    and voxel, with the finished cases kept, if probabilities turn out to be damaged.
    """
    wanted = Wanted(save_probabilities, uncertainty, disagreement)
    # Sums of floating-point numbers depend on their order, so that of the weights holds, not that of the caller.
    known = [name for name in weights.names if name in models]
    models = {name: models[name] for name in (*known, *(name for name in models if name not in known))}
    cases, common = _checked(models, weights, scheme, rule, workers)
    require_other_folder(output, models)
    # What else a cluster's worker shares its machine with is not known here.
    threads = threads_per_worker(min(workers, len(cases)) if cluster is None else os.cpu_count() or 1)
    records = {case: CaseRecord.of(rule, weights, maps) for case, maps in cases.items()}
    with writable(output) as owner:
        entries = read_entries(output)
        refuse_foreign(output, entries, cases, models)
        finished = finished_cases(output, entries)
        alike = [case for case in cases if case in finished and finished[case].record == records[case]]
        kept = [case for case in alike if not overwrite and Outputs.of(output, case).complete(wanted)]
        to_do = [case for case in cases if case not in kept]
        protect_changed(output, entries, to_do, kept)
        warn_of_earlier(output, finished, records, overwrite)
        settled = entries | {case: Entry(each.record, each.sha256) for case, each in finished.items()}
        # True of either label map, so whatever a run that breaks off leaves behind is described.
        planned = settled | {case: Entry(records[case], replaces=finished.get(case)) for case in to_do}
        write_entries(output, common, planned)
        copy_plans(models, output)
        wanted_of = {case: wanted | Outputs.of(output, case).existing() if case in alike else wanted for case in to_do}
        jobs = [
            Job(
                _located(cases[case]),
                weights.used_values,
                rule,
                common,
                output.absolute(),
                wanted_of[case],
                owner,
                threads,
            )
            for case in to_do
        ]
        try:
            if jobs:
                console.parallel(predict_case, [(job,) for job in jobs], workers, "predicting", cluster=cluster)
        except BaseException:
            # Workers on other machines may still be at work: what they have not begun to put in place stays away.
            release(output, owner)
            write_entries(output, common, settled_entries(output))
            raise
        finally:
            tidy(output, planned)
        noted = read_entries(output)
        write_entries(output, common, settled | {case: Entry(records[case], noted[case].sha256) for case in to_do})
    return Prediction(tuple(to_do), tuple(kept))


def _located(maps: Sequence[ProbabilityMaps]) -> tuple[ProbabilityMaps, ...]:
    """The maps with paths that hold in any process."""
    return tuple(replace(each, npz=each.npz.absolute(), label_map=each.label_map.absolute()) for each in maps)


def _checked(
    models: Mapping[str, Path],
    weights: EnsembleWeights,
    scheme: LabelScheme | None,
    rule: Rule,
    workers: int,
) -> tuple[dict[str, tuple[ProbabilityMaps, ...]], LabelScheme]:
    """Cases with the maps of the models in use, and the labels; all that can be told without reading arrays."""
    require_model_count(list(models))
    weights.require_models(list(models))
    if workers < 1:
        raise ChordomaError(f"--workers must be 1 or more, found {workers}")
    if rule is not Rule.MEAN and weights != EnsembleWeights.average(weights.names):
        raise ChordomaError(f"the rule '{rule.value}' counts every model alike; give no weights with it")
    cases = find_cases({name: models[name] for name in weights.used})
    common = common_scheme({f"model '{name}'": folder for name, folder in models.items()})
    if scheme is not None and scheme != common:
        raise ChordomaError(
            f"the weights were fitted to the labels {', '.join(scheme.names)}, found {', '.join(common.names)} in the "
            "model folders; predict with models trained on the same dataset"
        )
    for maps in cases.values():
        check_grids(maps, common)
    return cases, common
