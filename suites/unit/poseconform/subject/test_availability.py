"""Why a backend cannot run here: asked once, switched off by the user, never raised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import pytest

from fixtures.fake_subject import FakeSubject
from poseconform.subject.availability import Availabilities, disabled_backends
from posedeploy.runtime import Availability, Code

HERE = Availability(Code.AVAILABLE, "", "1.27")
GONE = Availability(Code.NO_DRIVER, "libcuda.so.1 is not there", "10.1")


class Asked:
    """Counts which backends are probed, and answers."""

    def __init__(self) -> None:
        self.probed: Counter[str] = Counter()
        self.converting: Counter[str] = Counter()
        self.missing: dict[str, tuple[str, ...]] = {}

    def availabilities(self, disabled: Collection[str] = ()) -> Availabilities:
        subject = FakeSubject(converting=self._conversion, missing=self.missing)
        return Availabilities(subject, disabled, probe=self._probe)

    def _probe(self, backend: str, _device: str, _inference_precision: str) -> Availability:
        self.probed[backend] += 1
        return GONE if backend == "tensorrt" else HERE

    def _conversion(self, backend: str) -> Availability:
        self.converting[backend] += 1
        return Availability(Code.AVAILABLE, "", f"converts {backend}")


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_a_backend_is_asked_once(asked: Asked) -> None:
    found = asked.availabilities()
    assert found.probed == {}
    assert found.of("onnxruntime") == found.of("onnxruntime") == HERE
    assert found.of("tensorrt") == GONE
    assert asked.probed == {"onnxruntime": 1, "tensorrt": 1}
    assert found.probed == {"onnxruntime": HERE, "tensorrt": GONE}


def test_what_was_probed_cannot_be_changed_from_outside(asked: Asked) -> None:
    found = asked.availabilities()
    found.of("onnxruntime")
    found.probed.clear()
    assert list(found.probed) == ["onnxruntime"]


def test_what_is_switched_off_is_not_asked(asked: Asked) -> None:
    found = asked.availabilities({"onnxruntime"})
    for answer in (found.of("onnxruntime"), found.of_converting("onnxruntime")):
        assert answer.code is Code.DISABLED_BY_USER
        assert answer.reason == "onnxruntime is in POSECONFORM_DISABLE or --disable"
    assert found.of("ncnn").ok
    assert asked.probed == {"ncnn": 1}
    assert not asked.converting
    assert list(found.probed) == ["ncnn"]


def test_whether_it_converts_is_another_question_and_is_asked_once_too(asked: Asked) -> None:
    found = asked.availabilities()
    assert found.of_converting("tensorrt").ok
    assert found.of_converting("tensorrt").version == "converts tensorrt"
    assert (asked.converting, asked.probed) == ({"tensorrt": 1}, {})


def test_tools_that_are_missing_make_a_backend_unavailable(asked: Asked) -> None:
    asked.missing = {"ncnn": ("pnnx", "ncnn2int8"), "tensorrt": ("trtexec",)}
    found = asked.availabilities()
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


def test_another_device_of_a_backend_is_probed_apart() -> None:
    probed: list[tuple[str, str]] = []

    def probe(backend: str, device: str, inference_precision: str) -> Availability:
        assert inference_precision == ""
        probed.append((backend, device))
        return Availability(Code.NO_DEVICE, f"{backend} on {device}", device)

    found = Availabilities(FakeSubject(), probe=probe)
    for _ in range(2):
        assert found.of("pplnn").version == "cpu"
        assert found.of("pplnn", "fp16").version == "cuda"
    assert probed == [("pplnn", "cpu"), ("pplnn", "cuda")]
    assert list(found.probed) == ["pplnn", "pplnn on cuda"]
    wanted = Availabilities(FakeSubject(), device="cuda:1", probe=probe)
    assert wanted.of("onnxruntime").version == "cuda:1"
    assert list(wanted.probed) == ["onnxruntime on cuda:1"]
    first = Availabilities(FakeSubject(), device="cpu:0", probe=probe)
    assert first.of("onnxruntime").version == "cpu:0"
    assert list(first.probed) == ["onnxruntime"], "whatever follows the device's type"


def test_what_a_flow_computes_in_is_probed_apart() -> None:
    def probe(_backend: str, _device: str, inference_precision: str) -> Availability:
        return GONE if inference_precision == "f16" else HERE

    found = Availabilities(FakeSubject(), probe=probe)
    assert found.of("openvino", "fp16") == HERE
    assert found.of("openvino", "fp16", "f16") == GONE
    assert found.of("openvino", "fp16", "bf16") == HERE
    assert list(found.probed) == ["openvino", "openvino in f16", "openvino in bf16"]
