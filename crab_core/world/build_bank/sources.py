"""Where the bank comes from: packages, fonts and voices, with versions, licences and SHA-256 of the files.

The build stops if a file differs, because a bank is the same only if its sources are.
"""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from crab_core.errors import InputError, ResourceError

SYSTEM_FONTS = Path("/usr/share/fonts/truetype")
SYSTEM_SOUNDS = Path("/usr/share/sounds")


@dataclass(frozen=True, slots=True)
class Drawings:
    """One drawing style; `package` is an npm NAME@VERSION, or a path below the system's fonts."""

    key: str
    package: str
    sha256: str
    licence: str


@dataclass(frozen=True, slots=True)
class Sounds:
    """One sound font with the voices and the share of the synthesiser's ranges that go with it.

    path: None if its instruments are modelled (modelled.py); seed: starts its random numbers; lane: its share of every
    range (tones.Dial); effect_keys: the keys at which its bird and telephone sound well; shares_recordings: True if
    many of its recordings are another font's too, so that it plays other programs and keys.
    """

    key: str
    path: Path | None
    sha256: str
    licence: str
    voices: tuple[str, ...]
    seed: int
    lane: tuple[float, float]
    effect_keys: tuple[int, ...] = ()
    shares_recordings: bool = False


TRAINING_DRAWINGS = (
    Drawings(
        "noto",
        "noto/NotoColorEmoji.ttf",
        "e5899ed38b8ed83e08bd3ac5de09791e9d19d288333a796de1d35ad17396f1ec",
        "OFL-1.1",
    ),
    Drawings(
        "twemoji",
        "@twemoji/svg@15.0.0",
        "1d2907557a422c7c4e3feca50ef915c39da1db3d76b4a4d7e73fb59bce4403c3",
        "CC-BY-4.0",
    ),
    Drawings(
        "fluent",
        "fluentui-emoji@1.3.0",
        "ec892e607e854859b812c7d827801756adc19955b0ef56d4ae8afcddd19492c5",
        "MIT",
    ),
    Drawings(
        "fluent3d",
        "@lobehub/fluent-emoji-3d@1.1.0",
        "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
        "MIT",
    ),
)
HELD_OUT_DRAWINGS = (
    Drawings(
        "openmoji",
        "openmoji@15.1.0",
        "0d63158a7c68dce9dcaea16d1c8c62da72086b79da07678a20894119049f0dde",
        "CC-BY-SA-4.0",
    ),
)

TRAINING_SOUNDS = (
    Sounds(
        "fluidr3",
        SYSTEM_SOUNDS / "sf2/FluidR3_GM.sf2",
        "74594e8f4250680adf590507a306655a299935343583256f3b722c48a1bc1cb0",
        "MIT",
        voices=("en-gb+m1", "en-gb+f1", "en-gb+m3", "en-gb+f3"),
        seed=1,
        lane=(0.0, 0.25),
        effect_keys=(48, 55, 60, 67, 72),
    ),
    Sounds(
        "musescore",
        SYSTEM_SOUNDS / "sf3/MuseScore_General_Full.sf3",
        "f9a37b36655f23e167c66ec91bef6097c8e99be29286219a54062919eb41aeae",
        "MIT",
        voices=("en-us+m2", "en-us+f2", "en-us+m4", "en-us+f5"),
        seed=2,
        lane=(0.27, 0.5),
        effect_keys=(46, 53, 58, 65, 70),
        shares_recordings=True,
    ),
    Sounds(
        "modelled",
        None,
        "",
        "Apache-2.0",
        voices=("en-us+m5", "en-gb-x-gbclan+f2", "en-us+f1", "en-gb+m2"),
        seed=4,
        lane=(0.52, 0.77),
    ),
)
HELD_OUT_SOUNDS = (
    Sounds(
        "timgm6mb",
        SYSTEM_SOUNDS / "sf2/TimGM6mb.sf2",
        "c5378b62028c920cb11e4803327983fee2f2cdff5dc89c708e39da417e51c854",
        "GPL-2.0",
        voices=("en-gb-scotland+m7", "en-gb-scotland+f4", "en-gb-x-rp+m6", "en-029+f4"),
        seed=3,
        lane=(0.8, 0.98),
        effect_keys=(40, 43, 46, 48),
    ),
)


def fetch(package: str, sha256: str, folder: Path) -> Path:
    """The unpacked npm package below `folder`, fetched with `npm pack`.

    Raises ResourceError if npm is not installed or cannot fetch it, InputError if the archive is not the known one.
    """
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), package]
    try:
        name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    except (FileNotFoundError, subprocess.CalledProcessError, IndexError) as err:
        raise ResourceError(f"npm could not fetch '{package}'", hint="Install npm and check the network.") from err
    check(folder / name, sha256)
    target = folder / name.removesuffix(".tgz")
    with tarfile.open(folder / name) as archive:
        archive.extractall(target, filter="data")
    return target / "package"


def check(path: Path, sha256: str) -> None:
    """Raises InputError if the file is missing or is not the version that the bank is made from."""
    if not path.is_file():
        raise InputError(f"no file '{path}'", hint="The packages it needs are named in assets/LICENSES.md.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise InputError(
            f"'{path}' is another version: SHA-256 '{found[:12]}'", hint=f"The bank is made from '{sha256[:12]}'."
        )
