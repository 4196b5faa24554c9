"""Where embedding and training are computed: on threads of this process, or on a Ray cluster.

1. `[ray] address` in `services.toml` names a cluster; without one, threads do the work. What comes out is the same to
   the bit: nothing that a result depends on is left to the worker, and the number of threads is an argument.
2. A piece of work is a plain function of `training` with its arguments. A worker of a cluster needs no key, no bucket
   and no catalog: what it computes with is sent to it, through Ray's object store.
3. A worker that dies, or its whole machine, costs the piece it was at: Ray gives that to another one.
4. On a cluster, and in a flow's run, each piece is a Prefect task with a name for people. On threads and outside of a
   flow it is a plain call, so that `andon retrain` needs no Prefect server.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from edge_client.contract.errors import AndonError, ConfigError
from training.embeddings import CHUNK, Embedder, embed_frames, embed_here
from training.trunk import Embedded, Trunk

if TYPE_CHECKING:
    from data.workspace import Workspace

_log = logging.getLogger("andon.retrain")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
_RETRIES = 5  # a worker may die so often under one piece of work; more is no accident
_CLUSTER_CHUNK = 64  # frames of a piece: a third of a second of one core, six megabytes to send


class TaskRunnerError(AndonError):
    """The cluster cannot be reached, or it lost a piece of work for good."""


class Promise(Protocol[R_co]):
    """What a piece of work will give."""

    def result(self) -> R_co:
        """Wait for it; what the work raised is raised."""


class Runner(Protocol):
    """Computes pieces of work."""

    @property
    def pieces(self) -> int:
        """How many pieces are worth having under way at a time."""

    @property
    def chunk(self) -> int:
        """Frames that make a piece where frames are embedded."""

    @property
    def sends(self) -> bool:
        """Whether arguments are sent to other processes, so that all of them must be values that can be pickled."""

    def share(self, value: T) -> Shared[T]:
        """Send a value once that many pieces need."""

    def start(self, name: str, work: Callable[..., T], *arguments: Any, cores: int = 1) -> Promise[T]:
        """Have `work(*arguments)` computed; shared values among the arguments are put in place.

        Args:
            name: For people.
            work: A function of a module, not a closure.
            arguments: Anything that can be pickled.
            cores: That it keeps busy.
        """


class Shared(Generic[T]):
    """A value that many pieces of work need."""

    def __init__(self, value: T | None = None, reference: Any = None) -> None:
        self._value, self._reference = value, reference

    def value(self) -> T:
        """The value itself."""
        if self._reference is None:
            return self._value  # type: ignore[return-value]  # None only where it was shared
        import ray

        found: T = ray.get(self._reference)
        return found


class Here:
    """Plain calls in this process; embedding takes every core by itself."""

    pieces, chunk, sends = 1, CHUNK, False

    def share(self, value: T) -> Shared[T]:
        """Keep it."""
        return Shared(value)

    def start(self, name: str, work: Callable[..., T], *arguments: Any, cores: int = 1) -> Promise[T]:
        """Compute it now."""
        del name, cores
        return _Done(_call(work, arguments))


class _Done(Generic[T]):
    def __init__(self, value: T) -> None:
        self._value = value

    def result(self) -> T:
        return self._value


class _Work(Generic[T]):
    """One piece, opaque to Prefect: it would walk through every value of its arguments."""

    def __init__(self, work: Callable[..., T], arguments: Sequence[Any]) -> None:
        self._work, self._arguments = work, arguments

    def __call__(self) -> T:
        return _call(self._work, self._arguments)


class _Tasks:
    """Prefect tasks on a task runner of Prefect that has been entered."""

    sends = False

    def __init__(self, runner: Any, *, pieces: int, chunk: int) -> None:
        self._runner, self.pieces, self.chunk = runner, pieces, chunk

    def share(self, value: T) -> Shared[T]:
        """Keep it: threads see it."""
        return Shared(value)

    def start(self, name: str, work: Callable[..., T], *arguments: Any, cores: int = 1) -> Promise[T]:
        """Submit it."""
        from prefect import task
        from prefect.cache_policies import NO_CACHE

        with self._options(cores):
            made = task(name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False)
            future: Promise[T] = self._runner.submit(made(_run), {"work": _Work(work, arguments)})
        return future

    @contextmanager
    def _options(self, cores: int) -> Iterator[None]:
        del cores
        yield


class _RayTasks(_Tasks):
    """Prefect tasks on a Ray cluster, whose largest machine has so many cores."""

    sends = True

    def __init__(self, runner: Any, *, pieces: int, chunk: int, most_cores: int) -> None:
        super().__init__(runner, pieces=pieces, chunk=chunk)
        self._most_cores = most_cores

    def share(self, value: T) -> Shared[T]:
        """Put it into the object store."""
        import ray

        return Shared(reference=ray.put(value))

    def start(self, name: str, work: Callable[..., T], *arguments: Any, cores: int = 1) -> Promise[T]:
        """Submit it; what Ray says of a lost piece is told in words."""
        return _Sent(name, super().start(name, work, *arguments, cores=cores))

    @contextmanager
    def _options(self, cores: int) -> Iterator[None]:
        from prefect_ray.context import remote_options

        with remote_options(num_cpus=min(cores, self._most_cores), max_retries=_RETRIES):
            yield


class _Sent(Generic[T]):
    def __init__(self, name: str, future: Promise[T]) -> None:
        self._name, self._future = name, future

    def result(self) -> T:
        from prefect.exceptions import CrashedRun
        from ray.exceptions import RayError

        try:
            return self._future.result()
        except (CrashedRun, RayError) as error:  # what the work itself raised comes as it is
            raise TaskRunnerError(
                f"the Ray cluster could not finish the piece of work {self._name!r} ({error}); see its workers' logs "
                "and memory, and whether they reach the Prefect server, then run it again: what was done is kept"
            ) from error


def _run(work: _Work[T]) -> T:
    return work()


def _call(work: Callable[..., T], arguments: Sequence[Any]) -> T:
    return work(*(one.value() if isinstance(one, Shared) else one for one in arguments))


@contextmanager
def runner_of(workspace: Workspace) -> Iterator[Runner]:
    """Enter what the settings ask for (rules 1 and 4).

    Raises:
        ConfigError: A cluster is named, and the packages for it are not installed.
        TaskRunnerError: It cannot be reached.
    """
    if workspace.ray_address:
        with _cluster(workspace.ray_address) as runner:
            yield runner
    elif _in_a_flow():
        from prefect.task_runners import ThreadPoolTaskRunner

        one: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=1)  # each piece takes every core by itself
        with one as threads:
            yield _Tasks(threads, pieces=1, chunk=CHUNK)
    else:
        yield Here()


@contextmanager
def _cluster(address: str) -> Iterator[Runner]:
    # Workers of a cluster have the logs of their pieces; Ray's own notes on standard error are noise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        from prefect_ray import RayTaskRunner
    except ImportError as error:
        raise ConfigError(
            f"[ray] address names the cluster {address}, and {error.name} is not installed: "
            "pip install --constraint constraints.txt '.[ray]', or take the section out of services.toml"
        ) from error
    runner = RayTaskRunner(
        address=address, init_kwargs={"log_to_driver": False, "logging_level": logging.WARNING, "namespace": "andon"}
    )
    ours = not ray.is_initialized()
    try:
        runner.__enter__()
    except Exception as error:
        raise TaskRunnerError(
            f"the Ray cluster at {address} cannot be reached ({error}); start it, correct [ray] address in "
            "services.toml, or take the section out to work on threads"
        ) from error
    try:
        each = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        if not any(each):
            raise TaskRunnerError(f"the Ray cluster at {address} has no processor: add a machine (`ray start`)")
        _log.info("on the Ray cluster at %s, %d cores", address, sum(each))
        # A piece that asked for more cores than any machine has would wait for ever.
        yield _RayTasks(runner, pieces=2 * sum(each), chunk=_CLUSTER_CHUNK, most_cores=max(each))
    finally:
        runner.__exit__(None, None, None)
        if ours and ray.is_initialized():  # it leaves a connection to another machine's cluster open
            ray.shutdown()


def _in_a_flow() -> bool:
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None


def embedder_of(runner: Runner) -> Embedder:
    """Return what embeds chunks of frames by that runner, in order, with as many under way as are worth it."""
    if isinstance(runner, Here):
        return embed_here

    def embed(trunk: Trunk, parts: Iterable[Sequence[bytes]], threads: int | None) -> Iterator[Embedded]:
        shared: Shared[Trunk] | None = None
        waiting: deque[Promise[Embedded]] = deque()
        each = 1 if runner.sends else threads  # a piece has one core of a cluster
        for images in parts:
            shared = shared or runner.share(trunk)
            waiting.append(runner.start(f"embed {len(images)} frames", embed_frames, shared, images, each))
            if len(waiting) >= runner.pieces:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    return embed
