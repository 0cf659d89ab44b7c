/* Keyed BLAKE3 of LANES inputs at once, one in each lane of a vector of 32-bit words. Included once for each vector width.

   Macros to define before: LANES (a multiple of 4), TARGET (function attributes), NAME(x) (the name of x at this width), and ROTATE16
   and ROTATE8 for such a vector. Section numbers are those of the BLAKE3 paper. */

typedef uint32_t NAME(words) __attribute__((vector_size(4 * LANES)));

#define ROTATE(x, n) (((x) >> (n)) | ((x) << (32 - (n))))
#define G(a, b, c, d, x, y)                                                                                            \
    do {                                                                                                               \
        v[a] += v[b] + (x);                                                                                            \
        v[d] = ROTATE16(v[d] ^ v[a]);                                                                                  \
        v[c] += v[d];                                                                                                  \
        v[b] = ROTATE(v[b] ^ v[c], 12);                                                                                \
        v[a] += v[b] + (y);                                                                                            \
        v[d] = ROTATE8(v[d] ^ v[a]);                                                                                   \
        v[c] += v[d];                                                                                                  \
        v[b] = ROTATE(v[b] ^ v[c], 7);                                                                                 \
    } while (0)
#define ROUND(r)                                                                                                       \
    do {                                                                                                               \
        G(0, 4, 8, 12, m[ORDER[r][0]], m[ORDER[r][1]]);                                                                \
        G(1, 5, 9, 13, m[ORDER[r][2]], m[ORDER[r][3]]);                                                                \
        G(2, 6, 10, 14, m[ORDER[r][4]], m[ORDER[r][5]]);                                                               \
        G(3, 7, 11, 15, m[ORDER[r][6]], m[ORDER[r][7]]);                                                               \
        G(0, 5, 10, 15, m[ORDER[r][8]], m[ORDER[r][9]]);                                                               \
        G(1, 6, 11, 12, m[ORDER[r][10]], m[ORDER[r][11]]);                                                             \
        G(2, 7, 8, 13, m[ORDER[r][12]], m[ORDER[r][13]]);                                                              \
        G(3, 4, 9, 14, m[ORDER[r][14]], m[ORDER[r][15]]);                                                              \
    } while (0)

/* The compression function (2.2), truncated to the 8 words of a chaining value. */
TARGET static inline void NAME(compress)(NAME(words) cv[8], const NAME(words) m[16], uint32_t counter,
                                         const NAME(words) *length, uint32_t flags)
{
    const NAME(words) zero = {0};
    NAME(words) v[16];
    for (int i = 0; i < 8; i++)
        v[i] = cv[i];
    for (int i = 0; i < 4; i++)
        v[8 + i] = zero + IV[i];
    v[12] = zero + counter;
    v[13] = zero; /* the upper half of the counter: inputs are too short to use it */
    v[14] = *length;
    v[15] = zero + flags;
    ROUND(0);
    ROUND(1);
    ROUND(2);
    ROUND(3);
    ROUND(4);
    ROUND(5);
    ROUND(6);
    for (int i = 0; i < 8; i++)
        cv[i] = v[i] ^ v[i + 8];
}

/* Transpose one block of each lane, so that m[i] has word i of all lanes; 4 x 4 words at a time. */
TARGET static inline void NAME(load)(NAME(words) m[16], const uint8_t *const blocks[LANES], size_t at)
{
    quad *to = (quad *)m;
    for (int lane = 0; lane < LANES; lane += 4)
        for (int word = 0; word < 16; word += 4) {
            quad a, b, c, d;
            memcpy(&a, blocks[lane] + at + 4 * word, sizeof a);
            memcpy(&b, blocks[lane + 1] + at + 4 * word, sizeof b);
            memcpy(&c, blocks[lane + 2] + at + 4 * word, sizeof c);
            memcpy(&d, blocks[lane + 3] + at + 4 * word, sizeof d);
            const quad ac_low = LOW(a, c), ac_high = HIGH(a, c), bd_low = LOW(b, d), bd_high = HIGH(b, d);
            quad *turned = to + (word * LANES + lane) / 4;
            turned[0] = LOW(ac_low, bd_low);
            turned[LANES / 4] = HIGH(ac_low, bd_low);
            turned[2 * (LANES / 4)] = LOW(ac_high, bd_high);
            turned[3 * (LANES / 4)] = HIGH(ac_high, bd_high);
        }
}

