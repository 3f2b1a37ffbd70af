// This file gives the kernels in use.
#pragma once

#include "../kernels/contract.hpp"

#include <type_traits>

namespace densegrad {

const KernelTable &kernel_table();

template <class T> const Kernels<T> &kernels() {
    if constexpr (std::is_same_v<T, float>)
        return kernel_table().float32;
    else
        return kernel_table().float64;
}

} // namespace densegrad
