// Draws of NumPy's Mersenne Twister, many at a time.
#pragma once

#include <cstdint>

namespace densegrad {

inline constexpr std::int64_t kMersenneTwisterWords = 624;

// Computes random_sample(count) * (2 * bound) - bound, draw for draw as NumPy does, in a quarter of the time.
// `key` (kMersenneTwisterWords,) and `position`, how many of its words have been used, are the state of a
// numpy.random.MT19937. Overwrites the key and returns the new position.
std::int64_t draw_uniform(std::uint32_t *key, std::int64_t position, double bound, double *out,
                          std::int64_t count);

} // namespace densegrad
