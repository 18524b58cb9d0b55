"""An archive may have been written by anybody: it decides neither where something is written nor how much."""

import gzip
import json
import os
import random
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.archive.errors import ArchiveError, BadArchive
from adapters.archive.manifest import MAX_BYTES, Role
from adapters.archive.pack import Source, pack
from adapters.archive.unpack import read_manifest
from tests.adapters.archive.support import Entry, Home, entries, recompress, with_file, with_manifest, write


def refused(home: Home, archive: Path, why: str) -> None:
    """Prove that nothing of an archive is restored, and that the sentence names it."""
    before = home.content()
    with pytest.raises(BadArchive, match=why) as told:
        home.restore(archive)
    assert str(told.value).startswith(f"{archive}: ")
    assert "\n" not in str(told.value)
    assert home.content() == before
    assert home.left() == []


@pytest.mark.parametrize(
    "place",
    [
        "../outside.session", "a/../../outside.session", "./a.session", "a//b.session", "a/./b.session", "", "/",
        "sessions/..", "a\x00.session", "a\n.session", "sessions/a.session\x1b[2J", ".bashrc", "data/engine.db",
        "config.yaml", "a.session/", "sessions",
    ],
)  # fmt: skip
def test_a_session_belongs_nowhere_else(home: Home, archive: Path, place: str) -> None:
    """A place that leads out of the config's directory, or that is none of a session, is refused."""

    def change(said: dict[str, Any]) -> None:
        said["members"][1]["place"] = place

    refused(home, with_manifest(archive, change), "it has a file for|two files")


@pytest.mark.parametrize(
    "place", ["/etc/cron.d/x.session", "/root/.ssh/a.session", "/proc/self/root/tmp/a.session", "//tmp/a.session"]
)
def test_an_absolute_place_must_be_named_by_the_config_that_is_there(home: Home, archive: Path, place: str) -> None:
    """The sentence says how to put the config there first, which is the operator's decision."""

    def change(said: dict[str, Any]) -> None:
        said["members"][1]["place"] = place

    refused(home, with_manifest(archive, change), "is not below .*, and which no config there names|leads out")


def test_an_absolute_place_that_the_config_names_is_written(home: Home, archive: Path, tmp_path: Path) -> None:
    """Sessions on another disk come back to it."""
    there = tmp_path / "disk" / "a.session"

    def change(said: dict[str, Any]) -> None:
        said["members"][1]["place"] = str(there)

    home.restore(with_manifest(archive, change), trusted=[there])
    assert there.exists()


@pytest.mark.parametrize("kind", ["places", "names"])
def test_two_files_for_one_place_are_refused(home: Home, archive: Path, kind: str) -> None:
    """Also where a link of the operator's makes one place of two."""

    def change(said: dict[str, Any]) -> None:
        said["members"][1]["place" if kind == "places" else "name"] = said["members"][2][
            "place" if kind == "places" else "name"
        ]

    refused(home, with_manifest(archive, change), "two files of one name, or for one place")


def test_two_places_that_a_link_makes_one_are_refused(home: Home, archive: Path) -> None:
    """They are compared as the file system has them."""
    (home.path / "also").symlink_to(home.path / "sessions")

    def change(said: dict[str, Any]) -> None:
        said["members"][2]["place"] = "also/account1.session"

    refused(home, with_manifest(archive, change), "two files for")


def test_what_stands_in_a_files_way_is_not_followed(home: Home, archive: Path, tmp_path: Path) -> None:
    """A link under the name of the unfinished file is removed, and what it leads to is untouched."""
    precious = tmp_path / "precious"
    precious.write_text("mine")
    home.database.with_name(".engine.db.restoring").symlink_to(precious)
    home.restore(archive)
    assert precious.read_text() == "mine"
    assert not home.database.is_symlink()


