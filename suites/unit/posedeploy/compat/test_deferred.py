"""What mmpose imports and a conversion never runs is imported at its first use, if at all."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from posedeploy.compat.deferred import DEFERRED, UNUSABLE

ROWS = [
    (row, name) for table in (DEFERRED, UNUSABLE) for row in table for name in sorted(table[row])
]
# A user's module of `custom_imports`: it imports mmpose's modules first, then each package itself.
CUSTOM = """
import inspect
import io
import json

import mmcv.image.io
import mmengine
import mmpose.codecs, mmpose.datasets.transforms, mmpose.models
import onnx_ir
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.optim.optimizer.zero_optimizer import ZeroRedundancyOptimizer as theirs
from mmpose.codecs.associative_embedding import Munkres
from mmpose.datasets.datasets.body.mpii_dataset import loadmat
from mmpose.datasets.transforms import RandomBBoxTransform
import sys

LATER = {names}
loaded = [name for name in LATER if name in sys.modules]

# what uses them in mmpose, mmengine and onnx_ir has the real one
text = Config(dict(a=1)).pretty_text
moved = RandomBBoxTransform._truncnorm(size=(2, 3)).shape
pairs = Munkres().compute([[1.0, 9.0], [9.0, 1.0]])
total = str(onnx_ir.SymbolicDim("a") + 1)
try:
    loadmat("nothing.mat")
except FileNotFoundError as error:
    read = type(error).__name__
try:
    theirs([], "SGD")
except RuntimeError as error:
    refused = str(error)

written = mmengine.dump(dict(a=[1]), file_format="yaml")
again = mmengine.fileio.handlers.YamlHandler().load_from_fileobj(io.StringIO(written))
try:
    mmcv.image.io.tifffile.imread("nothing.tif")
except FileNotFoundError as error:
    read += type(error).__name__

# and so has a user's code
import munkres, scipy.io, scipy.stats, sympy, tifffile, torch, yaml, yapf
import torch.distributed.fsdp, torch.distributed.optim
from scipy.stats import truncnorm
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.optim import ZeroRedundancyOptimizer

class Sharded(FullyShardedDataParallel): pass
class Own(munkres.Munkres): pass
real = [inspect.isclass(ZeroRedundancyOptimizer), issubclass(Sharded, torch.nn.Module),
        isinstance(truncnorm, scipy.stats.rv_continuous), isinstance(sympy.Integer(1), sympy.Expr),
        callable(scipy.io.loadmat), callable(yapf.yapf_api.FormatCode),
        inspect.isfunction(tifffile.imread), inspect.isclass(yaml.CLoader),
        not is_model_wrapper(torch.nn.Identity())]
print(json.dumps(dict(loaded=loaded, text=text, moved=moved, pairs=pairs, total=total, read=read,
                      refused=refused, real=real, again=again)))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("custom")
    names = sorted({name for _, name in ROWS})
    (folder / "custom.py").write_text(CUSTOM.replace("{names}", repr(names)))
    config = folder / "config.py"
    config.write_text("custom_imports = dict(imports=['custom'])")
    code = (
        f"import sys; sys.path[:0] = {[str(folder), *sys.path]!r}\n"
        "from pathlib import Path\nfrom posedeploy.config.files import read_config\n"
        f"read_config(Path({str(config)!r}), 'config')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_importing_mmpose_imports_none_of_them(found: dict[str, Any]) -> None:
    assert found["loaded"] == []


def test_what_runs_them_has_the_real_ones(found: dict[str, Any]) -> None:
    assert found["text"] == "a = 1\n"
    assert found["moved"] == [2, 3]
    assert found["pairs"] == [[0, 0], [1, 1]]
    assert found["total"].replace(" ", "") in {"a+1", "SymbolicDim(a+1)"}
    assert found["read"] == "FileNotFoundError" * 2  # of scipy.io and of tifffile
    assert found["again"] == {"a": [1]}


def test_a_users_module_imports_the_real_ones(found: dict[str, Any]) -> None:
    assert found["real"] == [True] * len(found["real"])


def test_a_class_for_training_that_is_left_out_names_the_way_to_it(found: dict[str, Any]) -> None:
    assert "Import torch.distributed" in found["refused"]


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module)


@pytest.mark.parametrize(("importer", "name"), ROWS, ids=map("-".join, ROWS))
def test_every_row_is_about_an_import_that_is_there(importer: str, name: str) -> None:
    top = importlib.util.find_spec(importer.partition(".")[0])
    assert top is not None
    assert top.origin is not None
    path = Path(top.origin).parent.joinpath(*importer.split(".")[1:]).with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert name in set(chain(_imports(tree)))
