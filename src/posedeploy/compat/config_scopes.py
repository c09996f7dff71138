"""Registry scopes of packages that are not installed.

RTMPose's configs say `_scope_='mmdet'` for a backbone (CSPNeXt) that mmpose itself has under
the same name.  Without mmdet, mmengine falls back to mmpose's with a warning that it cannot
find mmdet; taking the scope out of the config asks for mmpose's in the first place.
"""

from __future__ import annotations

from typing import Any

from posedeploy.compat.install import install

_PROBE_OF_SCOPE = {"mmdet": "mmdet.utils"}


def without_missing_scopes(node: Any) -> Any:
    """A copy of a config tree without `_scope_` entries of packages that are stand-ins here."""
    missing = {s for s, module in _PROBE_OF_SCOPE.items() if module in install().stand_ins}
    return _strip(node, missing)


def _strip(node: Any, missing: set[str]) -> Any:
    if isinstance(node, dict):
        kept = {
            key: _strip(value, missing)
            for key, value in node.items()
            if not (key == "_scope_" and value in missing)
        }
        return type(node)(kept)
    if isinstance(node, list | tuple):
        return type(node)(_strip(item, missing) for item in node)
    return node
