// How rows, inputs and outputs are cut into parts.
#pragma once

#include "kernels.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

constexpr Index min_index(Index a, Index b) { return a < b ? a : b; }

// Splits `total` into ceil(total / most) parts of nearly equal size; the first ones are one longer.
struct EvenParts {
    Index count, size, longer;
    EvenParts(Index total, Index most)
        : count((total + most - 1) / most), size(count > 0 ? total / count : 0),
          longer(total - size * count) {}
    int operator[](Index part) const { return static_cast<int>(size + (part < longer ? 1 : 0)); }
};

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
