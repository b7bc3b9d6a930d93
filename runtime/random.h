/*  random - a small seeded generator for decisions that must replay

    xoshiro256** (Blackman and Vigna, 2018), seeded through splitmix64. Not for
    secrets: keys and tokens come from libsodium.
*/
#pragma once

#include <stdint.h>

typedef struct {
    uint64_t state[4];
} random_t;

/*  Any seed will do, zero too; equal seeds give equal sequences. */
void random_seed (random_t *self, uint64_t seed);
/*  A seed from the operating system. */
uint64_t random_entropy (void);

uint64_t random_next (random_t *self);
/*  Uniform in [0, bound), bound > 0, without modulo bias. */
uint64_t random_below (random_t *self, uint64_t bound);
/*  Uniform in [0, 1). */
double random_real (random_t *self);
