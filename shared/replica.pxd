cimport cython
from depthcast.shared.book cimport Book, BookSide

@cython.locals(changes=list, levels=dict, at=cython.Py_ssize_t)
cdef list _apply_side(BookSide side, object flat)

@cython.locals(changes=list, levels=dict, orders=dict, at=cython.Py_ssize_t)
cdef list _counted_side(BookSide side, object flat, object counts)

@cython.locals(orders=dict)
cdef object _count_side(BookSide side, object changes)
