// How many CPUs this process may use: available_threads() of densegrad/config.hpp, counted anew with each
// call.
#pragma once

namespace densegrad {

// From now on one: a forked child is as a rule one of several that share the work.
void use_one_cpu();

} // namespace densegrad
