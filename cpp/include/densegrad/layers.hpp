// This is the table of layer kinds.
//
//     dense    z = [x, 1] W                      W: (n_in + 1, n_units), the bias row last
//     scale    z = v x                           v: (1, n_in), one number a unit, and n_units = n_in
//     blend    z = x + v (a(x) - x)              v as for scale, a: an activation
//
// x is y_(l-1). Of a dense layer y = a(z). The others are elementwise, and have y = z.
#pragma once

#include <cstdint>

namespace densegrad {

enum class LayerKind : int { dense, scale, blend };

struct LayerKindRow {
    LayerKind id;
    const char *name;
    bool elementwise;    // n_units = n_in, and one row of weights; not the head
    bool has_activation; // if not, it must be the identity
};

inline constexpr LayerKindRow kLayerKinds[] = {
    {LayerKind::dense, "dense", false, true},
    {LayerKind::scale, "scale", true, false},
    {LayerKind::blend, "blend", true, true},
};

inline constexpr int kLayerKindCount = static_cast<int>(sizeof(kLayerKinds) / sizeof(kLayerKinds[0]));

constexpr bool is_elementwise(LayerKind kind) { return kLayerKinds[static_cast<int>(kind)].elementwise; }

} // namespace densegrad
