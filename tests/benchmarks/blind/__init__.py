"""The blind benchmark: studies drawn at random whose truth is known, and what the tool says of them."""
