"""Networks that are not ours, read where they are: PyTorch modules, timm's, Flax's (Linen, NNX), any function.

`uses.Uses` says in text which network; `loading.load` makes a `Network` of it, which reads taps of images in evaluation
mode, float32. torch and timm are imported when a network of theirs is named, and nothing executes a pickle.
"""
