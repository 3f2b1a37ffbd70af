#include "densegrad/mersenne_twister.hpp"

#include "dispatch.hpp"

namespace densegrad {

std::int64_t draw_uniform(std::uint32_t *key, std::int64_t position, double bound, double *out,
                          std::int64_t count) {
    static_assert(kMersenneTwisterWords == kTwisterWords);
    return kernel_table().draw_uniform(key, position, bound, out, count);
}

} // namespace densegrad
