// This file tells what this build offers and what this machine runs.
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
bool has_openmp(); // whether the OpenMP run-time library is asked how many threads it allows
// Gives how many threads this process may use. Affinity, cgroup, OMP_NUM_THREADS and, through OpenMP,
// threadpoolctl limit it. After fork it gives 1.
int available_threads();

// For tests: if a number of threads is asked for, it is used as it is, however small the work.
void set_exact_threads(bool exact);

// Call it in the child of a fork, to which no helper thread came along. From then on available_threads() is
// 1, because a child is as a rule one of several that share the CPUs.
void after_fork_in_child();

} // namespace densegrad
