"""Sizes of images and PDFs, from their beginnings. The dimensions of recorded images, and what they were billed, are in
the comments."""

import base64
import struct
import zlib

import pytest

from claudeprov.media import document_size, image_pixels, image_size, pdf_pages


def png(width, height):
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02"


def gif(width, height):
    return b"GIF89a" + struct.pack("<HH", width, height)


def jpeg(width, height):
    app = b"\xff\xe0\x00\x10JFIF\x00" + bytes(9)
    return b"\xff\xd8" + app + b"\xff\xff\xc2\x00\x11\x08" + struct.pack(">HH", height, width) + bytes(10)


def webp(kind, body):
    return b"RIFF\x00\x00\x00\x00WEBP" + kind + b"\x00\x00\x00\x00" + body + bytes(12)


PACKED = b"<< /Type /ObjStm >> stream\n"


def base64_of(data, media_type="image/png"):
    return {"type": "base64", "media_type": media_type, "data": base64.b64encode(data).decode()}


@pytest.mark.parametrize(
    "data",
    [
        png(331, 97),
        gif(331, 97),
        jpeg(331, 97),
        webp(b"VP8X", bytes(4) + (330).to_bytes(3, "little") + (96).to_bytes(3, "little")),
        webp(b"VP8L", b"\x2f" + (330 | 96 << 14).to_bytes(4, "little")),
        webp(b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", 331, 97)),
    ],
    ids=["png", "gif", "jpeg", "webp", "webp lossless", "webp lossy"],
)
def test_an_image_s_dimensions_are_read_from_its_beginning(data):
    assert image_pixels(data) == (331, 97)


@pytest.mark.parametrize(
    "data", [b"", b"BM", png(0, 5), b"\xff\xd8\xff\xd9", b"\xff\xd8", webp(b"ABCD", b""), png(9, 9)[:12]]
)
def test_what_is_no_image_has_no_dimensions(data):
    assert image_pixels(data) is None


@pytest.mark.parametrize(
    ("pixels", "tokens"),
    [
        ((1, 1), 1),
        ((128, 128), 25),  # 5 x 5
        ((330, 291), 132),  # 12 x 11
        ((640, 480), 414),  # 23 x 18
        ((1001, 1001), 1296),  # 36 x 36
    ],
)
def test_an_image_is_a_token_a_patch_of_28_by_28_pixels(pixels, tokens):
    for high_resolution in (False, True):
        assert image_size(base64_of(png(*pixels)), high_resolution=high_resolution) == (tokens, tokens, tokens)


def test_a_large_image_is_scaled_down_to_what_the_model_takes():
    large = base64_of(png(4000, 3000))
    assert 1500 < image_size(large, high_resolution=False).tokens <= 1568
    assert 4500 < image_size(large, high_resolution=True).tokens <= 4784
    assert image_size(base64_of(png(100_000, 10)), high_resolution=False).tokens == 56  # 1568 x 1 pixels: 56 x 1


@pytest.mark.parametrize(
    "source",
    [
        {"type": "url", "url": "https://example.org/a.png"},
        {"type": "file", "file_id": "file_1"},
        base64_of(b"no image"),
        {"type": "base64", "data": "no base64!"},
        {"type": "base64"},
    ],
)
def test_of_an_image_that_cannot_be_looked_at_the_most_is_known(source):
    assert image_size(source, high_resolution=False)[1:] == (1, 1568)
    assert image_size(source, high_resolution=True)[1:] == (1, 4784)


def test_the_pages_of_a_pdf_are_counted_packed_or_not():
    page = b"<< /Type /Page /Parent 1 0 R >> "
    assert pdf_pages(b"%PDF-1.4\n<< /Type /Pages /Count 3 >>" + page * 3) == 3
    packed = b"<< /Type /ObjStm /N 2 >> stream\r\n" + zlib.compress(page * 2) + b"\nendstream\n"
    assert pdf_pages(b"%PDF-1.7\n" + packed + packed) == 4
    assert pdf_pages(b"plain text with /Type /Page") == 0


def test_the_pages_of_a_pdf_that_cannot_be_unpacked_are_not_known():
    packed = b"%PDF-1.7\n" + PACKED + zlib.compress(b"/Type /Page ")
    assert pdf_pages(packed) == 1
    assert pdf_pages(packed + PACKED + b"encrypted") == 0


def test_a_pdf_that_unpacks_to_more_than_is_looked_at_has_no_known_pages():
    bomb = PACKED + zlib.compress(b"/Type /Page" + bytes(1 << 23))
    assert pdf_pages(b"%PDF" + bomb) == 1
    assert pdf_pages(b"%PDF" + bomb * 200) == 0  # 3 GB
    assert pdf_pages(b"%PDF" + (PACKED + zlib.compress(b"/Type /Page")) * 10_000) == 0


def test_a_pdf_of_beginnings_takes_no_long_time():
    # each of the two million was looked for to the end of the file, which would take days
    for beginning in (b"/ObjStm ", b"/Type ", b"stream\n"):
        assert pdf_pages(b"%PDF" + beginning * 2_000_000) == 0


def test_a_page_is_its_image_and_a_text_that_is_not_looked_at():
    # a page with hardly a text was 1,582 tokens, one with 1,098 tokens of text 2,666, and nine of a paper 2,152 each
    size = document_size(base64_of(b"%PDF-1.4 << /Type /Page >><</Type/Page>>", "application/pdf"))
    assert size is not None
    assert size.low / 2 <= 1_582 <= 2_152 <= 2_666 <= size.high / 2
    assert document_size({"type": "url", "url": "https://example.org/a.pdf"}) is None
