cimport cython
from cpython.array cimport array
from depthcast.broadcaster.pending cimport PendingTable
from depthcast.ingestor.book_state cimport BookState
from depthcast.shared.book cimport BookSide
from depthcast.shared.level_table cimport LevelTable

cdef bint COMPILED
cdef Py_ssize_t FETCHED_MIN
cdef Py_ssize_t FETCHED_EVENTS

cdef class LevelsState(BookState):
    @cython.locals(applied=Py_ssize_t, ignored=Py_ssize_t, refused=list, levels=LevelTable, pending=PendingTable, logs=bint)
    cpdef object _run(self, object events)
    @cython.locals(
        applied=Py_ssize_t, ignored=Py_ssize_t, refused=list, bids=LevelTable, asks=LevelTable, levels=LevelTable,
        pending=PendingTable, logs=bint, at=Py_ssize_t, end=Py_ssize_t, fetched=Py_ssize_t,
        items=cython.p_longlong, op=cython.int, side=cython.int, price=cython.longlong, lots=cython.longlong,
        place=Py_ssize_t, step=Py_ssize_t, update=cython.int, delete=cython.int,
    )
    cpdef object _run_packed(self, array numbers)
    @cython.locals(
        step=Py_ssize_t, levels=LevelTable, pending=PendingTable, book_side=BookSide, at=Py_ssize_t,
        side=cython.int, price=cython.longlong,
    )
    cdef int _fetch(self, long long* items, Py_ssize_t start, Py_ssize_t end) except -1
