"""`chordoma-ensemble predict --cluster`: the same files as without, made by the workers of a Dask cluster."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_chordoma.ensemble.prediction import predict_case
from nnunet_chordoma.ensemble.prediction.output_folder import writable
from nnunet_chordoma.ensemble.prediction.outputs import Outputs, Wanted
from nnunet_chordoma.ensemble.prediction.record import finishing, release, require_owner, take, write_entries
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256
from nnunet_chordoma.labels import CHORDOMA

distributed = pytest.importorskip("distributed", reason="dask and distributed are not installed")
EVERYTHING = ("--save-probabilities", "--uncertainty", "--disagreement")


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Any]:
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        yield cluster


@pytest.fixture
def address(two_workers: Any) -> str:
    return str(two_workers.scheduler_address)


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(paths)}


@pytest.mark.parametrize("rule", ["average", "vote", "staple"])
def test_a_cluster_writes_the_same_files(cohort: Any, address: str, rule: str) -> None:
    alone = cohort.predict(rule, cohort.root / "alone", *EVERYTHING)
    together = cohort.predict(rule, cohort.root / "together", *EVERYTHING, "--cluster", address)
    assert contents(together) == contents(alone)
    assert (together / "uncertainty" / "p2_entropy.nii.gz").is_file()
    assert not list(together.glob(".*"))


def test_paths_may_be_relative(cohort: Any, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The workers were started in another folder.
    monkeypatch.chdir(cohort.root)
    monkeypatch.setattr(type(cohort), "folder", lambda _, model: Path("predictions") / model)
    out = cohort.predict("average", Path("out"), "--cluster", address)
    assert sorted(path.name for path in out.glob("*.nii.gz")) == ["p1.nii.gz", "p2.nii.gz"]


def test_the_work_is_done_by_the_workers(
    cohort: Any, address: str, two_workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict_case, "run", lambda *_: pytest.fail("computed in this process"))
    cohort.predict("average", cohort.root / "out", "--cluster", address)
    assert os.getpid() not in [worker.pid for worker in two_workers.workers.values()]


def test_finished_cases_are_kept(cohort: Any, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = cohort.predict("average", cohort.root / "out")
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.nii.gz")}
    cohort.predict("average", out, "--cluster", address)
    assert "wrote 0 case(s)" in capsys.readouterr().err
    cohort.write_prediction("c", "p2", cohort.maps["a"]["p2"])
    cohort.predict("average", out, "--cluster", address)
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*.nii.gz")}
    assert [name for name in sorted(after) if after[name] != before[name]] == ["p2.nii.gz"]


def test_a_damaged_case_names_its_voxel_and_leaves_a_folder_to_go_on_with(
    cohort: Any, address: str, refused: Callable[..., str]
) -> None:
    maps = cohort.maps["c"]["p2"].copy()
    maps[0, 1, 2, 3] = np.nan
    np.savez_compressed(cohort.folder("c") / "p2.npz", probabilities=maps)
    out = cohort.root / "out"
    line = refused("predict", "-w", "average", *cohort.model_arguments(), "-o", str(out), "--cluster", address)
    assert "model 'c', case 'p2'" in line
    assert "z=1, y=2, x=3" in line
    assert not (out / "p2.nii.gz").exists()
    cohort.write_prediction("c", "p2", cohort.maps["b"]["p2"])
    cohort.predict("average", out, "--cluster", address)
    alone = cohort.predict("average", cohort.root / "alone")
    assert contents(out) == contents(alone)


def test_no_scheduler(
    cohort: Any, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setattr("nnunet_chordoma.console.CLUSTER_TIMEOUT_S", 1)
    out = cohort.root / "out"
    arguments = ("predict", "-w", "average", *cohort.model_arguments(), "-o", str(out), "--cluster")
    for address in (f"tcp://127.0.0.1:{unused_tcp_port}", "nonsense://here"):
        line = refused(*arguments, address)
        assert f"--cluster {address}: no Dask scheduler answers" in line
        assert "tcp://host:8786" in line
        assert not out.exists()


def test_no_workers(cohort: Any, refused: Callable[..., str]) -> None:
    out = cohort.root / "out"
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        line = refused("predict", "-w", "average", *cohort.model_arguments(), "-o", str(out), "--cluster", address)
    assert "has no workers; start them with dask worker" in line
    assert not out.exists()


def test_a_worker_of_a_run_that_has_ended_writes_nothing(tmp_path: Path) -> None:
    earlier = take(tmp_path)
    require_owner(tmp_path, earlier)
    later = take(tmp_path)
    with pytest.raises(ChordomaError, match="has ended"):
        require_owner(tmp_path, earlier)
    # The end of the earlier run does not end the later one.
    release(tmp_path, earlier)
    require_owner(tmp_path, later)
    release(tmp_path, later)
    with pytest.raises(ChordomaError, match="has ended"):
        require_owner(tmp_path, later)
    with pytest.raises(ChordomaError, match="the same files at the same paths"):
        require_owner(tmp_path / "nowhere", later)


def test_a_new_run_waits_for_a_worker_that_is_putting_a_case_in_place(tmp_path: Path) -> None:
    """It has moved the earlier label map aside by then, which must not be swept away."""
    write_entries(tmp_path, CHORDOMA, {})
    owner, outputs = take(tmp_path), Outputs.of(tmp_path, "case")
    outputs.label_map.write_bytes(b"earlier")
    inside, go_on = threading.Event(), threading.Event()

    @contextmanager
    def held(label_map: Path) -> Iterator[None]:
        with finishing(tmp_path, "case", label_map, owner):
            inside.set()
            go_on.wait(10)
            yield

    def work() -> None:
        with outputs.replaced(Wanted(), held) as paths:
            paths.label_map.write_bytes(b"later")

    worker = threading.Thread(target=work)
    worker.start()
    inside.wait(10)
    threading.Timer(0.3, go_on.set).start()
    with writable(tmp_path):
        worker.join()
        assert outputs.label_map.read_bytes() == b"later"


@pytest.fixture
def unused_tcp_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
