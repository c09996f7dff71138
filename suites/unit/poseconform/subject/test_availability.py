"""Why a backend cannot run here: asked once, switched off by the user, never raised."""

from __future__ import annotations

from collections import Counter

import pytest

from poseconform.subject import availability
from poseconform.subject.availability import Availabilities, disabled_backends
from posedeploy.runtime import Availability, Code

HERE = Availability(Code.AVAILABLE, "", "1.27")
GONE = Availability(Code.NO_DRIVER, "libcuda.so.1 is not there", "10.1")


class Asked:
    """Counts who is asked what, and answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.probed: Counter[str] = Counter()
        self.converting: Counter[str] = Counter()
        self.missing: dict[str, tuple[str, ...]] = {}
        monkeypatch.setattr("posedeploy.runtime.registry.get_runtime", self._runtime)
        monkeypatch.setattr(
            availability.implementations, "missing_tools", lambda b: self.missing.get(b, ())
        )
        monkeypatch.setattr(
            availability.implementations, "conversion_availability", self._conversion
        )

    def _runtime(self, backend: str) -> Asked:
        self._backend = backend
        return self

    def probe(self) -> Availability:
        self.probed[self._backend] += 1
        return GONE if self._backend == "tensorrt" else HERE

    def _conversion(self, backend: str) -> Availability:
        self.converting[backend] += 1
        return Availability(Code.AVAILABLE, "", f"converts {backend}")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def test_a_backend_is_asked_once(asked: Asked) -> None:
    found = Availabilities()
    assert found.known == {}
    assert found.of("onnxruntime") == found.of("onnxruntime") == HERE
    assert found.of("tensorrt") == GONE
    assert asked.probed == {"onnxruntime": 1, "tensorrt": 1}
    assert found.known == {"onnxruntime": HERE, "tensorrt": GONE}


def test_what_is_known_cannot_be_changed_from_outside(asked: Asked) -> None:
    found = Availabilities()
    found.of("onnxruntime")
    found.known.clear()
    assert list(found.known) == ["onnxruntime"]


def test_what_is_switched_off_is_not_asked(asked: Asked) -> None:
    found = Availabilities({"onnxruntime"})
    for answer in (found.of("onnxruntime"), found.of_converting("onnxruntime")):
        assert answer.code is Code.DISABLED_BY_USER
        assert answer.reason == "onnxruntime is in POSECONFORM_DISABLE or --disable"
    assert found.of("ncnn").ok
    assert asked.probed == {"ncnn": 1}
    assert not asked.converting
    assert list(found.known) == ["ncnn"]


def test_whether_it_converts_is_another_question_and_is_asked_once_too(asked: Asked) -> None:
    found = Availabilities()
    assert found.of_converting("tensorrt").ok
    assert found.of_converting("tensorrt").version == "converts tensorrt"
    assert (asked.converting, asked.probed) == ({"tensorrt": 1}, {})


def test_tools_that_are_missing_make_a_backend_unavailable(asked: Asked) -> None:
    asked.missing = {"ncnn": ("pnnx", "ncnn2int8"), "tensorrt": ("trtexec",)}
    found = Availabilities()
    ncnn = found.of("ncnn")
    assert (ncnn.code, ncnn.version) == (Code.TOOL_MISSING, "1.27")
    assert ncnn.reason == "pnnx, ncnn2int8 is not installed, which converts for ncnn"
    assert found.of("tensorrt") == GONE, "what cannot run at all says why"


@pytest.mark.parametrize(
    ("options", "environment", "expected"),
    [
        ([], "", set()),
        (["ncnn"], "", {"ncnn"}),
        ([], "ncnn, tensorrt ,", {"ncnn", "tensorrt"}),
        (["ncnn", "openvino"], " ,tensorrt,ncnn", {"ncnn", "openvino", "tensorrt"}),
        ([], " , ,", set()),
    ],
)
def test_the_option_and_the_environment_add_up(
    options: list[str], environment: str, expected: set[str]
) -> None:
    assert disabled_backends(options, environment) == expected


def test_another_device_of_a_backend_is_asked_for_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[tuple[str, str]] = []

    def device_of(backend: str, precision: str, wanted: str) -> str:
        return wanted or {"fp32": "cpu:0", "fp16": "cuda:1"}[precision] * (backend != "")

    def probe_on(backend: str, device: str, inference_precision: str) -> Availability:
        assert inference_precision == ""
        probed.append((backend, device))
        return Availability(Code.NO_DEVICE, f"{backend} on {device}", device)

    monkeypatch.setattr(availability, "device_of", device_of)
    monkeypatch.setattr(availability, "probe_on", probe_on)
    found = Availabilities()
    for _ in range(2):
        assert found.of("onnxruntime").version == "cpu:0"
        assert found.of("onnxruntime", "fp16").version == "cuda:1"
    assert probed == [("onnxruntime", "cpu:0"), ("onnxruntime", "cuda:1")]
    assert list(found.known) == ["onnxruntime", "onnxruntime on cuda:1"]
    wanted = Availabilities(device="cuda:0:x")
    assert wanted.of("onnxruntime").version == "cuda:0:x"
    assert list(wanted.known) == ["onnxruntime on cuda:0:x"]
    first = Availabilities(device="cpu:0:x")
    assert first.of("onnxruntime").version == "cpu:0:x"
    assert list(first.known) == ["onnxruntime"], "whatever follows the device's type"


def test_what_a_flow_computes_in_is_asked_for_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def probe_on(backend: str, device: str, inference_precision: str) -> Availability:
        return GONE if inference_precision == "f16" else HERE

    monkeypatch.setattr(availability, "probe_on", probe_on)
    monkeypatch.setattr(availability.implementations, "missing_tools", lambda _: ())
    found = Availabilities()
    assert found.of("openvino", "fp16") == HERE
    assert found.of("openvino", "fp16", "f16") == GONE
    assert found.of("openvino", "fp16", "bf16") == HERE
    assert list(found.known) == ["openvino", "openvino in f16", "openvino in bf16"]
