"""What a call in a child may take, by what PyTorch took for the same model on the same machine."""

from __future__ import annotations

from dataclasses import dataclass

from posedeploy.runtime import Device
from posedeploy.runtime.processes import HANG_SECONDS, Limit

# CPU seconds an image of a model that no reference was made of yet: the slowest of the zoo's
# smallest models (hourglass52) takes this
UNKNOWN_SECONDS = 3.0
# Conversions, and other implementations in them, may wait for programs and services that are not
# their children, and do not say so
CONVERTING_IDLE_SECONDS = 300.0
# Another worker may be fitting the same weights, under a lock that waits this long
WEIGHTS_IDLE_SECONDS = 1800.0
# A GPU's driver and its compiler work outside the child
DEVICE_IDLE_SECONDS = 300.0


@dataclass(frozen=True)
class Scale:
    """CPU seconds: `factor` times PyTorch's for the same images, and `floor` at least.

    `idle` are seconds without any CPU use after which the call counts as a hang.
    """

    floor: float
    factor: float = 0.0
    idle: float = HANG_SECONDS

    def limit(self, pytorch: float = 0.0, images: int = 1, device: str = "cpu") -> Limit:
        """The limit of a call on so many images.

        `pytorch` are PyTorch's CPU seconds an image, 0.0 if unknown; `device` is where the call
        computes.
        """
        on_cpu = Device.parse(device).kind == "cpu"
        return Limit(
            max(self.floor, self.factor * (pytorch or UNKNOWN_SECONDS) * images),
            self.idle if on_cpu else max(self.idle, DEVICE_IDLE_SECONDS),
        )


@dataclass(frozen=True)
class Limits:
    """Each kind of call.

    PyTorch's time is that of a reference: a pass in float64 and three at the flow's precision,
    some seven times one float32 pass. The factors are at least five times the slowest that was
    measured, on the models of the default tier.
    """

    # fitting takes minutes of one core for the largest models, before any reference
    weights: Scale = Scale(2700.0, idle=WEIGHTS_IDLE_SECONDS)
    reference: Scale = Scale(900.0, idle=CONVERTING_IDLE_SECONDS)
    # int8 runs the model on calibration images: 70 s for yoloxpose_tiny
    convert: Scale = Scale(900.0, 400.0, CONVERTING_IDLE_SECONDS)
    # times kernels on a device, which several workers share
    build: Scale = Scale(3600.0, 400.0, CONVERTING_IDLE_SECONDS)
    # compiles the graph, after importing the backend: 8 s for an int8 graph in OpenVINO
    load: Scale = Scale(120.0, 60.0)
    run: Scale = Scale(60.0, 30.0)
    # numpy and Python in place of a backend
    evaluate: Scale = Scale(300.0, 400.0)
    # loads and runs
    client: Scale = Scale(120.0, 30.0)
