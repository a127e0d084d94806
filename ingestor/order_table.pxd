cimport cython
from cpython.array cimport array

cdef bint COMPILED
cdef Py_ssize_t SLOTS_MIN
cdef array _SLOT
cdef array _NO_SLOTS
cdef unsigned long long _MULTIPLIER
cdef unsigned long long _SUMMAND
cdef unsigned long long _SECOND_MULTIPLIER

@cython.locals(mixed=cython.ulonglong)
cdef Py_ssize_t _home(long long order_id, Py_ssize_t mask) noexcept

cdef bint _is_number(object order_id) except -1

cdef class OrderTable:
    cdef array _array
    cdef long long* _slots
    cdef Py_ssize_t _mask
    cdef Py_ssize_t _size
    cdef unsigned long long _changes
    cdef readonly dict others
    cdef void _use(self, Py_ssize_t count, array slots) noexcept
    @cython.locals(slots=cython.p_longlong, mask=Py_ssize_t, at=Py_ssize_t)
    cdef Py_ssize_t place_of(self, long long order_id) noexcept
    cdef long long id_at(self, Py_ssize_t place) noexcept
    cdef long long price_at(self, Py_ssize_t place) noexcept
    cdef long long quantity_at(self, Py_ssize_t place) noexcept
    cdef void set_at(self, Py_ssize_t place, long long price, long long quantity) noexcept
    @cython.locals(slots=cython.p_longlong, mask=Py_ssize_t, at=Py_ssize_t)
    cdef int enter(self, long long order_id, long long price, long long quantity) except -1
    @cython.locals(
        slots=cython.p_longlong, mask=Py_ssize_t, gap=Py_ssize_t, at=Py_ssize_t, home=Py_ssize_t,
    )
    cdef int drop_at(self, Py_ssize_t place) except -1
    @cython.locals(
        old=array, made=array, count=Py_ssize_t, slots=cython.p_longlong, into=cython.p_longlong,
        mask=Py_ssize_t, place=Py_ssize_t, at=Py_ssize_t,
    )
    cdef int _resize(self, Py_ssize_t room) except -1
    @cython.locals(
        numbers=array, into=cython.p_longlong, slots=cython.p_longlong, kept=Py_ssize_t, place=Py_ssize_t,
    )
    cpdef object taken(self)
    @cython.locals(number=cython.longlong)
    cdef Py_ssize_t _place_of_key(self, object key) except -2
    @cython.locals(place=Py_ssize_t)
    cpdef object get(self, object key, object default=*)
    @cython.locals(price=cython.longlong, quantity=cython.longlong, number=cython.longlong, place=Py_ssize_t)
    cpdef object _put(self, object key, object order)
    cpdef object fill(self, object ids, object pairs)
