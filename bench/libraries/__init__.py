"""The libraries that are compared, one module each.

A module defines a class that follows :class:`libraries.base.Library`. It is imported only inside its own
worker process, after the number of threads has been put into the environment.
"""

# name -> (module, class, arguments beyond threads and dtype)
LIBRARIES: dict[str, tuple[str, str, dict[str, bool]]] = {
    "densegrad": ("densegrad_trainer", "DensegradLibrary", {}),
    "densegrad auto": ("densegrad_trainer", "DensegradLibrary", {"auto": True}),
    "numpy": ("numpy_by_hand", "NumpyLibrary", {}),
    "scikit-learn": ("scikit_learn", "SklearnLibrary", {}),
    "torch": ("pytorch", "TorchLibrary", {}),
    "torch compiled": ("pytorch", "CompiledTorchLibrary", {}),
    "jax": ("jax_jit", "JaxLibrary", {}),
    "onnxruntime": ("onnx_runtime", "OnnxLibrary", {}),
}
