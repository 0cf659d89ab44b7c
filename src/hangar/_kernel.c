/* Keyed BLAKE3-256 of many small inputs, one input in each SIMD lane.

   Written from the BLAKE3 paper. Tests check that it equals the blake3 package bit for bit. Inputs that are hashed together have the
   same number of blocks of 64 bytes, hence hash trees of the same shape, so that all lanes take the same steps. The GIL is released,
   and the work is split over threads on request. `hashing.py` calls this module, and has a fallback for installations without it: on
   unsupported platforms compilation fails, and there are no workarounds. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "words are read in native byte order: only for little-endian processors"
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { BLOCK_BYTES = 64, CHUNK_BLOCKS = 16, DIGEST_BYTES = 32 };
enum { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8, KEYED = 16 };
/* Maximum input: 64 chunks, so at most 6 complete subtrees wait for their sibling on the stack. */
enum { MAX_BYTES = 65536, MAX_BLOCKS = MAX_BYTES / BLOCK_BYTES, DEPTH = 7 };
enum { MAX_LANES = 16, MAX_THREADS = 64 };

static const uint32_t IV[4] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A};

/* Message word order of each round: the permutation of table 2, applied once more for each round. */
static const uint8_t ORDER[7][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8},
    {3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1}, {10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6},
    {12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4}, {9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7},
    {11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13},
};

typedef uint32_t quad __attribute__((vector_size(16)));
#if defined(__clang__)
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define LOW(a, b) __builtin_shuffle(a, b, (quad){0, 4, 1, 5})
#define HIGH(a, b) __builtin_shuffle(a, b, (quad){2, 6, 3, 7})
#endif

#define LANES 4
#define TARGET
#define NAME(x) x##_4
#define ROTATE16(x) ROTATE(x, 16)
#define ROTATE8(x) ROTATE(x, 8)
#include "_kernel_lanes.h"

#if defined(__x86_64__)
#define LANES 8
#define TARGET __attribute__((target("avx2")))
#define NAME(x) x##_8
#define BYTES_8(...) _mm256_setr_epi8(__VA_ARGS__, __VA_ARGS__)
#define ROTATE16(x)                                                                                                    \
    ((words_8)_mm256_shuffle_epi8((__m256i)(x), BYTES_8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)))
#define ROTATE8(x)                                                                                                     \
    ((words_8)_mm256_shuffle_epi8((__m256i)(x), BYTES_8(1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12)))
#include "_kernel_lanes.h"

#define LANES 16
#define TARGET __attribute__((target("avx512f")))
#define NAME(x) x##_16
#define ROTATE16(x) ROTATE(x, 16)
#define ROTATE8(x) ROTATE(x, 8)
#include "_kernel_lanes.h"
#endif

typedef void (*hash_function)(const uint32_t *, const uint8_t *const *, size_t, const uint32_t *, uint8_t *const *);
typedef struct {
    const char *name;
    int lanes;
    hash_function hash;
} width;

static const width WIDTHS[] = {
#if defined(__x86_64__)
    {"avx512f", 16, hash_16},
    {"avx2", 8, hash_8},
#endif
    {"portable", 4, hash_4},
};
#include "_widths.h"

typedef struct {
    const uint8_t *data;
    size_t size;
    uint8_t *digest;
} input;

/* Inputs of one call: either of equal length at a fixed stride, or a table of inputs, sorted by number of blocks. */
typedef struct {
    const uint32_t *key;
    const width *kernel;
    const input *table;
    const uint8_t *base;
    Py_ssize_t stride;
    size_t size;
    uint8_t *digests;
} batch;

typedef struct {
    const batch *of;
    size_t first, stop;
} share;

static input input_at(const batch *b, size_t at)
{
    if (b->table)
        return b->table[at];
    return (input){b->base + (Py_ssize_t)at * b->stride, b->size, b->digests + at * DIGEST_BYTES};
}

/* An empty input also has one block. */
static size_t blocks_of(size_t size)
{
    return size ? (size + BLOCK_BYTES - 1) / BLOCK_BYTES : 1;
}

