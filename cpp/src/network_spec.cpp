#include "network_spec.hpp"

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>

namespace densegrad {
namespace {

constexpr std::int64_t kMaxWidth = std::int64_t{1} << 31;

void check_head(const LossRow &row, Activation head) {
    if (row.id == Loss::custom || head_fits(row.heads, head))
        return;
    std::string heads, others;
    for (const ActivationRow &activation : kActivations)
        if (head_fits(row.heads, activation.id) && activation.id != Activation::custom)
            heads += std::string(heads.empty() ? "" : ", ") + activation.name;
    for (const LossRow &other : kLosses)
        if (other.id != Loss::custom && head_fits(other.heads, head))
            others += std::string(others.empty() ? "" : ", ") + other.name;
    const std::string name = std::string("'") + kActivations[static_cast<int>(head)].name + "'";
    throw std::invalid_argument(std::string("loss '") + row.name +
                                "' does not go with a head of activation " + name + ", but with " + heads +
                                "; with " + name + " go the losses " + others + " and callables");
}

void check_loss(const NetworkSpec &spec) {
    const LossRow &row = loss_row(spec.loss.loss);
    const std::string loss = std::string("loss '") + row.name + "'";
    const std::int64_t n_out = spec.layers.back().n_units;
    check_head(row, spec.layers.back().activation);
    // The parameter is checked in the precision of the kernels.
    const double parameter = spec.scalar == Scalar::float32
                                 ? static_cast<double>(static_cast<float>(spec.loss.parameter))
                                 : spec.loss.parameter;
    if (row.parameter && !(parameter > row.parameter_low && parameter < row.parameter_high))
        throw std::invalid_argument(loss + ": " + row.parameter + " is out of its range");
    if (!(spec.loss.label_smoothing >= 0.0 && spec.loss.label_smoothing < 1.0))
        throw std::invalid_argument("label_smoothing must be in [0, 1)");
    const std::int64_t levels = static_cast<std::int64_t>(spec.loss.levels.size());
    if (levels > 0 && (spec.loss.loss != Loss::quantile || n_out % levels != 0))
        throw std::invalid_argument("the head must have one output for each target and quantile level");
    for (std::int64_t i = 0; i < levels; ++i) {
        const double level = spec.loss.levels[static_cast<std::size_t>(i)];
        const double before = i > 0 ? spec.loss.levels[static_cast<std::size_t>(i - 1)] : 0.0;
        if (!(level > before && level < 1.0))
            throw std::invalid_argument("quantile levels must increase within (0, 1)");
    }
    if (n_out % row.outputs_per_target != 0)
        throw std::invalid_argument(
            "loss 'gaussian_nll' needs two outputs a target: a mean and a log-variance");
}

} // namespace

void check_spec(const NetworkSpec &spec) {
    if (spec.layers.empty())
        throw std::invalid_argument("a network needs at least one layer");
    const auto check_width = [](std::int64_t width, const char *what) {
        if (width < 1 || width >= kMaxWidth)
            throw std::invalid_argument(std::string(what) + " must be in [1, 2^31), got " +
                                        std::to_string(width));
    };
    const auto check_number = [](int number, int count, const char *what) {
        if (number < 0 || number >= count)
            throw std::invalid_argument(std::string("there is no ") + what + " number " +
                                        std::to_string(number));
    };
    check_width(spec.n_inputs, "the number of inputs");
    check_number(static_cast<int>(spec.loss.loss), kLossCount, "loss");
    for (std::size_t i = 0; i < spec.layers.size(); ++i) {
        const LayerSpec &layer = spec.layers[i];
        const bool head = i + 1 == spec.layers.size();
        check_width(layer.n_units, "the number of units of a layer");
        check_number(static_cast<int>(layer.activation), kActivationCount, "activation");
        check_number(static_cast<int>(layer.kind), kLayerKindCount, "layer kind");
        const LayerKindRow &kind = kLayerKinds[static_cast<int>(layer.kind)];
        if (kind.elementwise && head)
            throw std::invalid_argument("the head must be a dense layer");
        if (kind.elementwise && layer.n_units != (i > 0 ? spec.layers[i - 1].n_units : spec.n_inputs))
            throw std::invalid_argument("an elementwise layer must have as many units as inputs");
        if (kind.elementwise && layer.activation == Activation::custom)
            throw std::invalid_argument("an elementwise layer takes no custom activation");
        if (!kind.has_activation && layer.activation != Activation::identity)
            throw std::invalid_argument(std::string("a layer of kind '") + kind.name + "' has no activation");
        if (!head && kActivations[static_cast<int>(layer.activation)].head_only)
            throw std::invalid_argument(std::string("activation '") +
                                        kActivations[static_cast<int>(layer.activation)].name +
                                        "' may stand only at the head");
        if ((layer.activation == Activation::custom) != (layer.custom.function != nullptr))
            throw std::invalid_argument("a custom activation, and only that, needs its function");
        if (!(layer.dropout >= 0.0 && layer.dropout < 1.0) || (head && layer.dropout > 0.0))
            throw std::invalid_argument("dropout must be in [0, 1), and 0 at the head");
        for (const double factor : {layer.rates.weights, layer.rates.bias, layer.rates.decay})
            if (!(factor >= 0.0 && factor < kUnbounded))
                throw std::invalid_argument("factors of rates and of the decay must not be negative");
        if (!(layer.rates.epsilon > 0.0 && layer.rates.epsilon < kUnbounded))
            throw std::invalid_argument("the factor of epsilon must be positive");
    }
    check_loss(spec);
}

std::int64_t count_targets(const NetworkSpec &spec) {
    const std::int64_t levels = std::max<std::int64_t>(1, static_cast<std::int64_t>(spec.loss.levels.size()));
    return spec.layers.back().n_units / (loss_row(spec.loss.loss).outputs_per_target * levels);
}

} // namespace densegrad
