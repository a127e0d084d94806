cimport cython
from depthcast.shared.level_table cimport LevelTable
from depthcast.shared.rank_blocks cimport RankBlocks

cdef bint COMPILED

cdef class BookSide:
    cdef readonly LevelTable levels
    cdef public object orders
    cdef public RankBlocks ranks
    cdef readonly object side
    cdef readonly int sign
    @cython.locals(levels=LevelTable)
    cpdef object set_level(self, object price, object quantity)
    @cython.locals(levels=LevelTable)
    cpdef list top(self, object depth=*)
    @cython.locals(ranks=RankBlocks)
    cpdef object add_key(self, long long key)
    @cython.locals(ranks=RankBlocks)
    cpdef object remove_key(self, long long key)
    cpdef object nth_key(self, Py_ssize_t n)

cdef class Book:
    cdef readonly BookSide bids
    cdef readonly BookSide asks
    cdef readonly tuple sides
    cdef public object sizes
