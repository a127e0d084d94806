cimport cython
from cpython.array cimport array
from depthcast.ingestor.book_state cimport BookState

cdef bint COMPILED

cdef class LevelsState(BookState):
    @cython.locals(applied=Py_ssize_t, ignored=Py_ssize_t, refused=list, levels=dict, pending=dict, logs=bint)
    cpdef object _run(self, object events)
    @cython.locals(
        applied=Py_ssize_t, ignored=Py_ssize_t, refused=list, levels=dict, pending=dict, logs=bint, at=Py_ssize_t,
        end=Py_ssize_t, items=cython.p_longlong, op=cython.int, side=cython.int, ticks=cython.longlong,
        lots=cython.longlong, price=object, old=object, step=Py_ssize_t, update=cython.int, delete=cython.int,
    )
    cpdef object _run_packed(self, array numbers)
