cimport cython
from depthcast.broadcaster.merger cimport Merger
from depthcast.shared.book cimport Book, BookSide

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
    cdef public list _log
    @cython.locals(book_side=BookSide, key=longlong, best=list)
    cpdef object _appear(self, int side, object price, object quantity)
    @cython.locals(book_side=BookSide, key=longlong, best=list)
    cpdef object _vanish(self, int side, object price, object old)
    @cython.locals(touched=dict, log=list)
    cpdef object _note_level(self, int side, object price, object old)
