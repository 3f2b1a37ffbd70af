// This file is behind available_threads() of densegrad/config.hpp. Each call of it counts anew how many CPUs
// this process may use.
#pragma once

namespace densegrad {

// From now on the process uses one CPU. A forked child is as a rule one of several that share the work.
void use_one_cpu();

} // namespace densegrad
