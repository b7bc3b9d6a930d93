#include "runtime/random.h"

#include "runtime/clock.h"

#include <assert.h>
#include <sys/random.h>

static uint64_t splitmix (uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void random_seed (random_t *self, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        self->state[i] = splitmix (&seed);
}

uint64_t random_entropy (void)
{
    uint64_t seed;
    if (getrandom (&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint64_t)clock_now_ns () ^ (uint64_t)(uintptr_t)&seed;
    return seed;
}

static uint64_t rotate (uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t random_next (random_t *self)
{
    uint64_t *s = self->state;
    uint64_t result = rotate (s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate (s[3], 45);
    return result;
}

uint64_t random_below (random_t *self, uint64_t bound)
{
    assert (bound > 0);
    /* Draws below 2^64 mod bound would favour small results: draw again. */
    uint64_t threshold = (0 - bound) % bound;
    for (;;) {
        uint64_t draw = random_next (self);
        if (draw >= threshold)
            return draw % bound;
    }
}

double random_real (random_t *self)
{
    return (double)(random_next (self) >> 11) * 0x1.0p-53;
}
