"""The input of the demonstration: Z→μμ toys, or real ROOT files of the user's; and one file that gets damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bookkeeper.demo import analysis

FILES: Final = 24
EVENTS: Final = 2000
MASS_Z: Final = 91.19
WIDTH_Z: Final = 2.5
MASS_MUON: Final = 0.10566
"""GeV, as are all momenta, energies and masses here."""


def make_toys(
    folder: Path, seed: int, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Path]:
    """Write files ``zmumu-01.root``, …, of a tree ``events`` each; return their paths. The same seed, the same events.

    Branches: run and event (together unique over all files), E, px, py, pz of both muons, and their invariant mass M.
    """
    import numpy
    import uproot

    folder.mkdir()
    random = numpy.random.default_rng(seed)
    paths = []
    for number in range(1, FILES + 1):
        path = folder / f"zmumu-{number:02}.root"
        columns = _decays(random, number)
        with uproot.recreate(path) as file:
            file.mktree("events", {name: values.dtype for name, values in columns.items()}).extend(columns)
        paths.append(path)
        on_progress(number, FILES)
    return paths


def _decays(random: Any, number: int) -> dict[str, Any]:
    """Return Z bosons (Breit-Wigner mass, some momentum) that decayed into two muons, isotropic at rest."""
    import numpy

    mass = (MASS_Z + WIDTH_Z / 2 * random.standard_cauchy(EVENTS)).clip(60.0, 120.0)
    cosine, phi = random.uniform(-1, 1, EVENTS), random.uniform(-numpy.pi, numpy.pi, EVENTS)
    sine = numpy.sqrt(1 - cosine**2)
    axis = numpy.stack([sine * numpy.cos(phi), sine * numpy.sin(phi), cosine])
    momentum = numpy.sqrt(mass**2 / 4 - MASS_MUON**2) * axis
    boost = random.normal(0, [[8.0], [8.0], [40.0]], (3, EVENTS))
    energy_z = numpy.sqrt(mass**2 + (boost**2).sum(axis=0))
    columns: dict[str, Any] = {
        "run": numpy.full(EVENTS, 148_000 + number, dtype=numpy.int32),
        "event": numpy.arange(1, EVENTS + 1, dtype=numpy.int64),
    }
    for muon, sign in ((1, 1), (2, -1)):
        along = (sign * momentum * boost).sum(axis=0)
        energy = (energy_z * mass / 2 + along) / mass
        moved = sign * momentum + boost * (along / (energy_z + mass) + mass / 2) / mass
        columns[f"E{muon}"] = energy
        columns.update({f"p{name}{muon}": part for name, part in zip("xyz", moved, strict=True)})
    columns["M"] = mass
    return columns


def copy_one(paths: Sequence[Path], folder: Path) -> Path | None:
    """Copy a file that can be damaged so that its reader notices: the user's own files are not touched. None if none can."""
    folder.mkdir()
    for path in sorted(paths, key=lambda one: one.stat().st_size):
        copied = folder / f"damaged-{path.name}"
        shutil.copyfile(path, copied)
        if damage(copied):
            shutil.copyfile(path, copied)
            return copied
        copied.unlink()
    return None


def damage(path: Path) -> bool:
    """Overwrite the middle of a file, as a disk does; the size stays. Tell whether its reader notices."""
    size = path.stat().st_size
    with path.open("r+b") as stream:
        stream.seek(size * 3 // 10)
        stream.write(b"\0" * (size * 4 // 10))
    try:
        analysis.read(str(path))
    except Exception:  # noqa: BLE001 - whatever uproot stumbles over
        return True
    return False
