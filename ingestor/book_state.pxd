cimport cython
from depthcast.broadcaster.merger cimport Merger
from depthcast.broadcaster.pending cimport PendingTable
from depthcast.ingestor.undo_log cimport UndoLog
from depthcast.shared.book cimport Book, BookSide
from depthcast.shared.level_table cimport LevelTable

cdef bint COMPILED

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
    cdef public UndoLog _undo_log
    @cython.locals(
        book_side=BookSide, levels=LevelTable, key=longlong, best=list, opposite=longlong, own=longlong,
    )
    cpdef object _add_level(self, int side, long long price, long long quantity)
    @cython.locals(book_side=BookSide, levels=LevelTable, key=longlong, best=list, own=longlong)
    cpdef object _remove_level(self, int side, long long price, long long old)
    @cython.locals(pending=PendingTable, log=UndoLog)
    cpdef object _record_level(self, int side, long long price, long long old)
