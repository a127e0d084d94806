cimport cython
from depthcast.broadcaster.merger cimport Merger
from depthcast.shared.book cimport BookSide
from depthcast.shared.digest cimport SideWeights
from depthcast.shared.level_table cimport LevelTable

cdef class OrdersMerger(Merger):
    cdef public object orders_digest
    cdef public tuple pending_orders
    cdef tuple _counts
    @cython.locals(
        net=list, book_side=BookSide, levels=LevelTable, orders=dict, weights=SideWeights, pending_orders=dict,
        counts=list,
    )
    cpdef list _net_changes(self, int side, object pending)
