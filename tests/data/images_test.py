import io

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image

from bottleneck.data import images

sides = st.integers(1, 4000)


def encoded(picture, kind="PNG", **options):
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def picture(values, dtype=np.uint8):
    return Image.fromarray(np.asarray(values, dtype))


@hypothesis.settings(max_examples=400, deadline=None)
@hypothesis.given(st.tuples(sides, sides), st.tuples(st.integers(4, 512), st.integers(4, 512)))
def test_the_middle_is_inside_and_has_the_aspect_ratio(size, wanted):
    left, upper, right, lower = images.middle(size, wanted)
    assert 0 <= left < right <= size[0] and 0 <= upper < lower <= size[1]
    assert (right - left) / (lower - upper) == pytest.approx(wanted[0] / wanted[1], rel=1e-9)
    assert right - left == pytest.approx(size[0]) or lower - upper == pytest.approx(size[1])
    assert left + right == pytest.approx(size[0]) and upper + lower == pytest.approx(size[1])


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([(224, 224), (8, 8), (17, 31)]))
def test_every_size_is_cropped(width, height, shape):
    content = encoded(Image.new("L", (width, height), 77))
    for fit in ("crop", "stretch"):
        assert np.all(images.decode(content, shape, fit) == 77)


def test_a_photograph_that_rounding_once_refused():
    assert images.decode(encoded(Image.new("RGB", (500, 450))), (224, 224)).shape == (224, 224, 3)


GRAY16 = np.array([[0, 256, 32768, 65535]] * 4)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_by_their_range(kind):
    decoded = images.decode(encoded(picture(GRAY16, np.uint16), kind), (4, 4))
    assert decoded[0, :, 0].tolist() == [0, 1, 128, 255] and np.all(decoded == decoded[..., :1])


def test_levels_of_10_bits():
    levels = np.array([0, 4, 512, 1023], ">u2").tobytes()
    assert images.decode(b"P5 4 4 1023 " + 4 * levels, (4, 4))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_16_bits_of_big_endian_tiff():
    big = Image.frombytes("I;16B", (4, 4), GRAY16.astype(">u2").tobytes())
    assert images.decode(encoded(big, "TIFF"), (4, 4))[0, :, 1].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("dtype, said", [(np.int32, "32-bit integer"), (np.float32, "floating-point")])
def test_pixels_without_a_stated_range_are_refused_in_the_header(dtype, said):
    content = encoded(picture(GRAY16, dtype), "TIFF")
    for read in (images.header, lambda content: images.decode(content, (4, 4))):
        with pytest.raises(images.Unreadable, match=said):
            read(content)


def test_transparency_is_laid_over_the_background():
    half = np.zeros((4, 4, 4), np.uint8)
    half[:, 2:] = (10, 20, 30, 255)
    clear = images.decode(encoded(picture(half)), (4, 4))
    assert clear[0, 0].tolist() == [255, 255, 255] and clear[0, 3].tolist() == [10, 20, 30]
    assert images.decode(encoded(picture(half)), (4, 4), "crop", (1, 2, 3))[0, 0].tolist() == [1, 2, 3]
    half[..., 3] = 51  # one fifth
    assert images.decode(encoded(picture(half)), (4, 4), "crop", (0, 0, 0))[0, 3].tolist() == [2, 4, 6]


def test_transparency_of_every_kind():
    gray = np.zeros((4, 4), np.uint8)
    gray[:, 2:] = 60
    palette = picture(gray).convert("P")
    sources = {
        "gray and alpha": encoded(Image.merge("LA", (picture(gray), picture(np.where(gray, 255, 0))))),
        "a palette's entry": encoded(palette, transparency=palette.getpixel((0, 0))),
        "a gray level": encoded(picture(gray), transparency=0),
        "a colour": encoded(picture(gray).convert("RGB"), transparency=(0, 0, 0)),
        "a gif": encoded(palette, "GIF", transparency=palette.getpixel((0, 0))),
        "webp": encoded(
            Image.merge("LA", (picture(gray), picture(np.where(gray, 255, 0)))).convert("RGBA"), "WEBP", lossless=True
        ),
        "a level of 16 bits": encoded(picture(gray.astype(np.uint16) * 257, np.uint16), transparency=0),
    }
    for name, content in sources.items():
        decoded = images.decode(content, (4, 4), "crop", (9, 9, 9))
        assert decoded[0, 0].tolist() == [9, 9, 9] and decoded[0, 3].tolist() == [60, 60, 60], name


