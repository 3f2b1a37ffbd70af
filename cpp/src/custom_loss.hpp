// A custom loss gets y_(L) in C order, and gives back the losses and L'_(L) of the rows.
#pragma once

#include "densegrad/trainer.hpp"

#include "lines.hpp"
#include "pass.hpp"

#include <cstddef>
#include <vector>

namespace densegrad {

template <class T> class CustomLossExchange {
  public:
    CustomLossExchange(CustomLoss function, void *context, Index rows, Index n_out)
        : function_(function), context_(context), n_out_(n_out),
          output_(static_cast<std::size_t>(rows * n_out)), loss_gradient_(output_.size()),
          row_numbers_(static_cast<std::size_t>(rows)) {}

    // Turns y_(L) of the pass into its row_loss and, times the weights of the rows, L'_(L) in delta[L].
    // Returns false if the loss asks to stop.
    bool run(const Pass<T> &pass, const Batch<T> &batch, Index count) {
        lines_to_rows<T>(pass.output.back(), pass.stride, count, n_out_, output_.data());
        for (Index r = 0; r < count; ++r)
            row_numbers_[static_cast<std::size_t>(r)] = batch.row_number(r);
        if (!function_(context_, output_.data(), row_numbers_.data(), count, loss_gradient_.data(),
                       pass.row_loss))
            return false;
        for (Index r = 0; r < count; ++r) {
            const double *weight = batch.targets.sample_weight;
            const double scale = batch.weight_scale * (weight ? weight[batch.row_number(r)] : 1.0);
            for (Index c = 0; c < n_out_; ++c)
                if (T &slot = loss_gradient_[static_cast<std::size_t>(r * n_out_ + c)]; scale == 0.0)
                    slot = T(0); // also if it is no number
                else
                    slot *= static_cast<T>(scale);
        }
        const RowsView view{loss_gradient_.data(), Precision<T>::scalar, count, n_out_, n_out_, 1};
        rows_to_lines<T>(view, pass.delta.back(), pass.stride);
        return true;
    }

  private:
    CustomLoss function_;
    void *context_;
    Index n_out_;
    std::vector<T> output_, loss_gradient_; // C order
    std::vector<Index> row_numbers_;
};

} // namespace densegrad
