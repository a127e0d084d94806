cimport cython
from cpython.array cimport array
from depthcast.shared.book cimport Book, BookSide
from depthcast.shared.digest cimport SideWeights
from depthcast.shared.level_rows cimport LevelRows, numbers_for, rows_of
from depthcast.shared.level_table cimport LevelTable
from depthcast.shared.rank_blocks cimport RankBlocks

cdef bint COMPILED
cdef unsigned long long _MASK

@cython.locals(
    bids=BookSide, asks=BookSide, bid_weights=SideWeights, ask_weights=SideWeights, moved=cython.ulonglong,
)
cdef object _apply_levels(Book book, tuple weights, object delta, unsigned long long before, object after)

@cython.locals(changes=list, levels=LevelTable, at=cython.Py_ssize_t)
cdef object _apply_side(BookSide side, object flat)

@cython.locals(
    given=cython.p_longlong, count=Py_ssize_t, numbers=array, rows=cython.p_longlong, levels=LevelTable,
    ranks=RankBlocks, sign=cython.longlong, end=Py_ssize_t, at=Py_ssize_t, price=cython.longlong,
    quantity=cython.longlong, place=Py_ssize_t, old=cython.longlong,
)
cdef LevelRows _apply_numbers(BookSide side, array flat)

@cython.locals(changes=list, levels=LevelTable, orders=dict, at=cython.Py_ssize_t)
cdef list _counted_side(BookSide side, object flat, object counts)

@cython.locals(orders=dict)
cdef object _count_side(BookSide side, object changes)
