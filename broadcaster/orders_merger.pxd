cimport cython
from depthcast.broadcaster.merger cimport Merger
from depthcast.shared.book cimport BookSide
from depthcast.shared.digest cimport SideWeights

cdef class OrdersMerger(Merger):
    cdef public object orders_digest
    cdef public tuple pending_orders
    cdef tuple _counts
    @cython.locals(
        net=list, book_side=BookSide, levels=dict, orders=dict, weights=SideWeights, pending_orders=dict,
        counts=list,
    )
    cpdef list _net_changes(self, int side, dict pending)
