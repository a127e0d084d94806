cimport cython
from depthcast.broadcaster.merger cimport Merger
from depthcast.shared.book cimport Book, BookSide

cdef class BookState:
    cdef public Book book
    cdef public Merger merger
    cdef public tuple _levels
    cdef public long long _levels_max
    cdef public list _best_keys
    cdef public bint _evicts
    cdef public object _evicted
    cdef public bint _atomic
    cdef public bint _checks_crossing
    cdef public tuple _pending_levels
    cdef public list _undo_log
    @cython.locals(book_side=BookSide, key=longlong, best=list)
    cpdef object _add_level(self, int side, object price, object quantity)
    @cython.locals(book_side=BookSide, key=longlong, best=list)
    cpdef object _remove_level(self, int side, object price, object old)
    @cython.locals(pending=dict, log=list)
    cpdef object _record_level(self, int side, object price, object old)