def test_other_modes():
    level = np.full((4, 4), 100, np.uint8)
    assert np.all(images.decode(encoded(picture(level).convert("RGB").convert("CMYK"), "TIFF"), (4, 4)) == 100)
    cmyk = images.decode(encoded(picture(level).convert("RGB").convert("CMYK"), "JPEG", quality=95), (4, 4))
    assert np.abs(cmyk.astype(int) - 100).max() < 4
    assert np.all(images.decode(encoded(picture(level).convert("P")), (4, 4)) == 100)
    assert np.all(images.decode(encoded(picture(level > 0, bool)), (4, 4)) == 255)
    for kind in ("BMP", "GIF", "TIFF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        assert np.all(images.decode(encoded(picture(level), kind, **options), (4, 4)) == 100), kind


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_applied(kind):
    """Orientation 6: the stored image is to be turned clockwise by a quarter."""
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:, :32] = 200  # the left half becomes the upper one
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = images.decode(encoded(picture(stored), kind, exif=exif), (64, 32))
    assert upright[:24].min() > 150 and upright[40:].max() < 50


def smooth(width, height):
    """Light from left to right, colour from top to bottom."""
    across, down = np.linspace(20, 230, width), np.linspace(0, 120, height)
    return picture(np.stack(np.broadcast_arrays(across, 100 + down[:, None], 200 - down[:, None]), axis=-1))


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)), st.sampled_from([(8, 8), (24, 60)]), st.integers(1, 8)
)
@hypothesis.example((65, 64), (8, 8), 1)  # 9 x 8 pixels, the last of which is mostly beyond the edge
def test_a_jpeg_decoded_at_a_part_of_its_size_looks_as_if_it_were_whole(size, shape, orientation):
    """To within a pixel: sides are no multiples of what they are divided by."""
    pixel = 210 / min(shape)  # in steps of light
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = smooth(*size)
    content = encoded(stored, "JPEG", quality=95, exif=exif)
    for fit in ("crop", "stretch"):
        whole = images.decode(encoded(Image.open(io.BytesIO(content)), exif=exif), shape, fit)  # a PNG is never shrunk
        assert np.abs(images.decode(content, shape, fit).astype(int) - whole).max() <= pixel + 4


@pytest.mark.parametrize(
    ("size", "box", "decoded"),
    [
        ((500, 375), None, (250, 188)),  # 375 pixels to 100
        ((500, 375), (0, 0, 199, 199), (500, 375)),
        ((500, 375), (10, 10, 210, 210), (250, 188)),
        ((500, 375), (10, 10, 210, 209), (500, 375)),
        ((4000, 3000), None, (500, 375)),
        ((101, 99), None, (101, 99)),
    ],
)
def test_a_jpeg_is_never_decoded_smaller_than_it_is_to_be(size, box, decoded, monkeypatch):
    seen, resize = [], Image.Image.resize

    def spy(picture, *given, **options):
        seen.append(picture.size)
        return resize(picture, *given, **options)

    content = encoded(smooth(*size), "JPEG")
    monkeypatch.setattr(Image.Image, "resize", spy)
    assert images.decode(content, (100, 100), cut=box and (lambda size: box)).shape == (100, 100, 3)
    assert seen == [decoded]


def test_a_box_is_cut_from_the_image_as_it_is_seen():
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:16, :32] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # the lower left quarter of the stored image is seen at the upper left
    content, seen = encoded(picture(stored), exif=exif), []
    for box, level in (((16, 0, 32, 32), 200), ((0, 0, 16, 32), 0), ((0, 32, 32, 64), 0)):
        decoded = images.decode(content, (4, 4), cut=lambda size, box=box: seen.append(size) or box)
        assert np.all(decoded[1:-1, 1:-1] == level)  # the filter reaches over the edge of the box
    assert set(seen) == {(32, 64)}


def test_the_first_of_several_pictures_in_a_jpeg_is_read():
    content = encoded(smooth(320, 240), "MPO", save_all=True, append_images=[Image.new("RGB", (320, 240))])
    whole = images.decode(encoded(smooth(320, 240)), (32, 32))
    assert np.abs(images.decode(content, (32, 32)).astype(int) - whole).max() <= 8


def test_a_suffix_may_lie_but_only_images_are_opened():
    assert images.header(encoded(picture(np.zeros((3, 5)))), whole=True) == (5, 3, "L")
    for content in (b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n"):
        with pytest.raises(images.Unreadable, match="no image in a format"):
            images.header(content)


def test_a_truncated_image_has_a_header_but_no_end():
    for kind in ("PNG", "JPEG"):
        noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3))
        cut = encoded(picture(noise), kind)[:-600]
        assert images.header(cut)[:2] == (40, 40)
        for read in (lambda c: images.header(c, whole=True), lambda c: images.decode(c, (8, 8))):
            with pytest.raises(images.Unreadable):
                read(cut)


def test_many_keep_their_order():
    assert images.many(lambda row: np.full((2, 2, 3), row, np.uint8), range(100), (2, 2))[:, 0, 0, 0].tolist() == list(
        range(100)
    )
    assert images.many(None, [], (2, 3)).shape == (0, 2, 3, 3)
