"""Small real ROOT files for tests and for the documentation's examples."""

from __future__ import annotations

from pathlib import Path


def make_zmumu(folder: Path, files: int = 6, events: int = 500, seed: int = 1) -> list[Path]:
    """Write ``files`` ROOT files of a Z→μμ toy and return their paths.

    Each holds one tree ``events`` of ``events`` entries: ``run`` and ``event`` (together unique over all
    files), the muons' charges, momenta and angles, and their invariant mass ``M`` (momenta and mass in GeV).
    """
    import numpy as np
    import uproot

    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    paths = []
    for number in range(1, files + 1):
        pt1, pt2 = random.normal(43.0, 6.0, (2, events)).clip(20.0)
        eta1, eta2 = random.normal(0.0, 1.0, (2, events))
        phi1 = random.uniform(-np.pi, np.pi, events)
        phi2 = phi1 + np.pi + random.normal(0.0, 0.1, events)
        charge = random.choice(np.array([-1, 1], dtype=np.int32), events)
        branches = {
            "run": np.full(events, 148_000 + number, dtype=np.int32),
            "event": np.arange(1, events + 1, dtype=np.int64),
            "M": np.sqrt(2 * pt1 * pt2 * (np.cosh(eta1 - eta2) - np.cos(phi1 - phi2))),
            "pt1": pt1,
            "eta1": eta1,
            "phi1": phi1,
            "Q1": charge,
            "pt2": pt2,
            "eta2": eta2,
            "phi2": phi2,
            "Q2": -charge,
        }
        path = folder / f"zmumu-{number}.root"
        with uproot.recreate(path) as file:
            tree = file.mktree("events", {name: values.dtype for name, values in branches.items()})
            tree.extend(branches)
        paths.append(path)
    return paths