KINDS = {
    "a symbolic link": tarfile.SYMTYPE,
    "a hard link": tarfile.LNKTYPE,
    "a device": tarfile.CHRTYPE,
    "a block device": tarfile.BLKTYPE,
    "a pipe": tarfile.FIFOTYPE,
    "a directory": tarfile.DIRTYPE,
    "a contiguous file": tarfile.CONTTYPE,
    "a sparse file": tarfile.GNUTYPE_SPARSE,
    "an unknown kind": b"Z",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", [0, 2])
def test_only_plain_files_are_taken(home: Home, archive: Path, kind: str, which: int) -> None:
    """A link, a device or whatever else tar has is refused, also as the manifest."""
    content = entries(archive)
    entry, data = content[which]
    entry.type, entry.linkname = KINDS[kind], "/etc/passwd"
    if kind != "an unknown kind":
        data = b"" if entry.type not in (tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE) else data
    entry.size = len(data)
    content[which] = (entry, data)
    refused(home, write(archive, content), "no plain file|no archive of Holdfast's|unpacks to more")


def _extra(content: list[Entry]) -> list[Entry]:
    entry = tarfile.TarInfo("../../evil")
    entry.size = 4
    return [*content, (entry, b"evil")]


SHAPES: dict[str, Callable[[list[Entry]], list[Entry]]] = {
    "one file more": _extra,
    "one file less": lambda content: content[:-1],
    "another order": lambda content: [content[0], *reversed(content[1:])],
    "no manifest": lambda content: content[1:],
    "the manifest last": lambda content: [*content[1:], content[0]],
    "a file twice": lambda content: [*content[:2], content[1], *content[2:]],
    "nothing": lambda content: [],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_exactly_the_files_of_the_manifest_are_taken(home: Home, archive: Path, shape: str) -> None:
    """One that is missing, is there twice, or is not in the manifest ends the restore."""
    refused(home, write(archive, SHAPES[shape](entries(archive))), "manifest|missing|no archive of Holdfast's")


def test_a_byte_that_differs_is_found(home: Home, archive: Path) -> None:
    """Also where SQLite would not notice it."""
    content = entries(archive)
    data = bytearray(content[1][1])
    data[0] ^= 1
    content[1] = (content[1][0], bytes(data))
    refused(home, write(archive, content), "config.yaml in it is not what was backed up")


def test_a_bomb_is_stopped_at_what_it_says(home: Home, archive: Path) -> None:
    """A file that goes on behind its size is another file, or none."""
    refused(home, recompress(archive, lambda data: data.rstrip(b"\0") + b"x" * 50_000_000), ".")


def test_a_bomb_that_says_its_size_is_refused_before_anything_is_written(home: Home, archive: Path) -> None:
    """No database unpacks to hundreds of times its size."""

    def change(said: dict[str, Any]) -> None:
        said["members"][-1]["size"] = 10**10

    refused(home, with_manifest(archive, change), "would unpack to .* times its size")


def test_a_size_that_no_such_file_has_is_refused(home: Home, archive: Path) -> None:
    """A config of a terabyte is none; neither is a negative size."""
    for size in (10**12, -1, 1 << 70):

        def change(said: dict[str, Any], size: int = size) -> None:
            said["members"][0]["size"] = size

        refused(home, with_manifest(archive, change), "which is no such file")


@pytest.mark.parametrize("form", ["pax", "gnu"])
def test_headers_take_no_memory(home: Home, archive: Path, form: str, tmp_path: Path) -> None:
    """A header of 200 MB, which tar would read at once, is refused before it is."""
    entry = tarfile.TarInfo("manifest.json")
    entry.size = 200_000_000
    entry.type = tarfile.XHDTYPE if form == "pax" else tarfile.GNUTYPE_LONGNAME
    with gzip.open(archive, "wb", compresslevel=1) as file:
        file.write(entry.tobuf(tarfile.GNU_FORMAT))
        for _ in range(200):
            file.write(bytes(1_000_000))
    tracemalloc.start()
    refused(home, archive, "unpacks to more than it says")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20_000_000


def test_extended_headers_of_small_size_are_refused_too(home: Home, archive: Path) -> None:
    """They can give a file another name and size than its own header says."""
    content = entries(archive)
    content[2][0].pax_headers = {"comment": "x"}
    refused(home, write(archive, content, tarfile.PAX_FORMAT), "no plain file")


BAD_MANIFESTS: dict[str, bytes] = {
    "no JSON": b"hello",
    "another JSON": b"[]",
    "a number": b"7",
    "nothing": b"",
    "deep": b"[" * 100_000,
    "no members": json.dumps({"format": 1, "program": "x", "made": 0, "schema": None, "left_out": []}).encode(),
    "half a letter": b'{"format": "\xff"}',
    "a long number": b'{"format": ' + b"9" * 5000 + b"}",
    "true for 1": b'{"format": true}',
}


@pytest.mark.parametrize("kind", BAD_MANIFESTS)
def test_a_manifest_that_is_none_is_told(home: Home, archive: Path, kind: str) -> None:
    """Whatever stands in its place."""
    content = entries(archive)
    content[0][0].size = len(BAD_MANIFESTS[kind])
    content[0] = (content[0][0], BAD_MANIFESTS[kind])
    refused(home, write(archive, content), "manifest is not one of Holdfast's|newer Holdfast")


def test_a_long_manifest_is_refused(home: Home, archive: Path) -> None:
    """It would be read into memory."""
    content = entries(archive)
    content[0][0].size = MAX_BYTES + 1
    content[0] = (content[0][0], bytes(MAX_BYTES + 1))
    refused(home, write(archive, content), "longer than any")


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("sessions/0001.session", b"SQLite format 3\0" + bytes(8000), "cannot be used|no session"),
        ("engine.db", b"", "another schema than its manifest says"),
        ("sessions/0002.session", b"", "no session"),
    ],
)
def test_a_file_that_agrees_with_its_hash_and_is_no_database(
    home: Home, archive: Path, name: str, data: bytes, why: str
) -> None:
    """The content counts."""
    refused(home, with_file(archive, name, data), why)


