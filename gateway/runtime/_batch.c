/*
 * The sends of one flush, handed to the kernel together: by io_uring, or by one send() after the other.
 *
 *   DirectSend(fd)            owns a descriptor of a client's socket; direct(data) is send(), and raises OSError
 *   Batch(ring=False, enter=None)
 *     add(owner, sends, parts)   queues the joined parts for every value of the dictionary `sends`; returns their size
 *     finish()                   returns [(owner, key, data, sent)] of those that took less than everything
 *
 * `depthcast.gateway.delivery.fan_out.DirectBatch` is the same in Python, and says what either has to do;
 * `depthcast.gateway.runtime.submission` chooses.
 *
 * No request is in flight outside a call: all are made with MSG_DONTWAIT, which the kernel completes while they are
 * submitted, and the call waits until each has its completion. A descriptor is in a submission at most once, because
 * what follows must not overtake the rest of a short send. After any error of the ring itself, what the kernel has
 * not begun is sent by send(), and so is everything from then on.
 *
 * The structures of the ring are declared here, so that headers older than io_uring suffice (see io_uring_setup(2)).
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* Python ignores the signal */
#endif

/* Sends in one submission. More save little; fewer let softirqs and other threads have their turn sooner. */
enum { SLOTS = 64 };
/* What is known of a send; any other value is the kernel's result: bytes taken, or a negative errno. */
enum { NOT_BEGUN = INT32_MIN, BEGUN = INT32_MIN + 1 };

/* --- one client's descriptor -------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    int fd;
    uint64_t queued_in;  /* the submission it is in */
    uint64_t blocked_in; /* the batch in which it took less than everything */
} DirectSend;

static PyObject *direct_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *names[] = {"fd", NULL};
    int fd;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "i:DirectSend", names, &fd)) return NULL;
    DirectSend *self = (DirectSend *)type->tp_alloc(type, 0);
    if (self) self->fd = fd;
    return (PyObject *)self;
}

static PyObject *direct_close(DirectSend *self, PyObject *Py_UNUSED(nothing)) {
    int fd = self->fd;
    self->fd = -1;
    if (fd >= 0) close(fd);
    Py_RETURN_NONE;
}

