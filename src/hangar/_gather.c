/* Batch gather with checksums: copies many samples of one size out of a mapped file and verifies the XXH3-64 of each copy, in one pass.

   XXH3-64 with a seed is written from its specification (github.com/Cyan4973/xxHash, doc/xxhash_spec.md). Tests check that it equals
   the xxhash package bit for bit. The checksum is computed of the copy, so the returned bytes are the checked bytes.
   The GIL is released for all but small batches. `gathering.py` calls this module, and has a fallback for installations without it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "words are read in native byte order: only for little-endian processors"
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { SECRET_BYTES = 192, STRIPE_BYTES = 64, BLOCK_STRIPES = 16, BLOCK_BYTES = STRIPE_BYTES * BLOCK_STRIPES };
enum { LONG_BYTES = 240 };
/* For a smaller batch, releasing and taking the GIL costs more than the batch itself. */
enum { UNLOCKED_BYTES = 65536 };
/* Software prefetch: this many rows ahead, at most AHEAD_BYTES of each. */
enum { AHEAD_ROWS = 2, AHEAD_BYTES = 1024, LINE_BYTES = 64, AHEAD_ENTRIES = 8 };

#define PRIME32_1 0x9E3779B1U
#define PRIME32_2 0x85EBCA77U
#define PRIME32_3 0xC2B2AE3DU
#define PRIME64_1 0x9E3779B185EBCA87ULL
#define PRIME64_2 0xC2B2AE3D27D4EB4FULL
#define PRIME64_3 0x165667B19E3779F9ULL
#define PRIME64_4 0x85EBCA77C2B2AE63ULL
#define PRIME64_5 0x27D4EB2F165667C5ULL
#define PRIME_MX1 0x165667919E3779F9ULL
#define PRIME_MX2 0x9FB21C651E98DF25ULL

static const uint64_t ACCUMULATORS[8] = {PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3,
                                         PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1};

static const uint8_t SECRET[SECRET_BYTES] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c, 0xde, 0xd4, 0x6d, 0xe9,
    0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f, 0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78,
    0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21, 0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6,
    0x81, 0x3a, 0x26, 0x4c, 0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8, 0xa8, 0xfa, 0x76, 0x3f,
    0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d, 0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31,
    0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64, 0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff,
    0xfa, 0x13, 0x63, 0xeb, 0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce, 0x45, 0xcb, 0x3a, 0x8f,
    0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

