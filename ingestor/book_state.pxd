cimport cython
from shared.book cimport Book, BookSide
from broadcaster.merger cimport Merger

cdef class BookState:
    cdef public Book book
    cdef public Merger merger
    cdef public tuple _levels
    cdef public list _best
    cdef public bint _evicts
    cdef public object _evicted
    cdef public bint _unit
    cdef public bint _guarded
    cdef public tuple _touched
    @cython.locals(book_side=BookSide, best=list, touched=dict)
    cpdef object _appear(self, int side, object price, object quantity)
    @cython.locals(book_side=BookSide, touched=dict)
    cpdef object _vanish(self, int side, object price)
