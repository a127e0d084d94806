cimport cython
from cpython.array cimport array, clone

# What Python cannot say. `fetch_line`: the processor is to bring a line of memory, and nothing waits for it.
# `use_large_pages`: the system is to have few large pages for an array of at least 2 MiB that nobody has
# written to, because each page that the processor does not know costs a search. Only Linux is asked; it may
# decline.
cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define fetch_line(numbers, at) __builtin_prefetch((numbers) + (at), 1)
    #else
    #define fetch_line(numbers, at) ((void)0)
    #endif
    """
    void fetch_line(long long* numbers, Py_ssize_t at) noexcept

cdef extern from *:
    """
    #if defined(__linux__)
    #include <sys/mman.h>
    #include <unistd.h>
    #endif
    static inline void use_large_pages(long long *numbers, Py_ssize_t count) {
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
        const size_t size = (size_t)count * sizeof(long long);
        if (size >= (size_t)2 << 20) {
            const size_t within = (size_t)numbers & ((size_t)sysconf(_SC_PAGESIZE) - 1);
            (void)madvise((char *)numbers - within, size + within, MADV_HUGEPAGE);
        }
    #else
        (void)numbers;
        (void)count;
    #endif
    }
    """
    void use_large_pages(long long* numbers, Py_ssize_t count) noexcept

cdef bint COMPILED
cdef long long EMPTY
cdef int BITS_MIN
cdef array _SLOT
cdef array _NO_SLOTS
cdef unsigned long long _ALL
cdef unsigned long long _MULTIPLIER
cdef unsigned long long _SUMMAND
cdef unsigned long long _SECOND_MULTIPLIER

cdef class NumberMap:
    cdef Py_ssize_t place_of(self, long long number) noexcept
    cdef long long value_at(self, Py_ssize_t place) noexcept
    cdef int put(self, long long number, long long value) except -1
    cdef int drop_at(self, Py_ssize_t place) except -1
    cpdef object clear(self)
    @cython.locals(number=cython.longlong)
    cdef Py_ssize_t _place_of_key(self, object key) except -2
    @cython.locals(place=Py_ssize_t)
    cpdef object get(self, object key, object default=*)
    @cython.locals(place=Py_ssize_t)
    cpdef object pop(self, object key, object default=*)

@cython.locals(mixed=cython.ulonglong)
cdef Py_ssize_t _home(long long number, int shift) noexcept

@cython.locals(made=array, slots=cython.p_longlong, free=cython.longlong, place=Py_ssize_t)
cdef array _free_slots(Py_ssize_t count)

@cython.locals(free=cython.longlong, at=Py_ssize_t, found=cython.longlong)
cdef Py_ssize_t _search(long long* slots, Py_ssize_t mask, int shift, long long number) noexcept

cdef class LevelTable(NumberMap):
    cdef array _array
    cdef long long* _slots
    cdef Py_ssize_t _mask
    cdef int _shift
    cdef Py_ssize_t _size
    cdef unsigned long long _changes
    cdef void _use(self, int bits, array slots) noexcept
    cdef void fetch(self, long long number) noexcept
    cdef Py_ssize_t place_of(self, long long number) noexcept
    cdef long long value_at(self, Py_ssize_t place) noexcept
    @cython.locals(slots=cython.p_longlong, free=cython.longlong, place=Py_ssize_t)
    cdef void empty(self) noexcept
    cdef void set_at(self, Py_ssize_t place, long long value) noexcept
    @cython.locals(at=Py_ssize_t)
    cdef long long held(self, long long number) noexcept
    @cython.locals(at=Py_ssize_t)
    cdef int put(self, long long number, long long value) except -1
    @cython.locals(slots=cython.p_longlong, mask=Py_ssize_t, free=cython.longlong, at=Py_ssize_t)
    cdef int enter(self, long long number, long long value) except -1
    @cython.locals(
        slots=cython.p_longlong, mask=Py_ssize_t, free=cython.longlong, gap=Py_ssize_t, at=Py_ssize_t,
        home=Py_ssize_t, shift=int,
    )
    cdef int drop_at(self, Py_ssize_t place) except -1
    @cython.locals(at=Py_ssize_t)
    cdef int drop(self, long long number) except -1
    @cython.locals(
        old=array, made=array, count=Py_ssize_t, free=cython.longlong, slots=cython.p_longlong,
        into=cython.p_longlong, mask=Py_ssize_t, place=Py_ssize_t, number=cython.longlong, at=Py_ssize_t,
    )
    cdef int _resize(self, int bits) except -1
    @cython.locals(bits=cython.int, count=Py_ssize_t, at=Py_ssize_t)
    cpdef object fill(self, object flat)
    @cython.locals(made=LevelTable)
    cpdef LevelTable copy(self)
