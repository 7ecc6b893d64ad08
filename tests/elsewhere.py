# SPDX-License-Identifier: MIT
"""What the tests of the card have in common: an array there that is another library's."""


class Elsewhere:
    """An array of another library, as far as one can see without it: its interface, and that it is kept alive."""

    def __init__(self, array):
        self.kept, self.shape = array, array.shape
        on_card = getattr(array, "__cuda_array_interface__", None)
        self.__cuda_array_interface__ = on_card or array._ary.__array_interface__  # the simulator's card is the host
