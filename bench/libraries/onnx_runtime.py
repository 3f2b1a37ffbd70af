"""onnxruntime: prediction only, from a graph of Gemm, Relu and Softmax."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from libraries.base import Library
from workloads import Matrix, Problem


class OnnxLibrary(Library):
    """onnxruntime as a peer."""

    trains = False

    def versions(self) -> dict[str, str]:
        return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}

    def load(self, problem: Problem) -> None:
        self.problem = problem
        kind = TensorProto.FLOAT if self.dtype == "float32" else TensorProto.DOUBLE
        nodes, constants = [], []
        name = "X"
        for l, W in enumerate(problem.weights, start=1):
            constants.append(numpy_helper.from_array(np.ascontiguousarray(W[:-1]), f"W{l}"))
            constants.append(numpy_helper.from_array(np.ascontiguousarray(W[-1]), f"b{l}"))
            nodes.append(helper.make_node("Gemm", [name, f"W{l}", f"b{l}"], [f"z{l}"]))
            head = l == len(problem.weights)
            nodes.append(helper.make_node("Softmax" if head else "Relu", [f"z{l}"], [f"y{l}"]))
            name = f"y{l}"
        graph = helper.make_graph(
            nodes,
            "mlp",
            [helper.make_tensor_value_info("X", kind, [None, problem.sizes[0]])],
            [helper.make_tensor_value_info(name, kind, [None, problem.sizes[-1]])],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 9
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def reset(self) -> None:
        pass

    def train(self, epochs: int) -> None:
        raise NotImplementedError("onnxruntime is measured in prediction only")

    def predict(self, X: Matrix) -> Matrix:
        return self.session.run(None, {"X": X})[0]