static inline uint32_t read32(const uint8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static inline uint64_t read64(const uint8_t *from)
{
    uint64_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static inline uint64_t rotate(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

__extension__ typedef unsigned __int128 wide;

/* The XOR of the two halves of a 128-bit product. */
static inline uint64_t fold(uint64_t a, uint64_t b)
{
    const wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t avalanche(uint64_t h)
{
    h = (h ^ h >> 37) * PRIME_MX1;
    return h ^ h >> 32;
}

static inline uint64_t avalanche_short(uint64_t h)
{
    h = (h ^ h >> 33) * PRIME64_2;
    h = (h ^ h >> 29) * PRIME64_3;
    return h ^ h >> 32;
}

static inline uint64_t mix16(const uint8_t *data, const uint8_t *secret, uint64_t seed)
{
    return fold(read64(data) ^ (read64(secret) + seed), read64(data + 8) ^ (read64(secret + 8) - seed));
}

static uint64_t hash_up_to_16(const uint8_t *data, size_t size, uint64_t seed)
{
    if (size > 8) {
        const uint64_t low = read64(data) ^ ((read64(SECRET + 24) ^ read64(SECRET + 32)) + seed);
        const uint64_t high = read64(data + size - 8) ^ ((read64(SECRET + 40) ^ read64(SECRET + 48)) - seed);
        return avalanche(size + __builtin_bswap64(low) + high + fold(low, high));
    }
    if (size >= 4) {
        seed ^= (uint64_t)__builtin_bswap32((uint32_t)seed) << 32;
        const uint64_t both = read32(data + size - 4) + ((uint64_t)read32(data) << 32);
        uint64_t h = both ^ ((read64(SECRET + 8) ^ read64(SECRET + 16)) - seed);
        h ^= rotate(h, 49) ^ rotate(h, 24);
        h *= PRIME_MX2;
        h ^= (h >> 35) + size;
        h *= PRIME_MX2;
        return h ^ h >> 28;
    }
    if (size) {
        const uint32_t joined = (uint32_t)data[0] << 16 | (uint32_t)data[size >> 1] << 24 | data[size - 1] | (uint32_t)size << 8;
        return avalanche_short(joined ^ ((read32(SECRET) ^ read32(SECRET + 4)) + seed));
    }
    return avalanche_short(seed ^ read64(SECRET + 56) ^ read64(SECRET + 64));
}

static uint64_t hash_up_to_240(const uint8_t *data, size_t size, uint64_t seed)
{
    uint64_t acc = size * PRIME64_1;
    if (size <= 128) {
        for (size_t i = (size - 1) / 32 + 1; i--;) {
            acc += mix16(data + 16 * i, SECRET + 32 * i, seed);
            acc += mix16(data + size - 16 * (i + 1), SECRET + 32 * i + 16, seed);
        }
        return avalanche(acc);
    }
    for (size_t i = 0; i < 8; i++)
        acc += mix16(data + 16 * i, SECRET + 16 * i, seed);
    acc = avalanche(acc);
    for (size_t i = 8; i < size / 16; i++)
        acc += mix16(data + 16 * i, SECRET + 16 * (i - 8) + 3, seed);
    return avalanche(acc + mix16(data + size - 16, SECRET + 136 - 17, seed));
}

static uint64_t merge(const uint64_t *acc, size_t size, const uint8_t *secret)
{
    uint64_t h = size * PRIME64_1;
    for (int i = 0; i < 4; i++)
        h += fold(acc[2 * i] ^ read64(secret + 11 + 16 * i), acc[2 * i + 1] ^ read64(secret + 11 + 16 * i + 8));
    return avalanche(h);
}

static void stripe(uint64_t *acc, const uint8_t *data, const uint8_t *secret)
{
    for (int i = 0; i < 8; i++) {
        const uint64_t value = read64(data + 8 * i), key = value ^ read64(secret + 8 * i);
        acc[i ^ 1] += value;
        acc[i] += (uint64_t)(uint32_t)key * (key >> 32);
    }
}

static uint64_t hash_long(const uint8_t *data, size_t size, const uint8_t *secret)
{
    uint64_t acc[8];
    const size_t blocks = (size - 1) / BLOCK_BYTES;

    memcpy(acc, ACCUMULATORS, sizeof acc);
    for (size_t block = 0; block < blocks; block++, data += BLOCK_BYTES) {
        for (size_t at = 0; at < BLOCK_STRIPES; at++)
            stripe(acc, data + STRIPE_BYTES * at, secret + 8 * at);
        for (int i = 0; i < 8; i++)
            acc[i] = (acc[i] ^ acc[i] >> 47 ^ read64(secret + SECRET_BYTES - STRIPE_BYTES + 8 * i)) * PRIME32_1;
    }
    const size_t rest = size - blocks * BLOCK_BYTES;
    for (size_t at = 0; at < (rest - 1) / STRIPE_BYTES; at++)
        stripe(acc, data + STRIPE_BYTES * at, secret + 8 * at);
    stripe(acc, data + rest - STRIPE_BYTES, secret + SECRET_BYTES - STRIPE_BYTES - 7);
    return merge(acc, size, secret);
}

#if defined(__x86_64__)
#define WIDTH 4
#define TARGET __attribute__((target("avx2")))
#define NAME(x) x##_4
#define VECTOR __m256i
#define LOAD(from) _mm256_loadu_si256((const __m256i *)(from))
#define STORE(to, value) _mm256_storeu_si256((__m256i *)(to), value)
#define XOR _mm256_xor_si256
#define ADD _mm256_add_epi64
#define SWAP(value) _mm256_shuffle_epi32(value, 0x4E)
#define RIGHT _mm256_srli_epi64
#define LEFT _mm256_slli_epi64
#define MULTIPLY _mm256_mul_epu32
#define PRIME _mm256_set1_epi64x(PRIME32_1)
#include "_gather_lanes.h"

#define WIDTH 8
#define TARGET __attribute__((target("avx512f")))
#define NAME(x) x##_8
#define VECTOR __m512i
#define LOAD(from) _mm512_loadu_si512(from)
#define STORE(to, value) _mm512_storeu_si512(to, value)
#define XOR _mm512_xor_si512
#define ADD _mm512_add_epi64
#define SWAP(value) _mm512_shuffle_epi32(value, _MM_PERM_BADC)
#define RIGHT _mm512_srli_epi64
#define LEFT _mm512_slli_epi64
#define MULTIPLY _mm512_mul_epu32
#define PRIME _mm512_set1_epi64(PRIME32_1)
#include "_gather_lanes.h"
#endif

static uint64_t copy_long(const uint8_t *data, uint8_t *out, size_t size, const uint8_t *secret)
{
    memcpy(out, data, size);
    return hash_long(out, size, secret);
}

typedef uint64_t (*hash_function)(const uint8_t *, size_t, const uint8_t *);
typedef uint64_t (*copy_function)(const uint8_t *, uint8_t *, size_t, const uint8_t *);
typedef struct {
    const char *name;
    hash_function hash_long;
    copy_function copy_long;
} width;

static const width WIDTHS[] = {
#if defined(__x86_64__)
    {"avx512f", hash_long_8, copy_long_8},
    {"avx2", hash_long_4, copy_long_4},
#endif
    {"portable", hash_long, copy_long},
};
#include "_widths.h"

/* State of the hash function for one seed: the seed, and for long inputs the secret derived from it. */
typedef struct {
    uint64_t seed;
    const width *kernel;
    uint8_t secret[SECRET_BYTES];
} hasher;

static void prepare(hasher *h, uint64_t seed)
{
    h->seed = seed;
    h->kernel = &WIDTHS[chosen];
    for (int i = 0; i < SECRET_BYTES; i += 16) {
        const uint64_t low = read64(SECRET + i) + seed, high = read64(SECRET + i + 8) - seed;
        memcpy(h->secret + i, &low, 8);
        memcpy(h->secret + i + 8, &high, 8);
    }
}

static inline uint64_t hash(const hasher *h, const uint8_t *data, size_t size)
{
    if (size > LONG_BYTES)
        return h->kernel->hash_long(data, size, h->secret);
    return size > 16 ? hash_up_to_240(data, size, h->seed) : hash_up_to_16(data, size, h->seed);
}

/* Copy an input and hash the copy. */
static inline uint64_t copy(const hasher *h, const uint8_t *data, uint8_t *out, size_t size)
{
    if (size > LONG_BYTES)
        return h->kernel->copy_long(data, out, size, h->secret);
    memcpy(out, data, size);
    return hash(h, out, size);
}

/* Samples of one size to copy out of a file. Entry e is at offsets[e], and its checksum is checks[e], in an offset table XORed with e. */
typedef struct {
    const uint8_t *source;
    size_t length, size, entries;
    const uint64_t *offsets, *checks;
    const int64_t *positions; /* the entries to copy, or NULL: those from `first` on */
    size_t first;
    int table;
} samples;

/* Each position and offset is read only once (`volatile`): another thread or process may change it between check and use (TOCTOU). */
static inline size_t entry_at(const samples *s, size_t i)
{
    return s->positions ? (size_t)((const volatile int64_t *)s->positions)[i] : s->first + i;
}

/* Offset of an entry; SIZE_MAX, which is beyond the file, if it is not in the table. */
static inline size_t offset_of(const samples *s, size_t entry)
{
    return entry < s->entries ? ((const volatile uint64_t *)s->offsets)[entry] : SIZE_MAX;
}

/* Index of the first sample that is outside of the file or does not match its checksum; -1 if all are right. */
static Py_ssize_t copy_samples(const hasher *h, const samples *s, uint8_t *out, size_t count)
{
    const size_t size = s->size, last = s->length - size, ahead = size < AHEAD_BYTES ? size : AHEAD_BYTES;
    size_t expected = SIZE_MAX;
    for (size_t i = 0; i < count; i++, out += size) {
        const size_t entry = entry_at(s, i), offset = offset_of(s, entry);
        const size_t next = i + AHEAD_ROWS < count ? offset_of(s, entry_at(s, i + AHEAD_ROWS)) : SIZE_MAX;
        if (s->positions && i + AHEAD_ENTRIES < count) {
            const size_t later = entry_at(s, i + AHEAD_ENTRIES);
            if (later < s->entries) {
                __builtin_prefetch(s->offsets + later);
                __builtin_prefetch(s->checks + later);
            }
        }
        if (offset > last)
            return (Py_ssize_t)i;
        /* Consecutive samples are prefetched by the hardware. */
        if (offset != expected && next <= last)
            for (size_t at = 0; at < ahead; at += LINE_BYTES)
                __builtin_prefetch(s->source + next + at);
        if (copy(h, s->source + offset, out, size) != (s->checks[entry] ^ (s->table ? entry : 0)))
            return (Py_ssize_t)i;
        expected = offset + size;
    }
    return -1;
}

static PyObject *copy_unlocked(samples *s, Py_ssize_t count, Py_buffer *out, uint64_t seed)
{
    hasher h;
    s->size = count ? (size_t)(out->len / count) : 0;
    if (out->len != (Py_ssize_t)s->size * count || (count && s->size > s->length)) {
        PyErr_SetString(PyExc_ValueError, "samples and rows do not match");
        return NULL;
    }
    prepare(&h, seed);
    PyThreadState *state = out->len >= UNLOCKED_BYTES ? PyEval_SaveThread() : NULL;
    const Py_ssize_t wrong = copy_samples(&h, s, out->buf, (size_t)count);
    if (state)
        PyEval_RestoreThread(state);
    return PyLong_FromSsize_t(wrong);
}

static PyObject *gather(PyObject *module, PyObject *args)
{
    Py_buffer source, offsets, checks, out;
    unsigned long long seed;
    PyObject *wrong = NULL;
    (void)module;

    if (!PyArg_ParseTuple(args, "y*y*y*w*K:gather", &source, &offsets, &checks, &out, &seed))
        return NULL;
    const Py_ssize_t count = offsets.len / 8;
    samples s = {.source = source.buf, .length = (size_t)source.len, .entries = (size_t)count,
                 .offsets = offsets.buf, .checks = checks.buf};
    if (offsets.len != 8 * count || checks.len != 8 * count)
        PyErr_SetString(PyExc_ValueError, "offsets and checksums do not match");
    else
        wrong = copy_unlocked(&s, count, &out, seed);
    PyBuffer_Release(&out);
    PyBuffer_Release(&checks);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&source);
    return wrong;
}

static PyObject *gather_table(PyObject *module, PyObject *args)
{
    Py_buffer source, offsets, checks, positions = {0}, out;
    PyObject *given, *wrong = NULL;
    unsigned long long seed;
    Py_ssize_t count;
    (void)module;

    if (!PyArg_ParseTuple(args, "y*y*y*Onw*K:gather_table", &source, &offsets, &checks, &given, &count, &out, &seed))
        return NULL;
    samples s = {.source = source.buf, .length = (size_t)source.len, .entries = (size_t)(offsets.len / 8),
                 .offsets = offsets.buf, .checks = checks.buf, .table = 1};
    if (PyLong_Check(given)) {
        const Py_ssize_t first = PyLong_AsSsize_t(given);
        s.first = (size_t)first;
        if (PyErr_Occurred())
            goto done;
    } else {
        if (PyObject_GetBuffer(given, &positions, PyBUF_SIMPLE))
            goto done;
        s.positions = positions.buf;
    }
    if (count < 0 || checks.len != offsets.len || offsets.len % 8 || (positions.obj && (positions.len % 8 || positions.len / 8 != count)))
        PyErr_SetString(PyExc_ValueError, "offsets, checksums and positions do not match");
    else
        wrong = copy_unlocked(&s, count, &out, seed);
done:
    if (positions.obj)
        PyBuffer_Release(&positions);
    PyBuffer_Release(&out);
    PyBuffer_Release(&checks);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&source);
    return wrong;
}

static PyObject *checksums(PyObject *module, PyObject *args)
{
    Py_buffer rows, sums;
    unsigned long long seed;
    hasher h;
    (void)module;

    if (!PyArg_ParseTuple(args, "y*w*K:checksums", &rows, &sums, &seed))
        return NULL;
    const Py_ssize_t count = sums.len / 8, size = count ? rows.len / count : 0;
    if (sums.len != 8 * count || rows.len != size * count)
        PyErr_SetString(PyExc_ValueError, "rows and sums do not match");
    else {
        const uint8_t *row = rows.buf;
        uint64_t *sum = sums.buf;
        prepare(&h, seed);
        PyThreadState *state = rows.len >= UNLOCKED_BYTES ? PyEval_SaveThread() : NULL;
        for (Py_ssize_t i = 0; i < count; i++, row += size)
            sum[i] = hash(&h, row, (size_t)size);
        if (state)
            PyEval_RestoreThread(state);
    }
    PyBuffer_Release(&sums);
    PyBuffer_Release(&rows);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef METHODS[] = {
    {"gather", gather, METH_VARARGS,
     "gather(source, offsets, checks, out, seed)\n--\n\nCopy samples; the index of the first that is not as its checksum says, or -1."},
    {"gather_table", gather_table, METH_VARARGS,
     "gather_table(source, offsets, checks, positions, count, out, seed)\n--\n\nAs gather, of some entries of an offset table, or of "
     "those from a position on."},
    {"checksums", checksums, METH_VARARGS, "checksums(rows, sums, seed)\n--\n\nChecksums of the rows of a contiguous array."},
    WIDTH_METHODS,
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, .m_name = "hangar._gather",
                                    .m_doc = "Copying and checking many samples at once.", .m_size = 0,
                                    .m_methods = METHODS};

PyMODINIT_FUNC PyInit__gather(void)
{
    detect_width();
    return PyModule_Create(&MODULE);
}
