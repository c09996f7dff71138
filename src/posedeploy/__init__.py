"""Deploy any MMPose model to any inference backend.

`posedeploy.deploy` and `posedeploy.sdk` are imported on use: the SDK must not load the toolchain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posedeploy.apis import Deployment, deploy

__version__ = "0.1.0"
__all__ = ["Deployment", "__version__", "deploy"]


def __getattr__(name: str) -> Any:
    if name in {"deploy", "Deployment"}:
        from posedeploy import apis

        return getattr(apis, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