static void *hash_share(void *argument)
{
    const share *part = argument;
    const batch *b = part->of;
    const size_t lanes = (size_t)b->kernel->lanes;
    uint8_t unused[DIGEST_BYTES];

    for (size_t at = part->first; at < part->stop;) {
        const uint8_t *inputs[MAX_LANES];
        uint8_t *digests[MAX_LANES];
        uint32_t left[MAX_LANES];
        size_t lane = 0, blocks = 0;
        for (; lane < lanes && at < part->stop; lane++, at++) {
            const input one = input_at(b, at);
            const size_t count = blocks_of(one.size);
            if (lane && count != blocks)
                break;
            blocks = count;
            inputs[lane] = one.data;
            digests[lane] = one.digest;
            left[lane] = (uint32_t)(one.size - (count - 1) * BLOCK_BYTES);
        }
        /* Lanes without an input repeat the last input; their digests are discarded. */
        for (; lane < lanes; lane++) {
            inputs[lane] = inputs[lane - 1];
            digests[lane] = unused;
            left[lane] = left[lane - 1];
        }
        b->kernel->hash(b->key, inputs, blocks, left, digests);
    }
    return NULL;
}

static void hash_batch(const batch *b, size_t count, int threads)
{
    pthread_t started[MAX_THREADS];
    share parts[MAX_THREADS];
    int running = 0;
    const size_t step = (count / (size_t)threads + MAX_LANES) / MAX_LANES * MAX_LANES;

    for (size_t first = step; first < count; first += step) {
        parts[running] = (share){b, first, first + step < count ? first + step : count};
        if (pthread_create(&started[running], NULL, hash_share, &parts[running]))
            hash_share(&parts[running]); /* no thread could be started */
        else
            running++;
    }
    share own = {b, 0, step < count ? step : count};
    hash_share(&own);
    while (running--)
        pthread_join(started[running], NULL);
}

static int check_common(const Py_buffer *key, int threads)
{
    if (key->len != DIGEST_BYTES) {
        PyErr_SetString(PyExc_ValueError, "the key has 32 bytes");
        return 0;
    }
    if (threads < 1 || threads > MAX_THREADS) {
        PyErr_Format(PyExc_ValueError, "threads are 1 to %d", MAX_THREADS);
        return 0;
    }
    return 1;
}

static PyObject *hash_rows(PyObject *module, PyObject *args)
{
    Py_buffer key, rows, digests;
    PyObject *given_rows, *given_digests, *result = NULL;
    uint32_t key_words[8];
    int threads;
    (void)module;

    if (!PyArg_ParseTuple(args, "y*OOi:hash_rows", &key, &given_rows, &given_digests, &threads))
        return NULL;
    if (PyObject_GetBuffer(given_rows, &rows, PyBUF_STRIDES))
        goto no_rows;
    if (PyObject_GetBuffer(given_digests, &digests, PyBUF_STRIDES | PyBUF_WRITABLE))
        goto no_digests;
    if (!check_common(&key, threads))
        goto done;
    if (rows.ndim != 2 || rows.itemsize != 1 || (rows.shape[1] > 1 && rows.strides[1] != 1)) {
        PyErr_SetString(PyExc_ValueError, "rows must be a two-dimensional array of bytes with contiguous rows");
        goto done;
    }
    if (rows.shape[1] > MAX_BYTES) {
        PyErr_Format(PyExc_ValueError, "a row has at most %d bytes", MAX_BYTES);
        goto done;
    }
    if (digests.ndim != 2 || digests.itemsize != 1 || digests.shape[0] != rows.shape[0] ||
        digests.shape[1] != DIGEST_BYTES || !PyBuffer_IsContiguous(&digests, 'C')) {
        PyErr_SetString(PyExc_ValueError, "the digests have a shape of (rows, 32), in C order");
        goto done;
    }
    memcpy(key_words, key.buf, sizeof key_words);
    const batch b = {key_words,       &WIDTHS[chosen],       NULL,       rows.buf,
                     rows.strides[0], (size_t)rows.shape[1], digests.buf};
    const size_t count = (size_t)rows.shape[0];
    Py_BEGIN_ALLOW_THREADS
    hash_batch(&b, count, threads);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    PyBuffer_Release(&digests);
no_digests:
    PyBuffer_Release(&rows);
no_rows:
    PyBuffer_Release(&key);
    return result;
}

