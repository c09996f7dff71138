"""TensorRT on NVIDIA devices: engines that `posedeploy.convert.tensorrt.converter` built.

An engine has a fixed precision, which cannot be read from it: `BUILD_FILE` next to it records what
it was built with.  TF32, which TensorRT uses by default, is off in all of them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from posedeploy.runtime.cuda_device import cuda_devices
from posedeploy.runtime.registry import accepted_device
from posedeploy.runtime.tensorrt.log import as_text, collecting_logger
from posedeploy.runtime.tensorrt.probe import needed_cuda, probe
from posedeploy.runtime.tensorrt.session import TensorRTSession
from posedeploy.runtime.types import Availability, SessionOptions

BUILD_FILE = "end2end.engine.json"
UNKNOWN = "unknown"  # for engines that somebody else built


class TensorRT:
    """The `Runtime` of TensorRT."""

    def probe(self) -> Availability:
        return probe()

    def load(self, files: Sequence[Path], device: str, options: SessionOptions) -> TensorRTSession:
        number = accepted_device("tensorrt", device).index
        found = cuda_devices()
        if not found.ok:  # the library would end this process
            raise RuntimeError(f"tensorrt: {found.code}: {found.reason}")
        built = read_build(files[0])
        precision = built.get("precision", UNKNOWN)
        if precision not in {options.precision, UNKNOWN}:
            raise RuntimeError(
                f"{files[0].name} was built for {precision}, not for {options.precision}"
            )
        if number >= len(found.devices):
            raise RuntimeError(f"tensorrt: no device {number}; there are {len(found.devices)}")
        prepare_process()
        return _session(files[0], number, {
            "inference_precision": precision, "tf32": built.get("tf32", UNKNOWN),
            "network": built.get("network", UNKNOWN), "device": found.devices[number].name,
        })  # fmt: skip


def _session(path: Path, device: int, options: Mapping[str, str]) -> TensorRTSession:
    import tensorrt as trt

    use_device(device)
    logger, errors = collecting_logger()
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise RuntimeError(
            f"TensorRT {trt.__version__} does not load {path.name}: {as_text(errors)}"
            " (an engine runs on the TensorRT version and the kind of GPU it was built for)"
        )
    effective = {**options, "tensorrt": trt.__version__}
    return TensorRTSession(engine, (runtime, logger), errors, effective)


def use_device(number: int) -> None:
    """Let this thread use a device, by its number among those that CUDA shows.

    Raises:
        RuntimeError: There is no CUDA runtime library, or it refuses the device.
    """
    from polygraphy import cuda
    from polygraphy.exception import PolygraphyException

    try:
        wrapper = cuda.wrapper()
        wrapper.check(wrapper.handle.cudaSetDevice(number))
    except (OSError, PolygraphyException) as error:
        raise RuntimeError(
            f"the CUDA runtime (libcudart) does not take device {number}: {error}"
        ) from error


def read_build(engine: Path) -> Mapping[str, str]:
    """What an engine was built with; nothing for one that somebody else built."""
    facts = engine.with_name(BUILD_FILE)
    if not facts.is_file():
        return {}
    found: Mapping[str, str] = json.loads(facts.read_text(encoding="utf-8"))
    return found


def prepare_process() -> None:
    """Let Polygraphy find the CUDA runtime of TensorRT's wheels, and silence its messages.

    CUDA 13's wheels put `libcudart.so.13` in `nvidia/cu13/lib`, where Polygraphy does not look;
    it searches LD_LIBRARY_PATH first.  torch may bring another CUDA: the one that TensorRT was
    built for comes first, for a driver of CUDA 12 refuses CUDA 13's.
    """
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    newest_first = needed_cuda().startswith("13.")
    folders = ("cu13", "cuda_runtime") if newest_first else ("cuda_runtime", "cu13")
    places = [Path(e) / "nvidia" / name / "lib" for name in folders for e in sys.path if e]
    present = [entry for entry in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if entry]
    more = [str(place) for place in places if place.is_dir() and str(place) not in present]
    if more:
        os.environ["LD_LIBRARY_PATH"] = os.pathsep.join([*present, *dict.fromkeys(more)])


RUNTIME = TensorRT()
