"""Published checkpoints from a server on this machine: whole, cut off, damaged, not there."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from fixtures.servers import CONTENT, HASH, NAME, Server, certificate, serving
from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.zoo import download
from posedeploy.zoo.table import MODELS, ModelRow, model_row, published

ROW = model_row("rtmpose_s")


def test_a_full_disk_is_not_the_servers_fault(server: Server, small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        download.fetch(server.url, small_disk / NAME)
    assert caught.value.filename == str(small_disk / f"{NAME}.part")


def test_a_checkpoint_is_fetched_once_and_its_progress_reported(
    server: Server, tmp_path: Path
) -> None:
    progress: list[tuple[int, int | None]] = []
    path = tmp_path / "new" / NAME
    download.fetch(
        server.url, path, on_progress=lambda done, total: progress.append((done, total))
    )
    assert path.read_bytes() == CONTENT
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    download.fetch(server.url, path, offline=True)
    assert server.asked == [None]
    assert not list(path.parent.glob("*.part"))


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_is_resumed_or_starts_anew(
    server: Server, tmp_path: Path, ranges: bool
) -> None:
    path = tmp_path / NAME
    server.stop_after, server.ranges = 1000, ranges
    with pytest.raises(UnavailableError, match=r"the connection ended after 1,000 of 1,280,000"):
        download.fetch(server.url, path)
    assert (tmp_path / f"{NAME}.part").stat().st_size == 1000
    assert not path.exists()
    server.stop_after = None
    download.fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-"]


def test_a_part_that_is_complete_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    download.fetch(server.url, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT)}-"]


def test_a_file_with_another_hash_is_refused_and_not_resumed(
    server: Server, tmp_path: Path
) -> None:
    server.content = b"<html>please log in</html>"
    with pytest.raises(BadInputError, match=f"SHA-256 {HASH}…, as its name says"):
        download.fetch(server.url, tmp_path / NAME)
    assert {path.suffix for path in tmp_path.iterdir()} == {".lock"}
    (tmp_path / NAME).write_bytes(b"damaged later")
    with pytest.raises(BadInputError, match=r"delete .* and fetch it again"):
        download.fetch(server.url, tmp_path / NAME)


def test_offline_or_without_an_answer_the_error_names_the_file_and_its_place(
    server: Server, tmp_path: Path
) -> None:
    path = tmp_path / NAME
    with pytest.raises(UnavailableError) as offline:
        download.fetch(server.url, path, offline=True)
    server.status = 503
    with pytest.raises(UnavailableError) as refused:
        download.fetch(server.url, path)
    assert server.asked == [None]
    nowhere = f"http://127.0.0.1:1/{NAME}"
    with pytest.raises(UnavailableError) as silent:
        download.fetch(nowhere, path)
    for caught, url in ((offline, server.url), (refused, server.url), (silent, nowhere)):
        assert caught.value.expected == url
        assert caught.value.next_step.endswith(f"put it at {path}")
    assert "Service Unavailable" in refused.value.found


def test_the_url_is_that_of_mmposes_index(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as offline:
        download.fetch_checkpoint(ROW, tmp_path, offline=True)
    entry = published(ROW)
    assert entry is not None
    assert offline.value.expected == entry.url
    assert download.fetched(ROW, tmp_path) is None
    path = download.checkpoint_source(ROW, tmp_path)[1]
    path.write_bytes(b"")
    assert download.fetched(ROW, tmp_path) == path


def test_a_name_without_a_hash_is_trusted(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    path.write_bytes(b"anything")
    download.check_hash(path)


def test_a_model_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    row = ModelRow("mine", ROW.family, ROW.config.replace("rtmpose-s", "mine"), ())
    assert download.fetched(row, tmp_path) is None
    with pytest.raises(BadInputError, match="no checkpoint in mmpose's index"):
        download.fetch_checkpoint(row, tmp_path)


def test_the_cache_is_where_checkpoints_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("POSEDEPLOY_CACHE", str(tmp_path))
    assert download.checkpoint_source(ROW)[1].parent == tmp_path / "checkpoints"


def test_a_length_that_is_no_number_is_no_usable_answer(server: Server, tmp_path: Path) -> None:
    for length in ("many", "-5", "1_280_000", "9" * 400, "1e3"):
        server.length = length
        with pytest.raises(UnavailableError, match=r"no usable answer .a Content-Length of"):
            download.fetch(server.url, tmp_path / NAME)
    server.length = ""
    download.fetch(server.url, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "place",
    [
        "http://[::1",
        "file:///etc/hostname",
        "ftp://127.0.0.1/x",
        "http://[bad]:x/",
        "gopher:",
        "//",
    ],
)
def test_a_redirect_to_nowhere_is_no_usable_answer(
    server: Server, tmp_path: Path, place: str
) -> None:
    server.redirect = place
    with pytest.raises(UnavailableError) as error:
        download.fetch(server.url, tmp_path / NAME)
    assert "no usable answer" in error.value.found
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("where", ["", ".part", ".lock"])
def test_a_folder_in_the_way_is_named_before_anything_is_fetched(
    server: Server, tmp_path: Path, where: str
) -> None:
    (tmp_path / f"{NAME}{where}").mkdir()
    with pytest.raises(BadInputError, match=f"{NAME}{where}: found a folder") as error:
        download.fetch(server.url, tmp_path / NAME)
    assert error.value.next_step
    assert server.asked == []


def test_a_file_in_the_place_of_the_folder_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match=r"file: found .* expected a folder"):
        download.fetch(server.url, tmp_path / "file" / NAME)
    assert server.asked == []


@pytest.mark.parametrize("declared", [True, False])
def test_no_more_is_fetched_than_a_checkpoint_can_have(
    server: Server, tmp_path: Path, declared: bool
) -> None:
    """A server that does not stop, with and without a length."""
    server.length = str(10**13) if declared else ""
    server.endless = True
    start = time.monotonic()
    with pytest.raises(UnavailableError, match=r"more than 5,000,000 bytes|10,000,000,000,000"):
        download.fetch(server.url, tmp_path / NAME, max_bytes=5_000_000)
    assert time.monotonic() - start < 5
    assert not list(tmp_path.glob("*.part"))
    assert not (tmp_path / NAME).exists()


def test_a_part_larger_than_any_checkpoint_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"x" * 6_000_000)
    download.fetch(server.url, tmp_path / NAME, max_bytes=5_000_000)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert server.asked == [None]


def test_a_file_system_that_refuses_is_not_blamed_on_the_server(
    server: Server, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            download.fetch(server.url, tmp_path / NAME)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(tmp_path / f"{NAME}.part")
    assert not (tmp_path / NAME).exists()


def test_an_answer_to_another_range_is_not_appended(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:1000])
    server.content_range = "bytes 5-1279999/1280000"
    with pytest.raises(UnavailableError, match="bytes 5-"):
        download.fetch(server.url, tmp_path / NAME)
    assert (tmp_path / f"{NAME}.part").read_bytes() == CONTENT[:1000]


WITHOUT_HASH = {"cid_hrnet_w32", "dekr_hrnet_w32", "rtmw_m"}  # their names have a date alone


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_every_published_name_carries_a_hash(row: object) -> None:
    entry = published(row)  # type: ignore[arg-type]
    if getattr(row, "name", "") == "vis_res50":
        assert entry is None
        return
    assert entry is not None
    has_hash = download._HASH.search(entry.url) is not None
    assert has_hash == (getattr(row, "name", "") not in WITHOUT_HASH)


WEB_PAGE = b"<!DOCTYPE html><html>Sign in</html>"
PICKLE = b"PK\x03\x04" + CONTENT  # begins as torch.save's files do


def at(server: Server, name: str) -> str:
    return f"{server.url.rpartition('/')[0]}/{name}"


def test_a_url_is_fetched_once_and_its_name_has_the_hash(server: Server, tmp_path: Path) -> None:
    path = download.fetch_url(f"{server.url}?download=1", tmp_path)
    assert path == tmp_path / NAME
    assert path.read_bytes() == CONTENT
    assert download.fetch_url(f"{server.url}?download=1", tmp_path) == path
    assert server.asked == [None]


@pytest.mark.parametrize("name", ["mine.pth", "epoch_20.pt", "best-20240131.pth", "x%20y.pth"])
def test_names_without_a_hash_are_kept_by_their_url(
    server: Server, tmp_path: Path, name: str
) -> None:
    server.content = PICKLE
    first = download.fetch_url(at(server, f"a/{name}"), tmp_path)
    second = download.fetch_url(at(server, f"b/{name}"), tmp_path)
    assert first.name == second.name == name
    assert first != second
    assert len(server.asked) == 2


def test_without_a_hash_what_was_begun_is_not_gone_on_with(server: Server, tmp_path: Path) -> None:
    """Nothing tells whether the server has the same file as then."""
    server.content, server.stop_after = PICKLE, 1000
    url = at(server, "mine.pth")
    with pytest.raises(UnavailableError, match=r"the connection ended after 1,000 of 1,280,004"):
        download.fetch_url(url, tmp_path)
    server.content, server.stop_after = PICKLE[::-1], None
    with pytest.raises(BadInputError, match="expected a checkpoint written by"):
        download.fetch_url(url, tmp_path)
    server.content = PICKLE
    assert download.fetch_url(url, tmp_path).read_bytes() == PICKLE
    assert server.asked == [None, None, None]


def test_a_page_in_place_of_a_checkpoint_is_not_kept(server: Server, tmp_path: Path) -> None:
    server.content = WEB_PAGE
    with pytest.raises(BadInputError, match=r"found a web page of 35 bytes; .* the file itself"):
        download.fetch_url(at(server, "mine.pth"), tmp_path)
    with pytest.raises(BadInputError, match=rf"a web page of 35 bytes with .*{HASH}"):
        download.fetch_url(server.url, tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".lock"}


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_the_server_has_not_is_a_wrong_url(
    server: Server, tmp_path: Path, status: int
) -> None:
    server.status = status
    with pytest.raises(BadInputError, match=rf"HTTP {status} \w+.* Check the URL"):
        download.fetch_url(server.url, tmp_path)


def test_a_server_in_trouble_is_unavailable(server: Server, tmp_path: Path) -> None:
    server.status = 503
    with pytest.raises(UnavailableError, match="HTTP 503 Service Unavailable"):
        download.fetch_url(server.url, tmp_path)


@pytest.mark.parametrize(
    "url",
    ["https://", "http://host", "https://host/", "http://[::1/a.pth", "s3://bucket/a.pth",
     "file:///etc/hostname", "ftp://host/a.pth", "https:///a.pth", "openmmlab://resnet50"],
)  # fmt: skip
def test_what_is_no_url_of_a_file_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"expected https://HOST/…/NAME\.pth"):
        download.fetch_url(url, tmp_path)
    assert not list(tmp_path.iterdir())


def test_https_is_checked_against_the_certificates_that_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, context = certificate(tmp_path)
    with serving(context) as server:
        with pytest.raises(UnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            download.fetch_url(server.url, tmp_path / "untrusted")
        assert server.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert download.fetch_url(server.url, tmp_path).read_bytes() == CONTENT
