cimport cython
from depthcast.broadcaster.merger cimport Merger
from depthcast.broadcaster.pending cimport PendingTable
from depthcast.shared.book cimport BookSide
from depthcast.shared.digest cimport SideWeights
from depthcast.shared.level_table cimport LevelTable

cdef bint COMPILED

cdef class OrdersMerger(Merger):
    cdef public object orders_digest
    cdef public tuple pending_orders
    cdef tuple _counts
    @cython.locals(net=list, book_side=BookSide, levels=LevelTable, weights=SideWeights, counts=list)
    cpdef list _net_changes(self, int side, object pending)
    @cython.locals(
        net=list, book_side=BookSide, levels=LevelTable, orders=LevelTable, weights=SideWeights,
        pending_orders=PendingTable, counts=list, index=Py_ssize_t, old=cython.longlong, before=cython.longlong,
        price=cython.longlong, held=cython.longlong, count=cython.longlong, weight=cython.ulonglong,
        moved=cython.ulonglong, moved_orders=cython.ulonglong,
    )
    cdef list _counted_changes(self, int side, PendingTable pending)
