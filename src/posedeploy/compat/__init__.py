"""What makes mmpose 1.3.2 import on a current stack, without compiled mmcv, mmdet, torchvision.

Call `install()` before the first `import mmpose`.  It provides only names that mmpose imports
and the supported families never run (the table in `stand_ins`); where the real package is
installed and imports, the real one is used.
"""

from __future__ import annotations

from posedeploy.compat.install import Provided, install, without_missing_scopes
from posedeploy.compat.stand_ins import STAND_INS, StandInUsedError

__all__ = ["STAND_INS", "Provided", "StandInUsedError", "install", "without_missing_scopes"]
