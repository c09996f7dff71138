"""`posedeploy backends`: which backends are usable here, why not, and how to install them."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from posedeploy.cli.completion import complete_backend
from posedeploy.cli.terminal import console, escape, print_json
from posedeploy.errors import BadInputError, UnavailableError, did_you_mean
from posedeploy.runtime import (
    Availability,
    BackendSpec,
    Code,
    backend_names,
    backend_row,
    get_runtime,
)
from posedeploy.runtime.host import distribution_version, run_probe
from posedeploy.runtime.machine import cpu_facts, gpu_facts

EXAMPLES = """
Examples:

    posedeploy backends

    posedeploy backends openvino tensorrt && echo "both can run here"

    posedeploy backends --json
"""
PIP = "python -m pip install"
PACKAGES = ("numpy", "opencv-python-headless", "torch", "mmpose", "mmengine", "onnx")


@dataclass(frozen=True)
class BackendFacts:
    """What can be told of a backend on this machine.

    Attributes:
        name: Backend name.
        available: True if it can run here.
        code: 'available', or why not.
        reason: One line for a person; empty where it is available.
        version: Version that is installed, '' if none is.
        min_version: Oldest version that is supported.
        devices: Device types it runs on.
        precisions: What can be converted to; empty where converting needs more packages.
        missing_tools: What converting for it needs and is not there.
        own_precision: What it computes float32 graphs in by default; '' if unknown.
        install: The command that installs or upgrades it, '' where there is nothing to be done or
            it is no package.
    """

    name: str
    available: bool
    code: str
    reason: str
    version: str
    min_version: str
    devices: tuple[str, ...]
    precisions: tuple[str, ...]
    missing_tools: tuple[str, ...]
    own_precision: str
    install: str


def backends(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BACKEND",
            help="Only these; exit code 3 if one cannot run here.",
            autocompletion=complete_backend,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which backends can run here, in which versions, and why the others cannot."""
    rows = [_row(name) for name in names or backend_names()]
    waiting = console(stderr=True)
    with waiting.status("asking the backends") as status:
        facts = []
        for row in rows:
            status.update(f"asking {row.name}")
            facts.append(facts_of(row))
    machine = machine_facts()
    if as_json:
        print_json({**machine, "backends": [asdict(fact) for fact in facts]})
    else:
        show(facts, machine)
    if names and not all(fact.available for fact in facts):
        raise typer.Exit(UnavailableError.exit_code)


backends.__doc__ = f"{backends.__doc__}\n{EXAMPLES}"


def _row(name: str) -> BackendSpec:
    if name not in backend_names():
        raise BadInputError(
            f"backend {name}", "no such backend", f"one of {', '.join(backend_names())}",
            did_you_mean(name, backend_names()),
        )  # fmt: skip
    return backend_row(name)


def facts_of(row: BackendSpec) -> BackendFacts:
    """Probe a backend. Never raises; native libraries are loaded in child processes only."""
    found = get_runtime(row.name).probe()
    precisions, tools = _recipes(row.name)
    return BackendFacts(
        name=row.name,
        available=found.ok,
        code=found.code.value,
        reason=found.reason,
        version=found.version,
        min_version=row.min_version,
        devices=row.devices,
        precisions=precisions,
        missing_tools=tools,
        own_precision=_own_precision(row) if found.ok else "",
        install=_install(row, found),
    )


def _install(row: BackendSpec, found: Availability) -> str:
    """The command that a probe's reason ends in; some backends are no packages and have none."""
    if found.code is Code.VERSION_TOO_OLD:
        return f"{PIP} --upgrade '{row.distribution}>={row.min_version}'"
    _, pip, what = found.reason.partition(PIP)
    return f"{pip}{what}" if found.code is Code.NOT_INSTALLED else ""


def _recipes(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Precisions that can be converted to, and tools for it that are missing."""
    try:
        from posedeploy.convert import get_converter, missing_tools

        precisions = backend_row(name).precisions
        get_converter(name, precisions[0])  # an environment for running alone cannot import it
        return precisions, missing_tools(name)
    except ImportError as error:
        return (), (str(error.name),)


def _own_precision(row: BackendSpec) -> str:
    if not row.own_precision:
        return ""
    status, line = run_probe(row.own_precision)
    return line if status == 0 else ""


def machine_facts() -> dict[str, Any]:
    """The machine and the packages that are not backends, versions '' where they are missing."""
    return {
        "cpu": cpu_facts(),
        **gpu_facts(),
        "os": platform.platform(),
        "python": sys.version.split()[0],
        "packages": {name: distribution_version(name) for name in PACKAGES},
    }


def show(facts: Sequence[BackendFacts], machine: Mapping[str, Any]) -> None:
    """Print the table, what to do about those that cannot run, and the machine."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    out, table = console(), Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("backend", "here", "version", "devices", "converts to"):
        table.add_column(name, no_wrap=True)
    table.add_column("left alone")
    for fact in facts:
        color = "green" if fact.available else "yellow"
        table.add_row(
            fact.name, f"[{color}]{'yes' if fact.available else fact.code}[/]",
            fact.version or "-", " ".join(fact.devices), " ".join(fact.precisions) or "-",
            fact.own_precision or "-",
        )  # fmt: skip
    out.print(table)
    for fact in facts:
        for line in _advice(fact):
            out.print(f"  [bold]{fact.name}[/]: {escape(line)}", soft_wrap=True)
    out.print(
        "left alone: what it computes float32 graphs in by itself. posedeploy always sets the "
        "precision that a deploy config names, and reads it back.",
        style="dim",
    )
    cpu, packages = machine["cpu"], machine["packages"]
    versions = " · ".join(f"{name} {v}" for name, v in packages.items() if v)
    out.print(f"{cpu.get('model', cpu['machine'])} · {cpu['count']} CPUs · GPU {machine['gpu']}")
    out.print(f"Python {machine['python']} · {versions}")


def _advice(fact: BackendFacts) -> list[str]:
    lines = []
    if not fact.available:
        said = fact.install and fact.install not in fact.reason
        lines.append(f"{fact.reason}: {fact.install}" if said else fact.reason)
    if fact.missing_tools:
        tools = " ".join(fact.missing_tools)
        lines.append(f"converting for it needs: python -m pip install {tools}")
    return lines
