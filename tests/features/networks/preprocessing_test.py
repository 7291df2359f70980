"""What a network is shown equals what Pillow and arithmetic give by hand."""

import numpy as np
import pytest
from PIL import Image

from bottleneck.errors import UserError
from bottleneck.features.networks.preprocessing import InputSpec, Preprocessing

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
FUNCTIONS = """
import numpy as np
def good(image):
    return np.asarray(image.resize((6, 4)), np.float32).transpose(2, 0, 1) / 255
def draws(image):
    return np.random.random((3, 4, 4))
def flat(image):
    return np.zeros(12)
def varies(image):
    side = 4 + int(np.asarray(image).mean() > 60)
    return np.ones((3, side, side))
def flipped(image):
    return good(image)[::-1]
def fails(image):
    raise RuntimeError("no such thing")
"""


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3)).astype(np.uint8)


def test_images_stay_as_they_are_without_a_size(pictures):
    prepare = Preprocessing(InputSpec(), MEAN, STD, (40, 60, 3))
    expected = (pictures / 255.0 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(prepare(pictures), expected, rtol=1e-5, atol=1e-5)
    assert prepare.shape == (40, 60, 3) and Preprocessing(InputSpec(), MEAN, STD, (7,)).shape == (7,)
    np.testing.assert_array_equal(prepare(np.ones((2, 7))), np.ones((2, 7), np.float32))


def test_the_shorter_side_is_resized_and_the_middle_cut(pictures):
    """32 pixels of 40 (0.8) of the shorter side, by Pillow, as torchvision's Resize and CenterCrop."""
    prepare = Preprocessing(InputSpec(size=16, crop=0.8, mean=(0.0,) * 3, std=(1.0,) * 3), MEAN, STD, (40, 60, 3))
    resized = np.asarray(Image.fromarray(pictures[1]).resize((30, 20), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(prepare(pictures)[1], np.float32(resized[2:18, 7:23]) / np.float32(255))
    assert prepare.shape == (16, 16, 3) and "enlarged" not in prepare.said


def test_small_images_are_enlarged():
    small = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
    prepare = Preprocessing(InputSpec(size=28, crop=0.875), MEAN, STD, (8, 8, 3), stated=False)
    assert "enlarged from 8 x 8" in prepare.said and prepare.said.startswith("nobody has said")
    assert prepare(small).shape == (1, 28, 28, 3)


@pytest.mark.parametrize(
    "spec, expected",
    [
        (dict(size=0), "at least 1 pixel"),
        (dict(crop=1.5), "a share of the side"),
        (dict(mean=(0.5,) * 3), "both mean and std"),
        (dict(mean=(0.5,) * 3, std=(0.0, 1.0, 1.0)), "positive"),
        (dict(size=8, function="m:f"), "nothing beside it"),
        (dict(function="nofunction"), "MODULE:FUNCTION"),
    ],
)
def test_what_cannot_be_is_refused(spec, expected):
    with pytest.raises(UserError, match=expected):
        InputSpec(**spec)


def own(tmp_path, name):
    (tmp_path / "prepared.py").write_text(FUNCTIONS)
    return Preprocessing(InputSpec(function=f"{tmp_path}/prepared.py:{name}"), MEAN, STD, (40, 60, 3))


def test_the_users_own_is_taken_and_stated(tmp_path, pictures):
    prepare = own(tmp_path, "good")
    assert prepare.shape == (4, 6, 3) and prepare(pictures).shape == (3, 4, 6, 3)
    assert "6 x 4 pixels" in prepare.said and "prepared.py:good" in prepare.said
    expected = np.asarray(Image.fromarray(pictures[0]).resize((6, 4)), np.float32) / 255
    np.testing.assert_allclose(prepare(pictures)[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "name, expected", [("draws", "draws at random"), ("flat", r"\[3, h, w\]"), ("fails", "no such thing")]
)
def test_the_users_own_is_checked(tmp_path, name, expected):
    with pytest.raises(UserError, match=expected):
        own(tmp_path, name).shape  # noqa: B018  looks at what the function makes


def test_every_image_is_checked(tmp_path):
    with pytest.raises(UserError, match=r"images of \(5, 5, 3\), not of \(4, 4, 3\)"):
        own(tmp_path, "varies")(np.zeros((1, 40, 60, 3), np.uint8))


def test_functions_that_make_other_numbers_of_the_same_range_are_others(tmp_path):
    """Swapped channels have the same shape, smallest and largest number."""
    one, other = (own(tmp_path, name).identity for name in ("good", "flipped"))
    assert one[2:5] == other[2:5] and one[5] != other[5]


def test_identity_follows_what_is_shown():
    plain = Preprocessing(InputSpec(), MEAN, STD).identity
    assert plain == Preprocessing(InputSpec(), MEAN, STD).identity
    assert (
        plain != Preprocessing(InputSpec(size=8), MEAN, STD).identity != Preprocessing(InputSpec(), STD, STD).identity
    )