static void direct_dealloc(DirectSend *self) {
    if (self->fd >= 0) close(self->fd);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *direct_fileno(DirectSend *self, PyObject *Py_UNUSED(nothing)) {
    return PyLong_FromLong(self->fd);
}

static ssize_t send_now(int fd, const void *bytes, size_t size) {
    ssize_t sent;
    do sent = send(fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

static PyObject *direct_call(DirectSend *self, PyObject *args, PyObject *keywords) {
    PyObject *data;
    if (keywords && PyDict_GET_SIZE(keywords)) return PyErr_Format(PyExc_TypeError, "a direct send takes no keywords");
    if (!PyArg_ParseTuple(args, "S:send", &data)) return NULL;
    ssize_t sent = send_now(self->fd, PyBytes_AS_STRING(data), (size_t)PyBytes_GET_SIZE(data));
    return sent < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromSsize_t(sent);
}

static PyMethodDef direct_methods[] = {
    {"close", (PyCFunction)direct_close, METH_NOARGS, "Close the descriptor; whatever is sent then fails."},
    {"fileno", (PyCFunction)direct_fileno, METH_NOARGS, "The descriptor; -1 once closed."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject DirectSendType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "depthcast.gateway.runtime._batch.DirectSend",
    .tp_basicsize = sizeof(DirectSend),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Sends to one client at once. Owns the descriptor.",
    .tp_new = direct_new,
    .tp_dealloc = (destructor)direct_dealloc,
    .tp_call = (ternaryfunc)direct_call,
    .tp_methods = direct_methods,
};

/* --- the ring ----------------------------------------------------------------------------------------------------- */

typedef struct {
    uint8_t opcode, flags;
    uint16_t priority;
    int32_t fd;
    uint64_t offset, address;
    uint32_t length, message_flags;
    uint64_t user_data;
    uint64_t rest[3];
} Entry;

typedef struct {
    uint64_t user_data;
    int32_t result;
    uint32_t flags;
} Completion;

typedef struct {
    uint32_t head, tail, mask, entries, flags, dropped, array, reserved;
    uint64_t address;
} SubmissionOffsets;

typedef struct {
    uint32_t head, tail, mask, entries, overflow, completions, flags, reserved;
    uint64_t address;
} CompletionOffsets;

typedef struct {
    uint32_t submission_entries, completion_entries, flags, thread_cpu, thread_idle, features, workqueue, reserved[3];
    SubmissionOffsets submission;
    CompletionOffsets completion;
} Parameters;

enum { SETUP = 425, ENTER = 426 };
enum { SUBMIT_ALL = 1 << 7, SINGLE_ISSUER = 1 << 12, DEFER_TASKRUN = 1 << 13 };
enum { FEATURE_SINGLE_MMAP = 1, GET_EVENTS = 1, OPCODE_SEND = 26 };
static const off_t AT_ENTRIES = 0x10000000;

typedef struct {
    int fd; /* -1: there is none, or it has been given up */
    char *rings;
    size_t rings_size;
    Entry *entries;
    size_t entries_size;
    uint32_t *head, *tail, mask;                  /* of the submissions */
    uint32_t *done_head, *done_tail, done_mask;   /* of the completions */
    Completion *done;
    uint64_t first; /* user_data of slot 0 in the current submission */
} Ring;

static void ring_close(Ring *ring) {
    if (ring->rings) munmap(ring->rings, ring->rings_size);
    if (ring->entries) munmap(ring->entries, ring->entries_size);
    if (ring->fd >= 0) close(ring->fd);
    *ring = (Ring){.fd = -1};
}

/* Returns 0, or an errno with nothing left open. */
static int ring_open(Ring *ring) {
    *ring = (Ring){.fd = -1};
#ifdef __linux__
    Parameters made = {.flags = SUBMIT_ALL | SINGLE_ISSUER | DEFER_TASKRUN};
    ring->fd = (int)syscall(SETUP, SLOTS, &made);
    if (ring->fd < 0) return errno;
    if (!(made.features & FEATURE_SINGLE_MMAP) || made.submission_entries < SLOTS) {
        ring_close(ring);
        return ENOSYS;
    }
    size_t submissions = made.submission.array + made.submission_entries * sizeof(uint32_t);
    size_t completions = made.completion.completions + made.completion_entries * sizeof(Completion);
    ring->rings_size = submissions > completions ? submissions : completions;
    ring->entries_size = made.submission_entries * sizeof(Entry);
    int both = PROT_READ | PROT_WRITE;
    void *rings = mmap(NULL, ring->rings_size, both, MAP_SHARED | MAP_POPULATE, ring->fd, 0);
    void *entries = mmap(NULL, ring->entries_size, both, MAP_SHARED | MAP_POPULATE, ring->fd, AT_ENTRIES);
    ring->rings = rings == MAP_FAILED ? NULL : rings;
    ring->entries = entries == MAP_FAILED ? NULL : entries;
    if (!ring->rings || !ring->entries) {
        int problem = errno;
        ring_close(ring);
        return problem;
    }
    ring->head = (uint32_t *)(ring->rings + made.submission.head);
    ring->tail = (uint32_t *)(ring->rings + made.submission.tail);
    ring->mask = *(uint32_t *)(ring->rings + made.submission.mask);
    ring->done_head = (uint32_t *)(ring->rings + made.completion.head);
    ring->done_tail = (uint32_t *)(ring->rings + made.completion.tail);
    ring->done_mask = *(uint32_t *)(ring->rings + made.completion.mask);
    ring->done = (Completion *)(ring->rings + made.completion.completions);
    uint32_t *places = (uint32_t *)(ring->rings + made.submission.array);
    for (uint32_t i = 0; i < made.submission_entries; i++) places[i] = i;
    return 0;
#else
    return ENOSYS;
#endif
}

/* --- the batch ---------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject *owner, *key, *data;
    DirectSend *direct;
    int32_t result;
} Slot;

typedef struct {
    PyObject_HEAD
    Ring ring;
    int failure;             /* errno for which the ring was given up; 0: it was not */
    PyObject *enter;         /* takes the place of io_uring_enter in tests */
    Slot slots[SLOTS];
    uint32_t queued;
    uint64_t submission, batch; /* numbers of the current ones */
    PyObject *unsent;        /* what `finish` will return */
    PyObject *blocked;       /* of this batch: what took less than everything and is no direct */
    PyObject *kept;          /* bytes that the kernel might still read, because their sends have no completion */
    unsigned long long sends, submissions;
} Batch;

static int enter(Batch *self, uint32_t submit, uint32_t wait) {
#ifdef __linux__
    if (!self->enter) return (int)syscall(ENTER, self->ring.fd, submit, wait, GET_EVENTS, NULL, 0);
    PyGILState_STATE held = PyGILState_Ensure();
    PyObject *said = PyObject_CallFunction(self->enter, "iII", self->ring.fd, submit, wait);
    long result = said ? PyLong_AsLong(said) : -EIO;
    Py_XDECREF(said);
    PyErr_Clear();
    PyGILState_Release(held);
    if (result >= 0) return (int)result;
    errno = (int)-result;
#else
    (void)self, (void)submit, (void)wait;
    errno = ENOSYS;
#endif
    return -1;
}

/* Takes the completions that there are; returns how many of this submission. */
static uint32_t reap(Batch *self) {
    Ring *ring = &self->ring;
    uint32_t at = *ring->done_head, end = __atomic_load_n(ring->done_tail, __ATOMIC_ACQUIRE), found = 0;
    for (; at != end; at++) {
        Completion *done = &ring->done[at & ring->done_mask];
        uint64_t number = done->user_data - ring->first;
        if (number >= self->queued || self->slots[number].result != BEGUN) continue;
        self->slots[number].result = done->result;
        found++;
    }
    __atomic_store_n(ring->done_head, at, __ATOMIC_RELEASE);
    return found;
}

/*
 * Submits all slots and waits for their completions. On return, each slot has its result, or NOT_BEGUN; or BEGUN, if the
 * kernel took it and refuses to say what became of it. Without the GIL.
 */
static void submit_by_ring(Batch *self) {
    Ring *ring = &self->ring;
    uint32_t count = self->queued, base = *ring->tail, taken = 0, known = 0;
    for (uint32_t i = 0; i < count; i++) {
        Slot *slot = &self->slots[i];
        slot->result = BEGUN;
        ring->entries[(base + i) & ring->mask] = (Entry){
            .opcode = OPCODE_SEND,
            .fd = slot->direct->fd,
            .address = (uint64_t)(uintptr_t)PyBytes_AS_STRING(slot->data),
            .length = (uint32_t)PyBytes_GET_SIZE(slot->data),
            .message_flags = MSG_DONTWAIT | MSG_NOSIGNAL,
            .user_data = ring->first + i,
        };
    }
    __atomic_store_n(ring->tail, base + count, __ATOMIC_RELEASE);
    while (known < count && !self->failure) {
        uint32_t before = taken + known;
        int said = enter(self, count - taken, count - known);
        int problem = said < 0 ? errno : 0;
        taken = __atomic_load_n(ring->head, __ATOMIC_ACQUIRE) - base;
        known += reap(self);
        if (problem == EINTR) continue;
        if (problem || taken + known == before) self->failure = problem ? problem : EIO;
    }
    if (self->failure) {
        /* What was taken was completed at once; so this waits only where something is amiss. */
        int tries = 0;
        while (known < taken && tries++ < 100 && (enter(self, 0, taken - known) >= 0 || errno == EINTR)) known += reap(self);
        known += reap(self);
        for (uint32_t i = taken; i < count; i++) self->slots[i].result = NOT_BEGUN;
    }
    ring->first += count;
}

static void submit_by_send(Batch *self) {
    for (uint32_t i = 0; i < self->queued; i++) {
        Slot *slot = &self->slots[i];
        if (slot->result != NOT_BEGUN) continue;
        ssize_t sent = send_now(slot->direct->fd, PyBytes_AS_STRING(slot->data), (size_t)PyBytes_GET_SIZE(slot->data));
        slot->result = sent < 0 ? -errno : (int32_t)sent;
    }
}

static int note_unsent(Batch *self, PyObject *owner, PyObject *key, PyObject *data, Py_ssize_t sent) {
    PyObject *item = Py_BuildValue("(OOOn)", owner, key, data, sent);
    int failed = !item || PyList_Append(self->unsent, item);
    Py_XDECREF(item);
    return failed ? -1 : 0;
}

/* Sends what is queued. Returns -1 with an exception if there is no memory to say what was not sent. */
static int submit(Batch *self) {
    if (!self->queued) return 0;
    int failed = 0, by_ring = self->ring.fd >= 0;
    Py_BEGIN_ALLOW_THREADS
    if (by_ring) submit_by_ring(self);
    if (!by_ring || self->failure) submit_by_send(self);
    Py_END_ALLOW_THREADS
    self->submissions++;
    for (uint32_t i = 0; i < self->queued; i++) {
        Slot *slot = &self->slots[i];
        Py_ssize_t size = PyBytes_GET_SIZE(slot->data), sent = slot->result;
        if (slot->result == BEGUN) {
            /* Nobody can say what the client got: it must get nothing more, and come back. */
            shutdown(slot->direct->fd, SHUT_RDWR);
            failed |= PyList_Append(self->kept, slot->data);
        } else if (sent != size) {
            slot->direct->blocked_in = self->batch;
            failed |= note_unsent(self, slot->owner, slot->key, slot->data, sent < 0 ? 0 : sent);
        }
    }
    uint32_t count = self->queued;
    self->queued = 0;
    self->submission++;
    for (uint32_t i = 0; i < count; i++) {
        Slot slot = self->slots[i];
        Py_DECREF(slot.owner);
        Py_DECREF(slot.key);
        Py_DECREF(slot.data);
        Py_DECREF(slot.direct);
    }
    if (self->failure && self->ring.fd >= 0 && !PyList_GET_SIZE(self->kept)) ring_close(&self->ring);
    else if (self->failure && self->ring.fd >= 0) {
        close(self->ring.fd); /* the memory stays, for it is not known who uses it */
        self->ring.fd = -1;
    }
    return failed ? -1 : 0;
}

static int queue(Batch *self, PyObject *owner, PyObject *key, DirectSend *direct, PyObject *data) {
    if (direct->queued_in == self->submission && submit(self)) return -1;
    if (direct->blocked_in == self->batch) return note_unsent(self, owner, key, data, 0);
    direct->queued_in = self->submission;
    self->slots[self->queued++] = (Slot){
        .owner = Py_NewRef(owner),
        .key = Py_NewRef(key),
        .data = Py_NewRef(data),
        .direct = (DirectSend *)Py_NewRef((PyObject *)direct),
        .result = NOT_BEGUN,
    };
    self->sends++;
    return self->queued == SLOTS ? submit(self) : 0;
}

/* Sends through something else than a direct send: TLS, or a test's. */
static int call(Batch *self, PyObject *owner, PyObject *key, PyObject *send, PyObject *data) {
    int blocked = PyList_GET_SIZE(self->blocked) ? PySequence_Contains(self->blocked, send) : 0;
    if (blocked) return blocked < 0 ? -1 : note_unsent(self, owner, key, data, 0);
    Py_ssize_t sent = 0;
    PyObject *said = PyObject_CallOneArg(send, data);
    if (said) {
        sent = PyLong_AsSsize_t(said);
        Py_DECREF(said);
        if (sent == -1 && PyErr_Occurred()) return -1;
    } else if (PyErr_ExceptionMatches(PyExc_OSError)) PyErr_Clear();
    else return -1;
    self->sends++;
    if (sent == PyBytes_GET_SIZE(data)) return 0;
    return PyList_Append(self->blocked, send) || note_unsent(self, owner, key, data, sent) ? -1 : 0;
}

/* The same for the items of `sends` from number `begin` on; calls into Python may change the dictionary. */
static int add_others(Batch *self, PyObject *owner, PyObject *sends, Py_ssize_t begin, PyObject *data) {
    PyObject *items = PyDict_Items(sends);
    if (!items) return -1;
    int failed = 0;
    for (Py_ssize_t i = begin; i < PyList_GET_SIZE(items) && !failed; i++) {
        PyObject *item = PyList_GET_ITEM(items, i), *key = PyTuple_GET_ITEM(item, 0), *send = PyTuple_GET_ITEM(item, 1);
        if (Py_IS_TYPE(send, &DirectSendType)) failed = queue(self, owner, key, (DirectSend *)send, data);
        else failed = call(self, owner, key, send, data);
    }
    Py_DECREF(items);
    return failed;
}

static PyObject *joined(PyObject *parts) {
    Py_ssize_t count = PyList_GET_SIZE(parts), size = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *part = PyList_GET_ITEM(parts, i);
        if (!PyBytes_CheckExact(part)) return PyErr_Format(PyExc_TypeError, "parts are bytes, not %R", Py_TYPE(part));
        if (PyBytes_GET_SIZE(part) > INT32_MAX - size) return PyErr_Format(PyExc_OverflowError, "too many bytes");
        size += PyBytes_GET_SIZE(part);
    }
    if (count == 1) return Py_NewRef(PyList_GET_ITEM(parts, 0));
    PyObject *data = PyBytes_FromStringAndSize(NULL, size);
    if (!data) return NULL;
    char *at = PyBytes_AS_STRING(data);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *part = PyList_GET_ITEM(parts, i);
        memcpy(at, PyBytes_AS_STRING(part), (size_t)PyBytes_GET_SIZE(part));
        at += PyBytes_GET_SIZE(part);
    }
    return data;
}

static PyObject *batch_add(Batch *self, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 3 || !PyDict_Check(arguments[1]) || !PyList_Check(arguments[2]))
        return PyErr_Format(PyExc_TypeError, "add(owner, sends: dict, parts: list)");
    PyObject *owner = arguments[0], *sends = arguments[1], *data = joined(arguments[2]);
    if (!data) return NULL;
    Py_ssize_t place = 0, number = 0;
    PyObject *key, *send;
    int failed = 0;
    for (; !failed && PyDict_Next(sends, &place, &key, &send); number++) {
        if (!Py_IS_TYPE(send, &DirectSendType)) {
            failed = add_others(self, owner, sends, number, data);
            break;
        }
        failed = queue(self, owner, key, (DirectSend *)send, data);
    }
    Py_ssize_t size = PyBytes_GET_SIZE(data);
    Py_DECREF(data);
    return failed ? NULL : PyLong_FromSsize_t(size);
}

