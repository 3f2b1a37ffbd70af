// A network is made from its description. Weights, and what a pass has left, go in and out.
#include "network_of.hpp"

#include "lines.hpp"
#include "network_spec.hpp"
#include "updates.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

namespace densegrad {

Jacobian Network::jacobian(int l) const {
    const bool head = l == depth();
    return jacobian_of(spec().layers[static_cast<std::size_t>(l - 1)].activation,
                       head ? static_cast<std::int64_t>(spec().loss.levels.size()) : 1);
}

std::int64_t Network::n_parameters() const {
    std::int64_t count = 0;
    for (int l = 1; l <= depth(); ++l)
        count += weight_rows(l) * width(l);
    return count;
}

std::unique_ptr<Network> make_network(const NetworkSpec &spec) {
    check_spec(spec);
    if (spec.scalar == Scalar::float32)
        return std::make_unique<NetworkOf<float>>(spec);
    return std::make_unique<NetworkOf<double>>(spec);
}

template <class T>
NetworkOf<T>::NetworkOf(const NetworkSpec &spec) : spec_(spec), kernels_(densegrad::kernels<T>()) {
    n_targets_ = count_targets(spec);
    for (const double level : spec.loss.levels)
        levels_.push_back(static_cast<T>(level));
    if (levels_.empty())
        levels_.push_back(static_cast<T>(spec.loss.parameter));
    Index n_in = spec.n_inputs;
    for (const LayerSpec &layer : spec.layers) {
        const bool elementwise = is_elementwise(layer.kind);
        layers_.push_back({.n_in = n_in,
                           .n_out = layer.n_units,
                           .activation = elementwise ? Activation::identity : layer.activation,
                           .dropout = layer.dropout,
                           .trainable = layer.trainable,
                           .rates = layer.rates,
                           .custom = layer.custom,
                           .kind = layer.kind,
                           .blended = elementwise ? layer.activation : Activation::identity});
        n_in = layer.n_units;
    }
    layers_.back().n_levels = std::max<Index>(1, static_cast<Index>(spec.loss.levels.size()));
    Index first_weight = 0;
    for (Layer<T> &layer : layers_) {
        checked_product(line_count<T>(layer.n_out) * kLanes<T>, layer.rows());
        weights_.plan<T>(layer.weight_count());
        layer.first_weight = first_weight;
        first_weight += layer.weight_count();
    }
    weights_.allocate();
    for (Layer<T> &layer : layers_)
        layer.weights = weights_.take<T>(layer.weight_count());
}

template <class T> LossArgs<T> NetworkOf<T>::loss_args(double smoothing_factor) const {
    Head head = layers_.back().head();
    if (head.activation == Activation::custom)
        head.activation = Activation::identity; // its y_(L) is there before the loss layer (loss_rows)
    return {.loss = spec_.loss.loss,
            .head = head,
            .n_out = layers_.back().n_out,
            .n_targets = n_targets_,
            .parameter = static_cast<T>(spec_.loss.parameter),
            .label_smoothing = static_cast<T>(spec_.loss.label_smoothing * smoothing_factor),
            .levels = levels_.data()};
}

template <class T> void NetworkOf<T>::check_layer(int l, int first) const {
    if (l < first || l > depth())
        throw std::out_of_range("layer " + std::to_string(l) + " is not in " + std::to_string(first) +
                                " ... " + std::to_string(depth()));
}

template <class T> void NetworkOf<T>::check_rows(const RowsView &rows) const {
    if (rows.n_columns != spec_.n_inputs)
        throw std::invalid_argument("X must have " + std::to_string(spec_.n_inputs) + " columns, got " +
                                    std::to_string(rows.n_columns));
}

template <class T> void NetworkOf<T>::check_targets(const Targets &targets) const {
    if (targets.classes) {
        if (loss_row(spec_.loss.loss).target == TargetKind::values)
            throw std::invalid_argument("class numbers are no targets for this loss");
        if (layers_.back().n_out > 1 && layers_.back().activation == Activation::logistic)
            throw std::invalid_argument("multi-label targets must be 0/1 of shape (batch, n_L)");
    } else if (targets.values) {
        if (targets.n_targets != n_targets_)
            throw std::invalid_argument("the target must have " + std::to_string(n_targets_) +
                                        " columns, got " + std::to_string(targets.n_targets));
    } else if (spec_.loss.loss != Loss::custom) {
        throw std::invalid_argument("the loss needs a target");
    }
}

template <class T> void NetworkOf<T>::set_weights(int l, const RowsView &weights, std::int64_t first_row) {
    check_layer(l, 1);
    if (first_row < 0 || weights.n_rows < 0 || weights.n_rows > layer(l).rows() - first_row ||
        weights.n_columns != layer(l).n_out)
        throw std::invalid_argument(
            "rows " + std::to_string(first_row) + " ... of the weights of layer " + std::to_string(l) +
            " are (" + std::to_string(weights.n_rows) + ", " + std::to_string(weights.n_columns) + "), of (" +
            std::to_string(layer(l).rows()) + ", " + std::to_string(layer(l).n_out) + ") in all");
    const Change change(caller_lock_);
    rows_to_lines<T>(weights, layer(l).weights, layer(l).panel(), first_row);
    layer(l).transposed_is_current = false;
    invalidate_cache();
}

template <class T> void NetworkOf<T>::set_parameters(const void *numbers, Scalar scalar, std::int64_t count) {
    if (count != n_parameters())
        throw std::invalid_argument("the network has " + std::to_string(n_parameters()) +
                                    " parameters, got " + std::to_string(count));
    const Change change(caller_lock_);
    const std::int64_t size = scalar == Scalar::float32 ? sizeof(float) : sizeof(double);
    const char *at = static_cast<const char *>(numbers);
    for (Layer<T> &layer : layers_) {
        const RowsView view{at, scalar, layer.rows(), layer.n_out, layer.n_out, 1};
        rows_to_lines<T>(view, layer.weights, layer.panel());
        at += size * layer.parameters();
    }
    weights_changed();
}

template <class T> void NetworkOf<T>::lines_to_parameters(const T *lines, T *out) const {
    for (const Layer<T> &layer : layers_) {
        lines_to_rows<T>(lines, layer.panel(), layer.rows(), layer.n_out, out);
        lines += layer.weight_count();
        out += layer.parameters();
    }
}

template <class T> void NetworkOf<T>::parameters_to_lines(const T *numbers, T *lines) const {
    for (const Layer<T> &layer : layers_) {
        const RowsView view{numbers, Precision<T>::scalar, layer.rows(), layer.n_out, layer.n_out, 1};
        rows_to_lines<T>(view, lines, layer.panel());
        lines += layer.weight_count();
        numbers += layer.parameters();
    }
}

template <class T> void NetworkOf<T>::get(Quantity quantity, int l, void *out) const {
    const Read read(caller_lock_);
    read_out(quantity, l, static_cast<T *>(out));
}

template <class T> void NetworkOf<T>::get_parameters(void *out) const {
    const Read read(caller_lock_);
    T *at = static_cast<T *>(out);
    for (int l = 1; l <= depth(); at += layer(l).parameters(), ++l)
        read_out(Quantity::weights, l, at);
}

template <class T> bool NetworkOf<T>::has_finite_weights() const {
    const Read read(caller_lock_);
    return std::all_of(layers_.begin(), layers_.end(), [](const Layer<T> &layer) {
        return are_finite<T>(layer.weights, layer.panel(), layer.rows(), layer.n_out);
    });
}

template <class T> std::int64_t NetworkOf<T>::cached_rows() const {
    const Read read(caller_lock_);
    return cached_rows_;
}

template <class T> void NetworkOf<T>::read_out(Quantity quantity, int l, T *out) const {
    check_layer(l, quantity == Quantity::output || quantity == Quantity::loss_gradient ? 0 : 1);
    const std::size_t i = static_cast<std::size_t>(l);
    const auto from_weights = [&](const T *lines) {
        lines_to_rows<T>(lines, layer(l).panel(), layer(l).rows(), layer(l).n_out, out);
    };
    const auto from_cache = [&](const T *lines) {
        lines_to_rows<T>(lines, cache_->stride, cached_rows_, width(l), out);
    };
    const auto need = [](bool there, const char *message) {
        if (!there)
            throw std::logic_error(message);
    };
    switch (quantity) {
    case Quantity::weights:
        return from_weights(layer(l).weights);
    case Quantity::weight_gradient:
        need(has_weight_gradients_, "there are no weight gradients before a backward pass");
        return from_weights(layer(l).gradient);
    case Quantity::output:
        need(cached_rows_ > 0, "there are no outputs before a forward pass");
        if (l == 0 && cache_->sparse)
            return cache_->sparse->write(out);
        return from_cache(cache_->output[i]);
    case Quantity::local_gradient:
        need(cached_rows_ > 0, "there are no local gradients before a forward pass");
        return read_local_gradient(l, out);
    case Quantity::loss_gradient:
        need(has_loss_gradients_, "there are no loss gradients before backpropagate");
        return from_cache(cache_->loss_gradient[i]);
    case Quantity::delta:
        need(has_loss_gradients_, "there are no loss gradients before backpropagate");
        return from_cache(cache_->delta[i]);
    }
    throw std::invalid_argument("there is no such quantity");
}

template <class T> void NetworkOf<T>::read_gradient(T *out) const {
    for (int l = 1; l <= depth(); out += layer(l).parameters(), ++l)
        read_out(Quantity::weight_gradient, l, out);
}

// dy/dz is what a loss gradient of ones becomes.
template <class T> void NetworkOf<T>::read_local_gradient(int l, T *out) const {
    if (jacobian(l) != Jacobian::diagonal)
        throw std::invalid_argument(
            "the local gradient of softmax, or of several quantile levels, is a matrix");
    const Layer<T> &at = layer(l);
    const Index count = line_count<T>(at.n_out) * cache_->stride;
    Arena arena;
    arena.plan<T>(count);
    arena.allocate();
    T *ones = arena.take<T>(count);
    std::fill(ones, ones + count, T(1));
    const std::size_t i = static_cast<std::size_t>(l);
    const HeadArgs<T> args{.output = cache_->output[i],
                           .delta = ones,
                           .local = cache_->local[i],
                           .stride = cache_->stride,
                           .n_out = at.n_out,
                           .head = at.head(),
                           .scratch = cache_->scratch[0]};
    kernels_.head_delta(args, 0, cached_rows_);
    lines_to_rows<T>(ones, cache_->stride, cached_rows_, at.n_out, out);
}

template <class T> void NetworkOf<T>::need_transposed(bool first_layer) {
    const auto allocate = [this](std::size_t begin, std::size_t end) {
        Arena arena;
        for (std::size_t i = begin; i < end; ++i)
            arena.plan<T>(layers_[i].transposed_count());
        arena.allocate();
        for (std::size_t i = begin; i < end; ++i)
            if (!layers_[i].elementwise())
                layers_[i].transposed = arena.take<T>(layers_[i].transposed_count());
        return arena;
    };
    if (layers_.size() > 1 && !layers_.back().transposed) // the head is dense
        transposed_ = allocate(1, layers_.size());
    if (first_layer && !layers_[0].elementwise() && !layers_[0].transposed)
        first_transposed_ = allocate(0, 1);
    for (std::size_t i = first_layer ? 0 : 1; i < layers_.size(); ++i) {
        Layer<T> &layer = layers_[i];
        if (layer.transposed_is_current || layer.elementwise())
            continue;
        kernels_.update_weights(refresh(layer, LayerState<T>{}, layer.transposed, false), 0, layer.blocks());
        layer.transposed_is_current = true;
    }
}

template <class T> void NetworkOf<T>::refresh_transposed(const SharedBlocks &blocks, Team &team) {
    blocks.share(team, [&](const BlockRange &range) {
        if (range.l > 1 && layers_[range.l - 1].transposed)
            kernels_.update_weights(
                refresh(layers_[range.l - 1], LayerState<T>{}, layers_[range.l - 1].transposed, false),
                range.begin, range.end);
    });
    for (std::size_t i = 1; i < layers_.size(); ++i)
        layers_[i].transposed_is_current = true;
}

template <class T> void NetworkOf<T>::need_gradients() {
    if (layers_[0].gradient)
        return;
    Arena arena;
    for (const Layer<T> &layer : layers_)
        arena.plan<T>(layer.weight_count());
    arena.allocate();
    for (Layer<T> &layer : layers_)
        layer.gradient = arena.take<T>(layer.weight_count());
    gradients_ = std::move(arena);
}

template <class T> double NetworkOf<T>::work(const RowsView &rows) const {
    const double entries =
        static_cast<double>(rows.n_stored) / static_cast<double>(std::max<Index>(rows.n_rows, 1));
    double work = reads_sparse(rows) ? layers_[0].sparse_work(entries) : layers_[0].work();
    for (std::size_t i = 1; i < layers_.size(); ++i)
        work += layers_[i].work();
    return work;
}

template <class T> int NetworkOf<T>::choose_threads(int requested, double work, Index rows, Index piece) {
    return std::min(team_size_for(work * static_cast<double>(rows), requested, kWorkOfCall),
                    team_size_for(work * static_cast<double>(piece), requested, kWorkOfPhase));
}

template <class T> bool NetworkOf<T>::has_custom_activation() const {
    return std::any_of(layers_.begin(), layers_.end(),
                       [](const Layer<T> &layer) { return layer.activation == Activation::custom; });
}

template <class T> void NetworkOf<T>::poison_padding() {
    const Change change(caller_lock_);
    const T nan = std::numeric_limits<T>::quiet_NaN();
    for (Layer<T> &layer : layers_) {
        for (T *weights : {layer.weights, layer.gradient})
            if (weights)
                fill_padding<T>(weights, layer.panel(), layer.rows(), layer.n_out, nan);
        if (layer.transposed)
            fill_padding<T>(layer.transposed, layer.n_out * kLanes<T>, layer.n_out, layer.n_in, nan);
    }
    if (!cache_)
        return;
    for (std::size_t l = 0; l <= layers_.size(); ++l)
        for (T *buffer : {cache_->output[l], cache_->local[l], cache_->delta[l], cache_->loss_gradient[l],
                          cache_->share[l]})
            if (buffer)
                fill_padding<T>(buffer, cache_->stride, cache_->rows, width(static_cast<int>(l)), nan);
}

template class NetworkOf<float>;
template class NetworkOf<double>;

} // namespace densegrad
