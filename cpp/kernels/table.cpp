// This file has the kernels of one instruction set. It is compiled once for each, with DENSEGRAD_ISA naming
// it.
#include "column_steps.hpp"
#include "contract.hpp"
#include "elementwise.hpp"
#include "gather.hpp"
#include "heads.hpp"
#include "loss_layer.hpp"
#include "mersenne_twister.hpp"
#include "product.hpp"
#include "vectors.hpp"
#include "weights.hpp"

#define DENSEGRAD_STRINGIFY_TOKEN(token) #token
#define DENSEGRAD_STRINGIFY(token) DENSEGRAD_STRINGIFY_TOKEN(token)

namespace densegrad::DENSEGRAD_ISA {
namespace {

template <class T>
constexpr Kernels<T> kKernelsOf{gather<T>,
                                pack<T>,
                                forward<T>,
                                mask<T>,
                                backward<T>,
                                elementwise_forward<T>,
                                elementwise_backward<T>,
                                loss_layer<T>,
                                head_activate<T>,
                                head_delta<T>,
                                update_weights<T>,
                                step_with_columns<T>,
                                products<T>,
                                combine<T>,
                                largest<T>};

} // namespace

constinit const KernelTable kKernels{DENSEGRAD_STRINGIFY(DENSEGRAD_ISA), draw_uniform, kKernelsOf<float>,
                                     kKernelsOf<double>};

} // namespace densegrad::DENSEGRAD_ISA
