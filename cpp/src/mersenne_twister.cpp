#include "densegrad/mersenne_twister.hpp"

#include "dispatch.hpp"

namespace densegrad {

void draw_uniform(MersenneTwister &twister, double bound, double *out, std::int64_t count) {
    static_assert(sizeof(twister.key) / sizeof(twister.key[0]) == kTwisterWords);
    twister.position = kernel_table().draw_uniform(twister.key, twister.position, bound, out, count);
}

} // namespace densegrad
