#include "densegrad/shuffle.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

namespace densegrad {
namespace {

constexpr std::int64_t kDraws = 256; // made before the numbers change places

// Draws partners of numbers i, i - 1, ..., last + 1, each from 0 ... i. It throws away masked draws that are
// greater. Whether one is cannot be predicted, so there is no branch: the next draw takes its place.
void draw_partners(std::int64_t i, std::int64_t last, std::uint64_t mask, BitGenerator &bits,
                   std::int64_t *partners) {
    const bool wide = mask > std::numeric_limits<std::uint32_t>::max();
    while (i > last) {
        const std::uint64_t draw = wide ? bits.next_uint64(bits.state) : bits.next_uint32(bits.state);
        const std::int64_t partner = static_cast<std::int64_t>(draw & mask);
        *partners = partner;
        const std::int64_t found = partner <= i ? 1 : 0;
        partners += found;
        i -= found;
    }
}

} // namespace

// Does Fisher-Yates from the last number down.
void shuffle(std::int64_t *numbers, std::int64_t count, BitGenerator &bits) {
    std::int64_t partners[kDraws] = {};
    std::int64_t i = count - 1;
    while (i > 0) {
        const std::uint64_t mask = std::bit_ceil(static_cast<std::uint64_t>(i) + 1) - 1;
        const std::int64_t last = std::max(static_cast<std::int64_t>(mask / 2), i - kDraws);
        draw_partners(i, last, mask, bits, partners);
        for (const std::int64_t *partner = partners; i > last; --i)
            std::swap(numbers[i], numbers[*partner++]);
    }
}

} // namespace densegrad