/* Chaining value of a parent node (2.5), written to `right`. */
TARGET static inline void NAME(join)(const uint32_t key[8], const NAME(words) left[8], NAME(words) right[8], uint32_t root)
{
    const NAME(words) zero = {0}, length = zero + BLOCK_BYTES;
    NAME(words) m[16];
    for (int i = 0; i < 8; i++) {
        m[i] = left[i];
        m[i + 8] = right[i];
        right[i] = zero + key[i];
    }
    NAME(compress)(right, m, 0, &length, KEYED | PARENT | root);
}

/* Digests of LANES inputs of `count` blocks each; the last block has `left[lane]` bytes. */
TARGET static void NAME(hash)(const uint32_t key[8], const uint8_t *const inputs[], size_t count, const uint32_t left[],
                              uint8_t *const digests[])
{
    const size_t chunks = (count + CHUNK_BLOCKS - 1) / CHUNK_BLOCKS;
    const NAME(words) zero = {0}, whole = zero + BLOCK_BYTES;
    NAME(words) subtrees[DEPTH][8], cv[8], m[16], last;
    uint8_t tails[LANES][BLOCK_BYTES];
    const uint8_t *tail_blocks[LANES];
    int depth = 0;

    memset(tails, 0, sizeof tails);
    memcpy(&last, left, sizeof last);
    for (int lane = 0; lane < LANES; lane++) {
        memcpy(tails[lane], inputs[lane] + (count - 1) * BLOCK_BYTES, left[lane]);
        tail_blocks[lane] = tails[lane];
    }
    for (size_t chunk = 0; chunk < chunks; chunk++) {
        const size_t first = chunk * CHUNK_BLOCKS;
        const size_t stop = first + CHUNK_BLOCKS < count ? first + CHUNK_BLOCKS : count;
        for (int i = 0; i < 8; i++)
            cv[i] = zero + key[i];
        for (size_t block = first; block < stop; block++) {
            const uint32_t end = block + 1 < stop ? 0 : chunks == 1 ? CHUNK_END | ROOT : CHUNK_END;
            const uint32_t flags = KEYED | (block == first ? CHUNK_START : 0) | end;
            const int is_last = block + 1 == count;
            NAME(load)(m, is_last ? tail_blocks : inputs, is_last ? 0 : block * BLOCK_BYTES);
            NAME(compress)(cv, m, (uint32_t)chunk, is_last ? &last : &whole, flags);
        }
        if (chunk + 1 == chunks)
            break;
        /* The number of subtrees that are complete here is the number of trailing zero bits of the chunk count. More input follows, so
           none of them is the root. */
        for (size_t done = chunk + 1; !(done & 1); done >>= 1)
            NAME(join)(key, subtrees[--depth], cv, 0);
        memcpy(subtrees[depth++], cv, sizeof cv);
    }
    while (depth > 0) {
        depth--;
        NAME(join)(key, subtrees[depth], cv, depth ? 0 : ROOT);
    }
    for (int i = 0; i < 8; i++)
        for (int lane = 0; lane < LANES; lane++) {
            const uint32_t word = cv[i][lane];
            memcpy(digests[lane] + 4 * i, &word, sizeof word);
        }
}

#undef ROTATE
#undef G
#undef ROUND
#undef LANES
#undef TARGET
#undef NAME
#undef ROTATE16
#undef ROTATE8
