cimport cython
from depthcast.broadcaster.pending cimport PendingTable
from depthcast.shared.book cimport Book, BookSide
from depthcast.shared.digest cimport SideWeights
from depthcast.shared.level_table cimport LevelTable

cdef bint COMPILED
cdef Py_ssize_t FETCHED

cdef class Merger:
    cdef public Book book
    cdef public object seq
    cdef public object digest
    cdef public object events
    cdef public tuple pending
    cdef tuple _weights
    cdef dict _settled
    cpdef object drain(self, object seq_min)
    @cython.locals(pending=object)
    cpdef list _take_net_changes(self, int side)
    # Prices and quantities are within ±(2**53 - 1). The digest moves mod 2**64, a multiple of its own modulus.
    @cython.locals(
        net=list, levels=LevelTable, weights=SideWeights, old=cython.longlong, new=cython.longlong,
        ticks=cython.longlong, moved=cython.ulonglong,
    )
    cpdef list _net_changes(self, int side, object pending)
    @cython.locals(
        net=list, levels=LevelTable, weights=SideWeights, old=cython.longlong, new=cython.longlong,
        price=cython.longlong, moved=cython.ulonglong, end=Py_ssize_t, index=Py_ssize_t, fetched=Py_ssize_t,
        ahead=Py_ssize_t,
    )
    cdef list _table_changes(self, int side, PendingTable pending)
