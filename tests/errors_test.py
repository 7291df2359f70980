"""bottleneck/errors.py: one line says what is wrong."""

import pickle

import pytest

from bottleneck.errors import reason

REFUSALS = (
    "Weights only load failed. In PyTorch 2.6, we changed the default value of the `weights_only` argument. Re-running "
    "`torch.load` with `weights_only` set to `False` will likely succeed.\nPlease file an issue",
    "Weights only load failed. This file can still be loaded, to do so you have two options, do those steps only if "
    "you trust the source of the checkpoint.\n\t(1) Re-running `torch.load` with `weights_only` set to `False` will do",
)


@pytest.mark.parametrize("text", REFUSALS)
def test_advice_to_run_what_a_file_holds_is_not_passed_on(text):
    assert reason(pickle.UnpicklingError(text)) == "UnpicklingError: Weights only load failed"


def test_any_other_error_says_its_first_line():
    assert (
        reason(ValueError("no. 3 is odd\nand more")) == "ValueError: no. 3 is odd"
        and reason(KeyError()) == "KeyError: "
    )
