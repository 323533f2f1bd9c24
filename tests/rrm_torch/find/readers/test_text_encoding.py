"""Text files: encodings, compression and limits."""

from __future__ import annotations

import gzip
import lzma

import pytest

from rrm_torch.find.readers.text_encoding import read_text

TEXT = "label,text\ncafé,naïve\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_utf_8_and_utf_16_are_recognised(encoding, tmp_path):
    path = tmp_path / "data.csv"
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    path.write_bytes((mark + TEXT).encode(encoding))
    assert read_text(path) == TEXT


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_compressed_files(suffix, compress, tmp_path):
    path = tmp_path / f"data.csv{suffix}"
    path.write_bytes(compress(TEXT.encode()))
    assert read_text(path) == TEXT
    for damaged in (b"label,text\n", compress(TEXT.encode())[:-9]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"data\.csv\{suffix} isn't a valid \{suffix} file"):
            read_text(path)


def test_another_encoding_is_named_with_the_remedy(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(TEXT.encode("cp1252"))
    with pytest.raises(ValueError, match=r"data\.csv isn't utf-8: .* at byte 14 \(0xe9\); pass its encoding, such as"):
        read_text(path)
    assert read_text(path, "cp1252") == TEXT
    with pytest.raises(
        ValueError, match="encoding must be one that Python has, such as cp1252 or utf-16, got 'klingon'"
    ):
        read_text(path, "klingon")


def test_limit_counts_decompressed_bytes(tmp_path):
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress(b"a" * 1000))
    assert len(read_text(path, max_bytes=1000)) == 1000
    with pytest.raises(ValueError, match=r"data\.csv\.gz would take 1,000 bytes, of 999"):
        read_text(path, max_bytes=999)


@pytest.mark.parametrize("content", [b"", b" \n\n", "\ufeff".encode()])
def test_empty_files(content, tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"data\.csv is empty"):
        read_text(path)


def test_missing_file_raises_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none.csv")
