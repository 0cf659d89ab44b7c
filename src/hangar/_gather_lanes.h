/* XXH3-64 of inputs of more than 240 bytes, with WIDTH accumulators per vector. Can copy the input in the same pass; the hash is then
   that of the stored bytes. Included once for each vector width.

   Macros to define before: WIDTH (2, 4 or 8), TARGET (function attributes), NAME(x) (the name of x at this width), VECTOR (the vector
   type) and the operations LOAD, STORE, XOR, ADD, SWAP (swap neighbouring lanes), RIGHT (shift each lane) and MULTIPLY (the lower
   halves of the lanes). */

enum { NAME(VECTORS) = 8 / WIDTH };

TARGET static inline __attribute__((always_inline)) void
NAME(stripe)(VECTOR *acc, const uint8_t *data, uint8_t *out, const uint8_t *secret)
{
    for (int i = 0; i < NAME(VECTORS); i++) {
        const VECTOR value = LOAD(data + 8 * WIDTH * i);
        if (out)
            STORE(out + 8 * WIDTH * i, value);
        const VECTOR key = XOR(value, LOAD(secret + 8 * WIDTH * i));
        acc[i] = ADD(acc[i], ADD(SWAP(value), MULTIPLY(key, RIGHT(key, 32))));
    }
}

TARGET static inline __attribute__((always_inline)) uint64_t
NAME(pass)(const uint8_t *data, uint8_t *out, size_t size, const uint8_t *secret)
{
    VECTOR acc[NAME(VECTORS)];
    uint64_t words[8];
    const size_t blocks = (size - 1) / BLOCK_BYTES;

    for (int i = 0; i < NAME(VECTORS); i++)
        acc[i] = LOAD((const uint8_t *)(ACCUMULATORS + WIDTH * i));
    for (size_t block = 0; block < blocks; block++, data += BLOCK_BYTES, out += out ? BLOCK_BYTES : 0) {
        for (size_t at = 0; at < BLOCK_STRIPES; at++)
            NAME(stripe)(acc, data + STRIPE_BYTES * at, out ? out + STRIPE_BYTES * at : NULL, secret + 8 * at);
        for (int i = 0; i < NAME(VECTORS); i++) {
            const VECTOR mixed = XOR(acc[i], RIGHT(acc[i], 47));
            const VECTOR keyed = XOR(mixed, LOAD(secret + SECRET_BYTES - STRIPE_BYTES + 8 * WIDTH * i));
            /* A 64 x 32 bit product, made of two 32 x 32 bit products. */
            acc[i] = ADD(MULTIPLY(keyed, PRIME), LEFT(MULTIPLY(RIGHT(keyed, 32), PRIME), 32));
        }
    }
    const size_t rest = size - blocks * BLOCK_BYTES;
    const size_t whole = (rest - 1) / STRIPE_BYTES;
    for (size_t at = 0; at < whole; at++)
        NAME(stripe)(acc, data + STRIPE_BYTES * at, out ? out + STRIPE_BYTES * at : NULL, secret + 8 * at);
    if (out)
        memcpy(out + STRIPE_BYTES * whole, data + STRIPE_BYTES * whole, rest - STRIPE_BYTES * whole);
    NAME(stripe)(acc, (out ? out : data) + rest - STRIPE_BYTES, NULL, secret + SECRET_BYTES - STRIPE_BYTES - 7);
    for (int i = 0; i < NAME(VECTORS); i++)
        STORE((uint8_t *)(words + WIDTH * i), acc[i]);
    return merge(words, size, secret);
}

TARGET static uint64_t NAME(hash_long)(const uint8_t *data, size_t size, const uint8_t *secret)
{
    return NAME(pass)(data, NULL, size, secret);
}

TARGET static uint64_t NAME(copy_long)(const uint8_t *data, uint8_t *out, size_t size, const uint8_t *secret)
{
    return NAME(pass)(data, out, size, secret);
}

#undef WIDTH
#undef TARGET
#undef NAME
#undef VECTOR
#undef LOAD
#undef STORE
#undef XOR
#undef ADD
#undef SWAP
#undef RIGHT
#undef LEFT
#undef MULTIPLY
#undef PRIME
