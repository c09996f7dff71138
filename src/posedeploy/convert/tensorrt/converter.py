"""TensorRT: the exported ONNX graph, typed for the flow's precision, as an engine.

The engine runs on the TensorRT version and the kind of GPU that built it, and nowhere else;
`target` returns which these are here.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from posedeploy.config import DeployConfig
from posedeploy.convert.tensorrt.build import Engine, build_engine, builder_facts
from posedeploy.convert.tensorrt.graph import graph_inputs, typed_graph
from posedeploy.convert.tensorrt.settings import BuildSettings, build_settings, is_strongly_typed
from posedeploy.convert.types import Converted
from posedeploy.paths import cache_dir, whole_file
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.runtime import backend_row
from posedeploy.runtime.tensorrt import BUILD_FILE, target


def convert(
    ir: Path,
    deploy_config: DeployConfig,
    work_dir: Path,
    calibration: CalibrationSet | None = None,
) -> Converted:
    """Builds on the first device that CUDA shows.

    Detectors end before non-maximum suppression, which the host does; a deploy config whose
    `backend_config.stage` is 'nms' keeps it in the graph, where TensorRT has a layer of its own
    for it.  No plugin is used either way.
    """
    row = backend_row("tensorrt")
    strong = is_strongly_typed(*builder_facts())
    settings = build_settings(deploy_config, graph_inputs(ir), strong)
    here = target()
    timings = timing_cache_file(here)
    with tempfile.TemporaryDirectory(prefix="tensorrt-") as scratch:
        graph = typed_graph(ir, deploy_config, Path(scratch), calibration, strongly_typed=strong)
        engine = build_engine(graph.path, settings, read_timings(timings))
    (work_dir / row.main_file).write_bytes(engine.plan)
    facts = json.dumps(build_facts(engine, settings, here), indent=1)
    (work_dir / BUILD_FILE).write_text(facts + "\n", encoding="utf-8")
    write_timings(timings, engine.timing_cache)
    return Converted((row.main_file,), settings.precision, recipe=graph.recipe)


def build_facts(
    engine: Engine, settings: BuildSettings, here: Mapping[str, str]
) -> dict[str, str]:
    """What an engine was built with, which cannot be read from the engine itself."""
    return {
        **here,
        "tensorrt": engine.version,
        "precision": settings.precision,
        "tf32": "off",
        "network": "strongly typed" if settings.strongly_typed else "builder flags",
        "flags": ",".join(settings.flags),
        "workspace": str(settings.workspace),
    }


def timing_cache_file(here: Mapping[str, str]) -> Path:
    """The file with timings of builds: one for each TensorRT version and kind of device."""
    words = "_".join(here[key] for key in sorted(here)) or "unknown"
    return cache_dir() / "tensorrt" / f"{re.sub(r'[^A-Za-z0-9._]+', '-', words)}.timing"


def read_timings(path: Path) -> bytes:
    """A timing cache, or nothing."""
    return path.read_bytes() if path.is_file() else b""


def write_timings(path: Path, content: bytes) -> None:
    """Put a timing cache in place whole; of builds that end together, the last one wins.

    What the other one measured is measured again: that costs time, and no result.
    """
    if not content:
        return
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