static PyObject *batch_finish(Batch *self, PyObject *Py_UNUSED(nothing)) {
    int failed = submit(self);
    PyObject *unsent = self->unsent, *fresh = PyList_New(0);
    if (failed || !fresh) {
        Py_XDECREF(fresh);
        return NULL;
    }
    self->unsent = fresh;
    self->batch++;
    if (PyList_GET_SIZE(self->blocked) && PyList_SetSlice(self->blocked, 0, PY_SSIZE_T_MAX, NULL)) {
        Py_DECREF(unsent);
        return NULL;
    }
    return unsent;
}

static PyObject *batch_close(Batch *self, PyObject *Py_UNUSED(nothing)) {
    if (self->ring.fd >= 0) ring_close(&self->ring);
    Py_RETURN_NONE;
}

static PyObject *batch_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *names[] = {"ring", "enter", NULL};
    int ring = 0;
    PyObject *instead = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|pO:Batch", names, &ring, &instead)) return NULL;
    Batch *self = (Batch *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->ring.fd = -1;
    self->submission = self->batch = 1; /* 0 marks a direct send that was in none */
    self->enter = instead == Py_None ? NULL : Py_NewRef(instead);
    self->unsent = PyList_New(0);
    self->blocked = PyList_New(0);
    self->kept = PyList_New(0);
    int problem = 0;
    if (!self->unsent || !self->blocked || !self->kept || (ring && (problem = ring_open(&self->ring)))) {
        Py_DECREF(self);
        if (!problem) return NULL;
        errno = problem;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return (PyObject *)self;
}

static void batch_dealloc(Batch *self) {
    if (self->ring.fd >= 0) ring_close(&self->ring);
    for (uint32_t i = 0; i < self->queued; i++) {
        Py_DECREF(self->slots[i].owner);
        Py_DECREF(self->slots[i].key);
        Py_DECREF(self->slots[i].data);
        Py_DECREF(self->slots[i].direct);
    }
    Py_XDECREF(self->enter);
    Py_XDECREF(self->unsent);
    Py_XDECREF(self->blocked);
    /* `kept` is never freed: the kernel might still read what is in it. */
    if (self->kept && !PyList_GET_SIZE(self->kept)) Py_DECREF(self->kept);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *batch_method(Batch *self, void *Py_UNUSED(closure)) {
    return PyUnicode_FromString(self->ring.fd >= 0 ? "io_uring" : "send");
}

static PyObject *batch_failure(Batch *self, void *Py_UNUSED(closure)) {
    return PyLong_FromLong(self->failure);
}

static PyObject *batch_sends(Batch *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLongLong(self->sends);
}

static PyObject *batch_submissions(Batch *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLongLong(self->submissions);
}

static PyMethodDef batch_methods[] = {
    {"add", (PyCFunction)(void (*)(void))batch_add, METH_FASTCALL, "Queue parts for every value of a dictionary."},
    {"finish", (PyCFunction)batch_finish, METH_NOARGS, "Send what is queued; returns what was not taken."},
    {"close", (PyCFunction)batch_close, METH_NOARGS, "Close the ring; send() from now on."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef batch_attributes[] = {
    {"method", (getter)batch_method, NULL, "What it sends by now: io_uring or send.", NULL},
    {"failure", (getter)batch_failure, NULL, "The errno for which the ring was given up; 0 if it was not.", NULL},
    {"sends", (getter)batch_sends, NULL, "Sends so far.", NULL},
    {"submissions", (getter)batch_submissions, NULL, "Submissions so far.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject BatchType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "depthcast.gateway.runtime._batch.Batch",
    .tp_basicsize = sizeof(Batch),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "The sends of one flush.",
    .tp_new = batch_new,
    .tp_dealloc = (destructor)batch_dealloc,
    .tp_methods = batch_methods,
    .tp_getset = batch_attributes,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_batch", "Sends of one flush, handed to the kernel together.", -1, NULL, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__batch(void) {
    if (PyType_Ready(&DirectSendType) || PyType_Ready(&BatchType)) return NULL;
    PyObject *made = PyModule_Create(&module);
    if (!made) return NULL;
    if (PyModule_AddObjectRef(made, "DirectSend", (PyObject *)&DirectSendType) ||
        PyModule_AddObjectRef(made, "Batch", (PyObject *)&BatchType) ||
        PyModule_AddIntConstant(made, "SLOTS", SLOTS)) {
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
