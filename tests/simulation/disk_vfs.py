"""A file system of SQLite's (a VFS) with a model between SQLite and the real files, by ctypes in the real library.

The VFS is a copy of the default one, and everything goes through to that one, except for what a disk can do wrong:
opening, writing, cutting short, syncing and deleting a file that the model knows are calls into Python. Files that the
model does not know keep SQLite's own functions.

The calls of one thread may interrupt those of another between two lines of Python, so the model has a lock. Functions
of SQLite's are called without giving up the GIL: none of those used here waits for anything but the file system.
"""

import atexit
import ctypes
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

from attrs import define, field

OK: Final = 0
FULL: Final = 13
CANTOPEN: Final = 14
IOERR: Final = 10
IOERR_WRITE: Final = IOERR | 3 << 8
IOERR_FSYNC: Final = IOERR | 4 << 8
IOERR_TRUNCATE: Final = IOERR | 6 << 8
IOERR_DELETE: Final = IOERR | 10 << 8
OPEN_CREATE: Final = 0x4
OPEN_DELETE_ON_CLOSE: Final = 0x8
OPEN_JOURNAL: Final = 0x800 | 0x4000 | 0x80000
"""The kinds of files with whose first sync SQLite makes their names durable: journals, and logs."""

_POINTER, _INT, _LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_CLOSE: Final = (_INT, _POINTER)
_TRANSFER: Final = (_INT, _POINTER, _POINTER, _INT, _LONG)
_TRUNCATE: Final = (_INT, _POINTER, _LONG)
_SYNC: Final = (_INT, _POINTER, _INT)
_SIZE: Final = (_INT, _POINTER, ctypes.POINTER(_LONG))
_OPEN: Final = (_INT, _POINTER, _POINTER, _POINTER, _INT, ctypes.POINTER(_INT))
_RANDOMNESS: Final = (_INT, _POINTER, _INT, _POINTER)
_DELETE: Final = (_INT, _POINTER, ctypes.c_char_p, _INT)


class _Methods(ctypes.Structure):
    """``sqlite3_io_methods``: the functions of an open file."""

    _fields_ = (
        ("iVersion", _INT),
        *(
            (name, _POINTER)
            for name in (
                *("xClose", "xRead", "xWrite", "xTruncate", "xSync", "xFileSize", "xLock", "xUnlock"),
                *("xCheckReservedLock", "xFileControl", "xSectorSize", "xDeviceCharacteristics"),
                *("xShmMap", "xShmLock", "xShmBarrier", "xShmUnmap", "xFetch", "xUnfetch"),
            )
        ),
    )


class _Vfs(ctypes.Structure):
    """``sqlite3_vfs``: the functions of a file system."""

    _fields_ = (
        ("iVersion", _INT),
        ("szOsFile", _INT),
        ("mxPathname", _INT),
        ("pNext", _POINTER),
        ("zName", ctypes.c_char_p),
        *(
            (name, _POINTER)
            for name in (
                *("pAppData", "xOpen", "xDelete", "xAccess", "xFullPathname", "xDlOpen", "xDlError", "xDlSym"),
                *("xDlClose", "xRandomness", "xSleep", "xCurrentTime", "xGetLastError", "xCurrentTimeInt64"),
                *("xSetSystemCall", "xGetSystemCall", "xNextSystemCall"),
            )
        ),
    )


@define(eq=False)
class RealFile:
    """A file that SQLite has open, and SQLite's own functions for it, which return SQLite's codes."""

    pointer: int
    methods: "_Originals"

    def write(self, buffer: int, amount: int, offset: int) -> int:
        """Write ``amount`` bytes from an address."""
        return self.methods.write(self.pointer, buffer, amount, offset)

    def truncate(self, size: int) -> int:
        """Cut the file to so many bytes."""
        return self.methods.truncate(self.pointer, size)

    def close(self) -> int:
        """Close the file."""
        return self.methods.close(self.pointer)

    def content(self) -> bytes:
        """Return all that the file holds. No descriptor is opened: closing one would drop this process's locks."""
        size = _LONG()
        if self.methods.size(self.pointer, ctypes.byref(size)) != OK:
            raise OSError("SQLite cannot tell the size of a file")
        buffer = ctypes.create_string_buffer(max(1, size.value))
        if size.value and self.methods.read(self.pointer, ctypes.addressof(buffer), size.value, 0) != OK:
            raise OSError("SQLite cannot read a file")
        return buffer.raw[: size.value]


