"""What every command line of this project does alike: one-line errors, progress, lists of arguments."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from nnunet_chordoma.errors import ChordomaError

if TYPE_CHECKING:
    import typer
    from rich.console import Console

T = TypeVar("T")

EPILOG = "Research use only. Any command takes --debug, which shows the traceback of an error."
FAILED, INTERRUPTED = 1, 130
CLUSTER_TIMEOUT_S = 10


def new_app() -> typer.Typer:
    """An application without commands yet. Its help is Markdown, so that paragraphs flow."""
    import typer

    return typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        epilog=EPILOG,
    )


def run(app: typer.Typer, list_options: Sequence[str] = (), arguments: Sequence[str] | None = None) -> None:
    """Run a typer application and exit: 0 done, 1 bad input (one line on stderr), 2 wrong usage, 130 interrupted.

    `list_options` may be followed by several values (`-m A=a B=b`), as nnU-Net's own commands allow.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [a for a in expand_lists(arguments, list_options) if a != "--debug"]
    try:
        app(args=arguments)
    except ChordomaError as error:
        _fail(str(error), FAILED, debug)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        reason = error.strerror or str(error)
        _fail(f"{place}{reason}; check that the path exists and that you may read and write there", FAILED, debug)
    except SystemExit as end:
        # Typer turns Ctrl-C into this status before it gets here.
        if end.code != INTERRUPTED:
            raise
        _fail("interrupted; what was finished is kept, run the same command again", INTERRUPTED, debug)
    except Exception as error:
        if debug:
            traceback.print_exc()
        _fail(f"{type(error).__name__}: {error} (unexpected; --debug shows where)", FAILED, False)


def expand_lists(arguments: Sequence[str], list_options: Sequence[str]) -> list[str]:
    """Repeat an option for each of its values: `-m a b -o c` becomes `-m a -m b -o c`.

    Values end at the next option. A list option without any value is kept, so that it is reported as wrong usage.
    """
    expanded: list[str] = []
    option: str | None = None
    for position, argument in enumerate(arguments):
        if argument.startswith("-"):
            option = argument if argument in list_options else None
            following = arguments[position + 1 : position + 2]
            if option is None or not following or following[0].startswith("-"):
                expanded.append(argument)
        elif option is not None:
            expanded += [option, argument]
        else:
            expanded.append(argument)
    return expanded


def _fail(message: str, status: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(status)


def console() -> Console:
    """Console for what a person reads while a command runs: stderr, so stdout stays for results."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)


_BARS: ContextVar[bool] = ContextVar("bars", default=True)


@contextmanager
def without_bars() -> Iterator[None]:
    """Within, `track` shows nothing: for commands that call others and show progress of their own."""
    before = _BARS.set(False)
    try:
        yield
    finally:
        _BARS.reset(before)


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield items under a progress bar with counts, speed, elapsed and remaining time."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=console(), disable=not _BARS.get()) as progress:
        begin = time.monotonic()
        task = progress.add_task(description, total=total, speed="")
        for done, item in enumerate(items, 1):
            yield item
            per_second = done / max(time.monotonic() - begin, 1e-9)
            speed = f"{per_second:.1f} per second," if per_second >= 1 else f"{1 / per_second:.1f} s each,"
            progress.update(task, advance=1, speed=speed)


def parallel(
    function: Callable[..., T],
    calls: Sequence[tuple[object, ...]],
    workers: int,
    description: str,
    cluster: str | None = None,
    threads: bool = False,
) -> list[T]:
    """Results of `function(*call)` for each call, in order, in `workers` processes, under a progress bar.

    With `threads`, in threads of this process instead, for functions that spend their time in compiled code.
    With `cluster`, the address of a Dask scheduler (tcp://...), its workers make the calls instead; they need this
    package and the same files at the same paths. The first error ends the run; calls that finished before it have
    kept what they wrote.
    """
    if workers < 1:
        raise ChordomaError(f"--workers must be 1 or more, found {workers}")
    if cluster is not None:
        return _on_cluster(function, calls, description, cluster)
    if workers == 1 or len(calls) < 2:
        return list(track((function(*call) for call in calls), description, len(calls)))
    if threads:
        return _in_threads(function, calls, workers, description)
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=min(workers, len(calls)), return_as="generator")
    # joblib sees to OpenMP's threads, but does not know ITK's.
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    with _deaf_to_interrupts():
        results = pool(delayed(function)(*call) for call in calls)
    return list(track(results, description, len(calls)))


def _in_threads(
    function: Callable[..., T], calls: Sequence[tuple[object, ...]], workers: int, description: str
) -> list[T]:
    # Whatever ends this, the calls at work are waited for: a thread still in compiled code when the interpreter is torn
    # down aborts the process.
    pool = ThreadPoolExecutor(min(workers, len(calls)))
    try:
        futures = [pool.submit(function, *call) for call in calls]
        return list(track((future.result() for future in futures), description, len(calls)))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _on_cluster(
    function: Callable[..., T], calls: Sequence[tuple[object, ...]], description: str, address: str
) -> list[T]:
    try:
        from distributed import Client
    except ImportError:
        raise ChordomaError(
            f"--cluster {address}: needs dask and distributed, which are not installed; "
            "run: pip install 'nnunet-chordoma[cluster]'"
        ) from None
    from joblib import Parallel, delayed, parallel_config

    try:
        client = Client(address, timeout=CLUSTER_TIMEOUT_S, set_as_default=True)
    except (OSError, ValueError, TimeoutError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ChordomaError(
            f"--cluster {address}: no Dask scheduler answers ({reason}); expected its address such as tcp://host:8786"
        ) from None
    with client, parallel_config(backend="dask"):
        if not client.scheduler_info()["workers"]:
            raise ChordomaError(f"--cluster {address}: this scheduler has no workers; start them with dask worker")
        results = Parallel(n_jobs=-1, return_as="generator", batch_size=1)(delayed(function)(*call) for call in calls)
        return list(track(results, description, len(calls)))


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started meanwhile ignore Ctrl-C for good: it reaches this one alone, which ends them quietly."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def default_workers(memory_gb: float = 0.0) -> int:
    """Processes to use by default: one a core, at most 8, and no more than `memory_gb` each fit into free memory."""
    workers = max(1, min(8, os.cpu_count() or 1))
    if memory_gb and "SC_AVPHYS_PAGES" in os.sysconf_names:
        free_gb = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
        workers = max(1, min(workers, int(free_gb / memory_gb)))
    return workers
