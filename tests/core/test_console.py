import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import pytest
import typer

from nnunet_chordoma import console
from nnunet_chordoma.cases import existing_folder
from nnunet_chordoma.errors import ChordomaError


def square(x):
    if x == 13:
        raise ChordomaError("thirteen is refused")
    return x * x


@pytest.fixture
def app():
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def work(kind: str, m: Annotated[list[str] | None, typer.Option("-m")] = None, o: str = "") -> None:
        print(kind, m, o)
        errors = {
            "bad": ChordomaError("case 'a':\n  expected b"),
            "bug": ZeroDivisionError("0"),
            "disk": PermissionError(13, "Permission denied", "/x/y"),
            "stop": KeyboardInterrupt(),
        }
        if kind in errors:
            raise errors[kind]

    return app


@pytest.mark.parametrize(("kind", "status"), [("fine", 0), ("bad", 1), ("bug", 1), ("disk", 1), ("stop", 130)])
def test_exit_status(app, kind, status):
    with pytest.raises(SystemExit) as caught:
        console.run(app, arguments=[kind])
    assert (caught.value.code or 0) == status


def test_a_path_that_cannot_be_written_is_named(app, capsys):
    with pytest.raises(SystemExit):
        console.run(app, arguments=["disk"])
    assert capsys.readouterr().err.startswith("error: /x/y: Permission denied; check that")


def test_an_interruption_says_how_to_go_on(app, capsys):
    with pytest.raises(SystemExit):
        console.run(app, arguments=["stop"])
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: interrupted; what was finished is kept, run the same command again"
    )


def test_wrong_usage_is_status_two(app):
    with pytest.raises(SystemExit) as caught:
        console.run(app, arguments=["fine", "--nope"])
    assert caught.value.code == 2


def test_bad_input_is_one_line_without_traceback(app, capsys):
    with pytest.raises(SystemExit):
        console.run(app, arguments=["bad"])
    assert capsys.readouterr().err == "error: case 'a': expected b\n"


def test_debug_shows_the_traceback_wherever_it_stands(app, capsys):
    for arguments in (["--debug", "bad"], ["bad", "--debug"]):
        with pytest.raises(SystemExit):
            console.run(app, arguments=arguments)
        assert "Traceback" in capsys.readouterr().err


def test_an_option_takes_several_values(app, capsys):
    with pytest.raises(SystemExit):
        console.run(app, ("-m",), ["fine", "-m", "a=1", "b=2", "--o", "out", "-m", "c=3"])
    assert capsys.readouterr().out == "fine ['a=1', 'b=2', 'c=3'] out\n"


@pytest.mark.parametrize("arguments", [["fine", "-m"], ["fine", "-m", "--o", "x"]])
def test_a_list_option_without_values_is_wrong_usage(app, arguments):
    with pytest.raises(SystemExit) as caught:
        console.run(app, ("-m",), arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_parallel_keeps_the_order(workers):
    assert console.parallel(square, [(i,) for i in range(5)], workers, "squares") == [0, 1, 4, 9, 16]


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
def test_parallel_passes_errors_on(workers, threads):
    with pytest.raises(ChordomaError, match="thirteen"):
        console.parallel(square, [(i,) for i in (1, 13, 2)], workers, "squares", threads=threads)


def test_threads_at_work_are_waited_for_when_one_fails():
    begun, finished = threading.Event(), []

    def work(name):
        if name == "faulty":
            begun.wait(10)
            raise ChordomaError("faulty")
        begun.set()
        time.sleep(0.5)
        finished.append(name)

    with pytest.raises(ChordomaError, match="faulty"):
        console.parallel(work, [("faulty",), ("slow",), ("never",)], 2, "working", threads=True)
    assert "slow" in finished


def test_threads_stay_in_this_process():
    assert console.parallel(square, [(i,) for i in range(5)], 3, "squares", threads=True) == [0, 1, 4, 9, 16]
    assert set(console.parallel(os.getpid, [()] * 3, 3, "asking", threads=True)) == {os.getpid()}


def test_no_workers_is_refused():
    with pytest.raises(ChordomaError, match="--workers"):
        console.parallel(square, [(1,)], 0, "squares")


@pytest.fixture(scope="module")
def dask_cluster():
    distributed = pytest.importorskip("distributed", reason="dask and distributed are not installed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True) as cluster:
        yield cluster.scheduler_address


def test_a_cluster_makes_the_calls(dask_cluster):
    # Functions of installed modules: the workers have not read this file.
    assert console.parallel(math.isqrt, [(i * i,) for i in range(5)], 1, "roots", dask_cluster) == [0, 1, 2, 3, 4]
    processes = console.parallel(os.getpid, [()] * 4, 1, "asking", dask_cluster)
    assert os.getpid() not in processes


def test_a_cluster_passes_errors_on(dask_cluster):
    with pytest.raises(ChordomaError, match=r"model 'a'.*nowhere"):
        console.parallel(existing_folder, [(Path("nowhere"), "model 'a'")] * 2, 1, "looking", dask_cluster)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x", "tcp://127.0.0.1"])
def test_no_cluster_there(address, monkeypatch):
    pytest.importorskip("distributed", reason="dask and distributed are not installed")
    monkeypatch.setattr(console, "CLUSTER_TIMEOUT_S", 0.5)
    with pytest.raises(ChordomaError, match=f"--cluster {address}: no Dask scheduler answers"):
        console.parallel(square, [(1,)], 1, "squares", address)


def test_a_cluster_without_dask_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ChordomaError, match=r"pip install 'nnunet-chordoma\[cluster\]'"):
        console.parallel(square, [(1,)], 1, "squares", "tcp://127.0.0.1:8786")


def test_workers_leave_ctrl_c_to_the_process_that_a_person_started():
    before = signal.getsignal(signal.SIGINT)
    calls = [(signal.SIGINT,)] * 4
    assert console.parallel(signal.getsignal, calls, 2, "asking") == [signal.SIG_IGN] * 4
    assert signal.getsignal(signal.SIGINT) == before


def test_default_workers_fit_into_memory(monkeypatch):
    assert 1 <= console.default_workers() <= 8
    monkeypatch.setattr(console.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(console.os, "sysconf", {"SC_AVPHYS_PAGES": 2_000_000, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert console.default_workers() == 8
    assert console.default_workers(memory_gb=2.5) == 3
    assert console.default_workers(memory_gb=100) == 1


def test_bars_can_be_left_out_and_come_back(capsys):
    with console.without_bars():
        assert list(console.track(range(3), "inner work", 3)) == [0, 1, 2]
    assert "inner work" not in capsys.readouterr().err
    assert list(console.track(range(3), "own work", 3)) == [0, 1, 2]
    assert "own work" in capsys.readouterr().err
