# SPDX-License-Identifier: MIT
"""What all layers use and none of the maths: checks of arguments, files, processes, figures, progress, text."""
