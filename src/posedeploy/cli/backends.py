"""`posedeploy backends`: which backends are usable here, why not, and how to install them."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from posedeploy.cli.arguments import JsonOption, complete_backend
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
from posedeploy.runtime.host import HOST, distribution_version
from posedeploy.runtime.machine import cpu_facts, gpu_facts
from posedeploy.runtime.remembered import forget

PIP = "python -m pip install"
PACKAGES = ("numpy", "opencv-python-headless", "torch", "mmpose", "mmengine", "onnx")


@dataclass(frozen=True)
class BackendFacts:
    """A backend on this machine, as `--json` prints it; '' for what is unknown or absent."""

    name: str
    available: bool
    code: str  # 'available', or why it cannot run here
    reason: str  # a line for a person
    version: str  # that is installed
    min_version: str  # the oldest that is supported
    devices: tuple[str, ...]
    precisions: tuple[str, ...]  # empty where converting needs more packages
    missing_tools: tuple[str, ...]  # packages that converting needs
    own_precision: str  # what it computes float32 graphs in by default
    install: str  # command that installs or upgrades it


@dataclass(frozen=True)
class Probes:
    """How this machine is asked: availability, missing tools and own precision of a backend."""

    availability: Callable[[str], Availability]
    missing_tools: Callable[[str], tuple[str, ...]]
    own_precision: Callable[[BackendSpec], str]


def backends(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(
        metavar="BACKEND", help="Only these; exit code 3 if one cannot run here.",
        autocompletion=complete_backend)] = None,
    fresh: Annotated[bool, typer.Option(
        "--fresh", help="Load every library again, changed or not.")] = False,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Say which backends can run here, in which versions, and why the others cannot.

    Each library is loaded in a process of its own, the first time and whenever a file that it
    loads has changed.

    Examples:

    - `posedeploy backends`
    - `posedeploy backends openvino tensorrt && echo "both can run here"`
    - `posedeploy backends --json`
    """
    rows = [_row(name) for name in names or backend_names()]
    if fresh:
        forget()
    with console(stderr=True).status("asking the backends") as status:
        facts = []
        for row in rows:
            status.update(f"asking {row.name}")
            facts.append(facts_of(row, context.obj or PROBES))
    machine = machine_facts()
    if as_json:
        print_json({**machine, "backends": [asdict(fact) for fact in facts]})
    else:
        show(facts, machine)
    if names and not all(fact.available for fact in facts):
        raise typer.Exit(UnavailableError.exit_code)


def _row(name: str) -> BackendSpec:
    if name not in backend_names():
        raise BadInputError(
            f"backend {name}", "no such backend", f"one of {', '.join(backend_names())}",
            did_you_mean(name, backend_names()),
        )  # fmt: skip
    return backend_row(name)


def _availability(name: str) -> Availability:
    return get_runtime(name).probe()


def _missing_tools(name: str) -> tuple[str, ...]:
    from posedeploy.convert import get_converter, missing_tools

    get_converter(name, backend_row(name).precisions[0])  # its import may fail
    return missing_tools(name)


def _own_precision(row: BackendSpec) -> str:
    status, line = HOST.loading(row.own_precision) if row.own_precision else (1, "")
    return line if status == 0 else ""


PROBES = Probes(_availability, _missing_tools, _own_precision)


def facts_of(row: BackendSpec, probes: Probes = PROBES) -> BackendFacts:
    """Probe a backend. Never raises; native libraries are loaded in child processes only."""
    state = probes.availability(row.name)
    precisions = row.precisions
    try:
        tools = probes.missing_tools(row.name)
    except ImportError as error:  # an environment for running alone
        precisions, tools = (), (str(error.name),)
    install = ""
    if state.code is Code.VERSION_TOO_OLD:
        install = f"{PIP} --upgrade '{row.distribution}>={row.min_version}'"
    elif state.code is Code.NOT_INSTALLED:  # the reason ends in it; some backends are no packages
        install = "".join(state.reason.partition(PIP)[1:])
    return BackendFacts(
        name=row.name, available=state.ok, code=state.code.value, reason=state.reason,
        version=state.version, min_version=row.min_version, devices=row.devices,
        precisions=precisions, missing_tools=tools,
        own_precision=probes.own_precision(row) if state.ok else "", install=install,
    )  # fmt: skip


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
        more = fact.install and fact.install not in fact.reason
        lines.append(f"{fact.reason}: {fact.install}" if more else fact.reason)
    if fact.missing_tools:
        tools = " ".join(fact.missing_tools)
        lines.append(f"converting for it needs: python -m pip install {tools}")
    return lines
