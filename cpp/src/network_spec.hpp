// This file says what a network may be made of: which widths, activations, heads and numbers of the losses go
// together.
#pragma once

#include "densegrad/network.hpp"

#include <cstdint>

namespace densegrad {

inline const LossRow &loss_row(Loss loss) { return kLosses[static_cast<int>(loss)]; }

// Throws std::invalid_argument if no network can be made of it.
void check_spec(const NetworkSpec &spec);
// Counts the values that a row of the target has.
std::int64_t count_targets(const NetworkSpec &spec);

} // namespace densegrad
