// The number of CPUs that this process may use is counted anew with each call. available_threads() of
// densegrad/config.hpp gives it.
#pragma once

namespace densegrad {

// From now on the process uses one CPU. A forked child is as a rule one of several that share the work.
void use_one_cpu();

} // namespace densegrad
