cimport cython
from depthcast.shared.book cimport Book, BookSide

@cython.locals(changes=list, levels=dict, at=cython.Py_ssize_t)
cdef list _apply_side(BookSide side, object flat)
