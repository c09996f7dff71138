"""The machine that times were measured on."""

from __future__ import annotations

import os
from typing import Any


def fingerprint(threads: int) -> dict[str, Any]:
    """The machine, its packages, and its load."""
    from posedeploy.cli.backends import machine_facts
    from posedeploy.runtime import backend_distributions
    from posedeploy.runtime.host import installed_versions

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = installed_versions(*backend_distributions())
    facts = machine_facts()
    packages = {**facts["packages"], **versions}
    return {
        **facts,
        "packages": {name: version for name, version in sorted(packages.items()) if version},
        "threads": threads, "usable_cpus": usable, "load_average": load,
    }  # fmt: skip
