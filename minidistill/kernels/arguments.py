# SPDX-License-Identifier: MIT
"""The arguments of a public function, checked before its kernel: kernels read and write where they are told to.

Each public function of a backend checks what it is given with these, once; what it calls checks nothing. Each error
names the argument, what came and what is wanted.
"""

import numpy as np

FLOATS = np.dtype(np.float32), np.dtype(np.float64)


def are_alike(*arrays):
    """Whether all that are not None are C-contiguous, of one shape, and float32 or all float64."""
    like = arrays[0]
    if type(like) is not np.ndarray or like.dtype not in FLOATS:
        return False
    dtype, shape = like.dtype, like.shape
    for array in arrays:
        if array is not None and not (
            type(array) is np.ndarray and array.dtype is dtype and array.shape == shape and array.flags.c_contiguous
        ):
            return False
    return True


def as_floats(**arrays):
    """The arrays, C-contiguous and of one dtype: their own if that is float32 or float64, else what NumPy makes of it.

    Returns a list. TypeError for what holds no numbers, or complex or longer ones.
    """
    if are_alike(*arrays.values()):
        return list(arrays.values())
    found = [np.asarray(array) for array in arrays.values()]
    dtype = found[0].dtype
    if dtype not in FLOATS or any(array.dtype != dtype for array in found):
        for name, array in zip(arrays, found, strict=True):
            if array.dtype.kind not in "fiub" or np.result_type(array, np.float32) not in FLOATS:
                raise TypeError(f"{name} must be float32 or float64, got {array.dtype}")
        dtype = np.result_type(np.float32, *found)
    return [np.ascontiguousarray(array, dtype) for array in found]


def as_dtype(name, array, dtype):
    """`array` as a C-contiguous one of this dtype; TypeError for what holds no real numbers."""
    array = np.asarray(array)
    if array.dtype != dtype and array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got {array.dtype}")
    return np.ascontiguousarray(array, dtype)


def check_dimensions(name, array, wanted):
    """Refuses an array with another number of dimensions than `wanted`, their names: "(B, C)"."""
    if array.ndim != wanted.count(",") + (not wanted.endswith(",)")):
        raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")


def check_shape(name, array, *shapes):
    """Refuses an array that a kernel would read beyond its end; None passes."""
    if array is not None and array.shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")


def check_readable(name, array, dtype):
    """Refuses an array whose numbers are not of the dtype of the parameters, one behind the other."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be an array, got {type(array).__name__}")
    if array.dtype != dtype or not array.flags.c_contiguous:
        kind = "contiguous" if array.flags.c_contiguous else "not contiguous"
        raise TypeError(f"{name} must be contiguous {np.dtype(dtype)} as the parameters are, got {kind} {array.dtype}")


def check_changed_in_place(**arrays):
    """Refuses arrays that would have to be copied first: the change would be lost."""
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype not in FLOATS:
            found = getattr(array, "dtype", type(array).__name__)
            raise TypeError(f"{name} must be an array of float32 or float64, got {found}")
        if not (array.flags.c_contiguous and array.flags.writeable):
            raise ValueError(f"{name} must be contiguous and writeable, for it is changed in place")


def check_written(name, array, shape):
    """Refuses an array, of any layout, that a result of this shape cannot be copied to; None passes."""
    if array is None:
        return
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise TypeError(f"{name} must be an array of floats, got {getattr(array, 'dtype', type(array).__name__)}")
    check_shape(name, array, shape)
    if not array.flags.writeable:
        raise ValueError(f"{name} must be writeable: the result is written to it")


def is_apart(written, *read):
    """Whether an array to be written shares no memory with others, which may be None."""
    return not any(array is not None and np.may_share_memory(written, array) for array in read)


def check_apart(name, written, **read):
    """Refuses an array to be written whose memory is that of an array which is read again."""
    for other, array in read.items():
        if not is_apart(written, array):
            raise ValueError(f"{name} must have memory of its own: it shares some with {other}")


def as_labels(name, labels, rows):
    """`labels` as contiguous int64 of shape (rows,); whether they are classes is for the kernel to see."""
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name} must be whole numbers, got {labels.dtype}")
    check_shape(name, labels, (rows,))
    return np.ascontiguousarray(labels, np.int64)


def check_classes(name, indices, classes):
    """Refuses indices that are not in 0..classes-1."""
    if indices.size and not 0 <= indices.min() <= indices.max() < classes:
        raise ValueError(f"{name} must be in 0..{classes - 1}, got {indices.min()}..{indices.max()}")
