// A layer has its widths, and says where its weights lie.
#pragma once

#include "densegrad/network.hpp"

#include "../kernels/contract.hpp"

namespace densegrad {

template <class T> struct Layer {
    Index n_in, n_out;
    Activation activation;
    double dropout;
    bool trainable = true;
    LayerRates rates{};
    CustomActivation custom{};
    Index n_levels = 1;      // as in Head; of hidden layers 1
    Index first_weight = 0;  // where its weights begin, among those of all layers
    T *weights = nullptr;    // [ceil(n_out / kLanes)][n_in + 1][kLanes]
    T *transposed = nullptr; // [ceil(n_in / kLanes)][n_out][kLanes]; null until a backward pass needs it
    T *gradient = nullptr;   // like weights; null until somebody asks for it
    bool transposed_is_current = false;

    Index weight_count() const { return line_count<T>(n_out) * panel(); }
    Index transposed_count() const { return line_count<T>(n_in) * n_out * kLanes<T>; }
    Index panel() const { return (n_in + 1) * kLanes<T>; } // numbers from one panel to the next
    // Multiplications a row, padding included.
    double work() const { return work(static_cast<double>(n_in)); }
    // The same for a sparse row of so many entries. One takes as long as several inputs of a dense row.
    double sparse_work(double entries) const { return work(4.0 * entries); }
    Index blocks() const { return block_count<T>(n_in, n_out); }
    BlockPosition<T> block(Index number) const { return {n_in, n_out, number}; }
    Index parameters() const { return (n_in + 1) * n_out; } // without padding
    Head head() const { return {activation, n_levels}; }
    LocalGradient local_gradient() const { return kActivations[static_cast<int>(activation)].local_gradient; }

  private:
    double work(double inputs) const {
        return (inputs + 1.0) * static_cast<double>(line_count<T>(n_out) * kLanes<T>);
    }
};

} // namespace densegrad
