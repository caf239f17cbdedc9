"""Locks that prevent two runs from writing to the same workdir.

The hidden file `.lock.json` in a workdir identifies the run that writes there. A thread in
process 0 renews the lock by updating the file's modification time. Another run takes over a lock
that has not been renewed for two minutes. It does so immediately if the owner was a process on the
same machine that ended without releasing the lock, or if the owner belonged to the same scheduler
job on another machine: a scheduler restarts a job only after it has ended.

In a remote folder (`irec_jax.remote`) the file contains the time of the last renewal, because
object stores do not support setting modification times. The machines' clocks must therefore agree
to within a few seconds. To create a remote lock, a run writes the file, waits and reads it again:
if two runs write at the same time, the run that wrote last holds the lock.

A run that has lost its lock, for example while it was suspended, notices this at the next renewal
and before it writes a file or a checkpoint to the workdir (`remote.guarded`).
"""

import _thread
import contextlib
import json
import os
import signal
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from irec_jax import distributed, preemption, remote
from irec_jax.errors import UserError

LOCK_FILE = ".lock.json"
#: Seconds between renewals, and seconds without renewal after which a lock expires.
INTERVAL_S, TIMEOUT_S = 15.0, 120.0
#: Seconds to wait before a new lock in a remote folder is read again.
_SETTLE_S = 2.0
#: Tokens of the locks that this process holds.
_held: set[str] = set()


@contextlib.contextmanager
def run_lock(
    workdir: Path, *, interval_s: float = INTERVAL_S, timeout_s: float = TIMEOUT_S
) -> Iterator[None]:
    """Hold the lock on a workdir; in a multi-process job, process 0 holds it for all processes.

    Missing folders are created, and removed again if they are still empty at the end.

    Raises:
        UserError: if another run holds the lock or has taken it over from this run, for example
            while this run was suspended; or if the folder is not writable.
    """
    workdir, token = remote.as_path(workdir), uuid.uuid4().hex
    created = distributed.on_main(lambda: _acquire(workdir, token, timeout_s))
    if not distributed.is_main():
        yield
        return
    heartbeat = _Heartbeat(workdir, token, interval_s, timeout_s)
    heartbeat.start()
    try:
        with remote.guarded(workdir, heartbeat.check, lock_file=LOCK_FILE):
            yield
    except KeyboardInterrupt:
        heartbeat.raise_if_lost()
        raise
    finally:
        heartbeat.stop()
        _release(workdir, token, created)
        _held.discard(token)


def _acquire(workdir: Path, token: str, timeout_s: float) -> list[str]:
    """Create the lock file; raise UserError if another run holds it.

    Returns:
        The folders that were created, innermost first.
    """
    owner = {"token": token, "host": socket.gethostname(), "pid": os.getpid()}
    owner |= {"machine": _machine(), "job": _job(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
    file = workdir / LOCK_FILE
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"{workdir}: is a file; choose a folder as --workdir")
    created = []
    _held.add(token)
    try:
        if not remote.is_remote(workdir):
            created = [str(path) for path in (workdir, *workdir.parents) if not path.exists()]
            workdir.mkdir(parents=True, exist_ok=True)
        while not _create(file, owner):
            content = _read(file)
            if content is not None and not _is_stale(file, content, timeout_s):
                raise UserError(
                    f"{workdir}: {_describe(content)} uses this folder; wait for it to end, or "
                    "choose another --workdir (the lock of a run that was killed on another "
                    f"machine expires after {timeout_s:.0f} s)"
                )
            if content is not None and _read(file) == content:
                file.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{workdir}: cannot be locked ({error.strerror or error}); choose a writable folder as "
            "--workdir"
        ) from error
    return created


def _release(workdir: Path, token: str, created: list[str]) -> None:
    """Delete this run's lock file, and the created folders that are still empty."""
    with contextlib.suppress(OSError, UserError):
        if _token(workdir / LOCK_FILE) == token:
            (workdir / LOCK_FILE).unlink()
        for folder in created:
            os.rmdir(folder)


def _create(file: Path, owner: dict) -> bool:
    """Create a lock file unless it exists; return whether it was created."""
    if remote.is_remote(file):
        if _read(file) is not None:
            return False
        _renew_remote(file, owner)
        time.sleep(_SETTLE_S)
        return _token(file) == owner.get("token")
    try:
        with open(file, "x") as opened:
            opened.write(json.dumps(owner))
    except FileExistsError:
        return False
    return True


def _renew_remote(file: Path, owner: dict) -> None:
    remote.write(file, json.dumps(owner | {"renewed": time.time()}).encode())


