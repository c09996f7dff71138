"""Why a backend cannot run here: probed once, switched off by the user, never raised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import pytest

from fixtures.fake_subject import FakeSubject
from poseconform.subject.environment import Availabilities, disabled_backends
from posedeploy.runtime import Availability, Code

HERE = Availability(Code.AVAILABLE, "", "1.27")
GONE = Availability(Code.NO_DRIVER, "libcuda.so.1 is not there", "10.1")


class Probes:
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
def probes() -> Probes:
    return Probes()


def test_a_backend_is_probed_once(probes: Probes) -> None:
    availabilities = probes.availabilities()
    assert availabilities.probed == {}
    assert availabilities.of("onnxruntime") == availabilities.of("onnxruntime") == HERE
    assert availabilities.of("tensorrt") == GONE
    assert probes.probed == {"onnxruntime": 1, "tensorrt": 1}
    assert availabilities.probed == {"onnxruntime": HERE, "tensorrt": GONE}


def test_what_was_probed_cannot_be_changed_from_outside(probes: Probes) -> None:
    availabilities = probes.availabilities()
    availabilities.of("onnxruntime")
    availabilities.probed.clear()
    assert list(availabilities.probed) == ["onnxruntime"]


def test_what_is_switched_off_is_not_probed(probes: Probes) -> None:
    availabilities = probes.availabilities({"onnxruntime"})
    for answer in (availabilities.of("onnxruntime"), availabilities.of_converting("onnxruntime")):
        assert answer.code is Code.DISABLED_BY_USER
        assert answer.reason == "onnxruntime is in POSECONFORM_DISABLE or --disable"
    assert availabilities.of("ncnn").ok
    assert probes.probed == {"ncnn": 1}
    assert not probes.converting
    assert list(availabilities.probed) == ["ncnn"]


def test_whether_it_converts_is_another_probe_made_once_too(probes: Probes) -> None:
    availabilities = probes.availabilities()
    assert availabilities.of_converting("tensorrt").ok
    assert availabilities.of_converting("tensorrt").version == "converts tensorrt"
    assert (probes.converting, probes.probed) == ({"tensorrt": 1}, {})


def test_tools_that_are_missing_make_a_backend_unavailable(probes: Probes) -> None:
    probes.missing = {"ncnn": ("pnnx", "ncnn2int8"), "tensorrt": ("trtexec",)}
    availabilities = probes.availabilities()
    ncnn = availabilities.of("ncnn")
    assert (ncnn.code, ncnn.version) == (Code.TOOL_MISSING, "1.27")
    assert ncnn.reason == "pnnx, ncnn2int8 is not installed, which converts for ncnn"
    assert availabilities.of("tensorrt") == GONE, "what cannot run at all says why"


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

    availabilities = Availabilities(FakeSubject(), probe=probe)
    for _ in range(2):
        assert availabilities.of("pplnn").version == "cpu"
        assert availabilities.of("pplnn", "fp16").version == "cuda"
    assert probed == [("pplnn", "cpu"), ("pplnn", "cuda")]
    assert list(availabilities.probed) == ["pplnn", "pplnn on cuda"]
    wanted = Availabilities(FakeSubject(), device="cuda:1", probe=probe)
    assert wanted.of("onnxruntime").version == "cuda:1"
    assert list(wanted.probed) == ["onnxruntime on cuda:1"]
    first = Availabilities(FakeSubject(), device="cpu:0", probe=probe)
    assert first.of("onnxruntime").version == "cpu:0"
    assert list(first.probed) == ["onnxruntime"], "whatever follows the device's type"


def test_what_a_flow_computes_in_is_probed_apart() -> None:
    def probe(_backend: str, _device: str, inference_precision: str) -> Availability:
        return GONE if inference_precision == "f16" else HERE

    availabilities = Availabilities(FakeSubject(), probe=probe)
    assert availabilities.of("openvino", "fp16") == HERE
    assert availabilities.of("openvino", "fp16", "f16") == GONE
    assert availabilities.of("openvino", "fp16", "bf16") == HERE
    assert list(availabilities.probed) == ["openvino", "openvino in f16", "openvino in bf16"]
