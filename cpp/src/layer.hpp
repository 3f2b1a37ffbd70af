// A layer has its widths, and says where its weights lie.
//
// The weights of an elementwise layer lie like those of a dense one without inputs: as a bias row. So blocks,
// updates and states need not tell them apart.
#pragma once

#include "densegrad/network.hpp"

#include "../kernels/contract.hpp"

namespace densegrad {

template <class T> struct Layer {
    Index n_in, n_out;
    Activation activation; // y = a(z); of elementwise layers the identity
    double dropout;
    bool trainable = true;
    LayerRates rates{};
    CustomActivation custom{};
    LayerKind kind = LayerKind::dense;
    Activation blended = Activation::identity; // the activation of a blend
    Index n_levels = 1;                        // as in Head; of hidden layers 1
    Index first_weight = 0;                    // where its weights begin, among those of all layers
    T *weights = nullptr;                      // [ceil(n_out / kLanes)][rows()][kLanes]
    // [ceil(n_in / kLanes)][n_out][kLanes]; null until a backward pass needs it, which it never does for
    // elementwise layers
    T *transposed = nullptr;
    T *gradient = nullptr; // like weights; null until somebody asks for it
    bool transposed_is_current = false;

    Index weight_count() const { return line_count<T>(n_out) * panel(); }
    Index transposed_count() const { return elementwise() ? 0 : line_count<T>(n_in) * n_out * kLanes<T>; }
    bool elementwise() const { return is_elementwise(kind); }
    Index weights_in() const { return elementwise() ? 0 : n_in; } // rows of the weights above the bias row
    Index rows() const { return weights_in() + 1; }               // of the weights
    Index panel() const { return rows() * kLanes<T>; }            // numbers from one panel to the next
    // Multiplications a row, padding included.
    double work() const {
        constexpr double kWorkOfElement = 16.0; // an activation takes about so many multiplications
        return work(elementwise() ? kWorkOfElement : static_cast<double>(n_in));
    }
    // The same for a sparse row of so many entries. One takes as long as several inputs of a dense row.
    double sparse_work(double entries) const { return work(4.0 * entries); }
    Index blocks() const { return block_count<T>(weights_in(), n_out); }
    BlockPosition<T> block(Index number) const { return {weights_in(), n_out, number}; }
    Index parameters() const { return rows() * n_out; } // without padding
    Head head() const { return {activation, n_levels}; }
    LocalGradient local_gradient() const { return kActivations[static_cast<int>(activation)].local_gradient; }

  private:
    double work(double inputs) const {
        return (inputs + 1.0) * static_cast<double>(line_count<T>(n_out) * kLanes<T>);
    }
};

} // namespace densegrad
