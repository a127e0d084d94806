cimport cython
from depthcast.broadcaster.pending cimport PendingTable
from depthcast.ingestor.book_state cimport BookState
from depthcast.ingestor.undo_log cimport UndoLog
from depthcast.shared.level_table cimport LevelTable

cdef bint COMPILED

cdef class OrdersState(BookState):
    cdef public tuple _orders
    cdef public long long _orders_max
    cdef public tuple _ids_at_price
    cdef public tuple _undo_orders
    cdef public tuple _counts
    cdef public tuple _pending_orders
    cdef public tuple _undo_counts
    cdef public bint _tracks_orders
    @cython.locals(applied=Py_ssize_t, refused=list, bids=dict, asks=dict, order=tuple)
    cpdef object _run(self, object events)
    cpdef object _add(self, int side, object order_id, object price, object quantity)
    @cython.locals(new=tuple)
    cpdef object _update(self, int side, object order_id, tuple old, object price, object quantity)
    @cython.locals(new=tuple)
    cpdef object _reduce(self, int side, object order_id, tuple old, object quantity)
    cpdef object _remove(self, int side, object order_id, tuple old)
    @cython.locals(levels=LevelTable)
    cpdef object _add_to_level(self, int side, object price, object quantity)
    @cython.locals(levels=LevelTable)
    cpdef object _take_from_level(self, int side, object price, object quantity)
    @cython.locals(counts=dict)
    cpdef object _join(self, int side, object price)
    @cython.locals(counts=dict)
    cpdef object _leave(self, int side, object price)
    @cython.locals(pending=PendingTable, counts=dict, log=UndoLog, ticks=object)
    cpdef object _record_level(self, int side, long long price, long long old)
    cpdef object _record_order(self, int side, object order_id, object old, object new)