class ModelledFile(Protocol):
    """What the model does for one open file; each method returns a code of SQLite's."""

    def write(self, real: RealFile, buffer: int, amount: int, offset: int) -> int:
        """Write ``amount`` bytes from an address."""

    def truncate(self, real: RealFile, size: int) -> int:
        """Cut the file to so many bytes."""

    def sync(self, real: RealFile) -> int:
        """Make durable what was written."""

    def close(self, real: RealFile) -> int:
        """Close the file."""


class FileModel(Protocol):
    """What the model decides for the file system as a whole."""

    def opened(self, path: str, flags: int, *, made: bool) -> ModelledFile | None:
        """Return the model of a file that SQLite has just opened, or made; None if the file is no concern of it."""

    def delete(self, path: str, really: Callable[[], int], *, sync: bool) -> int:
        """Delete a file; ``really`` does it. With ``sync``, that is to be durable."""

    def random_bytes(self, amount: int) -> bytes:
        """Return what SQLite's own source of randomness is seeded with."""


@define(eq=False)
class _Originals:
    """SQLite's own functions for a kind of files, and the table that has ours in their places."""

    table: _Methods
    close: Callable[..., int]
    read: Callable[..., int]
    write: Callable[..., int]
    truncate: Callable[..., int]
    size: Callable[..., int]


_shims: Final["list[Shim]"] = []


@cache
def find_library() -> tuple[ctypes.CDLL | None, str]:
    """Return the SQLite that Python's module uses; otherwise None, and why it cannot be had."""
    with suppress(OSError):
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
        places = sorted({line.split(maxsplit=5)[5] for line in lines if "sqlite3" in line})
        # The shared library first: Python's module may be another one that only refers to it.
        for place in sorted(places, key=lambda place: "libsqlite3" not in place):
            library = ctypes.CDLL(place)
            with suppress(AttributeError):
                library.sqlite3_libversion.restype = ctypes.c_char_p
                if library.sqlite3_libversion().decode() == sqlite3.sqlite_version:
                    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
                    library.sqlite3_vfs_register.argtypes = (ctypes.POINTER(_Vfs), _INT)
                    library.sqlite3_vfs_unregister.argtypes = (ctypes.POINTER(_Vfs),)
                    if library.sqlite3_vfs_find(None):
                        return library, ""
        return None, f"this Python has SQLite's functions in no library that shows them ({', '.join(places) or 'none'})"
    return None, "this system has no /proc/self/maps to find SQLite's library in"


