"""The one exception that means "the user can fix this": `main` prints it on one line and exits with code 2."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in a config, a flag or the data. Names the key, the value and what was expected."""

    def __init__(self, key: str, value, expected: str):
        super().__init__(key, value, expected)
        self.key, self.value, self.expected = key, value, expected

    def under(self, prefix: str) -> "UserError":
        """The same error with `prefix.` before its key (the path of the enclosing config)."""
        return UserError(f"{prefix}.{self.key}" if prefix else self.key, self.value, self.expected)

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the line, and no traceback, which would say nothing of the user's own mistake."""
        return [f"error: {self}"]

    def __str__(self):
        shown = repr(self.value)
        shown = shown if len(shown) <= 200 else shown[:197] + "..."
        return f"{self.key}={shown}: expected {self.expected}".replace("\n", " ")


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` of the known word nearest to a mistyped one, or nothing where none is near."""
    close = difflib.get_close_matches(str(word), [*known], 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def reason(error: BaseException) -> str:
    """What an error says of itself, in one line: its class and its first line. Of PyTorch's refusal to read more than
    weights the first sentence alone, as the next ones tell how to have a file run whatever code it holds."""
    text = str(error).strip()
    first = text.splitlines()[0] if text else ""
    return f"{type(error).__name__}: {first.partition('. ')[0] if 'weights_only' in text else first}"
