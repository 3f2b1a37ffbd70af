// This file splits rows, inputs and outputs.
#pragma once

#include "contract.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

constexpr Index min_index(Index a, Index b) { return a < b ? a : b; }
constexpr Index max_index(Index a, Index b) { return a > b ? a : b; }

// Splits `total` into ceil(total / most) runs of nearly equal size; the first ones are one longer.
struct EvenSplit {
    Index count, size, longer;
    EvenSplit(Index total, Index most)
        : count((total + most - 1) / most), size(count > 0 ? total / count : 0),
          longer(total - size * count) {}
    int operator[](Index i) const { return static_cast<int>(size + (i < longer ? 1 : 0)); }
};

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
