"""The kinds of jobs that transfer files: ``download`` and ``upload``."""

from typing import Any

from adapters.own_places import OwnPlaces
from adapters.telegram.download_job import Download, DownloadKind
from adapters.telegram.upload_job import Upload, UploadKind


def media_kinds(places: OwnPlaces) -> tuple[tuple[str, Any, type[Any]], ...]:
    """Return name, function and data of each kind, for an engine whose own files are in these places."""
    return (("download", DownloadKind(places), Download), ("upload", UploadKind(places), Upload))
