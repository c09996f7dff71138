"""Empty libraries in place of NVIDIA's, compiled with the system's C compiler.

The bindings load once nine symbols are there; everything that is made of Python objects and
enumerations in them is then the real thing, and the factories fail cleanly.  The stand-in of the
CUDA runtime keeps "device" memory on the host; the driver reads its answers from the environment.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_FACTORIES = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry", "getNvOnnxParserVersion", "getPluginRegistry",
    "initLibNvInferPlugins",
)  # fmt: skip
NVINFER = "\n".join(f"void *{name}(void) {{ return 0; }}" for name in _FACTORIES)
CUDART = """
#include <stdlib.h>
#include <string.h>
int cudaSetDevice(int device) { return device != 0; }
int cudaMalloc(void **place, size_t size) { *place = malloc(size); return *place == 0; }
int cudaFree(void *place) { free(place); return 0; }
int cudaMemcpy(void *to, const void *from, size_t size, int kind) {
    memcpy(to, from, size); return 0;
}
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    memcpy(to, from, size); return stream == 0;  /* never on the default stream */
}
int cudaStreamCreate(void **stream) { *stream = malloc(1); return *stream == 0; }
int cudaStreamSynchronize(void *stream) { return stream == 0; }
int cudaStreamDestroy(void *stream) { free(stream); return 0; }
"""
CUDA = """
#include <stdlib.h>
#include <string.h>
static int setting(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}
int cuInit(unsigned flags) {
    int status = setting("STAND_IN_CUINIT", 0);
    if (status < 0) abort();
    return status;
}
int cuDriverGetVersion(int *version) { *version = setting("STAND_IN_CUDA", 13000); return 0; }
int cuDeviceGetCount(int *count) { *count = setting("STAND_IN_DEVICES", 1); return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int size, int device) {
    strncpy(name, "Stand-in GPU", size); return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 9 : 0; return 0;
}
int cuGetErrorString(int status, const char **text) { *text = "stand-in error"; return 0; }
"""
LIBRARIES = {
    "libcuda.so.1": CUDA,
    **{f"libcudart.so.{major}": CUDART for major in (12, 13)},
    **{
        f"{name}.so.{major}": NVINFER
        for name in ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")
        for major in (10, 11)
    },
}


def compiler() -> str | None:
    """Path of a C compiler."""
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def compile_library(name: str, folder: Path) -> Path:
    """Compile one of `LIBRARIES` into `folder`."""
    target = folder / name
    command = [str(compiler()), "-shared", "-fPIC", "-w", f"-Wl,-soname,{name}", "-o", str(target),
               "-x", "c", "-"]  # fmt: skip
    subprocess.run(command, input=LIBRARIES[name], check=True, capture_output=True, text=True)
    return target
