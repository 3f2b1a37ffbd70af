#include "dispatch.hpp"

#include "densegrad/config.hpp"

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

namespace densegrad {
namespace {

struct Implementation {
    const KernelTable *table;
    bool (*supported)();
};

// They are in order of preference. __builtin_cpu_supports asks the CPU, and whether the system saves the
// registers.
const Implementation kImplementations[] = {
#if defined(DENSEGRAD_HAVE_AVX512)
    {&avx512::kKernels,
     [] {
         return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("fma");
     }},
#endif
#if defined(DENSEGRAD_HAVE_AVX2)
    {&avx2::kKernels, [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
#endif
#if defined(DENSEGRAD_HAVE_NEON)
    {&neon::kKernels, [] { return true; }},
#endif
    {&generic::kKernels, [] { return true; }},
};

const KernelTable *best() {
#if defined(__x86_64__)
    __builtin_cpu_init(); // not every system calls it before main()
#endif
    for (const Implementation &implementation : kImplementations)
        if (implementation.supported())
            return implementation.table;
    return &generic::kKernels;
}

std::atomic<const KernelTable *> &chosen() {
    static std::atomic<const KernelTable *> table{best()};
    return table;
}

} // namespace

const KernelTable &kernel_table() { return *chosen().load(std::memory_order_relaxed); }

std::vector<std::string> built_instruction_sets() {
    std::vector<std::string> names;
    for (const Implementation &implementation : kImplementations)
        names.emplace_back(implementation.table->name);
    return names;
}

std::vector<std::string> supported_instruction_sets() {
    std::vector<std::string> names;
    for (const Implementation &implementation : kImplementations)
        if (implementation.supported())
            names.emplace_back(implementation.table->name);
    return names;
}

std::string instruction_set() { return kernel_table().name; }

void set_instruction_set(const std::string &name) {
    if (name.empty()) {
        chosen().store(best());
        return;
    }
    std::string allowed;
    for (const Implementation &implementation : kImplementations) {
        if (!implementation.supported())
            continue;
        if (name == implementation.table->name) {
            chosen().store(implementation.table);
            return;
        }
        allowed += (allowed.empty() ? "" : ", ") + std::string(implementation.table->name);
    }
    throw std::invalid_argument("instruction set '" + name +
                                "' is not available; this build on this CPU has: " + allowed);
}

std::string compiler() {
#if defined(__clang__)
    return "Clang " __clang_version__;
#else
    return "GCC " __VERSION__;
#endif
}

} // namespace densegrad
