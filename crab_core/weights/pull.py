"""Published files fetched from the hub, when asked: into the hub's own cache, going on where a pull was cut off.

Every file is compared with the sha256 that the catalogue or the hub publishes. Where neither does, the sha256 of the
first pull is recorded, and later pulls are compared with that.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crab_core.errors import ModelError, ResourceError
from crab_core.files import replace_file
from crab_core.progress import Listener, Note, Progress, ignore
from crab_core.weights.folder import sha256_of

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

    from crab_core.weights.spec import ModelSpec, RemoteFile, Source

MIB = 1 << 20
RECORD = "pulled.json"  # in the folder of imported models
SHA256_DIGITS, SHA1_DIGITS = 64, 40
TIMEOUT_S = 30.0
TRIES = 4  # of one file within a pull, each going on where the last ended
Told = Literal["catalogue", "hub", "first pull"]


@dataclass(frozen=True, slots=True)
class Pulled:
    """A file on this machine: where it came from, and who says what its sha256 must be."""

    repository: str
    name: str
    sha256: str
    bytes: int
    told_by: Told


def pull(spec: ModelSpec, roles: tuple[str, ...] = (), on_progress: Listener = ignore) -> list[tuple[Source, Path]]:
    """Fetches the sources of a model, those of `roles` only if given; gives for each its folder or file.

    What is there is not fetched again. Raises ModelError if a file cannot be had or is not what was published,
    ResourceError if the disk is too small.
    """
    return [
        (source, _pull_source(spec, source, on_progress))
        for source in spec.sources
        if not roles or source.role in roles
    ]


def _pull_source(spec: ModelSpec, source: Source, on_progress: Listener) -> Path:
    """The folder of all files of a source, or its one file."""
    paths = [_pull_file(spec, source, file, on_progress) for file in source.files]
    if source.whole and len({path.parent for path in paths}) > 1:  # the repository changed between two pulls
        paths = [_pull_file(spec, source, file, on_progress) for file in source.files]
    return paths[0].parent if source.whole else paths[0]


def where(spec: ModelSpec) -> Iterator[tuple[Source, RemoteFile, Path | None]]:
    """Every file of a model's sources and where it lies, None if it was not pulled; asks no server."""
    for source in spec.sources:
        for file in source.files:
            yield source, file, next((path for place in _places(source, file) if (path := _cached(*place))), None)


def verify_pulled(spec: ModelSpec) -> Iterator[tuple[str, Pulled]]:
    """Each pulled file's path after its sha256 was compared with the record; raises ModelError for the first wrong."""
    record = _read_record(spec)
    for source, file, path in where(spec):
        fact = next((record[key] for place in _places(source, file) if (key := "/".join(place)) in record), None)
        if path is None or fact is None:
            continue
        found = sha256_of(path)
        if found != fact.sha256:
            raise ModelError(
                f"'{path}' is damaged: its sha256 '{found[:12]}…' is not '{fact.sha256[:12]}…'",
                hint=f"Delete it and fetch it again: crab models pull {spec.name}",
            )
        yield str(path), fact


def _places(source: Source, file: RemoteFile) -> tuple[tuple[str, str], ...]:
    return ((source.repository, file.name), *file.mirrors)


def _cached(repository: str, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, name, cache_dir=_cache())
    return Path(found) if isinstance(found, str) else None