def _read(file: Path) -> str | None:
    """Return the content of a lock file, or None if it does not exist."""
    if remote.is_remote(file):
        content = remote.read(file)
        return None if content is None else content.decode(errors="replace")
    with contextlib.suppress(FileNotFoundError):
        return file.read_text()
    return None


def _parse(content: str | None) -> dict:
    """Return the entries of a lock file, or an empty dict if it is still being written."""
    with contextlib.suppress(ValueError):
        owner = json.loads(content or "{}")
        return owner if isinstance(owner, dict) else {}
    return {}


def _token(file: Path) -> str | None:
    return _parse(_read(file)).get("token")


def _describe(content: str | None) -> str:
    owner = _parse(content)
    if "pid" not in owner:
        return "another run"
    return f"process {owner['pid']} on {owner.get('host')}, started {owner.get('started')},"


def _is_stale(file: Path, content: str, timeout_s: float) -> bool:
    """Return whether the run that holds a lock has ended or has not renewed it in time."""
    owner = _parse(content)
    if owner.get("machine") == _machine():
        # In a restarted container, the main process has the same ID as before.
        own = owner.get("pid") == os.getpid()
        if own and owner.get("token") not in _held or not _is_alive(owner.get("pid")):
            return True
    elif owner.get("job") is not None and owner["job"] == _job():
        return True
    if remote.is_remote(file):
        renewed = owner.get("renewed")
        return isinstance(renewed, int | float) and time.time() - renewed > timeout_s
    # The age is relative to a new file in the same folder, because clocks differ between machines.
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".now") as new:
        now_s = os.fstat(new.fileno()).st_mtime
    try:
        return now_s - file.stat().st_mtime > timeout_s
    except FileNotFoundError:
        return True


def _is_alive(pid: object) -> bool:
    if not isinstance(pid, int):
        return True  # unknown; wait until the lock expires
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # the process belongs to another user
        return True
    return True


def _machine() -> str:
    """Return an identifier for this machine, its last boot and the current container.

    Process IDs can be compared only if the identifiers are equal.
    """
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _job() -> str | None:
    """Return the scheduler's identifier for this job, which does not change on a restart."""
    return os.environ.get("IREC_JOB") or os.environ.get("SLURM_JOB_ID")


class _Heartbeat(threading.Thread):
    """A thread that renews a lock, and interrupts this run if another run has taken it over.

    Attributes:
        successor: description of the run that has taken over the lock, or None.
    """

    def __init__(self, workdir: Path, token: str, interval_s: float, timeout_s: float):
        super().__init__(name="lock", daemon=True)
        self._file, self._token = workdir / LOCK_FILE, token
        self._interval_s, self._timeout_s = interval_s, timeout_s
        self._renewed_s, self._content = time.time(), _read(self._file)
        self._stopped, self._renewing = threading.Event(), threading.Lock()
        self.successor: str | None = None

    def run(self) -> None:
        while not self._stopped.wait(self._interval_s) and self.successor is None:
            # Errors may be temporary, such as a network failure.
            with contextlib.suppress(OSError, UserError):
                self._renew()

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def check(self) -> None:
        """Raise UserError if another run has taken over the lock.

        The lock is read only if its last renewal is so old that another run may have taken it over.
        """
        if self.successor is None and time.time() - self._renewed_s > self._timeout_s / 2:
            self._renew()
        self.raise_if_lost()

    def raise_if_lost(self) -> None:
        """Raise UserError if another run is known to have taken over the lock."""
        if self.successor:
            raise UserError(
                f"{self._file.parent}: {self.successor} has taken over this folder, because this "
                f"run did not renew its lock for {self._timeout_s:.0f} s; use one --workdir for "
                "each run"
            )

    def _renew(self) -> None:
        with self._renewing:
            now_s, content = time.time(), _read(self._file)
            # If an expired lock is missing, another run may have taken it over and released it.
            expired = now_s - self._renewed_s > self._timeout_s
            if content is None and not expired:
                _create(self._file, _parse(self._content))
            elif _parse(content).get("token") == self._token:
                if remote.is_remote(self._file):
                    _renew_remote(self._file, _parse(self._content))
                else:
                    os.utime(self._file)
            elif self.successor is None:
                self.successor = _describe(content)
                _interrupt()
            self._renewed_s = now_s


def _interrupt() -> None:
    """Interrupt the main thread with SIGINT, or with SIGTERM if SIGINT has no handler."""
    preemption.end_deferral()
    for number in (signal.SIGINT, signal.SIGTERM):
        if callable(signal.getsignal(number)):
            _thread.interrupt_main(number)
            return