@pytest.mark.parametrize(
    "what", ["a text", "nothing", "a directory", "a pipe", "a cut archive", "another tar", "zeros"]
)
def test_a_file_that_is_no_archive_is_told(home: Home, archive: Path, tmp_path: Path, what: str) -> None:
    """In a sentence, at once."""
    other = tmp_path / "other"
    if what == "a directory":
        other.mkdir()
    elif what == "a pipe":
        os.mkfifo(other)
    elif what == "a cut archive":
        other.write_bytes(archive.read_bytes()[:3000])
    elif what == "another tar":
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = 4
        write(other, [(entry, b"root")])
    else:
        other.write_bytes({"a text": b"hello", "nothing": b"", "zeros": bytes(100_000)}[what])
    with pytest.raises((BadArchive, OSError)):
        home.restore(other)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_an_archive_with_any_bytes_changed_is_refused_or_the_same(home: Home, archive: Path, seed: int) -> None:
    """What a bad disk makes of it never raises anything but a sentence, and never restores half of it."""
    whole, chance = archive.read_bytes(), random.Random(seed)
    before = home.content()
    for _ in range(30):
        spoilt = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            spoilt[chance.randrange(10, len(spoilt))] = chance.randrange(256)
        archive.write_bytes(spoilt)
        try:
            read_manifest(archive)
            home.restore(archive)
        except ArchiveError:
            assert home.content() == before
        else:
            break


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_an_archive_that_unpacks_to_anything_is_refused_or_the_same(home: Home, archive: Path, seed: int) -> None:
    """The same behind the compression, where every byte of a header can be reached."""
    whole, chance = gzip.decompress(archive.read_bytes()), random.Random(seed)
    heads = [at for at in range(0, len(whole), 512) if whole[at + 257 : at + 262] == b"ustar"]
    before = home.content()
    for _ in range(40):
        spoilt = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            spoilt[chance.choice(heads) + chance.randrange(512)] = chance.randrange(256)
        archive.write_bytes(gzip.compress(spoilt, 1))
        try:
            home.restore(archive)
        except ArchiveError:
            assert home.content() == before
        else:
            break


KEY = b"-----BEGIN RSA PUBLIC KEY-----\nMIIBCgKCAQEA\n-----END RSA PUBLIC KEY-----\n"


def with_key(home: Home, archive: Path, place: str, content: bytes) -> Path:
    """Put a datacenter's public key into an archive."""
    source = home.path / "dc.pem"
    source.write_bytes(KEY)
    sources = [*home.sources(), Source(role=Role.PUBLIC_KEY, path=source, name="datacenter.pem", place="dc.pem")]
    archive.unlink()
    pack(sources, archive, program="holdfast 0.1.0")
    source.unlink()

    def move(said: dict[str, Any]) -> None:
        [member] = [each for each in said["members"] if each["name"] == "datacenter.pem"]
        member["place"] = place

    return with_manifest(with_file(archive, "datacenter.pem", content), move)


@pytest.mark.parametrize("place", [".bashrc", ".ssh/authorized_keys", "keys/.profile"])
def test_a_key_is_not_written_where_other_programs_read(home: Home, archive: Path, place: str) -> None:
    """A name that begins with a dot must be in the config that is there."""
    refused(home, with_key(home, archive, place, KEY), "which other programs may read")
    home.restore(archive, trusted=[home.path / place])
    assert (home.path / place).read_bytes() == KEY


@pytest.mark.parametrize(
    "content",
    [b"import os\n" + KEY, KEY + b"rm -rf /\n", KEY + KEY, KEY.replace(b"MIIB", b"$(x)"), b"", b"-----BEGIN "],
)
def test_a_key_is_nothing_but_a_key(home: Home, archive: Path, content: bytes) -> None:
    """No line of it can be one of a program."""
    refused(home, with_key(home, archive, "module.py", content), "is no key")


def test_what_is_written_around_a_key_stays_at_home(home: Home, archive: Path) -> None:
    """The config takes the block from a file with more in it, and so does the archive, which can be restored."""
    source = home.path / "dc.pem"
    source.write_bytes(b"The key of our datacenter:\n" + KEY + b"Ask Ann.\n")
    sources = [*home.sources(), Source(role=Role.PUBLIC_KEY, path=source, name="datacenter.pem", place="dc.pem")]
    archive.unlink()
    pack(sources, archive, program="holdfast 0.1.0")
    home.restore(archive)
    assert source.read_bytes() == KEY
