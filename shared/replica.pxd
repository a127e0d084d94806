cimport cython
from depthcast.shared.book cimport Book, BookSide
from depthcast.shared.level_table cimport LevelTable

@cython.locals(changes=list, levels=LevelTable, at=cython.Py_ssize_t)
cdef list _apply_side(BookSide side, object flat)

@cython.locals(changes=list, levels=LevelTable, orders=dict, at=cython.Py_ssize_t)
cdef list _counted_side(BookSide side, object flat, object counts)

@cython.locals(orders=dict)
cdef object _count_side(BookSide side, object changes)
