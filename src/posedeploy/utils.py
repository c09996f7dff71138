"""`load_config` and `get_input_shape`, under the names that MMDeploy's users import them by."""

from posedeploy.apis.utils import get_input_shape, load_config

__all__ = ["get_input_shape", "load_config"]
