"""What makes mmpose 1.3.2 import on a current stack, and import no more than a conversion runs."""

from posedeploy.compat.deferred import defer
from posedeploy.compat.stand_ins import (
    STAND_INS,
    Provided,
    StandIn,
    install,
    installing,
    without_missing_scopes,
)
from posedeploy.compat.unusable import StandInUsedError

__all__ = [
    "STAND_INS", "Provided", "StandIn", "StandInUsedError", "defer", "install", "installing",
    "without_missing_scopes",
]  # fmt: skip
