cimport cython
from cpython.array cimport array
from depthcast.broadcaster.pending cimport PendingTable
from depthcast.ingestor.book_state cimport BookState
from depthcast.ingestor.order_table cimport OrderTable
from depthcast.ingestor.undo_log cimport UndoLog
from depthcast.shared.level_table cimport LevelTable

cdef bint COMPILED
cdef long long _MOST

cdef class OrdersState(BookState):
    cdef public tuple _orders
    cdef public long long _orders_max
    cdef public tuple _ids_at_price
    cdef public tuple _undo_orders
    cdef public tuple _counts
    cdef public tuple _pending_orders
    cdef public tuple _undo_counts
    cdef public bint _tracks_orders
    @cython.locals(applied=Py_ssize_t, refused=list, bids=OrderTable, asks=OrderTable, order=tuple)
    cpdef object _run(self, object events)
    @cython.locals(
        applied=Py_ssize_t, refused=list, bids=OrderTable, asks=OrderTable, at=Py_ssize_t, end=Py_ssize_t,
        items=cython.p_longlong, op=cython.longlong, side=cython.longlong, price=cython.longlong,
        lots=cython.longlong, order_id=cython.longlong, own=cython.int, place=Py_ssize_t, step=Py_ssize_t,
        add=cython.longlong, update=cython.longlong, delete=cython.longlong, reduce=cython.longlong,
        none=cython.longlong,
    )
    cpdef object _run_packed(self, array numbers)
    cpdef object _add(self, int side, object order_id, long long price, long long quantity)
    @cython.locals(new=tuple)
    cpdef object _update(self, int side, object order_id, tuple old, long long price, long long quantity)
    @cython.locals(new=tuple, price=cython.longlong, held=cython.longlong)
    cpdef object _reduce(self, int side, object order_id, tuple old, long long quantity)
    cpdef object _remove(self, int side, object order_id, tuple old)
    @cython.locals(orders=OrderTable)
    cdef object _add_numbered(self, int side, long long order_id, long long price, long long quantity)
    @cython.locals(orders=OrderTable, old_price=cython.longlong, old_quantity=cython.longlong)
    cdef object _update_at(self, int side, Py_ssize_t place, long long price, long long quantity)
    @cython.locals(orders=OrderTable, price=cython.longlong, held=cython.longlong)
    cdef object _reduce_at(self, int side, Py_ssize_t place, long long quantity)
    @cython.locals(orders=OrderTable, price=cython.longlong, held=cython.longlong)
    cdef object _remove_at(self, int side, Py_ssize_t place)
    @cython.locals(bids=OrderTable, asks=OrderTable)
    cdef object _enter(self, int side, long long price, long long quantity)
    cdef object _move(
        self, int side, long long old_price, long long old_quantity, long long price, long long quantity
    )
    @cython.locals(levels=LevelTable, place=Py_ssize_t, old=cython.longlong)
    cdef object _add_to_level(self, int side, long long price, long long quantity)
    @cython.locals(levels=LevelTable, place=Py_ssize_t, old=cython.longlong)
    cdef object _take_from_level(self, int side, long long price, long long quantity)
    @cython.locals(counts=LevelTable, place=Py_ssize_t)
    cdef object _join(self, int side, long long price)
    @cython.locals(counts=LevelTable, place=Py_ssize_t, left=cython.longlong)
    cdef object _leave(self, int side, long long price)
    @cython.locals(pending=PendingTable, counts=LevelTable, log=UndoLog)
    cpdef object _record_level(self, int side, long long price, long long old)
    cdef object _record_count(self, PendingTable before, long long price, long long count)
    cpdef object _record_order(self, int side, object order_id, object old, object new)