@define(eq=False)
class Shim:
    """The VFS for one model. ``errors`` has what its calls into Python raised: nobody above them can catch that."""

    model: FileModel
    errors: list[BaseException] = field(factory=list, init=False)
    _library: Any = field(init=False)
    _base: Any = field(init=False)
    _vfs: _Vfs = field(init=False)
    _open_files: dict[int, tuple[RealFile, ModelledFile, int]] = field(factory=dict, init=False)
    """By the address of SQLite's file: also the address of its own table of functions."""
    _tables: dict[int, _Originals] = field(factory=dict, init=False)
    _ours: dict[str, Any] = field(factory=dict, init=False)
    _base_open: Callable[..., int] = field(init=False)
    _base_delete: Callable[..., int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._library, why = find_library()
        if self._library is None:
            raise RuntimeError(why)
        self._base = self._library.sqlite3_vfs_find(None)
        base = self._base.contents
        self._base_open = ctypes.PYFUNCTYPE(*_OPEN)(base.xOpen)
        self._base_delete = ctypes.PYFUNCTYPE(*_DELETE)(base.xDelete)
        self._ours = {
            "xOpen": ctypes.CFUNCTYPE(*_OPEN)(self._open),
            "xDelete": ctypes.CFUNCTYPE(*_DELETE)(self._delete),
            "xRandomness": ctypes.CFUNCTYPE(*_RANDOMNESS)(self._randomness),
            "xClose": ctypes.CFUNCTYPE(*_CLOSE)(self._close),
            "xWrite": ctypes.CFUNCTYPE(*_TRANSFER)(self._write),
            "xTruncate": ctypes.CFUNCTYPE(*_TRUNCATE)(self._truncate),
            "xSync": ctypes.CFUNCTYPE(*_SYNC)(self._sync),
        }
        self._vfs = _Vfs.from_buffer_copy(base)
        self._vfs.zName = f"disk-{len(_shims)}".encode()
        for name in ("xOpen", "xDelete", "xRandomness"):
            setattr(self._vfs, name, ctypes.cast(self._ours[name], _POINTER).value)
        _shims.append(self)

    def install(self) -> None:
        """Have SQLite use this VFS for all files that are opened from now on, and get a new seed from it."""
        self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1)
        self._library.sqlite3_randomness(0, None)

    def remove(self) -> None:
        """Have SQLite use its own VFS again, also for the files that are open."""
        self._library.sqlite3_vfs_unregister(ctypes.byref(self._vfs))
        self._library.sqlite3_vfs_register(self._base, 1)
        self.let_go()

    def let_go(self) -> None:
        """Give the open files their own functions back."""
        for file, (_, _, table) in self._open_files.items():
            _POINTER.from_address(file).value = table
        self._open_files.clear()

    # --- called by SQLite: an exception has nowhere to go ------------------------------------------------------------

    def _open(self, _vfs: int, name: int | None, file: int, flags: int, flags_out: Any) -> int:
        path = os.fsdecode(ctypes.string_at(name)) if name is not None else ""
        made = bool(flags & OPEN_CREATE) and not os.path.exists(path)
        code = self._base_open(ctypes.addressof(self._base.contents), name, file, flags, flags_out)
        if code != OK or name is None or flags & OPEN_DELETE_ON_CLOSE:
            return code
        try:
            model = self.model.opened(path, flags, made=made)
            table = _POINTER.from_address(file).value
            if model is not None and table is not None:
                originals = self._tables.get(table) or self._replace(table)
                self._open_files[file] = RealFile(file, originals), model, table
                _POINTER.from_address(file).value = ctypes.addressof(originals.table)
        except BaseException as exc:
            self.errors.append(exc)  # the file goes past the model, which ``check`` says
        return code

    def _replace(self, address: int) -> _Originals:
        """Return the functions of a table, and a copy of it with ours."""
        methods = _Methods.from_address(address)
        table = _Methods.from_buffer_copy(methods)
        for name in ("xClose", "xWrite", "xTruncate", "xSync"):
            setattr(table, name, ctypes.cast(self._ours[name], _POINTER).value)
        self._tables[address] = _Originals(
            table,
            ctypes.PYFUNCTYPE(*_CLOSE)(methods.xClose),
            ctypes.PYFUNCTYPE(*_TRANSFER)(methods.xRead),
            ctypes.PYFUNCTYPE(*_TRANSFER)(methods.xWrite),
            ctypes.PYFUNCTYPE(*_TRUNCATE)(methods.xTruncate),
            ctypes.PYFUNCTYPE(*_SIZE)(methods.xFileSize),
        )
        return self._tables[address]

    def _delete(self, _vfs: int, name: bytes, directory: int) -> int:
        def really() -> int:
            return self._base_delete(ctypes.addressof(self._base.contents), name, directory)

        try:
            return self.model.delete(os.fsdecode(name), really, sync=bool(directory & 1))
        except BaseException as exc:
            self.errors.append(exc)
            return IOERR_DELETE

    def _randomness(self, _vfs: int, amount: int, buffer: int) -> int:
        try:
            ctypes.memmove(buffer, self.model.random_bytes(amount), amount)
        except BaseException as exc:
            self.errors.append(exc)
        return amount

    def _close(self, file: int) -> int:
        try:
            real, model, _ = self._open_files.pop(file)
            return model.close(real)
        except BaseException as exc:
            self.errors.append(exc)
            return IOERR

    def _write(self, file: int, buffer: int, amount: int, offset: int) -> int:
        try:
            real, model, _ = self._open_files[file]
            return model.write(real, buffer, amount, offset)
        except BaseException as exc:
            self.errors.append(exc)
            return IOERR_WRITE

    def _truncate(self, file: int, size: int) -> int:
        try:
            real, model, _ = self._open_files[file]
            return model.truncate(real, size)
        except BaseException as exc:
            self.errors.append(exc)
            return IOERR_TRUNCATE

    def _sync(self, file: int, _flags: int) -> int:
        try:
            real, model, _ = self._open_files[file]
            return model.sync(real)
        except BaseException as exc:
            self.errors.append(exc)
            return IOERR_FSYNC


@atexit.register
def _at_exit() -> None:
    """Let no connection that outlives the interpreter call into it."""
    for shim in _shims:
        shim.let_go()