/* Counting sort of the inputs by number of blocks. */
static void sort_inputs(const input *from, input *to, size_t count)
{
    size_t place[MAX_BLOCKS + 1] = {0};
    for (size_t i = 0; i < count; i++)
        place[blocks_of(from[i].size)]++;
    for (size_t blocks = 0, before = 0; blocks <= MAX_BLOCKS; blocks++) {
        const size_t here = place[blocks];
        place[blocks] = before;
        before += here;
    }
    for (size_t i = 0; i < count; i++)
        to[place[blocks_of(from[i].size)]++] = from[i];
}

static PyObject *hash_list(PyObject *module, PyObject *args)
{
    Py_buffer key;
    PyObject *given, *kept = NULL, *result = NULL, *left = NULL;
    input *table = NULL;
    uint32_t key_words[8];
    uint8_t *digests;
    int threads;
    (void)module;

    if (!PyArg_ParseTuple(args, "y*Oi:hash_list", &key, &given, &threads))
        return NULL;
    /* A private tuple: its bytes objects stay alive and do not change while the GIL is released. */
    if (!check_common(&key, threads) || !(kept = PySequence_Tuple(given)))
        goto done;
    const Py_ssize_t count = PyTuple_GET_SIZE(kept);
    size_t inputs = 0;
    if (!(result = PyBytes_FromStringAndSize(NULL, count * DIGEST_BYTES)) || !(left = PyList_New(0)))
        goto done;
    if (!(table = PyMem_New(input, 2 * (size_t)count + 1))) {
        PyErr_NoMemory();
        goto done;
    }
    digests = (uint8_t *)PyBytes_AS_STRING(result);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *one = PyTuple_GET_ITEM(kept, i);
        if (!PyBytes_Check(one)) {
            PyErr_SetString(PyExc_TypeError, "the inputs are bytes");
            goto done;
        }
        if (PyBytes_GET_SIZE(one) > MAX_BYTES) {
            PyObject *at = PyLong_FromSsize_t(i);
            const int failed = !at || PyList_Append(left, at);
            Py_XDECREF(at);
            if (failed)
                goto done;
            memset(digests + i * DIGEST_BYTES, 0, DIGEST_BYTES);
        } else
            table[inputs++] = (input){(const uint8_t *)PyBytes_AS_STRING(one), (size_t)PyBytes_GET_SIZE(one),
                                      digests + i * DIGEST_BYTES};
    }
    memcpy(key_words, key.buf, sizeof key_words);
    Py_BEGIN_ALLOW_THREADS
    input *sorted = table + inputs;
    sort_inputs(table, sorted, inputs);
    const batch b = {key_words, &WIDTHS[chosen], sorted, NULL, 0, 0, NULL};
    hash_batch(&b, inputs, threads);
    Py_END_ALLOW_THREADS
done:
    PyMem_Free(table);
    PyBuffer_Release(&key);
    Py_XDECREF(kept);
    if (PyErr_Occurred()) {
        Py_XDECREF(result);
        Py_XDECREF(left);
        return NULL;
    }
    return Py_BuildValue("(NN)", result, left);
}

static PyMethodDef METHODS[] = {
    {"hash_rows", hash_rows, METH_VARARGS, "hash_rows(key, rows, digests, threads)\n--\n\nDigests of equally long rows."},
    {"hash_list", hash_list, METH_VARARGS,
     "hash_list(key, inputs, threads)\n--\n\nDigests of bytes objects, joined, and the positions of those that are too long."},
    WIDTH_METHODS,
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, .m_name = "hangar._kernel", .m_doc = "Keyed BLAKE3 of many inputs at once.", .m_size = 0,
    .m_methods = METHODS};

PyMODINIT_FUNC PyInit__kernel(void)
{
    detect_width();
    PyObject *module = PyModule_Create(&MODULE);
    if (module && PyModule_AddIntConstant(module, "MAX_BYTES", MAX_BYTES))
        Py_CLEAR(module);
    return module;
}
