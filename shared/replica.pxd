cimport cython
from depthcast.shared.book cimport Book, BookSide

# Of moved only the lowest 32 bits count: whatever is beyond 64 bits may be lost.
@cython.locals(
    moved=cython.ulonglong, first=cython.ulonglong, tail=cython.ulonglong, tails=list, step=cython.longlong,
    price=cython.longlong, start=cython.longlong, end=cython.longlong, new=cython.longlong, old=cython.longlong,
)
cpdef object digest_moved(int side, object changes)

@cython.locals(changes=list, levels=dict, at=cython.Py_ssize_t)
cdef list _apply_side(BookSide side, object flat)
