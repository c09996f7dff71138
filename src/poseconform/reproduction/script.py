"""The script in a reproduction folder: runs the backend's files on the inputs, and nothing else.

It needs numpy and the backend, so that it can go into a report to the backend's authors as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

FILE = "reproduce.py"

_HEAD = '''\
"""{title}

Runs the files in sdk_model/ on inputs.npz and compares with reference.npz (PyTorch, float64) and
with output.npz (the run that was judged).  Needs numpy and {package}.  facts.json has versions.
"""
import json, pathlib, sys
import numpy as np
'''

_TAIL = """
errors, changes, status = {}, {}, 0
for start, samples in zip(np.cumsum([0, *map(len, facts["batches"])]), facts["batches"]):
    for name, got in run(inputs["input"][samples].astype(facts["dtype"])).items():
        before = judged[name][start : start + len(samples)]
        got = np.pad(got, [(0, max(0, n - m)) for n, m in zip(before.shape, got.shape)])
        changes.setdefault(name, []).append(np.abs(got.astype("f8") - before).max())
        if name in expected:
            error = np.abs(got.astype("f8") - expected[name][samples])
            errors.setdefault(name, []).append(error.ravel())
for name, parts in errors.items():
    error, allowed = np.concatenate(parts), facts["allowed"][name]
    values = error.max(), np.sqrt(np.square(error).mean())
    good = values[0] <= allowed[0] and values[1] <= allowed[1]
    status = status or int(not good)
    print(f"{name}: {'agrees' if good else 'DIFFERS'}: maximum and RMS error", values, "allowed", allowed)
for name, parts in changes.items():
    print(f"{name}: {max(parts):.6g} from the run that was judged")
sys.exit(status)
"""  # noqa: E501 - the script's line, not ours

_FACTS = """\
here = pathlib.Path(__file__).parent
facts = json.loads((here / "facts.json").read_text())
files = [str(here / "sdk_model" / name) for name in facts["files"]]
inputs, expected, judged = (np.load(here / f"{n}.npz") for n in ("inputs", "reference", "output"))
"""

# ---- modify this table to add a backend; one without a row is run through posedeploy.runtime ----
# Backend -> (package to import, lines that define `run(x) -> {name: array}`).
_RUNS: Mapping[str, tuple[str, str]] = {
    "ncnn": (
        "ncnn",
        """\
net, on = ncnn.Net(), facts["options"].get("inference_precision", facts["precision"])
for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
    setattr(net.opt, "use_" + name, name.startswith(on))
net.opt.num_threads = 1
assert net.load_param(files[0]) == 0 and net.load_model(files[1]) == 0
def run(x):
    ex = net.create_extractor()
    ex.input(facts["input"], ncnn.Mat(np.ascontiguousarray(x[0])).clone())
    return {name: np.array(ex.extract(name)[1])[None] for name in facts["outputs"]}
""",
    ),
    "onnxruntime": (
        "onnxruntime",
        """\
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(files[0], options, providers=["CPUExecutionProvider"])
def run(x):
    return dict(zip(facts["outputs"], session.run(facts["outputs"], {facts["input"]: x})))
""",
    ),
    "openvino": (
        "openvino",
        """\
options = {"INFERENCE_PRECISION_HINT": facts["options"].get("inference_precision", "f32"),
           "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0", "INFERENCE_NUM_THREADS": "1"}
model = openvino.Core().compile_model(files[0], "CPU", options)
def run(x):
    result = model({facts["input"]: x})
    return {name: result[i] for i, name in enumerate(facts["outputs"])}
""",
    ),
    "torchscript": (
        "torch",
        """\
torch.set_num_threads(1)
module = torch.jit.load(files[0], map_location="cpu").eval()
def run(x):
    with torch.inference_mode():
        result = module(torch.from_numpy(x))
    result = [result] if isinstance(result, torch.Tensor) else result
    return {name: tensor.numpy() for name, tensor in zip(facts["outputs"], result)}
""",
    ),
}
_ANY = (
    "posedeploy.runtime",
    """\
import posedeploy.runtime
options = posedeploy.runtime.SessionOptions(facts["precision"], 1)
runtime = posedeploy.runtime.get_runtime(facts["backend"])
session = runtime.load([pathlib.Path(f) for f in files], facts["device"], options)
def run(x):
    return session.run({facts["input"]: x})
""",
)


def script(title: str, backend: str) -> str:
    """The script's text; `title` is one line: what fails where."""
    package, run = _RUNS.get(backend, _ANY)
    head = _HEAD.format(title=title.replace('"', "'").replace("\\", "/"), package=package)
    imports = f"import {package}\n" if backend in _RUNS else ""
    return f"{head}{imports}\n{_FACTS}{run}{_TAIL}"