def _cache() -> Path:
    """The hub's cache, from the environment as it is now."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def _pull_file(spec: ModelSpec, source: Source, file: RemoteFile, on_progress: Listener) -> Path:
    """The file from the first place that has it."""
    record = _read_record(spec)
    for place in _places(source, file):
        path = _cached(*place)
        if path is not None and "/".join(place) in record:
            return path
    if _offline():
        raise ModelError(
            f"'{source.repository}/{file.name}' is not on this machine and HF_HUB_OFFLINE is set",
            hint="Unset HF_HUB_OFFLINE to fetch it.",
        )
    refused: ModelError | None = None
    for repository, name in _places(source, file):
        try:
            return _from(spec, source, file, (repository, name), on_progress)
        except _Absent as err:
            refused = refused or err
    assert refused is not None  # noqa: S101 - there is always one place
    raise refused


class _Absent(ModelError):
    """A place does not have the file: the next may."""


def _from(spec: ModelSpec, source: Source, file: RemoteFile, place: tuple[str, str], on_progress: Listener) -> Path:
    from huggingface_hub import hf_hub_download

    metadata = _asked(source, place, lambda: _metadata(*place))
    record = _read_record(spec).get("/".join(place))
    expected, told_by = _expected(file, metadata, record)
    blob = _cache() / f"models--{place[0].replace('/', '--')}" / "blobs" / str(metadata.etag)
    _fetch(metadata, blob, source, place, on_progress)
    found = _compared(blob, place, expected, str(metadata.etag))
    path = Path(
        _asked(
            source,
            place,
            lambda: hf_hub_download(
                *place, revision=metadata.commit_hash, cache_dir=_cache(), endpoint=_endpoint(), token=_token()
            ),
        )
    )
    _point_main(blob.parents[1], str(metadata.commit_hash))
    _write_record(spec, Pulled(*place, found, path.stat().st_size, told_by))
    if told_by == "first pull":
        on_progress(Note(f"no sha256 is published for '{'/'.join(place)}': recorded '{found[:12]}…' of this pull"))
    return path


def _expected(file: RemoteFile, metadata: HfFileMetadata, record: Pulled | None) -> tuple[str, Told]:
    if file.sha256:
        return file.sha256, "catalogue"
    if len(str(metadata.etag)) == SHA256_DIGITS:
        return str(metadata.etag), "hub"
    return (record.sha256 if record else ""), "first pull"


def _compared(blob: Path, place: tuple[str, str], expected: str, etag: str) -> str:
    """The sha256 of a fetched file; one that is not what was published is deleted and told."""
    found = sha256_of(blob)
    wrong = bool(expected) and found != expected
    if not wrong and len(etag) == SHA1_DIGITS:  # the hub names small files by git's hash of them
        data = blob.read_bytes()
        wrong = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() != etag
    if not wrong:
        return found
    blob.unlink()
    raise ModelError(
        f"'{'/'.join(place)}' is not the published file: its sha256 is '{found[:12]}…', "
        f"not '{(expected or etag)[:12]}…'",
        hint="It was deleted. Fetch it again; if that repeats, the file behind the link has changed.",
    )


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _token() -> str | None:
    return os.environ.get("HF_TOKEN") or None


def _metadata(repository: str, name: str) -> HfFileMetadata:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repository, name, endpoint=_endpoint())
    metadata = get_hf_file_metadata(url, token=_token(), endpoint=_endpoint(), timeout=TIMEOUT_S)
    etag = metadata.etag or ""
    if not metadata.commit_hash or not etag or not all(letter.isalnum() or letter in "-_" for letter in etag):
        raise ModelError(f"'{url}' answers without the headers of a hub", hint="Check HF_ENDPOINT.")
    return metadata


def _fetch(metadata: HfFileMetadata, blob: Path, source: Source, place: tuple[str, str], on_progress: Listener) -> None:
    """The file's bytes into `blob`, through a part file that a later pull goes on with."""
    if blob.is_file():
        return
    part = blob.with_name(f"{blob.name}.crab-part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        have = part.stat().st_size if part.is_file() else 0
        free = shutil.disk_usage(part.parent).free
        if (metadata.size or 0) - have > free:
            raise ResourceError(
                f"'{place[1]}' needs {((metadata.size or 0) - have) / 1e9:.2f} GB more and the disk has "
                f"{free / 1e9:.2f} GB free",
                hint="Make room, or set HF_HOME to a larger disk.",
            )
        for tried in range(TRIES):
            if _asked(source, place, lambda: _stream(metadata, part, place, on_progress), last=tried == TRIES - 1):
                break
        else:
            raise ModelError(f"'{'/'.join(place)}' was cut off again and again", hint="Pull again: it goes on there.")
        part.replace(blob)
    except OSError as err:
        raise ResourceError(f"cannot write '{part}': {err.strerror or err}", hint="Check the disk.") from err


def _stream(metadata: HfFileMetadata, part: Path, place: tuple[str, str], on_progress: Listener) -> bool:
    """One request for what is lacking; True if the file is complete then."""
    from huggingface_hub import get_session, get_token, hf_raise_for_status

    have = part.stat().st_size if part.is_file() else 0
    if metadata.size is not None and have >= metadata.size:
        if have == metadata.size:
            return True
        part.unlink()
        have = 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    headers["Accept-Encoding"] = "identity"
    if metadata.location.startswith(_endpoint() + "/"):  # a token is for the hub alone, not for where it sends us
        token = _token() or get_token()
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
    with get_session().stream("GET", metadata.location, headers=headers, timeout=TIMEOUT_S) as answer:
        hf_raise_for_status(answer)
        with part.open("ab" if answer.status_code == 206 else "wb") as file:
            for piece in answer.iter_raw():
                file.write(piece)
                on_progress(Progress("pull", file.tell() // MIB, (metadata.size or 0) // MIB, "MiB", place[1]))
    return metadata.size is None or part.stat().st_size == metadata.size


def _asked(source: Source, place: tuple[str, str], ask: Callable[[], Any], last: bool = True) -> Any:
    """What the hub answers, its refusals told in words; a broken connection gives None unless it was the `last` try."""
    from huggingface_hub import get_session
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RemoteEntryNotFoundError, RepositoryNotFoundError

    repository, name = place
    transport = _transport_errors(type(get_session()))
    try:
        return ask()
    except GatedRepoError as err:
        raise ModelError(
            f"'{repository}' is given only to those who accept its licence",
            hint=f"Accept it at https://huggingface.co/{repository}, then set HF_TOKEN to a token of that account.",
        ) from err
    except RemoteEntryNotFoundError as err:
        raise _Absent(f"the hub has no file '{name}' in '{repository}'", hint="It may have been renamed.") from err
    except RepositoryNotFoundError as err:
        cure = "Check the token in HF_TOKEN." if _token() else "If it is private, set HF_TOKEN."
        raise _Absent(f"the hub shows no repository '{repository}'", hint=cure) from err
    except HfHubHTTPError as err:
        told = err.response.status_code if err.response is not None else err
        raise ModelError(f"the hub refuses '{repository}/{name}': {told}", hint="Try again later.") from err
    except transport as err:
        if not last:
            return None
        raise ModelError(
            f"cannot reach '{_endpoint()}' for '{repository}/{name}': {err}",
            hint="Check the network and HF_ENDPOINT, then pull again: it goes on where it ended.",
        ) from err


def _transport_errors(client: type) -> tuple[type[Exception], ...]:
    """The connection errors of the hub's HTTP client, whichever it is built on."""
    import importlib

    return (importlib.import_module(client.__module__.partition(".")[0]).TransportError,)


def _point_main(repository: Path, commit: str) -> None:
    """The cache's `main`, by which other tools find the files."""
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(commit, encoding="utf-8")


def _record_path(spec: ModelSpec) -> Path:
    return spec.home().parent / RECORD


def _read_record(spec: ModelSpec) -> dict[str, Pulled]:
    path = _record_path(spec)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {key: Pulled(**fact) for key, fact in document.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as err:
        raise ModelError(f"'{path}' is no record of pulls: {err}", hint="Delete it: files are compared anew.") from err


def _write_record(spec: ModelSpec, fact: Pulled) -> None:
    record = {**_read_record(spec), f"{fact.repository}/{fact.name}": fact}
    path = _record_path(spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({key: asdict(one) for key, one in sorted(record.items())}, indent=1)
    replace_file(path, f"{text}\n".encode(), hint="Free some space, then pull again.")
