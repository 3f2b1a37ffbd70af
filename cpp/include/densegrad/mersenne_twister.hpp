// Draws of NumPy's Mersenne Twister, many at a time.
#pragma once

#include <cstdint>

namespace densegrad {

// The state of a numpy.random.MT19937: `position` words of the key, at most 624, have been used.
struct MersenneTwister {
    std::uint32_t key[624];
    std::int64_t position;
};

// Computes random_sample(count) * (2 * bound) - bound, draw for draw as NumPy does, in a quarter of the time.
void draw_uniform(MersenneTwister &twister, double bound, double *out, std::int64_t count);

} // namespace densegrad
