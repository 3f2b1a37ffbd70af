// What this build offers and what this machine runs.
#pragma once

#include <string>
#include <vector>

namespace densegrad {

std::vector<std::string> built_instruction_sets();     // in order of preference
std::vector<std::string> supported_instruction_sets(); // of those, what this CPU and system can run
std::string instruction_set();                         // the one in use
// Chooses the kernels: "" for the best supported one. Throws std::invalid_argument for any other name that is
// not supported here. Call it before the first network is made.
void set_instruction_set(const std::string &name);

std::string compiler();
bool has_openmp();
int available_threads(); // that this process may use: affinity, cgroup, OMP_NUM_THREADS, after fork 1

// For tests: a number of threads that is asked for is used as it is, however small the work.
void set_exact_threads(bool exact);

// After fork the child uses one thread: the team of the OpenMP runtime does not survive.
void after_fork_in_child();

} // namespace densegrad
