"""TorchScript on the CPU: the one runtime that imports torch.

A traced module has inputs and outputs by position only.  Our exporter adds their names and shapes
to the archive as an extra file; in archives without it they are called '#0', '#1' and so on, as in
`pipeline.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from posedeploy import strictjson
from posedeploy.runtime.host import HOST, Host
from posedeploy.runtime.registry import accepted_device, as_declared, backend_row
from posedeploy.runtime.torchscript_program import problems
from posedeploy.runtime.types import (
    Arrays,
    Availability,
    RefusedError,
    SessionOptions,
    TensorInfo,
)

SIGNATURE = "posedeploy.json"  # the extra file: {"inputs": [...], "outputs": [...]}


def signature_text(inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> str:
    """The extra file's content."""
    return json.dumps(
        {"inputs": [asdict(i) for i in inputs], "outputs": [asdict(o) for o in outputs]}
    )


def read_signature(
    content: str | bytes,
) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Inputs and outputs that `signature_text` wrote; a RuntimeError for anything else."""
    try:
        data = strictjson.parse(as_text(content))
        inputs, outputs = (
            tuple(TensorInfo(i["name"], tuple(i["shape"]), i["dtype"]) for i in data[key])
            for key in ("inputs", "outputs")
        )
        for info in (*inputs, *outputs):
            sizes = {type(size) for size in info.shape}
            if {type(info.name), type(info.dtype)} != {str} or not sizes <= {int, str}:
                raise TypeError(f"{info.name!r:.40} is not described as a tensor")
    except (KeyError, TypeError, ValueError) as error:
        raise RuntimeError(f"torchscript: the {SIGNATURE} in it is damaged: {error}") from error
    return inputs, outputs


def _positions(module: Any) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Inputs and outputs of an archive without our extra file, by their number alone."""
    graph = module.forward.graph
    result = next(iter(graph.outputs())).type()
    counts = (
        len(list(graph.inputs())) - 1,  # the first is the module itself
        len(result.elements()) if result.kind() == "TupleType" else 1,
    )
    inputs, outputs = (tuple(TensorInfo(f"#{i}", (), "float32") for i in range(n)) for n in counts)
    return inputs, outputs


class TorchScriptSession:
    """A traced module behind the `Session` protocol.

    Threads may run it at the same time.  `threads` are those of an operation, 0 for torch's own
    choice: torch has one number for the process, and each thread takes it on with its first
    operation, so that another session, or a thread that comes later, would change it.
    """

    def __init__(
        self,
        module: Any,
        signature: str | bytes,
        effective_options: Mapping[str, str],
        threads: int = 0,
    ) -> None:
        self._module, self._threads = module, threads
        self.effective_options = dict(effective_options)
        self.inputs, self.outputs = read_signature(signature) if signature else _positions(module)

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        import torch

        ready = as_declared(feed, self.inputs)
        if self._threads and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        # without the optimizer, whose profiling makes the first two calls slow, up to ten times,
        # and has nothing to gain here: the same bits as fast from the third call on
        unoptimized = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
        with torch.inference_mode(), unoptimized:
            results = self._module(*(torch.from_numpy(ready[i.name]) for i in self.inputs))
        tensors = [results] if isinstance(results, torch.Tensor) else list(results)
        names = [info.name for info in self.outputs]
        return {n: t.numpy() for n, t in zip(names, tensors, strict=True)}


@dataclass(frozen=True)
class TorchScript:
    """The `Runtime` of TorchScript."""

    host: Host = HOST

    def probe(self) -> Availability:
        return self.host.probe_import("torch", ("torch",), backend_row("torchscript").min_version)

    def load(
        self, files: Sequence[Path], device: str, options: SessionOptions
    ) -> TorchScriptSession:
        """See `Runtime.load`. Sets the threads of torch, which are the process's.

        Raises:
            RefusedError: The program in the archive is not of the operators of a pose network.
            RuntimeError: PyTorch cannot read the archive.
        """
        import torch

        accepted_device("torchscript", device, options.precision, ("fp32",))
        matmul = torch.get_float32_matmul_precision()
        if matmul != "highest":  # 'medium' multiplies in bf16 where the CPU has units for it
            raise RuntimeError(
                f"torchscript: torch multiplies float32 matrices with {matmul!r} precision; "
                "call torch.set_float32_matmul_precision('highest')"
            )
        if options.threads:
            torch.set_num_threads(options.threads)
        # by PyTorch's own reader, so that what is checked is what is loaded
        archive = torch._C.PyTorchFileReader(str(files[0]))
        try:
            found = list(problems(archive.get_all_records(), archive.get_record))
        except UnicodeDecodeError as error:
            raise RefusedError("records whose names are not UTF-8") from error
        if found:
            raise RefusedError("; ".join(found[:3]))
        extra = {SIGNATURE: ""}
        try:
            module = torch.jit.load(str(files[0]), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
        except UnicodeDecodeError as error:  # of its own message, which quotes damaged code
            raise RuntimeError(f"torchscript: a program that is not UTF-8: {error}") from error
        effective = {
            "inference_precision": "fp32",
            "float32_matmul_precision": matmul,
            "num_threads": str(torch.get_num_threads()),
        }
        return TorchScriptSession(module.eval(), extra[SIGNATURE], effective, options.threads)


def as_text(content: str | bytes) -> str:
    """An extra file of an archive, which torch reads as bytes or as text."""
    return content.decode("utf-8") if isinstance(content, bytes) else content


RUNTIME = TorchScript()
