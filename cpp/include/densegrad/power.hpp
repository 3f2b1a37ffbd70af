// This file raises numbers to a power for learning rate schedules.
#pragma once

namespace densegrad {

// base^exponent for 1 <= base < infinity and 0 <= exponent < infinity, with an error below 0.51 ULP and the
// same bits on every CPU. It is infinity beyond the greatest double; a base below 1 counts as 1.
double power(double base, double exponent);

} // namespace densegrad
