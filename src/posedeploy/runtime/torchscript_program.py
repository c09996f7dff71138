"""What a TorchScript archive may contain: an allow-list, applied to its text before it is loaded.

An archive is a program. `forward` may call an operator that writes files (`torch.from_file`), and
a `__setstate__` method runs while the archive is loaded. So the program's source, which an
archive holds as text, is checked first. The rules are about the raw text, not about a parse of
it: another parser than PyTorch's might read a text otherwise. torch is not needed.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

MAX_CODE_BYTES = 64 * 2**20  # of a program and what is pickled; HRNet-w32 has 1 MB
MAX_RECORDS = 100_000  # HRNet-w32 has 4,000
EXPECTED = "only operators of the list in posedeploy/runtime/torchscript_program.py"
NEXT_STEP = "Do not run it unless you know who made it. Add what a network needs to the list."

# ---- modify this list to allow another operator: none of them touches files --------------------
# Names as in `torch.NAME`, that is `aten::NAME`; the same operator in place has a further '_'.
OPERATORS = frozenset({
    "__and__", "__contains__", "__derive_index", "__getitem__", "__is__", "__isnot__", "__not__",
    "__or__", "__range_length", "__xor__", "_convolution", "_native_multi_head_attention",
    "_set_item", "_shape_as_tensor", "_softmax", "_transformer_encoder_layer_fwd",
    "_unwrap_optional", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa", "_weight_norm",
    "abs", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "add", "addcdiv", "addcmul", "addmm", "all", "amax", "amin", "any",
    "append", "arange", "argmax", "argmin", "argsort", "atan", "atan2", "avg_pool1d",
    "avg_pool2d", "avg_pool3d", "baddbmm", "batch_norm", "bitwise_and", "bitwise_not",
    "bitwise_or", "bmm", "broadcast_tensors", "broadcast_to", "bucketize", "cat", "ceil", "celu",
    "channel_shuffle", "chunk", "clamp", "clamp_max", "clamp_min", "clone", "constant_pad_nd",
    "contiguous", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "copy", "cos", "cross", "cumsum", "detach", "device", "diagonal", "dict",
    "dim", "div", "divide", "dot", "dropout", "einsum", "elu", "embedding", "empty", "empty_like",
    "eq", "erf", "exp", "expand", "expand_as", "extend", "eye", "feature_dropout", "fill",
    "flatten", "flip", "floor", "floor_divide", "floordiv", "format", "full", "full_like",
    "gather", "ge", "gelu", "get", "glu", "greater", "grid_sampler", "grid_sampler_2d",
    "group_norm", "gt", "hardsigmoid", "hardswish", "hardtanh", "hash", "im2col", "index",
    "index_add", "index_fill", "index_put", "index_select", "insert", "instance_norm",
    "is_floating_point", "isfinite", "isinf", "isnan", "item", "items", "keys", "kthvalue",
    "layer_norm", "le", "leaky_relu", "len", "lerp", "less", "lift_fresh", "linalg_norm",
    "linalg_vector_norm", "linear", "linspace", "list", "log", "log10", "log1p", "log2",
    "log_sigmoid", "log_softmax",
    "logical_and", "logical_not", "logical_or", "logical_xor", "logsumexp", "lt", "masked_fill",
    "masked_scatter", "masked_select", "matmul", "max", "max_pool1d", "max_pool2d",
    "max_pool2d_with_indices", "maximum", "mean", "median", "meshgrid", "min", "minimum", "mish",
    "mm", "movedim", "mul", "multiply", "nan_to_num", "narrow", "ne", "neg", "new_empty",
    "new_full", "new_ones", "new_zeros", "nonzero", "norm", "numel", "numpy_T", "one_hot", "ones",
    "ones_like", "outer", "pad", "permute", "pixel_shuffle", "pixel_unshuffle", "pop", "pow",
    "prelu", "prod", "reciprocal", "reflection_pad1d", "reflection_pad2d", "relu", "relu6",
    "remainder", "repeat", "repeat_interleave", "replication_pad1d", "replication_pad2d",
    "reshape", "reshape_as", "reverse", "roll", "round", "rrelu", "rsqrt", "rsub",
    "scalar_tensor", "scaled_dot_product_attention", "scatter", "scatter_add", "scatter_reduce",
    "select", "select_scatter", "selu", "sigmoid", "sign", "silu", "sin", "size", "slice",
    "slice_scatter", "softmax", "softplus", "sort", "split", "split_with_sizes", "sqrt", "square",
    "squeeze", "stack", "std", "std_mean", "sub", "sum", "swapaxes", "swapdims", "t", "tan",
    "tanh", "tensor", "tensor_split", "threshold", "tile", "to", "topk", "transpose", "tril",
    "triu", "true_divide", "trunc", "type_as", "unbind", "unflatten", "unfold", "unsqueeze",
    "upsample_bicubic2d", "upsample_bilinear2d", "upsample_linear1d", "upsample_nearest1d",
    "upsample_nearest2d", "upsample_nearest_exact2d", "values", "var", "var_mean", "view",
    "view_as", "where", "zeros", "zeros_like",
})  # fmt: skip
# Names as in `ops.NAMESPACE.NAME`.
OTHERS = frozenset({
    "prim.NumToTensor", "prim.data", "prim.device", "prim.dtype", "prim.is_cuda", "prim.layout",
    "prim.max", "prim.min", "prim.requires_grad", "prim.type", "prim.unchecked_unwrap_optional",
})  # fmt: skip
# ------------------------------------------------------------------------------------------------

# The names from which a program reaches operators, and what follows: PyTorch writes it unspaced.
_ROOT = re.compile(rb"(?<![\w.])(torch|ops)(?!\w)(?:\.(\w[\w.]*))?")
# `__setstate__` runs while the archive is loaded; `torch.classes` are C++ classes.
_WORD = re.compile(rb"(?<!\w)(__setstate__|classes)(?!\w)")
# An attribute by a name in a string, which could be written so that the rules above miss it.
_GETATTR = re.compile(rb'(?<!\w)getattr(?!\w)(?!\(\w[\w.]*, "[^"\\]*"\))')
# A C++ class of a pickled object: module and name are joined at the line break.
_CLASS = re.compile(rb"torch[.\n]classes")
# What Python's reader raises for files that are no archives, or damaged ones.
_NO_ARCHIVE = (
    EOFError, NotImplementedError, OSError, RuntimeError, UnicodeDecodeError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
LEGACY = "model.json"  # of PyTorch before 1.0: the files of its program have any names


def problems(names: Iterable[str], read: Callable[[str], bytes]) -> Iterator[str]:
    """What in an archive is not on the list; nothing where all of it is.

    `names` are those of its records, relative to its one folder; `read` gives the content of one.
    """
    for name in names:
        if name.casefold() == LEGACY:
            yield f"{name}, which only archives of PyTorch before 1.0 have"
        elif name.casefold().endswith(".py"):
            for what in sorted(set(_in_code(read(name)))):
                yield f"{what} in {name[:80]!r}"
        elif name.casefold().endswith(".pkl") and _CLASS.search(read(name)):
            yield f"an object of a C++ class in {name[:80]!r}"


def _in_code(code: bytes) -> Iterator[str]:
    for root, rest in ((a.decode("ascii"), b.decode("ascii")) for a, b in _ROOT.findall(code)):
        allowed = OPERATORS if root == "torch" else OTHERS
        if not {rest, rest.removesuffix("_")} & allowed:
            yield f"the operator {root}.{rest}" if rest else f"the name {root!r} by itself"
    for word in _WORD.findall(code):
        yield f"the name {word.decode('ascii')!r}"
    if _GETATTR.search(code):
        yield "a getattr() with a name that PyTorch would not write"


def problems_of_file(path: Path) -> Iterator[str]:
    """The same of a file, read without torch.

    Raises:
        ValueError: The file is not an archive as `torch.jit.save` writes it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = _records(archive)
            yield from problems(records, lambda name: archive.read(records[name]))
    except _NO_ARCHIVE as error:
        raise ValueError(f"no TorchScript archive: {error}") from error


def _records(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The records of an archive, by their names relative to its one folder."""
    infos = archive.infolist()
    if not infos or len(infos) > MAX_RECORDS:
        raise ValueError(f"no TorchScript archive: {len(infos):,} records")
    # PyTorch's reader and Python's agree about an archive that begins with its first record.
    if archive.comment or min(info.header_offset for info in infos):
        raise ValueError("no TorchScript archive: bytes before or behind it")
    folder = infos[0].filename.partition("/")[0] + "/"
    records = {info.filename.removeprefix(folder): info for info in infos}
    if len({name.casefold() for name in records}) < len(infos):  # PyTorch ignores case
        raise ValueError("no TorchScript archive: a name twice")
    if outside := [info.filename for info in infos if not info.filename.startswith(folder)]:
        raise ValueError(f"no TorchScript archive: {outside[0][:80]!r} outside {folder[:80]!r}")
    read = [info for name, info in records.items() if name.casefold().endswith((".py", ".pkl"))]
    if (size := sum(info.file_size for info in read)) > MAX_CODE_BYTES:
        raise ValueError(f"no TorchScript archive: a program of {size:,} bytes")
    return records
