"""Rules of `harness/intake/images.py`: one plain picture of the declared size, or a refusal that names the row."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from intake_sets import FOLDERS, images_and_labels, png, pngs, refusal, write_folders, write_parquet
from PIL import Image


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))


def _png_header(width: int, height: int) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + _chunk(b"IEND", b"")


def _webp_canvas(width: int, height: int) -> bytes:
    body = b"WEBPVP8X" + struct.pack("<L", 10) + b"\x02\0\0\0" + (width - 1).to_bytes(3, "little")
    body += (height - 1).to_bytes(3, "little") + b"ANIM" + struct.pack("<L", 6) + b"\0" * 6
    return b"RIFF" + struct.pack("<L", len(body)) + body


def _encoded(mode: str, file_format: str, size: int = 8, **options) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (size, size)).save(buffer, file_format, **options)
    return buffer.getvalue()


def _sixteen_bit_rgb() -> bytes:
    lines = (b"\0" + b"\x12\x34" * 24) * 8
    header = _chunk(b"IHDR", struct.pack(">LLBBBBB", 8, 8, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(lines)) + _chunk(b"IEND", b"")


def _frames(file_format: str) -> bytes:
    images = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    images[0].save(buffer, file_format, save_all=True, append_images=images[1:])
    return buffer.getvalue()


def _transparent_palette() -> bytes:
    buffer = io.BytesIO()
    Image.new("P", (8, 8)).save(buffer, "PNG", transparency=0)
    return buffer.getvalue()


BAD_IMAGES = {
    "PNG of 20000 x 20000": (_png_header(20000, 20000), "decompression bomb|20000 x 20000|DecompressionBomb"),
    "PNG of 9000 x 9000": (_png_header(9000, 9000), "9000 x 9000"),
    "PNG of 4 x 8": (_png_header(4, 8), "4 x 8 pixels"),
    "WebP canvas of 16384 x 16384": (_webp_canvas(16384, 16384), "16384 x 16384"),
    "truncated JPEG": (png(images_and_labels()[0][0], "JPEG", quality=100)[:-30], "not a whole"),
    "truncated PNG": (pngs()[0][:60], "not a whole"),
    "truncated WebP": (png(images_and_labels()[0][0], "WEBP")[:-8], "not a whole"),
    "alpha PNG": (_encoded("RGBA", "PNG"), "transparent"),
    "grey alpha PNG": (_encoded("LA", "PNG"), "transparent"),
    "alpha WebP": (_encoded("RGBA", "WEBP", lossless=True), "transparent"),
    "transparent palette": (_transparent_palette(), "transparent"),
    "16-bit grey PNG": (_encoded("I;16", "PNG"), "not 8-bit"),
    "16-bit RGB PNG": (_sixteen_bit_rgb(), "not 8-bit"),
    "CMYK JPEG": (_encoded("CMYK", "JPEG"), "not 8-bit"),
    "animated WebP": (_frames("WEBP"), "several frames"),
    "animated PNG": (_frames("PNG"), "several frames"),
    "two-picture JPEG": (_frames("MPO"), "several frames"),
    "GIF": (_encoded("RGB", "GIF"), "not a whole"),
    "TIFF": (_encoded("RGB", "TIFF"), "not a whole"),
    "empty": (b"", "not a whole"),
    "text": (b"<svg></svg>", "not a whole"),
    "padded with junk": (pngs()[0] + b"\0" * (80 << 10), "encoded image is too large"),
}  # fmt: skip


@pytest.mark.parametrize(("contents", "match"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_images_that_are_not_one_plain_picture_of_the_declared_size_are_refused(tmp_path, contents, match):
    write_parquet(tmp_path / "set.parquet", [*pngs()[:5], contents, *pngs()[6:]])
    message = refusal(tmp_path, match)
    assert "set.parquet, row 5" in message or "row 5 has no image bytes" in message


def test_bad_images_in_folders_are_named_by_their_file(tmp_path):
    write_folders(tmp_path, FOLDERS)
    (tmp_path / "3" / "006.png").write_bytes(_encoded("RGBA", "PNG"))
    message = refusal(tmp_path, "transparent")
    assert "3/006.png" in message
    assert "convert" in message


def test_images_that_stay_encoded_are_checked_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.intake.expected.IN_MEMORY_BYTES", 1000)
    write_parquet(tmp_path / "set.parquet", [*pngs()[:19], _encoded("RGB", "PNG", size=16)])
    refusal(tmp_path, "16 x 16 pixels")
